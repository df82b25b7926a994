//! Gradients of operators that move values.

use burn::tensor::ops::PadMode;
use burn::tensor::{IndexingUpdateOp, Tensor};

use crate::ir::{Fill, Slice};
use crate::run::ops::arrange::places;

/// Of places at equal distances along an axis that has `size` of them: the others have none.
pub(super) fn slice<const D: usize>(gradient: Tensor<D>, slice: &Slice, size: usize) -> Tensor<D> {
    if slice.step == 1 {
        let mut sides = [(0, 0); D];
        sides[slice.axis] = (slice.start, size - slice.start - slice.count);
        return gradient.pad(sides, PadMode::Constant(0.0));
    }
    let indices: Vec<usize> = (0..slice.count)
        .map(|place| slice.start + place * slice.step)
        .collect();
    taken(gradient, slice.axis, &indices, size)
}

/// Of the places `indices` of an axis that has `size` of them: those that were taken twice have the sum.
pub(super) fn taken<const D: usize>(
    gradient: Tensor<D>,
    axis: usize,
    indices: &[usize],
    size: usize,
) -> Tensor<D> {
    let mut sizes = gradient.dims();
    sizes[axis] = size;
    let device = gradient.device();
    let zeros = Tensor::zeros(sizes, (&device, gradient.dtype()));
    let places = places(indices, &device);
    zeros.select_assign(axis, places, gradient, IndexingUpdateOp::Add)
}

/// Of a value of the sizes `shape` with more places at its ends: what was mirrored or repeated goes to where it came from.
pub(super) fn pad<const D: usize>(
    gradient: Tensor<D>,
    sides: &[[usize; 2]],
    fill: Fill,
    shape: &[usize],
) -> Tensor<D> {
    let axes = sides.iter().zip(shape).enumerate();
    axes.fold(gradient, |gradient, (axis, (&[before, after], &size))| {
        if before == 0 && after == 0 {
            return gradient;
        }
        if let Fill::Constant { .. } = fill {
            return gradient.narrow(axis, before, size);
        }
        let sources: Vec<usize> = (0..before + size + after)
            .map(|place| source(place, before, size, fill))
            .collect();
        taken(gradient, axis, &sources, size)
    })
}

/// Where the value at `place` of a padded axis comes from.
const fn source(place: usize, before: usize, size: usize, fill: Fill) -> usize {
    let last = size - 1;
    match fill {
        Fill::Reflect if place < before => before - place,
        Fill::Reflect if place > before + last => last - (place - before - last),
        _ if place < before => 0,
        _ if place > before + last => last,
        _ => place - before,
    }
}
