//! What a model takes.

use super::lowering::{Lowering, legal};
use super::value::{Tensor, Tokens, Value};
use crate::ir::{Dim, GraphInput, Kind, Shape, ValueType};
use crate::onnx::Outcome;
use crate::onnx::element::ElementType;
use crate::onnx::value::{Dimension, ValueInfo, ValueKind};

/// Puts the model's inputs among the values.
pub(super) fn inputs(
    lowering: &mut Lowering<'_>,
    sizes: Option<&[usize]>,
) -> Outcome<Vec<GraphInput>> {
    let mut inputs = Vec::new();
    for (position, info) in lowering.model.graph().inputs.iter().enumerate() {
        let sizes = sizes.filter(|_| position == 0);
        let value = input_type(info, sizes)?;
        let name = legal(&info.name);
        let known = match value.kind {
            Kind::Float => Value::Tensor(Tensor {
                name: name.clone(),
                shape: value.shape.clone(),
            }),
            Kind::Tokens => Value::Tokens(Tokens {
                name: name.clone(),
                length: value.shape.size(1).unwrap_or(0),
                swapped: false,
            }),
        };
        lowering.types.insert(name.clone(), value.clone());
        lowering.values.insert(info.name.clone(), known);
        inputs.push(GraphInput { name, value });
    }
    Ok(inputs)
}

fn input_type(info: &ValueInfo, sizes: Option<&[usize]>) -> Outcome<ValueType> {
    let wrong = |problem: String| format!("input `{}` {problem}", info.name);
    let ValueKind::Tensor { element, shape } = &info.kind else {
        return Err(wrong("is no tensor".to_owned()));
    };
    let kind = match element {
        ElementType::I64 | ElementType::I32 => Kind::Tokens,
        element if element.is_float() => Kind::Float,
        other => {
            return Err(wrong(format!(
                "holds {other}; known are real numbers and token ids (int64, int32)"
            )));
        }
    };
    let shape = shape
        .as_ref()
        .ok_or_else(|| wrong("has no shape; export the model with one".to_owned()))?;
    let mut dims = vec![Dim::Batch];
    for (axis, dimension) in shape.iter().enumerate().skip(1) {
        let given = sizes.and_then(|sizes| sizes.get(axis - 1)).copied();
        let size = match (dimension, given) {
            (Dimension::Known(size), _) => *size,
            (_, Some(size)) => size,
            (Dimension::Symbol(symbol), None) => {
                return Err(wrong(format!(
                    "leaves the size `{symbol}` of axis {axis} open; give the size of the input, or export the model with \
                     only the batch open"
                )));
            }
            (Dimension::Unknown, None) => {
                return Err(wrong(format!(
                    "leaves the size of axis {axis} open; give the size of the input, or export the model with only the \
                     batch open"
                )));
            }
        };
        dims.push(Dim::Fixed(size));
    }
    let fits = match kind {
        Kind::Float => (2..=6).contains(&shape.len()),
        Kind::Tokens => shape.len() == 2,
    };
    if !fits || dims.contains(&Dim::Fixed(0)) {
        let expected = match kind {
            Kind::Float => "[batch, sizes...] with 2 to 6 axes",
            Kind::Tokens => "token ids [batch, length]",
        };
        return Err(wrong(format!(
            "has shape {}, expected {expected}",
            Shape(dims)
        )));
    }
    Ok(ValueType {
        kind,
        shape: Shape(dims),
    })
}
