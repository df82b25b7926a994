//! Known numbers in shapes that depend on the batch: each is the same for every row, or counts the rows.
//!
//! Exporters make index arithmetic of a plain view: `arange(batch) * width + arange(width)`, or pairs of a row's number and a
//! place in it. Numbers of the form `slope * row + value` follow all of that.

use super::array::{Array, common, elements};
use super::constant::{Arithmetic, fixed};
use super::lowering::Lowering;
use super::size::Size;
use super::value::{Tensor, Value};
use crate::ir::{Dim, Expand, Op, Relation, Shape, Take};
use crate::onnx::Outcome;

/// `slope * row + value` for each place and row; a slope that is not a number stands for something that is not known.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    /// The slopes, with size 1 along the batch.
    pub(super) slopes: Array<f64>,
    /// The values, with size 1 along the batch.
    pub(super) values: Array<f64>,
    pub(super) shape: Shape,
    pub(super) integers: bool,
}

impl Rows {
    /// The same number everywhere.
    pub(super) fn filled(value: f64, shape: Shape, integers: bool) -> Outcome<Self> {
        let sizes = without_batch(&shape);
        Ok(Self {
            slopes: Array::filled(sizes.clone(), 0.0)?,
            values: Array::filled(sizes, value)?,
            shape,
            integers,
        })
    }

    /// The numbers of the rows.
    pub(super) fn count(start: f64, step: f64) -> Self {
        Self {
            slopes: Array::list(vec![step]),
            values: Array::list(vec![start]),
            shape: Shape(vec![Dim::Batch]),
            integers: true,
        }
    }

    /// Whether every row has the same numbers.
    pub(super) fn is_constant(&self) -> bool {
        self.slopes.values.iter().all(|slope| *slope == 0.0)
    }

    /// The number that stands everywhere.
    pub(super) fn only(&self) -> Option<f64> {
        let first = *self.values.values.first()?;
        let same = self.values.values.iter().all(|value| *value == first);
        (same && self.is_constant()).then_some(first)
    }

    /// A plain value where the shape does not depend on the batch.
    fn settle(self) -> Outcome<Value> {
        if fixed(&self.shape).is_none() {
            return Ok(Value::Rows(self));
        }
        if !self.is_constant() {
            return Err("a number depends on the row, but its shape does not".to_owned());
        }
        match self.integers {
            true => super::constant::as_integers(&self.values).map(Value::Integers),
            false => Ok(Value::Floats(self.values)),
        }
    }

    fn map(
        &self,
        change: impl Fn(&Array<f64>) -> Outcome<Array<f64>>,
        shape: Shape,
    ) -> Outcome<Value> {
        Self {
            slopes: change(&self.slopes)?,
            values: change(&self.values)?,
            shape,
            integers: self.integers,
        }
        .settle()
    }

    /// With other axes; what is before and after the batch keeps its numbers.
    pub(super) fn viewed(&self, shape: &Shape) -> Outcome<Value> {
        if let Some(value) = self.only() {
            return Self::filled(value, shape.clone(), self.integers)?.settle();
        }
        let outer = |shape: &Shape| {
            let place = shape.dims().iter().position(|dim| *dim == Dim::Batch)?;
            let before = &shape.dims()[..place];
            Some(before.iter().map(|dim| dim.size(1)).product::<usize>())
        };
        if outer(&self.shape) != outer(shape) {
            return Err(format!("cannot view indices {} as {shape}", self.shape));
        }
        let sizes = without_batch(shape);
        self.map(|array| array.reshape(sizes.clone()), shape.clone())
    }

    pub(super) fn transposed(&self, order: &[usize]) -> Outcome<Value> {
        let shape = order.iter().map(|&axis| self.shape.0[axis]).collect();
        self.map(|array| array.transpose(order), shape)
    }

    /// The listed places of an axis that is not the batch's.
    pub(super) fn taken(&self, axis: usize, indices: &[usize]) -> Outcome<Value> {
        let mut shape = self.shape.clone();
        shape.0[axis] = Dim::Fixed(indices.len());
        self.map(|array| array.take(axis, indices), shape)
    }

