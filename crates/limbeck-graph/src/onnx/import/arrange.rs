//! Operators that give values other shapes.

use super::array::Array;
use super::call::{Call, axes, axis, size};
use super::constant::{self, fixed, sizes};
use super::lowering::{Lowering, transpose};
use super::rows::Rows;
use super::size::Size;
use super::value::{Tensor, Tokens, Value};
use crate::ir::{Concatenate, Dim, Expand, Fill, Op, Pad, Shape};
use crate::onnx::{Attribute, Outcome};

impl Lowering<'_> {
    pub(super) fn shape_of(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let shape = call.input(0)?.shape();
        let rank = i64::try_from(shape.rank()).unwrap_or(i64::MAX);
        let place = |value: i64| {
            let value = if value < 0 {
                value.saturating_add(rank)
            } else {
                value
            };
            value.clamp(0, rank) as usize
        };
        let start = place(call.int("start", 0)?);
        let end = place(call.int("end", rank)?).max(start);
        let sizes = shape.dims()[start..end].iter().map(|dim| Size::from(*dim));
        Ok(Value::Integers(Array::list(sizes.collect())))
    }

    pub(super) fn size_of(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let mut count = Size::number(1);
        for dim in call.input(0)?.shape().dims() {
            let product = count.multiply(Size::from(*dim));
            count = product.ok_or("the batch stands twice in one value")?;
        }
        Ok(Value::Integers(Array::scalar(count)))
    }

    pub(super) fn reshape(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let value = call.input(0)?.clone();
        let target = match call.optional(1) {
            Some(target) => sizes(&target.clone())?,
            None => {
                let shape = call.ints("shape")?.ok_or("expected a shape, got none")?;
                shape.into_iter().map(Size::number).collect()
            }
        };
        let from = value.shape();
        let zeros = call.flag("allowzero", false)?;
        let mut dims: Vec<Option<Dim>> = Vec::with_capacity(target.len());
        for (place, size) in target.iter().enumerate() {
            dims.push(match size.known() {
                Some(-1) => None,
                Some(0) if !zeros => {
                    let same = from.dims().get(place).copied();
                    Some(same.ok_or_else(|| format!("expected axis {place} of {from} to copy"))?)
                }
                _ => {
                    let dim = size.dim();
                    Some(dim.ok_or_else(|| format!("expected the size of an axis, got {size}"))?)
                }
            });
        }
        self.with_dims(&value, &dims)
    }

    /// The value with other axes, of which one may be left open.
    fn with_dims(&mut self, value: &Value, dims: &[Option<Dim>]) -> Outcome<Value> {
        let from = value.shape();
        let unknown = dims.iter().filter(|dim| dim.is_none()).count();
        if unknown > 1 {
            return Err("expected at most one axis to infer, got more".to_owned());
        }
        let count = |dims: &mut dyn Iterator<Item = Dim>| {
            dims.fold((1_usize, 0_usize), |(count, batches), dim| {
                let batch = usize::from(dim.batches().is_some());
                (count.saturating_mul(dim.size(1)), batches + batch)
            })
        };
        let whole = count(&mut from.dims().iter().copied());
        let known = count(&mut dims.iter().flatten().copied());
        let wrong = || {
            let names: Vec<String> = dims
                .iter()
                .map(|dim| dim.map_or("?".to_owned(), |dim| dim.to_string()))
                .collect();
            format!(
                "cannot reshape {from} to [{}] for every batch; export the model with a dynamic batch",
                names.join(", ")
            )
        };
        let mut shape: Vec<Dim> = Vec::with_capacity(dims.len());
        for dim in dims {
            shape.push(match dim {
                Some(dim) => *dim,
                None => {
                    let divides = known.0 > 0 && whole.0.is_multiple_of(known.0);
                    let missing = whole.1.checked_sub(known.1);
                    match (divides, missing) {
                        (true, Some(0)) => Dim::Fixed(whole.0 / known.0),
                        (true, Some(1)) => Dim::times_batch(whole.0 / known.0),
                        _ => return Err(wrong()),
                    }
                }
            });
        }
        // A file exported for one row says 1 where it means the batch.
        if unknown == 0 && whole.1 == 1 && known.1 == 0 && shape.first() == Some(&Dim::Fixed(1)) {
            shape[0] = Dim::Batch;
        }
        if count(&mut shape.iter().copied()) != whole {
            return Err(wrong());
        }
        self.viewed(value, &Shape(shape))
    }

    /// The value with other axes.
    pub(super) fn viewed(&mut self, value: &Value, shape: &Shape) -> Outcome<Value> {
        Ok(match (value, fixed(shape)) {
            (Value::Integers(array), Some(sizes)) => Value::Integers(array.reshape(sizes)?),
            (Value::Floats(array), Some(sizes)) => Value::Floats(array.reshape(sizes)?),
            (Value::Rows(rows), _) => rows.viewed(shape)?,
            (value, _) if value.shape() == *shape => value.clone(),
            _ => {
                let tensor = self.tensor(value)?;
                let truth = self.truths.contains(&tensor.name);
                let view = self.view(&tensor, shape)?;
                if truth {
                    self.truths.insert(view.name.clone());
                }
                Value::Tensor(view)
            }
        })
    }

    pub(super) fn flatten(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let value = call.input(0)?.clone();
        let shape = value.shape();
        let rank = i64::try_from(shape.rank()).unwrap_or(i64::MAX);
        let axis = call.int("axis", 1)?;
        let axis = if axis < 0 { axis + rank } else { axis };
        if !(0..=rank).contains(&axis) {
            return Err(format!("expected an axis of {shape}, got {axis}"));
        }
        let (outer, inner) = shape.dims().split_at(axis as usize);
        let joined = |dims: &[Dim]| {
            let count = dims
                .iter()
                .map(|dim| dim.size(1))
                .fold(1, usize::saturating_mul);
            match dims.iter().any(|dim| dim.batches().is_some()) {
                true => Dim::times_batch(count),
                false => Dim::Fixed(count),
            }
        };
        self.viewed(&value, &Shape(vec![joined(outer), joined(inner)]))
    }

    pub(super) fn squeeze(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let value = call.input(0)?.clone();
        let shape = value.shape();
        let gone = match self.ints_of(call, "axes", 1)? {
            Some(given) => axes(&given, shape.rank())?,
            None => {
                let ones = shape.dims().iter().enumerate();
                let ones = ones.filter(|(_, dim)| **dim == Dim::Fixed(1));
                ones.map(|(axis, _)| axis).collect()
            }
        };
        if let Some(&axis) = gone.iter().find(|axis| shape.0[**axis] != Dim::Fixed(1)) {
            return Err(format!("expected axis {axis} of {shape} to have size 1"));
        }
        let dims = shape.dims().iter().enumerate();
        let kept = dims
            .filter(|(axis, _)| !gone.contains(axis))
            .map(|(_, dim)| *dim);
        self.viewed(&value, &kept.collect())
    }

    pub(super) fn unsqueeze(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let value = call.input(0)?.clone();
        let given = self
            .ints_of(call, "axes", 1)?
            .ok_or("expected axes, got none")?;
        let shape = value.shape();
        let rank = shape.rank() + given.len();
        let new = axes(&given, rank)?;
        let mut old = shape.dims().iter().copied();
        let dims = (0..rank).map(|axis| match new.contains(&axis) {
            true => Some(Dim::Fixed(1)),
            false => old.next(),
        });
        let dims: Option<Shape> = dims.collect();
        self.viewed(&value, &dims.ok_or("expected fewer axes")?)
    }

    pub(super) fn transpose(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let value = call.input(0)?.clone();
        let rank = value.shape().rank();
        let order = match call.ints("perm")? {
            Some(order) => order
                .into_iter()
                .map(|place| axis(place, rank))
                .collect::<Outcome<Vec<_>>>()?,
            None => (0..rank).rev().collect(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..rank) {
            return Err(format!(
                "expected the {rank} axes in another order, got {order:?}"
            ));
        }
        if order.is_sorted() {
            return Ok(value);
        }
        Ok(match &value {
            Value::Integers(array) => Value::Integers(array.transpose(&order)?),
            Value::Floats(array) => Value::Floats(array.transpose(&order)?),
            Value::Rows(rows) => rows.transposed(&order)?,
            Value::Weight(weight) => Value::Weight(weight.transposed(&order)),
            Value::Tokens(tokens) => Value::Tokens(Tokens {
                swapped: !tokens.swapped,
                ..tokens.clone()
            }),
            Value::Tensor(tensor) => {
                let truth = self.truths.contains(&tensor.name);
                let moved = self.emit(transpose(&order), &[tensor])?;
                if truth {
                    self.truths.insert(moved.name.clone());
                }
                Value::Tensor(moved)
            }
        })
    }

    pub(super) fn concatenate(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let values: Vec<Value> = call.inputs.iter().flatten().cloned().collect();
        let rank = values.first().map_or(0, |value| value.shape().rank());
        let given = match call.attribute("axis") {
            Some(Attribute::Int(axis)) => *axis,
            _ => return Err("expected attribute `axis`".to_owned()),
        };
        let axis = axis(given, rank)?;
        let integers: Option<Vec<_>> = values
            .iter()
            .map(|value| match value {
                Value::Integers(array) => Some(array.clone()),
                _ => None,
            })
            .collect();
        if let Some(parts) = integers {
            return Array::concatenate(&parts, axis).map(Value::Integers);
        }
        let floats: Option<Vec<_>> = values
            .iter()
            .map(|value| match value {
                Value::Floats(array) => Some(array.clone()),
                _ => None,
            })
            .collect();
        if let Some(parts) = floats {
            return Array::concatenate(&parts, axis).map(Value::Floats);
        }
        if values.iter().any(|value| matches!(value, Value::Rows(_)))
            && let Some(parts) = (values.iter())
                .map(|value| self.rows(value))
                .collect::<Option<Vec<_>>>()
        {
            return Rows::concatenate(&parts, axis);
        }
        let tensors = values.iter().map(|value| self.tensor(value));
        let tensors = tensors.collect::<Outcome<Vec<Tensor>>>()?;
        match tensors.as_slice() {
            [only] => Ok(Value::Tensor(only.clone())),
            tensors => {
                let op = Op::Concatenate(Concatenate { axis });
                let inputs: Vec<&Tensor> = tensors.iter().collect();
                self.emit(op, &inputs).map(Value::Tensor)
            }
        }
    }

    pub(super) fn expand(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let value = call.input(0)?.clone();
        let target = constant::shape(&sizes(call.input(1)?)?)?;
        self.repeated(&value, &target)
    }

    /// The value repeated along axes of size 1.
    fn repeated(&mut self, value: &Value, target: &Shape) -> Outcome<Value> {
        let from = value.shape();
        let rank = from.rank().max(target.rank());
        let at = |shape: &Shape, axis: usize| {
            let own = (axis + shape.rank()).checked_sub(rank);
            own.map_or(Dim::Fixed(1), |axis| shape.0[axis])
        };
        let dims = (0..rank).map(|axis| match (at(&from, axis), at(target, axis)) {
            (a, b) if a == b => Ok(a),
            (Dim::Fixed(1), dim) | (dim, Dim::Fixed(1)) => Ok(dim),
            _ => Err(format!("cannot repeat {from} to {target}")),
        });
        let shape: Shape = dims.collect::<Outcome<_>>()?;
        if shape == from {
            return Ok(value.clone());
        }
        match (value, fixed(&shape)) {
            (Value::Integers(array), Some(sizes)) => {
                self.charge(super::array::elements(&sizes)?)?;
                return array.broadcast(&sizes).map(Value::Integers);
            }
            (Value::Floats(array), Some(sizes)) => {
                self.charge(super::array::elements(&sizes)?)?;
                return array.broadcast(&sizes).map(Value::Floats);
            }
            (Value::Floats(_) | Value::Integers(_) | Value::Rows(_), _) => {
                if let Some(rows) = self.rows(value) {
                    return rows.repeated(&shape);
                }
            }
            _ => {}
        }
        let tensor = self.tensor(value)?;
        let truth = self.truths.contains(&tensor.name);
        let repeated = self.emit(Op::Expand(Expand { shape }), &[&tensor])?;
        if truth {
            self.truths.insert(repeated.name.clone());
        }
        Ok(Value::Tensor(repeated))
    }

    pub(super) fn tile(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let mut value = call.input(0)?.clone();
        let repeats = sizes(call.input(1)?)?;
        let shape = value.shape();
        if repeats.len() != shape.rank() {
            return Err(format!(
                "expected a number of repeats for each axis of {shape}, got {}",
                repeats.len()
            ));
        }
        for (axis, times) in repeats.iter().enumerate() {
            if times.known() == Some(1) {
                continue;
            }
            // [.., n, ..] as [.., 1, n, ..], repeated, and as one axis again.
            let shape = value.shape();
            let times = times
                .dim()
                .ok_or_else(|| format!("cannot repeat {times} times"))?;
            let (outer, inner) = shape.dims().split_at(axis);
            let with =
                |dim: Dim| -> Shape { outer.iter().chain([&dim]).chain(inner).copied().collect() };
            let one = self.viewed(&value, &with(Dim::Fixed(1)))?;
            let many = self.repeated(&one, &with(times))?;
            let joined = Size::from(times).multiply(Size::from(inner[0]));
            let joined = joined
                .and_then(Size::dim)
                .ok_or("the batch stands twice in one axis")?;
            let whole: Shape = outer
                .iter()
                .chain([&joined])
                .chain(&inner[1..])
                .copied()
                .collect();
            value = self.viewed(&many, &whole)?;
        }
        Ok(value)
    }

    pub(super) fn pad(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let rank = x.shape.rank();
        let pads = self
            .ints_of(call, "pads", 1)?
            .ok_or("expected pads, got none")?;
        let padded = match call.optional(3) {
            Some(given) => {
                let given = self.known(&given.clone())?;
                given
                    .into_iter()
                    .map(|place| axis(place, rank))
                    .collect::<Outcome<Vec<_>>>()?
            }
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * padded.len() {
            return Err(format!(
                "expected two numbers for each of {} axes, got {pads:?}",
                padded.len()
            ));
        }
        let fill = match call.text("mode", "constant")? {
            "constant" => {
                let value = match call.optional(2) {
                    Some(value) => self.number(&value.clone())?,
                    None => call.float("value", 0.0)?,
                };
                Fill::Constant { value }
            }
            "reflect" => Fill::Reflect,
            "edge" => Fill::Edge,
            other => return Err(format!("the padding `{other}` is not known to training")),
        };
        let mut sides = vec![[0_i64; 2]; rank];
        for (place, &axis) in padded.iter().enumerate() {
            sides[axis] = [pads[place], pads[place + padded.len()]];
        }
        let mut x = x;
        // A negative padding cuts.
        for (axis, pair) in sides.iter_mut().enumerate() {
            let cut = pair.map(|side| side.min(0).unsigned_abs() as usize);
            if cut != [0, 0] {
                let whole = x.shape.size(axis).unwrap_or(0);
                let count = whole
                    .checked_sub(cut[0] + cut[1])
                    .filter(|count| *count > 0);
                let slice = crate::ir::Slice {
                    axis,
                    start: cut[0],
                    count: count.ok_or_else(|| format!("cannot cut {cut:?} from {}", x.shape))?,
                    step: 1,
                };
                x = self.emit(Op::Slice(slice), &[&x])?;
            }
            *pair = pair.map(|side| side.max(0));
        }
        let sides = sides
            .into_iter()
            .map(|[before, after]| Ok([size(before)?, size(after)?]))
            .collect::<Outcome<Vec<_>>>()?;
        match sides.iter().all(|pair| *pair == [0, 0]) {
            true => Ok(Value::Tensor(x)),
            false => self
                .emit(Op::Pad(Pad { sides, fill }), &[&x])
                .map(Value::Tensor),
        }
    }

    /// Channels dealt out to squares of pixels.
    pub(super) fn depth_to_space(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let block = size(call.int("blocksize", 0)?)?;
        let (channels, height, width) = image(&x)?;
        let square = block.saturating_mul(block);
        if block == 0 || !channels.is_multiple_of(square) {
            return Err(format!(
                "expected channels that {square} divides, got {channels}"
            ));
        }
        let depth = channels / square;
        let (sizes, order) = match call.text("mode", "DCR")? {
            "CRD" => ([depth, block, block, height, width], [0, 1, 4, 2, 5, 3]),
            _ => ([block, block, depth, height, width], [0, 3, 4, 1, 5, 2]),
        };
        let apart = self.view(&x, &x.shape.with_sizes(&sizes))?;
        let moved = self.emit(transpose(&order), &[&apart])?;
        let whole = x.shape.with_sizes(&[depth, height * block, width * block]);
        self.view(&moved, &whole).map(Value::Tensor)
    }

    /// Squares of pixels made channels.
    pub(super) fn space_to_depth(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let block = size(call.int("blocksize", 0)?)?;
        let (channels, height, width) = image(&x)?;
        if block == 0 || !height.is_multiple_of(block) || !width.is_multiple_of(block) {
            return Err(format!(
                "expected sides that {block} divides, got {height} and {width}"
            ));
        }
        let sizes = [channels, height / block, block, width / block, block];
        let apart = self.view(&x, &x.shape.with_sizes(&sizes))?;
        let moved = self.emit(transpose(&[0, 3, 5, 1, 2, 4]), &[&apart])?;
        let whole = [channels * block * block, height / block, width / block];
        self.view(&moved, &x.shape.with_sizes(&whole))
            .map(Value::Tensor)
    }
}

fn image(x: &Tensor) -> Outcome<(usize, usize, usize)> {
    match x.shape.dims() {
        [
            _,
            Dim::Fixed(channels),
            Dim::Fixed(height),
            Dim::Fixed(width),
        ] => Ok((*channels, *height, *width)),
        _ => Err(format!("expected images, got {}", x.shape)),
    }
}
