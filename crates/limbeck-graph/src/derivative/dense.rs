//! Gradients of linear layers, matrix products and the softmax.

use burn::tensor::Tensor;

use super::combine::sum_to;
use crate::run::ops::arrange;
use crate::run::ops::combine::{self, Elementwise, elementwise};
use crate::{Feature, Result, each_rank};

/// `gradient * weight` over the last axis with a weight `[outputs, inputs]`.
pub(super) fn linear<const D: usize>(gradient: Tensor<D>, weight: Tensor<2>) -> Tensor<D> {
    let mut sizes = gradient.dims();
    let [outputs, inputs] = weight.dims();
    let rows: usize = sizes.iter().product::<usize>() / outputs;
    let product: Tensor<2> = gradient.reshape([rows, outputs]).matmul(weight);
    sizes[D - 1] = inputs;
    product.reshape(sizes)
}

/// `gradient * other^T` for the left factor (position 0), `other^T * gradient` for the right one, summed to `shape`.
pub(super) fn mat_mul(
    gradient: Feature,
    other: Feature,
    position: usize,
    shape: &[usize],
) -> Result<Feature> {
    let other = transposed(other)?;
    let product = match position {
        0 => combine::mat_mul(gradient, other)?,
        _ => combine::mat_mul(other, gradient)?,
    };
    sum_to(product, shape)
}

/// The last two axes swapped.
fn transposed(x: Feature) -> Result<Feature> {
    let rank = x.rank();
    let mut axes: Vec<usize> = (0..rank).collect();
    axes.swap(rank - 2, rank - 1);
    arrange::permute(x, &axes)
}

/// `y * (gradient - sum(y * gradient))` with the probabilities `y`.
pub(super) fn softmax(y: Feature, gradient: Feature, axis: usize) -> Result<Feature> {
    let weighed = elementwise(Elementwise::Multiply, y.clone(), gradient.clone())?;
    let sum = each_rank!(weighed, tensor => tensor.sum_dim(axis).into());
    elementwise(
        Elementwise::Multiply,
        y,
        elementwise(Elementwise::Subtract, gradient, sum)?,
    )
}

/// `gradient - exp(y) * sum(gradient)` with the log-probabilities `y`.
pub(super) fn log_softmax(y: Feature, gradient: Feature, axis: usize) -> Result<Feature> {
    let probabilities = each_rank!(y, tensor => tensor.exp().into());
    let sum = each_rank!(gradient.clone(), tensor => tensor.sum_dim(axis).into());
    let spread = elementwise(Elementwise::Multiply, probabilities, sum)?;
    elementwise(Elementwise::Subtract, gradient, spread)
}