    /// Repeated to `shape`, which it fits.
    pub(super) fn repeated(&self, shape: &Shape) -> Outcome<Value> {
        let sizes = without_batch(shape);
        self.map(|array| array.broadcast(&sizes), shape.clone())
    }

    /// Side by side along an axis that is not the batch's.
    pub(super) fn concatenate(parts: &[Self], axis: usize) -> Outcome<Value> {
        let Some(mut shape) = parts.first().map(|part| part.shape.clone()) else {
            return Err("expected one or more inputs, got none".to_owned());
        };
        let sizes: Option<usize> = parts.iter().map(|part| part.shape.size(axis)).sum();
        let whole = sizes.ok_or("it puts rows beside each other")?;
        shape.0[axis] = Dim::Fixed(whole);
        let join = |of: fn(&Self) -> &Array<f64>| {
            let arrays: Vec<Array<f64>> = parts.iter().map(|part| of(part).clone()).collect();
            Array::concatenate(&arrays, axis)
        };
        Self {
            slopes: join(|part| &part.slopes)?,
            values: join(|part| &part.values)?,
            shape,
            integers: parts.iter().all(|part| part.integers),
        }
        .settle()
    }

    /// A function of two numbers of the form, each with its slope.
    fn combine(
        &self,
        other: &Self,
        integers: bool,
        function: impl Fn([f64; 2], [f64; 2]) -> [f64; 2],
    ) -> Outcome<Value> {
        let shape = shape_of_both(&self.shape, &other.shape)?;
        let pair = |rows: &Self| {
            rows.slopes
                .combine(&rows.values, |slope, value| Ok([*slope, *value]))
        };
        let both = pair(self)?.combine(&pair(other)?, |a, b| Ok(function(*a, *b)))?;
        Self {
            slopes: both.map(|[slope, _]| Ok(*slope))?,
            values: both.map(|[_, value]| Ok(*value))?,
            shape,
            integers,
        }
        .settle()
    }
}

/// The sizes with 1 along the batch.
fn without_batch(shape: &Shape) -> Vec<usize> {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => *size,
        _ => 1,
    };
    shape.dims().iter().map(size).collect()
}

fn shape_of_both(a: &Shape, b: &Shape) -> Outcome<Shape> {
    let rank = a.rank().max(b.rank());
    let at = |shape: &Shape, axis: usize| {
        let own = (axis + shape.rank()).checked_sub(rank);
        own.map_or(Dim::Fixed(1), |axis| shape.0[axis])
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (left, right) if left == right => Ok(left),
            (Dim::Fixed(1), dim) | (dim, Dim::Fixed(1)) => Ok(dim),
            _ => Err(format!("cannot combine {a} and {b}")),
        })
        .collect()
}

