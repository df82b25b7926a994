//! Operators that choose places, and lists that are made from numbers.

use std::collections::BTreeMap;

use super::array::{Array, MAX_ELEMENTS, elements};
use super::call::{Call, axes, axis, size};
use super::constant::{self, fixed, sizes};
use super::lowering::{Lowering, transpose};
use super::rows::{self, Rows};
use super::size::Size;
use super::value::{Tensor, Tokens, Value};
use crate::initialise::Initialiser;
use crate::ir::{Dim, Embedding, Op, Shape, Slice, Split, Take, ValueType, WeightKind};
use crate::onnx::{Attribute, Outcome};

impl Lowering<'_> {
    pub(super) fn split(&mut self, call: &Call<'_>) -> Outcome<Vec<Value>> {
        let value = call.input(0)?.clone();
        let shape = value.shape();
        let axis = axis(call.int("axis", 0)?, shape.rank())?;
        let whole = shape
            .size(axis)
            .ok_or_else(|| format!("expected an axis of known size, got {axis} of {shape}"))?;
        let parts = match self.ints_of(call, "split", 1)? {
            Some(parts) => parts.into_iter().map(size).collect::<Outcome<Vec<_>>>()?,
            None => {
                let count = size(call.int("num_outputs", call.node.outputs.len() as i64)?)?;
                if count == 0 || count > whole {
                    return Err(format!("cannot split {whole} places into {count} parts"));
                }
                let each = whole.div_ceil(count);
                let starts = (0..count).map(|part| (part * each).min(whole));
                starts.map(|start| each.min(whole - start)).collect()
            }
        };
        if parts.contains(&0) || parts.iter().copied().fold(0, usize::saturating_add) != whole {
            return Err(format!(
                "expected positive parts that sum to {whole}, got {parts:?}"
            ));
        }
        if let Value::Integers(_) | Value::Floats(_) = value {
            let mut start = 0;
            let part = |count: usize| {
                let indices: Vec<usize> = (start..start + count).collect();
                start += count;
                taken(&value, axis, &indices)
            };
            return parts.into_iter().map(part).collect();
        }
        let tensor = self.tensor(&value)?;
        if let [_] = parts.as_slice() {
            return Ok(vec![Value::Tensor(tensor)]);
        }
        let op = Op::Split(Split { axis, sizes: parts });
        let parts = self.emit_all(op, &[&tensor], BTreeMap::new())?;
        Ok(parts.into_iter().map(Value::Tensor).collect())
    }

    pub(super) fn slice(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let mut value = call.input(0)?.clone();
        let rank = value.shape().rank();
        let starts = self
            .bounds(call, "starts", 1)?
            .ok_or("expected starts, got none")?;
        let ends = self
            .bounds(call, "ends", 2)?
            .ok_or("expected ends, got none")?;
        let places = match self.ints_of(call, "axes", 3)? {
            Some(given) => {
                axes(&given, rank)?;
                given
                    .into_iter()
                    .map(|place| axis(place, rank))
                    .collect::<Outcome<Vec<_>>>()?
            }
            None => (0..starts.len()).collect(),
        };
        let steps = self
            .ints_of(call, "steps", 4)?
            .unwrap_or_else(|| vec![1; places.len()]);
        if [starts.len(), ends.len(), steps.len()] != [places.len(); 3] || places.len() > rank {
            return Err("expected as many starts, ends and steps as axes".to_owned());
        }
        for (place, &axis) in places.iter().enumerate() {
            value = self.sliced(&value, axis, starts[place], ends[place], steps[place])?;
        }
        Ok(value)
    }

    fn bounds(
        &mut self,
        call: &Call<'_>,
        attribute: &str,
        position: usize,
    ) -> Outcome<Option<Vec<Size>>> {
        match (call.optional(position), call.ints(attribute)?) {
            (Some(value), _) => sizes(&value.clone()).map(Some),
            (None, Some(values)) => Ok(Some(values.into_iter().map(Size::number).collect())),
            (None, None) => Ok(None),
        }
    }

    fn sliced(
        &mut self,
        value: &Value,
        axis: usize,
        start: Size,
        end: Size,
        step: i64,
    ) -> Outcome<Value> {
        let shape = value.shape();
        let dim = Size::from(shape.0[axis]);
        let Some(whole) = shape.size(axis) else {
            let all = start.known() == Some(0)
                && step == 1
                && (end == dim || end.known().is_some_and(|end| end >= i64::from(i32::MAX)));
            return match all {
                true => Ok(value.clone()),
                false => Err(format!(
                    "it cuts the batch of {shape}; a row's answer may depend on the row alone"
                )),
            };
        };
        let known = |size: Size| {
            size.known()
                .ok_or_else(|| format!("expected known bounds, got {size}"))
        };
        let (first, count) = places(whole, known(start)?, known(end)?, step)?;
        if count == whole && step == 1 {
            return Ok(value.clone());
        }
        let is_array = matches!(value, Value::Integers(_) | Value::Floats(_));
        if count == 0 && !is_array {
            return Err(format!("it cuts nothing from {shape}"));
        }
        if let (Value::Tensor(_) | Value::Weight(_) | Value::Tokens(_), Ok(step)) =
            (value, usize::try_from(step))
        {
            let tensor = self.tensor(value)?;
            let slice = Slice {
                axis,
                start: first,
                count,
                step,
            };
            return self.emit(Op::Slice(slice), &[&tensor]).map(Value::Tensor);
        }
        elements(&[count])?;
        self.charge(count)?;
        let stride = step as isize;
        let indices = (0..count as isize).map(|place| (first as isize + place * stride) as usize);
        let indices: Vec<usize> = indices.collect();
        if is_array {
            return taken(value, axis, &indices);
        }
        if let Value::Rows(rows) = value {
            return rows.taken(axis, &indices);
        }
        let tensor = self.tensor(value)?;
        let op = Op::Take(Take { axis, indices });
        self.emit(op, &[&tensor]).map(Value::Tensor)
    }

    pub(super) fn gather(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let (data, indices) = (call.input(0)?.clone(), call.input(1)?.clone());
        let shape = data.shape();
        let axis = axis(call.int("axis", 0)?, shape.rank())?;
        if let Value::Tokens(tokens) = &indices {
            return self.embedding(&data, axis, tokens);
        }
        if let Value::Rows(rows) = &indices {
            return self.gather_rows(&data, axis, rows);
        }
        let Value::Integers(array) = &indices else {
            return Err(format!(
                "its indices are {}; trained are known ones and token ids",
                indices.words()
            ));
        };
        let Some(whole) = shape.size(axis) else {
            return Err(format!(
                "it chooses from the batch of {shape}; a row's answer may depend on the row alone"
            ));
        };
        let places = self
            .known(&indices)?
            .into_iter()
            .map(|place| super::call::axis(place, whole))
            .collect::<Outcome<Vec<_>>>()
            .map_err(|_| format!("expected indices below {whole} along axis {axis} of {shape}"))?;
        let dims: Shape = shape.dims()[..axis]
            .iter()
            .copied()
            .chain(array.shape.iter().map(|&size| Dim::Fixed(size)))
            .chain(shape.dims()[axis + 1..].iter().copied())
            .collect();
        if let Value::Rows(rows) = &data {
            return rows
                .taken(axis, &places)
                .and_then(|chosen| self.viewed(&chosen, &dims));
        }
        if let Value::Integers(_) | Value::Floats(_) = data {
            let outer: usize = shape.len_per_row() / whole.max(1);
            elements(&[outer, places.len()])?;
            self.charge(outer.saturating_mul(places.len()))?;
            let chosen = taken(&data, axis, &places)?;
            return self.viewed(&chosen, &dims);
        }
        let tensor = self.tensor(&data)?;
        let chosen = self.chosen(&tensor, axis, places)?;
        self.viewed(&Value::Tensor(chosen), &dims)
    }

    /// The listed places of an axis, as a slice where they follow each other.
    pub(super) fn chosen(
        &mut self,
        x: &Tensor,
        axis: usize,
        indices: Vec<usize>,
    ) -> Outcome<Tensor> {
        let follow = indices.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let op = match indices.first() {
            Some(0) if follow && x.shape.size(axis) == Some(indices.len()) => return Ok(x.clone()),
            Some(&start) if follow => Op::Slice(Slice {
                axis,
                start,
                count: indices.len(),
                step: 1,
            }),
            _ => Op::Take(Take { axis, indices }),
        };
        self.emit(op, &[x])
    }

    fn embedding(&mut self, table: &Value, axis: usize, tokens: &Tokens) -> Outcome<Value> {
        let shape = fixed(&table.shape()).unwrap_or_default();
        let (0, &[count, width]) = (axis, shape.as_slice()) else {
            return Err(format!(
                "token ids choose from {}; trained are tables [tokens, size]",
                table.words()
            ));
        };
        let straight = match table {
            Value::Weight(weight) => weight.is_straight() && self.can_bind(weight, &weight.shape),
            Value::Floats(_) => true,
            _ => false,
        };
        if !straight {
            return Err(format!(
                "token ids choose from {}; trained are tables that the file holds as they are used",
                table.words()
            ));
        }
        let op = Op::Embedding(Embedding {
            tokens: count,
            size: width,
        });
        let initialiser = Initialiser::default_of(&op, WeightKind::Weight);
        let weights = self.weights_of(&op, table, None, initialiser)?;
        let kind = ValueType::tokens(tokens.length);
        let rows = self.emit_typed(op, vec![tokens.name.clone()], &[kind], weights)?;
        Ok(Value::Tensor(match tokens.swapped {
            true => self.emit(transpose(&[1, 0, 2]), &[&rows[0]])?,
            false => rows[0].clone(),
        }))
    }

    pub(super) fn range(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let [start, limit, step] = [0, 1, 2].map(|position| call.input(position).cloned());
        let (start, limit, step) = (start?, limit?, step?);
        if let (Value::Integers(first), Value::Integers(last), Value::Integers(each)) =
            (&start, &limit, &step)
        {
            if let Some(rows) = rows::counted(&first.values, &last.values, &each.values) {
                return Ok(Value::Rows(rows));
            }
            let one = |values: Vec<i64>| match values.as_slice() {
                [value] => Ok(*value),
                _ => Err("expected one number each".to_owned()),
            };
            let start = one(self.known(&start)?)?;
            let (limit, step) = (one(self.known(&limit)?)?, one(self.known(&step)?)?);
            let count = count(start as f64, limit as f64, step as f64)?;
            let values = (0..count as i64).map(|place| Size::number(start + place * step));
            return Ok(Value::Integers(Array::list(values.collect())));
        }
        let (start, limit, step) = (
            self.number(&start)?,
            self.number(&limit)?,
            self.number(&step)?,
        );
        let count = count(start, limit, step)?;
        let values = (0..count).map(|place| start + place as f64 * step);
        Ok(Value::Floats(Array::list(values.collect())))
    }

    pub(super) fn constant_of_shape(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let shape = constant::shape(&sizes(call.input(0)?)?)?;
        let (number, float) = match call.attribute("value") {
            Some(Attribute::Tensor(tensor)) if tensor.element.is_float() => {
                let host = tensor.floats().map_err(|error| error.to_string())?;
                (host.values.first().copied().map_or(0.0, f64::from), true)
            }
            Some(Attribute::Tensor(tensor)) => {
                let values = tensor.integers().map_err(|error| error.to_string())?;
                (values.first().copied().unwrap_or(0) as f64, false)
            }
            _ => (0.0, true),
        };
        match fixed(&shape) {
            Some(sizes) => {
                self.charge(elements(&sizes)?)?;
                match float {
                    true => Array::filled(sizes, number).map(Value::Floats),
                    false => Array::filled(sizes, Size::number(number as i64)).map(Value::Integers),
                }
            }
            None => Rows::filled(number, shape, !float).map(Value::Rows),
        }
    }

    /// The upper or lower triangle of known matrices.
    pub(super) fn triangle(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let value = call.input(0)?.clone();
        let upper = call.flag("upper", true)?;
        let diagonal = match call.optional(1) {
            Some(k) => self.known(&k.clone())?.first().copied().unwrap_or(0),
            None => 0,
        };
        let shape = value.shape();
        let (Some(rows), Some(columns)) = (
            shape
                .rank()
                .checked_sub(2)
                .and_then(|axis| shape.size(axis)),
            shape
                .rank()
                .checked_sub(1)
                .and_then(|axis| shape.size(axis)),
        ) else {
            return Err(format!("expected matrices, got {}", value.words()));
        };
        let kept = |place: usize| {
            let row = (place / columns.max(1) % rows.max(1)) as i64;
            let column = (place % columns.max(1)) as i64;
            match upper {
                true => column - row >= diagonal,
                false => column - row <= diagonal,
            }
        };
        match &value {
            Value::Integers(array) => {
                let values = array.values.iter().enumerate();
                let values = values.map(|(at, v)| if kept(at) { *v } else { Size::number(0) });
                Ok(Value::Integers(Array::new(
                    array.shape.clone(),
                    values.collect(),
                )))
            }
            Value::Floats(array) => {
                let values = array.values.iter().enumerate();
                let values = values.map(|(at, v)| if kept(at) { *v } else { 0.0 });
                Ok(Value::Floats(Array::new(
                    array.shape.clone(),
                    values.collect(),
                )))
            }
            other => {
                let mask = Array::new(
                    vec![rows, columns],
                    (0..rows * columns)
                        .map(|at| f64::from(u8::from(kept(at))))
                        .collect(),
                );
                self.binary(constant::Arithmetic::Multiply, other, &Value::Floats(mask))
            }
        }
    }

    /// Running sums of known lists.
    pub(super) fn cumulative_sum(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let value = call.input(0)?.clone();
        let (Value::Integers(_) | Value::Floats(_), 1) = (&value, value.shape().rank()) else {
            return Err(format!(
                "it sums {} along the way, trained are known lists",
                value.words()
            ));
        };
        if call.flag("exclusive", false)? || call.flag("reverse", false)? {
            return Err("expected a plain running sum".to_owned());
        }
        match value {
            Value::Integers(array) => {
                let mut sum = Size::number(0);
                let sums = array.map(|size| {
                    sum = sum.add(*size).ok_or("the sum is too large")?;
                    Ok(sum)
                })?;
                Ok(Value::Integers(sums))
            }
            other => {
                let mut sum = 0.0;
                let sums = self.floats(&other)?.map(|value| {
                    sum += value;
                    Ok(sum)
                })?;
                Ok(Value::Floats(sums))
            }
        }
    }
}

