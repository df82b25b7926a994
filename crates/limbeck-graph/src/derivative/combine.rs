//! Gradients of operators on several values.

use crate::run::ops::arrange;
use crate::{Feature, Result, each_rank};

/// The gradient of a value that was repeated: the sum over the axes that `shape` lacks or has with size 1.
pub(super) fn sum_to(gradient: Feature, shape: &[usize]) -> Result<Feature> {
    let from = gradient.shape();
    if from == shape {
        return Ok(gradient);
    }
    let missing = from.len() - shape.len();
    let repeated = |axis: usize| axis < missing || shape[axis - missing] != from[axis];
    let axes: Vec<usize> = (0..from.len()).filter(|&axis| repeated(axis)).collect();
    let summed = each_rank!(gradient, tensor => {
        axes.iter().fold(tensor, |sum, &axis| sum.sum_dim(axis)).into()
    });
    arrange::reshape(summed, shape)
}

/// The `size` places from `start` along `axis`.
pub(super) fn part(gradient: Feature, axis: usize, start: usize, size: usize) -> Feature {
    each_rank!(gradient, tensor => tensor.narrow(axis, start, size).into())
}
