//! Recurrent layers.

use std::collections::BTreeMap;

use super::call::{Call, size};
use super::lowering::{Lowering, transpose};
use super::rows::Rows;
use super::value::{Tensor, Value};
use crate::initialise::Initialiser;
use crate::ir::{Cell, Dim, Direction, Op, Recurrent, Shape};
use crate::onnx::{Attribute, Outcome};

impl Lowering<'_> {
    pub(super) fn recurrent(&mut self, call: &Call<'_>) -> Outcome<Vec<Value>> {
        let batch_first = call.flag("layout", false)?;
        let mut x = self.first(call)?;
        if batch_first && x.shape.rank() == 3 {
            x = self.emit(transpose(&[1, 0, 2]), &[&x])?;
        }
        let layer = self.layer_of(call, &x)?;
        let states = self.states(call, &x, &layer, batch_first)?;
        let op = Op::Recurrent(layer);
        let mut weights = BTreeMap::new();
        for needed in op.weights() {
            let position = match needed.role {
                "weight_input" => 1,
                "weight_hidden" => 2,
                _ => 3,
            };
            let value = call.input(position)?.clone();
            let initialiser = Initialiser::default_of(&op, needed.kind);
            let name = self.bind(&value, &needed.shape, needed.kind, initialiser)?;
            weights.insert(needed.role.to_owned(), name);
        }
        let inputs: Vec<&Tensor> = std::iter::once(&x).chain(&states).collect();
        let outputs = self.emit_all(op, &inputs, weights)?;
        let arrange = |(position, output): (usize, Tensor)| {
            let arranged = match (batch_first, position) {
                (false, _) => output,
                (true, 0) => self.emit(transpose(&[2, 0, 1, 3]), &[&output])?,
                (true, _) => self.emit(transpose(&[1, 0, 2]), &[&output])?,
            };
            Ok(Value::Tensor(arranged))
        };
        outputs.into_iter().enumerate().map(arrange).collect()
    }

    fn layer_of(&mut self, call: &Call<'_>, x: &Tensor) -> Outcome<Recurrent> {
        let direction = match call.text("direction", "forward")? {
            "forward" => Direction::Forward,
            "reverse" => Direction::Reverse,
            "bidirectional" => Direction::Both,
            other => return Err(format!("the direction `{other}` is not known")),
        };
        let (cell, functions): (Cell, &[&str]) = match call.node.op_type.as_str() {
            "LSTM" => (Cell::Lstm, &["Sigmoid", "Tanh", "Tanh"]),
            "GRU" => {
                let reset_after = call.flag("linear_before_reset", false)?;
                (Cell::Gru { reset_after }, &["Sigmoid", "Tanh"])
            }
            _ => match call.attribute("activations") {
                Some(Attribute::Texts(names)) if names.iter().all(|name| name == "Relu") => {
                    (Cell::Relu, &["Relu"])
                }
                _ => (Cell::Tanh, &["Tanh"]),
            },
        };
        if let Some(Attribute::Texts(names)) = call.attribute("activations") {
            let expected = functions.iter().cycle();
            if names
                .iter()
                .zip(expected)
                .any(|(name, expected)| name != expected)
            {
                return Err(format!(
                    "its functions are {names:?}, trained are {functions:?}"
                ));
            }
        }
        for (attribute, why) in [
            ("clip", "clips its gates"),
            ("input_forget", "joins its gates"),
        ] {
            match call.attribute(attribute) {
                None | Some(Attribute::Int(0)) => {}
                Some(_) => return Err(format!("it {why}, which is not known to training")),
            }
        }
        if call.optional(7).is_some() {
            return Err("it has peepholes, which are not known to training".to_owned());
        }
        if let Some(lengths) = call.optional(4) {
            let length = x.shape.size(0).unwrap_or(0);
            let full = match lengths {
                Value::Integers(array) => array
                    .values
                    .iter()
                    .all(|value| value.known() == i64::try_from(length).ok()),
                _ => false,
            };
            if !full {
                return Err("its sequences have lengths of their own; pad them".to_owned());
            }
        }
        let weights = call.input(1)?.shape();
        let inputs = weights.size(2).ok_or_else(|| {
            format!("expected weights [directions, gates, inputs], got {weights}")
        })?;
        Ok(Recurrent {
            cell,
            direction,
            inputs,
            hidden: size(call.int("hidden_size", 0)?)?,
            bias: call.optional(3).is_some(),
        })
    }

    /// The first states, none where they are zero.
    fn states(
        &mut self,
        call: &Call<'_>,
        x: &Tensor,
        layer: &Recurrent,
        batch_first: bool,
    ) -> Outcome<Vec<Tensor>> {
        let count = layer.cell.outputs() - 1;
        let given: Vec<Option<Value>> = (0..count)
            .map(|state| call.optional(5 + state).cloned())
            .collect();
        if given.iter().all(|state| state.as_ref().is_none_or(is_zero)) {
            return Ok(Vec::new());
        }
        let shape = Shape(vec![
            Dim::Fixed(layer.direction.count()),
            x.shape.0[1],
            Dim::Fixed(layer.hidden),
        ]);
        let zero = Value::Rows(Rows::filled(0.0, shape, false)?);
        let state = |state: Option<Value>| {
            let tensor = match state {
                Some(value) => {
                    let tensor = self.tensor(&value)?;
                    match batch_first && tensor.shape.rank() == 3 {
                        true => self.emit(transpose(&[1, 0, 2]), &[&tensor])?,
                        false => tensor,
                    }
                }
                None => self.tensor(&zero)?,
            };
            Ok(tensor)
        };
        given.into_iter().map(state).collect()
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Rows(rows) => rows.only() == Some(0.0),
        Value::Floats(array) => array.values.iter().all(|value| *value == 0.0),
        _ => false,
    }
}
