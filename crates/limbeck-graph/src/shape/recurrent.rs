//! Shapes of recurrent layers.

use crate::ir::{Dim, Recurrent, Shape};

pub(super) fn outputs(layer: &Recurrent, inputs: &[&Shape]) -> Result<Vec<Shape>, String> {
    super::positive("inputs", layer.inputs)?;
    super::positive("hidden", layer.hidden)?;
    let sequence = inputs[0];
    let [Dim::Fixed(length), rows, Dim::Fixed(size)] = *sequence.dims() else {
        return Err(format!(
            "expected a sequence [length, batch, {}], got {sequence}",
            layer.inputs
        ));
    };
    if size != layer.inputs || rows.batches().is_none() {
        return Err(format!(
            "expected a sequence [length, batch, {}], got {sequence}",
            layer.inputs
        ));
    }
    let directions = Dim::Fixed(layer.direction.count());
    let hidden = Dim::Fixed(layer.hidden);
    let state = Shape(vec![directions, rows, hidden]);
    for given in &inputs[1..] {
        let fits = given.rank() == 3
            && given.0[0] == directions
            && (given.0[1] == rows || given.0[1] == Dim::Fixed(1))
            && given.0[2] == hidden;
        if !fits {
            return Err(format!("expected a first state {state}, got {given}"));
        }
    }
    let mut outputs = vec![Shape(vec![Dim::Fixed(length), directions, rows, hidden])];
    outputs.resize(layer.cell.outputs(), state);
    Ok(outputs)
}
