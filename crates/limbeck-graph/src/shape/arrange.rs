//! Shapes of operators that move values, and of summaries.

use crate::ir::{Dim, Pad, Shape, Slice, Take};

/// The most axes of a value.
const MAX_RANK: usize = 6;

pub(super) fn view(input: &Shape, shape: &Shape) -> Result<Shape, String> {
    positive(shape)?;
    let (from, to) = (count(input), count(shape));
    if from != to {
        return Err(format!(
            "cannot view {input} as {shape}, which holds another number of values"
        ));
    }
    Ok(shape.clone())
}

pub(super) fn expand(input: &Shape, shape: &Shape) -> Result<Shape, String> {
    positive(shape)?;
    let expanded = super::broadcast(input, shape)?;
    positive(&expanded)?;
    Ok(expanded)
}

pub(super) fn slice(input: &Shape, slice: &Slice) -> Result<Shape, String> {
    let Slice {
        axis,
        start,
        count,
        step,
    } = *slice;
    let whole = fixed_axis(input, axis)?;
    super::positive("count", count)?;
    super::positive("step", step)?;
    let last = (count - 1)
        .checked_mul(step)
        .and_then(|reach| reach.checked_add(start));
    if last.is_none_or(|last| last >= whole) {
        return Err(format!(
            "expected places below {whole} along axis {axis} of {input}, got {count} from {start} on in steps of {step}"
        ));
    }
    Ok(with_size(input, axis, count))
}

pub(super) fn take(input: &Shape, take: &Take) -> Result<Shape, String> {
    let whole = fixed_axis(input, take.axis)?;
    super::positive("number of indices", take.indices.len())?;
    match take.indices.iter().find(|index| **index >= whole) {
        Some(index) => Err(format!(
            "expected indices below {whole} along axis {} of {input}, got {index}",
            take.axis
        )),
        None => Ok(with_size(input, take.axis, take.indices.len())),
    }
}

pub(super) fn pad(input: &Shape, pad: &Pad) -> Result<Shape, String> {
    use crate::ir::Fill;
    if pad.sides.len() != input.rank() {
        return Err(format!(
            "expected two sides for each axis of {input}, got {:?}",
            pad.sides
        ));
    }
    if matches!(pad.fill, Fill::Constant { value } if value.is_nan()) {
        return Err("expected a number to pad with, got NaN".to_owned());
    }
    let padded = |(axis, sides): (usize, &[usize; 2])| {
        let dim = input.0[axis];
        let [before, after] = *sides;
        if before == 0 && after == 0 {
            return Ok(dim);
        }
        let size = fixed_axis(input, axis)?;
        if pad.fill == Fill::Reflect && before.max(after) >= size {
            return Err(format!(
                "expected to mirror fewer than {size} places along axis {axis} of {input}, got {sides:?}"
            ));
        }
        let whole = size
            .checked_add(before)
            .and_then(|size| size.checked_add(after));
        whole
            .map(Dim::Fixed)
            .ok_or_else(|| format!("the padding {sides:?} is too large"))
    };
    pad.sides.iter().enumerate().map(padded).collect()
}

pub(super) fn reduce(input: &Shape, axes: &[usize]) -> Result<Shape, String> {
    if axes.is_empty() || !axes.is_sorted_by(|a, b| a < b) {
        return Err(format!(
            "expected different axes in ascending order, got {axes:?}"
        ));
    }
    let mut shape = input.clone();
    for &axis in axes {
        fixed_axis(input, axis)?;
        shape.0[axis] = Dim::Fixed(1);
    }
    Ok(shape)
}

/// The number of values: a factor, and how many axes hold the batch.
fn count(shape: &Shape) -> (usize, usize) {
    let batches = shape.0.iter().filter(|dim| dim.batches().is_some()).count();
    (shape.len_per_row(), batches)
}

fn positive(shape: &Shape) -> Result<(), String> {
    let empty = shape.0.iter().any(|dim| dim.size(1) == 0);
    if shape.rank() == 0 || shape.rank() > MAX_RANK || empty {
        return Err(format!(
            "expected 1 to {MAX_RANK} positive sizes, got {shape}"
        ));
    }
    Ok(())
}

/// The size of an axis that is not the batch's.
fn fixed_axis(input: &Shape, axis: usize) -> Result<usize, String> {
    input
        .size(axis)
        .ok_or_else(|| format!("expected an axis of {input} of fixed size, got {axis}"))
}

fn with_size(input: &Shape, axis: usize, size: usize) -> Shape {
    let mut shape = input.clone();
    shape.0[axis] = Dim::Fixed(size);
    shape
}
