//! Operators that move values. Sizes that follow from the batch are written as 0 (as it was) or -1 (what is left).

use super::messages::AttributeProto;
use super::writer::{Size, Step};
use crate::ir::{ChannelShuffle, Concatenate, Dim, Fill, Pad, Reshape, Slice, Split, Take, View};

pub(super) fn concatenate(step: &mut Step<'_, '_>, concatenate: &Concatenate) {
    step.plain(
        "Concat",
        vec![AttributeProto::int("axis", concatenate.axis)],
    );
}

pub(super) fn split(step: &mut Step<'_, '_>, split: &Split) {
    let sizes = step.integers("sizes", integers(&split.sizes));
    let x = step.input(0);
    step.finish(
        "Split",
        &[x, &sizes],
        vec![AttributeProto::int("axis", split.axis)],
    );
}

pub(super) fn reshape(step: &mut Step<'_, '_>, reshape: &Reshape) {
    let sizes = step.integers("sizes", kept_rows(&reshape.sizes));
    let x = step.input(0);
    step.finish("Reshape", &[x, &sizes], vec![]);
}

pub(super) fn view(step: &mut Step<'_, '_>, view: &View) {
    let input = step.input_shape(0);
    let mut left = false;
    let size = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Fixed(size) => Size::Known(*size as i64),
        dim if input.dims().get(axis) == Some(dim) => Size::Known(0),
        _ if !std::mem::replace(&mut left, true) => Size::Known(-1),
        Dim::Batch => Size::Rows(1),
        Dim::Batches(count) => Size::Rows(*count),
    };
    let sizes: Vec<Size> = view.shape.dims().iter().enumerate().map(size).collect();
    let sizes = step.sizes("sizes", &sizes);
    let x = step.input(0);
    step.finish("Reshape", &[x, &sizes], vec![]);
}

pub(super) fn expand(step: &mut Step<'_, '_>) {
    let (input, output) = (step.input_shape(0), step.output_shape());
    let missing = output.rank() - input.rank();
    let size = |(axis, dim): (usize, &Dim)| {
        let was = axis.checked_sub(missing).map(|axis| input.dims()[axis]);
        match dim {
            // A size of 1 keeps what is there.
            dim if was == Some(*dim) => Size::Known(1),
            Dim::Fixed(size) => Size::Known(*size as i64),
            Dim::Batch => Size::Rows(1),
            Dim::Batches(count) => Size::Rows(*count),
        }
    };
    let sizes: Vec<Size> = output.dims().iter().enumerate().map(size).collect();
    let sizes = step.sizes("sizes", &sizes);
    let x = step.input(0);
    step.finish("Expand", &[x, &sizes], vec![]);
}

pub(super) fn slice(step: &mut Step<'_, '_>, slice: &Slice) {
    let end = slice.start + (slice.count - 1) * slice.step + 1;
    let starts = step.integers("starts", integers(&[slice.start]));
    let ends = step.integers("ends", integers(&[end]));
    let axes = step.integers("axes", integers(&[slice.axis]));
    let steps = step.integers("steps", integers(&[slice.step]));
    let x = step.input(0);
    step.finish("Slice", &[x, &starts, &ends, &axes, &steps], vec![]);
}

pub(super) fn take(step: &mut Step<'_, '_>, take: &Take) {
    let indices = step.integers("indices", integers(&take.indices));
    let x = step.input(0);
    step.finish(
        "Gather",
        &[x, &indices],
        vec![AttributeProto::int("axis", take.axis)],
    );
}

pub(super) fn pad(step: &mut Step<'_, '_>, pad: &Pad) {
    let before = pad.sides.iter().map(|sides| sides[0]);
    let after = pad.sides.iter().map(|sides| sides[1]);
    let sides = step.integers("sides", integers(&before.chain(after).collect::<Vec<_>>()));
    let x = step.input(0);
    let (mode, value) = match pad.fill {
        Fill::Constant { value } => ("constant", Some(step.float("value", value))),
        Fill::Reflect => ("reflect", None),
        Fill::Edge => ("edge", None),
    };
    let mut inputs = vec![x, &sides];
    inputs.extend(value.as_deref());
    step.finish("Pad", &inputs, vec![AttributeProto::text("mode", mode)]);
}

pub(super) fn transpose(step: &mut Step<'_, '_>, axes: &[usize]) {
    step.plain("Transpose", vec![AttributeProto::ints("perm", axes)]);
}

/// The channels as groups and their members, these two exchanged, and one axis again.
pub(super) fn channel_shuffle(step: &mut Step<'_, '_>, shuffle: &ChannelShuffle) {
    let sizes: Vec<usize> = step.input_shape(0).dims()[1..]
        .iter()
        .map(|dim| dim.size(1))
        .collect();
    let (channels, places) = (sizes[0], &sizes[1..]);
    let mut grouped = vec![shuffle.groups, channels / shuffle.groups];
    grouped.extend(places);
    let grouped = step.integers("grouped_sizes", kept_rows(&grouped));
    let grouped = step.inner("grouped", "Reshape", &[step.input(0), &grouped], vec![]);
    let axes: Vec<usize> = [0, 2, 1]
        .into_iter()
        .chain((0..places.len()).map(|axis| axis + 3))
        .collect();
    let dealt = step.inner(
        "dealt",
        "Transpose",
        &[&grouped],
        vec![AttributeProto::ints("perm", &axes)],
    );
    let sizes = step.integers("sizes", kept_rows(&sizes));
    step.finish("Reshape", &[&dealt, &sizes], vec![]);
}

pub(super) fn flatten(step: &mut Step<'_, '_>) {
    step.plain("Flatten", vec![AttributeProto::int("axis", 1)]);
}

/// The first axis as it was, then `sizes`.
fn kept_rows(sizes: &[usize]) -> Vec<i64> {
    let mut all = vec![0];
    all.extend(integers(sizes));
    all
}

fn integers(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&value| value as i64).collect()
}
