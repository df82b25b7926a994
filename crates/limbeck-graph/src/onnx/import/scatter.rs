//! Values at listed places, for known lists.

use super::array::{Array, elements};
use super::call::{Call, axis};
use super::constant::fixed;
use super::lowering::Lowering;
use super::operator::CHOOSES;
use super::value::Value;
use crate::ir::{Dim, Op, Shape};
use crate::onnx::Outcome;

impl Lowering<'_> {
    pub(super) fn gather_pairs(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let (data, indices) = (call.input(0)?.clone(), call.input(1)?.clone());
        if call.int("batch_dims", 0)? != 0 {
            return Err("expected places in the whole value (`batch_dims` = 0)".to_owned());
        }
        if let Value::Rows(rows) = &indices {
            return self.gather_own(&data, rows);
        }
        let Value::Integers(array) = &indices else {
            return Err(CHOOSES.to_owned());
        };
        let shape = data.shape();
        let count = array.shape.last().copied().unwrap_or(0);
        let sizes = shape
            .dims()
            .get(..count)
            .map(|dims| fixed(&dims.iter().copied().collect()));
        let Some(Some(sizes)) = sizes.filter(|_| count > 0) else {
            return Err(format!(
                "it chooses from {shape} by {:?} places",
                array.shape
            ));
        };
        let places = self.places(&indices, &sizes)?;
        let inner = shape.dims()[count..].iter().copied();
        let whole: usize = sizes.iter().product();
        let flat: Shape = [Dim::Fixed(whole)]
            .into_iter()
            .chain(inner.clone())
            .collect();
        let outer = array.shape[..array.shape.len() - 1]
            .iter()
            .map(|&size| Dim::Fixed(size));
        let result: Shape = outer.chain(inner).collect();
        let table = self.viewed(&data, &flat)?;
        let chosen = match &table {
            Value::Integers(table) => Value::Integers(table.take(0, &places)?),
            Value::Floats(table) => Value::Floats(table.take(0, &places)?),
            table => {
                let tensor = self.tensor(table)?;
                Value::Tensor(self.chosen(&tensor, 0, places)?)
            }
        };
        self.viewed(&chosen, &result)
    }

    /// The places in a value with `sizes` that tuples of indices name.
    fn places(&mut self, indices: &Value, sizes: &[usize]) -> Outcome<Vec<usize>> {
        let indices = self.known(indices)?;
        let place = |tuple: &[i64]| {
            tuple
                .iter()
                .zip(sizes)
                .try_fold(0, |place, (&index, &size)| {
                    Ok(place * size + axis(index, size)?)
                })
        };
        let places: Outcome<Vec<usize>> = indices.chunks_exact(sizes.len()).map(place).collect();
        places.map_err(|_| format!("expected indices below {sizes:?}"))
    }

    pub(super) fn gather_elements(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let (data, indices) = (call.input(0)?.clone(), call.input(1)?.clone());
        let rank = data.shape().rank();
        let axis = axis(call.int("axis", 0)?, rank)?;
        let Value::Integers(array) = &indices else {
            return Err(CHOOSES.to_owned());
        };
        // The same number everywhere is chosen from anywhere.
        let uniform = match &data {
            Value::Rows(rows) => rows.only(),
            _ => None,
        };
        if let (Some(value), Value::Rows(rows)) = (uniform, &data) {
            let shape = Shape::fixed(&array.shape);
            return match rows.integers {
                true => super::constant::as_integers(&Array::filled(array.shape.clone(), value)?)
                    .map(Value::Integers),
                false => self.viewed(
                    &Value::Floats(Array::filled(array.shape.clone(), value)?),
                    &shape,
                ),
            };
        }
        let places = self.known(&indices)?;
        let sizes = fixed(&data.shape()).ok_or(CHOOSES)?;
        if array.shape.len() != rank || rank == 0 {
            return Err(format!(
                "expected indices of {rank} axes, got {:?}",
                array.shape
            ));
        }
        elements(&array.shape)?;
        let mut chosen = Vec::with_capacity(places.len());
        for (number, &index) in places.iter().enumerate() {
            let mut rest = number;
            let mut at = vec![0; rank];
            for (place, &size) in array.shape.iter().enumerate().rev() {
                at[place] = rest % size;
                rest /= size;
            }
            at[axis] = super::call::axis(index, sizes[axis])?;
            if at.iter().zip(&sizes).any(|(at, size)| at >= size) {
                return Err(format!("expected indices inside {sizes:?}"));
            }
            chosen.push(
                at.iter()
                    .zip(&sizes)
                    .fold(0, |place, (at, size)| place * size + at),
            );
        }
        let flat = self.viewed(&data, &Shape::fixed(&[sizes.iter().product()]))?;
        let chosen = match &flat {
            Value::Integers(flat) => Value::Integers(flat.take(0, &chosen)?),
            Value::Floats(flat) => Value::Floats(flat.take(0, &chosen)?),
            _ => return Err(CHOOSES.to_owned()),
        };
        self.viewed(&chosen, &Shape::fixed(&array.shape))
    }

    /// Values replaced at known places by known ones.
    pub(super) fn scatter(&mut self, call: &Call<'_>) -> Outcome<Value> {
        if call.text("reduction", "none")? != "none" {
            return Err(CHOOSES.to_owned());
        }
        let (data, indices, updates) = (call.input(0)?, call.input(1)?, call.input(2)?);
        let (data, indices, updates) = (data.clone(), indices.clone(), updates.clone());
        let Value::Integers(list) = &indices else {
            return Err(CHOOSES.to_owned());
        };
        let count = list.shape.last().copied().unwrap_or(0);
        let whole = fixed(&data.shape()).ok_or(CHOOSES)?;
        let known = matches!(data, Value::Integers(_) | Value::Floats(_));
        let mut values = match known {
            true => self.floats(&data)?,
            false => Array::filled(whole, 0.0)?,
        };
        let updates = self.floats(&updates)?;
        let sizes = values.shape.get(..count).ok_or(CHOOSES)?.to_vec();
        if count == 0 {
            return Err(CHOOSES.to_owned());
        }
        let inner: usize = values.shape[count..].iter().product();
        let places = self.places(&indices, &sizes)?;
        if updates.values.len() != places.len() * inner {
            return Err(format!(
                "expected {} new values, got {}",
                places.len() * inner,
                updates.values.len()
            ));
        }
        let mut replaced = Array::filled(values.shape.clone(), 0.0)?;
        for place in &places {
            replaced.values[place * inner..(place + 1) * inner].fill(1.0);
        }
        for (place, new) in places.iter().zip(updates.values.chunks_exact(inner.max(1))) {
            values.values[place * inner..(place + 1) * inner].copy_from_slice(new);
        }
        match data {
            Value::Integers(_) => super::constant::as_integers(&values).map(Value::Integers),
            Value::Floats(_) => Ok(Value::Floats(values)),
            // A weight of which a part is given.
            computed => {
                let replaced = self.tensor(&Value::Floats(replaced))?;
                let values = self.tensor(&Value::Floats(values))?;
                let computed = self.tensor(&computed)?;
                self.emit(Op::Where, &[&replaced, &values, &computed])
                    .map(Value::Tensor)
            }
        }
    }
}
