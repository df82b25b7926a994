//! Recurrent layers.

use super::messages::AttributeProto;
use super::writer::{Size, Step};
use crate::ir::{Cell, Dim, Direction, Recurrent};

pub(super) fn recurrent(step: &mut Step<'_, '_>, layer: &Recurrent) {
    let direction = match layer.direction {
        Direction::Forward => "forward",
        Direction::Reverse => "reverse",
        Direction::Both => "bidirectional",
    };
    let mut attributes = vec![
        AttributeProto::text("direction", direction),
        AttributeProto::int("hidden_size", layer.hidden),
    ];
    let op_type = match layer.cell {
        Cell::Lstm => "LSTM",
        Cell::Gru { reset_after } => {
            attributes.push(AttributeProto::int(
                "linear_before_reset",
                reset_after.into(),
            ));
            "GRU"
        }
        Cell::Tanh | Cell::Relu => {
            let function = match layer.cell {
                Cell::Relu => "Relu",
                _ => "Tanh",
            };
            let functions = vec![function; layer.direction.count()];
            attributes.push(AttributeProto::texts("activations", &functions));
            "RNN"
        }
    };
    let weight = |role: &str| step.weight(role).unwrap_or_default();
    let mut inputs = vec![
        step.input(0).to_owned(),
        weight("weight_input"),
        weight("weight_hidden"),
        weight("bias"),
        // The lengths of the sequences: all have the whole one.
        String::new(),
    ];
    for place in 1..step.node.inputs.len() {
        inputs.push(state(step, place));
    }
    while inputs.last().is_some_and(String::is_empty) {
        inputs.pop();
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    step.finish(op_type, &inputs, attributes);
}

/// A first state with a row for each sequence; ONNX does not repeat one that all share.
fn state(step: &mut Step<'_, '_>, place: usize) -> String {
    let state = step.input(place);
    let shared = step.input_shape(place).dims()[1] == Dim::Fixed(1);
    let rows = match step.input_shape(0).dims()[1] {
        Dim::Fixed(_) => return state.to_owned(),
        Dim::Batch => 1,
        Dim::Batches(count) => count,
    };
    if !shared {
        return state.to_owned();
    }
    let part = format!("state_{place}");
    let sizes = [Size::Known(1), Size::Rows(rows), Size::Known(1)];
    let sizes = step.sizes(&format!("{part}_sizes"), &sizes);
    step.inner(&part, "Expand", &[state, &sizes], vec![])
}
