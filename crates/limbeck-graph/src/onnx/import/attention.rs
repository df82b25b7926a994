//! Attention as one operator (operator set 23 and later).

use super::array::Array;
use super::call::{Call, size};
use super::constant::Arithmetic;
use super::lowering::{Lowering, transpose};
use super::value::{Tensor, Value};
use crate::ir::{Activation, Concatenate, Dim, Op, Shape, Softmax};
use crate::onnx::Outcome;

impl Lowering<'_> {
    /// `softmax(query key^T * scale + mask) value` (Vaswani et al. 2017), with heads as an axis or side by side.
    pub(super) fn attention(&mut self, call: &Call<'_>) -> Outcome<Value> {
        if (1..4).any(|output| call.wants(output) && self.is_used(&call.node.outputs[output])) {
            return Err(
                "its keys, values or scores are used, which is not known to training".to_owned(),
            );
        }
        if call.optional(4).is_some() || call.optional(5).is_some() || call.optional(6).is_some() {
            return Err(
                "it has past keys and values or lengths, which are not known to training"
                    .to_owned(),
            );
        }
        let [query, key, value] = [0, 1, 2].map(|position| self.tensor_at(call, position));
        let (query, key, value) = (query?, key?, value?);
        let flat = query.shape.rank() == 3;
        let heads = |name: &str, x: &Tensor| match flat {
            true => size(call.int(name, 0)?),
            false => Ok(x.shape.size(1).unwrap_or(0)),
        };
        let (queries, keys) = (heads("q_num_heads", &query)?, heads("kv_num_heads", &key)?);
        if queries == 0 || keys == 0 || !queries.is_multiple_of(keys) {
            return Err(format!(
                "expected heads of queries that {keys} of keys divide, got {queries}"
            ));
        }
        let query = self.with_heads(&query, queries)?;
        let mut key = self.with_heads(&key, keys)?;
        let mut value = self.with_heads(&value, keys)?;
        if keys != queries {
            key = self.repeated_heads(&key, queries / keys)?;
            value = self.repeated_heads(&value, queries / keys)?;
        }
        let width = query.shape.size(3).unwrap_or(1);
        let scale = call.float("scale", 1.0 / (width as f64).sqrt())?;
        let query = self.line(&query, scale, 0.0)?;
        let key = self.emit(transpose(&[0, 1, 3, 2]), &[&key])?;
        let mut scores = Value::Tensor(self.emit(Op::MatMul, &[&query, &key])?);
        let softcap = call.float("softcap", 0.0)?;
        if softcap != 0.0 {
            let tensor = self.tensor(&scores)?;
            let line = self.line(&tensor, 1.0 / softcap, 0.0)?;
            let bent = self.emit(Op::Activation(Activation::Tanh), &[&line])?;
            scores = Value::Tensor(self.line(&bent, softcap, 0.0)?);
        }
        if let Some(mask) = call.optional(3) {
            scores = self.masked(&scores, &mask.clone())?;
        }
        if call.flag("is_causal", false)? {
            let shape = scores.shape();
            let (rows, columns) = (shape.size(2).unwrap_or(1), shape.size(3).unwrap_or(1));
            let cell = |at: usize| match at % columns > at / columns {
                true => f64::NEG_INFINITY,
                false => 0.0,
            };
            self.charge(rows.saturating_mul(columns))?;
            let values = (0..rows * columns).map(cell).collect();
            let mask = Value::Floats(Array::new(vec![rows, columns], values));
            scores = self.binary(Arithmetic::Add, &scores, &mask)?;
        }
        let scores = self.tensor(&scores)?;
        let shares = self.emit(Op::Softmax(Softmax { axis: 3 }), &[&scores])?;
        let result = self.emit(Op::MatMul, &[&shares, &value])?;
        if !flat {
            return Ok(Value::Tensor(result));
        }
        let result = self.emit(transpose(&[0, 2, 1, 3]), &[&result])?;
        let length = result.shape.size(1).unwrap_or(1);
        let whole = result.shape.len_per_row() / length.max(1);
        let shape = result.shape.with_sizes(&[length, whole]);
        self.view(&result, &shape).map(Value::Tensor)
    }

    /// `[batch, heads, length, width]`.
    fn with_heads(&mut self, x: &Tensor, heads: usize) -> Outcome<Tensor> {
        let &[rows, Dim::Fixed(length), Dim::Fixed(width)] = x.shape.dims() else {
            return match x.shape.rank() {
                4 => Ok(x.clone()),
                _ => Err(format!(
                    "expected [batch, length, heads * width], got {}",
                    x.shape
                )),
            };
        };
        if !width.is_multiple_of(heads) {
            return Err(format!(
                "expected a width that {heads} heads divide, got {width}"
            ));
        }
        let dims = [
            rows,
            Dim::Fixed(length),
            Dim::Fixed(heads),
            Dim::Fixed(width / heads),
        ];
        let apart = self.view(x, &Shape(dims.to_vec()))?;
        self.emit(transpose(&[0, 2, 1, 3]), &[&apart])
    }

    /// Each head of `[batch, heads, length, width]` so many times in a row.
    fn repeated_heads(&mut self, x: &Tensor, times: usize) -> Outcome<Tensor> {
        let &[rows, Dim::Fixed(heads), length, width] = x.shape.dims() else {
            return Err(format!(
                "expected [batch, heads, length, width], got {}",
                x.shape
            ));
        };
        let single = Shape(vec![rows, Dim::Fixed(heads), Dim::Fixed(1), length, width]);
        let x = self.view(x, &single)?;
        let copies: Vec<&Tensor> = std::iter::repeat_n(&x, times).collect();
        let many = self.emit(Op::Concatenate(Concatenate { axis: 2 }), &copies)?;
        let joined = Shape(vec![rows, Dim::Fixed(heads * times), length, width]);
        self.view(&many, &joined)
    }

    /// Scores with a mask: added if it holds real numbers, else it says where they count.
    fn masked(&mut self, scores: &Value, mask: &Value) -> Outcome<Value> {
        let truth = match mask {
            Value::Integers(_) => true,
            Value::Rows(rows) => rows.integers,
            Value::Tensor(tensor) => self.truths.contains(&tensor.name),
            _ => false,
        };
        if !truth {
            return self.binary(Arithmetic::Add, scores, mask);
        }
        let (condition, scores) = (self.tensor(mask)?, self.tensor(scores)?);
        let never = self.tensor(&Value::Floats(Array::scalar(f64::NEG_INFINITY)))?;
        self.emit(Op::Where, &[&condition, &scores, &never])
            .map(Value::Tensor)
    }
}