impl Lowering<'_> {
    /// The value as known numbers per row, if it is one.
    pub(super) fn rows(&mut self, value: &Value) -> Option<Rows> {
        let (values, integers) = match value {
            Value::Rows(rows) => return Some(rows.clone()),
            Value::Floats(array) => (array.clone(), false),
            Value::Integers(array) => (super::constant::as_floats(array).ok()?, true),
            _ => return None,
        };
        Some(Rows {
            slopes: Array::filled(values.shape.clone(), 0.0).ok()?,
            shape: Shape::fixed(&values.shape),
            values,
            integers,
        })
    }

    /// Both values as known numbers per row, if one depends on the batch and both are known.
    pub(super) fn both_rows(&mut self, a: &Value, b: &Value) -> Option<(Rows, Rows)> {
        match (a, b) {
            (Value::Rows(_), _) | (_, Value::Rows(_)) => Some((self.rows(a)?, self.rows(b)?)),
            _ => None,
        }
    }

    pub(super) fn rows_arithmetic(
        &mut self,
        operation: Arithmetic,
        a: &Rows,
        b: &Rows,
    ) -> Outcome<Value> {
        self.charge(elements(&common(&a.values.shape, &b.values.shape)?)?)?;
        let integers = a.integers && b.integers;
        a.combine(b, integers, |[slope, a], [other, b]| {
            let known = slope == 0.0 && other == 0.0;
            match operation {
                Arithmetic::Add => [slope + other, a + b],
                Arithmetic::Subtract => [slope - other, a - b],
                Arithmetic::Multiply if other == 0.0 => [slope * b, a * b],
                Arithmetic::Multiply if slope == 0.0 => [a * other, a * b],
                Arithmetic::Divide if known && integers => [0.0, (a / b).trunc()],
                _ if known => {
                    let result =
                        super::constant::floats(operation, &Array::scalar(a), &Array::scalar(b));
                    [0.0, result.map_or(f64::NAN, |array| array.values[0])]
                }
                _ => [f64::NAN; 2],
            }
        })
    }

    pub(super) fn rows_compared(
        &mut self,
        relation: Relation,
        a: &Rows,
        b: &Rows,
    ) -> Outcome<Value> {
        self.charge(elements(&common(&a.values.shape, &b.values.shape)?)?)?;
        a.combine(b, true, |[slope, a], [other, b]| match slope == other {
            true => [
                0.0,
                f64::from(u8::from(super::constant::holds(relation, a, b))),
            ],
            false => [f64::NAN; 2],
        })
    }

    /// `function` of two truth values.
    pub(super) fn rows_logic(
        &mut self,
        a: &Rows,
        b: &Rows,
        function: impl Fn(bool, bool) -> bool,
    ) -> Outcome<Value> {
        a.combine(b, true, |[slope, a], [other, b]| {
            match slope == 0.0 && other == 0.0 {
                true => [0.0, f64::from(u8::from(function(a != 0.0, b != 0.0)))],
                false => [f64::NAN; 2],
            }
        })
    }

    /// Known numbers as a value of the graph.
    pub(super) fn rows_tensor(&mut self, rows: &Rows) -> Outcome<Tensor> {
        if !rows.is_constant() {
            return Err("it computes with the numbers of the rows; a row's answer may depend on the row alone".to_owned());
        }
        let known = match rows.only() {
            Some(value) => Array::filled(vec![1; rows.shape.rank().max(1)], value)?,
            None => rows.values.clone(),
        };
        let constant = self.tensor(&Value::Floats(known))?;
        let expand = Expand {
            shape: rows.shape.clone(),
        };
        self.emit(Op::Expand(expand), &[&constant])
    }

    /// The rows of `data`, whose first axis is not the batch's, that `indices` name.
    pub(super) fn gather_rows(
        &mut self,
        data: &Value,
        axis: usize,
        indices: &Rows,
    ) -> Outcome<Value> {
        let shape = data.shape();
        let places = |whole: usize| {
            let place = |value: &f64| super::call::axis(*value as i64, whole);
            let places: Outcome<Vec<usize>> = indices.values.values.iter().map(place).collect();
            places
                .map_err(|_| format!("expected indices below {whole} along axis {axis} of {shape}"))
        };
        if let (Some(whole), true) = (shape.size(axis), indices.is_constant()) {
            // Every row chooses the same.
            let places = places(whole)?;
            let sizes = |dims: &[Dim]| -> Shape {
                let dims = shape.dims()[..axis].iter().chain(dims);
                dims.chain(&shape.dims()[axis + 1..]).copied().collect()
            };
            let ones: Vec<Dim> = without_batch(&indices.shape)
                .into_iter()
                .map(Dim::Fixed)
                .collect();
            let tensor = self.tensor(data)?;
            let take = Take {
                axis,
                indices: places,
            };
            let chosen = self.emit(Op::Take(take), &[&tensor])?;
            let chosen = self.view(&chosen, &sizes(&ones))?;
            let expand = Expand {
                shape: sizes(indices.shape.dims()),
            };
            return self.emit(Op::Expand(expand), &[&chosen]).map(Value::Tensor);
        }
        // A list of all rows' values, from which each row chooses its own.
        let width = shape
            .0
            .first()
            .and_then(|rows| rows.batches())
            .filter(|_| axis == 0);
        let own = width.filter(|width| {
            let mut slopes = indices.slopes.values.iter();
            indices.shape.0.first() == Some(&Dim::Batch)
                && slopes.all(|slope| *slope == *width as f64)
        });
        let inner = fixed(&Shape(shape.0.get(1..).unwrap_or(&[]).to_vec()));
        let (Some(width), Some(inner)) = (own, inner) else {
            return Err(format!(
                "it chooses from the batch of {shape}; a row's answer may depend on the row alone"
            ));
        };
        let tensor = self.tensor(data)?;
        let sizes: Vec<usize> = [width].into_iter().chain(inner.iter().copied()).collect();
        let table = self.view(&tensor, &Shape::batched(&sizes))?;
        let chosen = self.chosen(&table, 1, places(width)?)?;
        let dims = indices.shape.dims().iter().copied();
        let whole: Shape = dims.chain(inner.into_iter().map(Dim::Fixed)).collect();
        self.view(&chosen, &whole).map(Value::Tensor)
    }

    /// The values of `data` `[batch, ...]` that pairs of a row's own number and places in it name.
    pub(super) fn gather_own(&mut self, data: &Value, indices: &Rows) -> Outcome<Value> {
        let shape = data.shape();
        let wrong = || {
            format!(
                "it chooses from {shape} by computed places; trained are those of the row itself"
            )
        };
        let (Some(&Dim::Fixed(count)), Some(&Dim::Batch)) =
            (indices.shape.0.last(), shape.0.first())
        else {
            return Err(wrong());
        };
        if count == 0 || count > shape.rank() || indices.shape.0.first() != Some(&Dim::Batch) {
            return Err(wrong());
        }
        let slopes = indices.slopes.values.chunks_exact(count);
        let own = slopes
            .zip(indices.values.values.chunks_exact(count))
            .all(|(slopes, values)| {
                slopes[0] == 1.0
                    && values[0] == 0.0
                    && slopes[1..].iter().all(|slope| *slope == 0.0)
            });
        if !own {
            return Err(wrong());
        }
        let sizes = fixed(&Shape(shape.0[1..count].to_vec())).ok_or_else(wrong)?;
        let mut places = Vec::with_capacity(indices.values.values.len() / count);
        for chosen in indices.values.values.chunks_exact(count) {
            let mut place = 0;
            for (value, &size) in chosen[1..].iter().zip(&sizes) {
                place = place * size + super::call::axis(*value as i64, size)?;
            }
            places.push(place);
        }
        let tensor = self.tensor(data)?;
        let truth = self.truths.contains(&tensor.name);
        let inner = shape.dims()[count..].iter().copied();
        let flat: Shape = [Dim::Batch, Dim::Fixed(sizes.iter().product())]
            .into_iter()
            .chain(inner.clone())
            .collect();
        let table = self.view(&tensor, &flat)?;
        let chosen = self.chosen(&table, 1, places)?;
        let outer = indices.shape.0[..indices.shape.rank() - 1].iter().copied();
        let result = self.view(&chosen, &outer.chain(inner).collect())?;
        if truth {
            self.truths.insert(result.name.clone());
        }
        Ok(Value::Tensor(result))
    }
}

/// A list of whole numbers that counts the rows, if it runs to the batch.
pub(super) fn counted(start: &[Size], limit: &[Size], step: &[Size]) -> Option<Rows> {
    let (&[start], &[limit], &[step]) = (start, limit, step) else {
        return None;
    };
    let all = Size {
        fixed: 0,
        batches: 1,
    };
    (start.known() == Some(0) && step.known() == Some(1) && limit == all)
        .then(|| Rows::count(0.0, 1.0))
}
