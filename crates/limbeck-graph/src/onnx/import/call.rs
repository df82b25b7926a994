//! A node with the values it is given.

use super::array::Array;
use super::lowering::Lowering;
use super::value::{Tensor, Value};
use crate::onnx::Outcome;
use crate::onnx::node::{Attribute, Node};

/// A node of the model with the values it is given.
pub(super) struct Call<'n> {
    pub(super) node: &'n Node,
    pub(super) inputs: Vec<Option<Value>>,
}

impl Call<'_> {
    pub(super) fn input(&self, position: usize) -> Outcome<&Value> {
        self.optional(position).ok_or_else(|| {
            format!(
                "expected {} or more inputs, got {}",
                position + 1,
                self.inputs.iter().flatten().count()
            )
        })
    }

    pub(super) fn optional(&self, position: usize) -> Option<&Value> {
        self.inputs.get(position)?.as_ref()
    }

    /// Whether the model names the output at `position`.
    pub(super) fn wants(&self, position: usize) -> bool {
        let output = self.node.outputs.get(position);
        output.is_some_and(|output| !output.is_empty())
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.node.attributes.get(name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Outcome<i64> {
        match self.attribute(name) {
            Some(Attribute::Int(value)) => Ok(*value),
            Some(_) => Err(format!("expected attribute `{name}` to be an integer")),
            None => Ok(default),
        }
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> Outcome<bool> {
        Ok(self.int(name, i64::from(default))? != 0)
    }

    pub(super) fn ints(&self, name: &str) -> Outcome<Option<Vec<i64>>> {
        match self.attribute(name) {
            Some(Attribute::Ints(values)) => Ok(Some(values.clone())),
            Some(Attribute::Int(value)) => Ok(Some(vec![*value])),
            Some(_) => Err(format!("expected attribute `{name}` to be integers")),
            None => Ok(None),
        }
    }

    pub(super) fn float(&self, name: &str, default: f64) -> Outcome<f64> {
        match self.attribute(name) {
            Some(Attribute::Float(value)) => Ok(f64::from(*value)),
            Some(_) => Err(format!("expected attribute `{name}` to be a number")),
            None => Ok(default),
        }
    }

    pub(super) fn text<'s>(&'s self, name: &str, default: &'s str) -> Outcome<&'s str> {
        match self.attribute(name) {
            Some(Attribute::Text(text)) => Ok(text),
            Some(_) => Err(format!("expected attribute `{name}` to be a text")),
            None => Ok(default),
        }
    }
}

impl Lowering<'_> {
    /// The whole numbers of a list that is known.
    pub(super) fn known(&mut self, value: &Value) -> Outcome<Vec<i64>> {
        let array = match value {
            Value::Integers(array) => array,
            other => return Err(format!("expected known integers, got {}", other.words())),
        };
        let number = |size: &super::size::Size| {
            size.known().ok_or_else(|| {
                format!("expected integers that do not depend on the batch, got {size}")
            })
        };
        array.values.iter().map(number).collect()
    }

    /// Whole numbers that an attribute holds in older operator sets and an input in newer ones.
    pub(super) fn ints_of(
        &mut self,
        call: &Call<'_>,
        attribute: &str,
        position: usize,
    ) -> Outcome<Option<Vec<i64>>> {
        match (call.optional(position), call.ints(attribute)?) {
            (Some(value), _) => self.known(&value.clone()).map(Some),
            (None, values) => Ok(values),
        }
    }

    /// Real numbers that are known: constants, initialisers, integers.
    pub(super) fn floats(&mut self, value: &Value) -> Outcome<Array<f64>> {
        match value {
            Value::Floats(array) => Ok(array.clone()),
            Value::Integers(array) => super::constant::as_floats(array),
            Value::Weight(weight) => {
                let tensor = &self.model.graph().initialisers[&weight.initialiser];
                super::array::elements(&tensor.shape)?;
                self.charge(tensor.len())?;
                let host = tensor.floats().map_err(|error| error.to_string())?;
                let values = host.values.into_iter().map(f64::from).collect();
                Array::new(host.shape, values).transpose(&weight.axes)
            }
            other => Err(format!("expected known numbers, got {}", other.words())),
        }
    }

    /// The number of a value that holds only one.
    pub(super) fn number(&mut self, value: &Value) -> Outcome<f64> {
        let array = self.floats(value)?;
        array
            .only()
            .copied()
            .ok_or_else(|| format!("expected one number, got {:?} of them", array.shape))
    }

    /// The first input as a value that the graph computes.
    pub(super) fn first(&mut self, call: &Call<'_>) -> Outcome<Tensor> {
        let value = call.input(0)?.clone();
        self.tensor(&value)
    }

    pub(super) fn tensor_at(&mut self, call: &Call<'_>, position: usize) -> Outcome<Tensor> {
        let value = call.input(position)?.clone();
        self.tensor(&value)
    }
}

/// An axis counted from the end where negative.
pub(super) fn axis(axis: i64, rank: usize) -> Outcome<usize> {
    let wrong = || format!("expected an axis from -{rank} to {rank} (not included), got {axis}");
    let shifted = match axis < 0 {
        true => axis.checked_add(i64::try_from(rank).map_err(|_| wrong())?),
        false => Some(axis),
    };
    shifted
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|axis| *axis < rank)
        .ok_or_else(wrong)
}

/// Different axes in ascending order.
pub(super) fn axes(given: &[i64], rank: usize) -> Outcome<Vec<usize>> {
    let mut axes = given
        .iter()
        .map(|&given| axis(given, rank))
        .collect::<Outcome<Vec<_>>>()?;
    axes.sort_unstable();
    match axes.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(format!("expected different axes, got {given:?}")),
        false => Ok(axes),
    }
}

/// A whole number as a size.
pub(super) fn size(value: i64) -> Outcome<usize> {
    usize::try_from(value).map_err(|_| format!("expected a size, got {value}"))
}