/// The listed places of a known value.
fn taken(value: &Value, axis: usize, indices: &[usize]) -> Outcome<Value> {
    match value {
        Value::Integers(array) => array.take(axis, indices).map(Value::Integers),
        Value::Floats(array) => array.take(axis, indices).map(Value::Floats),
        other => Err(format!("expected known numbers, got {}", other.words())),
    }
}

/// The first of the places from `start` up to, but not including, `end`, which count from the end where negative, and how many
/// there are.
fn places(whole: usize, start: i64, end: i64, step: i64) -> Outcome<(usize, usize)> {
    let length = i64::try_from(whole).map_err(|_| "the axis is too large".to_owned())?;
    let shift = |bound: i64| {
        if bound < 0 {
            bound.saturating_add(length)
        } else {
            bound
        }
    };
    let (start, end) = match step {
        0 => return Err("expected a step other than 0".to_owned()),
        1.. => (shift(start).clamp(0, length), shift(end).clamp(0, length)),
        _ => (
            shift(start).clamp(-1, length - 1),
            // An end below the first place stays below it.
            if end < -length {
                -1
            } else {
                shift(end).clamp(-1, length - 1)
            },
        ),
    };
    let distance = end.saturating_sub(start);
    let count = match distance.signum() == step.signum() {
        true => distance.unsigned_abs().div_ceil(step.unsigned_abs()),
        false => 0,
    };
    let first = usize::try_from(start).unwrap_or(0);
    Ok((first, usize::try_from(count).unwrap_or(usize::MAX)))
}

/// How many numbers there are from `start` on in steps before `limit`.
fn count(start: f64, limit: f64, step: f64) -> Outcome<usize> {
    let count = ((limit - start) / step).ceil().max(0.0);
    if count.is_finite() && count <= MAX_ELEMENTS as f64 {
        return Ok(count as usize);
    }
    Err(format!(
        "cannot count from {start} to {limit} in steps of {step}"
    ))
}
