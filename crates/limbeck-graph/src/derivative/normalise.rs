//! Gradients of normalisations.

use burn::tensor::Tensor;

use crate::run::ops::arrange;
use crate::run::ops::normalise::Affine;
use crate::{Feature, Result, each_rank};

/// Of a batch norm by given statistics: a factor per channel.
pub(super) fn by_statistics<const D: usize>(
    gradient: Tensor<D>,
    affine: Affine,
    variance: Tensor<1>,
) -> Tensor<D> {
    let mut sizes = [1; D];
    sizes[1] = variance.dims()[0];
    let scale = affine.weight / variance.add_scalar(affine.epsilon).sqrt();
    gradient * scale.reshape(sizes)
}

/// Of a batch norm by the batch's own statistics, which depend on every row.
pub(super) fn by_batch(x: Feature, gradient: Feature, affine: Affine) -> Result<Feature> {
    let shape = x.shape();
    let channels = shape[1];
    // Channel, batch, places: swapping the first two axes undoes itself.
    let mut swapped: Vec<usize> = (0..shape.len()).collect();
    swapped.swap(0, 1);
    let rows = |value: Feature| -> Result<Tensor<2>> {
        let count = shape.iter().product::<usize>() / channels;
        arrange::reshape(arrange::permute(value, &swapped)?, &[channels, count])?.try_into()
    };
    let weighed = rows(gradient)? * affine.weight.reshape([channels, 1]);
    let result = by_rows(rows(x)?, weighed, affine.epsilon);
    let mut sizes = shape.clone();
    sizes.swap(0, 1);
    arrange::permute(arrange::reshape(result.into(), &sizes)?, &swapped)
}

/// Of a layer norm over the last axis.
pub(super) fn layer(
    x: Feature,
    gradient: Feature,
    weight: Option<Tensor<1>>,
    epsilon: f64,
) -> Result<Feature> {
    let shape = x.shape();
    let size = shape[shape.len() - 1];
    let count = shape.iter().product::<usize>() / size;
    let rows = |value: Feature| -> Tensor<2> {
        each_rank!(value, tensor => tensor.reshape([count, size]))
    };
    let weighed = match weight {
        Some(weight) => rows(gradient) * weight.reshape([1, size]),
        None => rows(gradient),
    };
    arrange::reshape(by_rows(rows(x), weighed, epsilon).into(), &shape)
}

/// Of `n = (x - mean) / sqrt(variance + epsilon)` along each row:
/// `(g - mean(g) - n * mean(g * n)) / sqrt(variance + epsilon)`.
fn by_rows(x: Tensor<2>, gradient: Tensor<2>, epsilon: f64) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let deviation = variance.add_scalar(epsilon).sqrt();
    let normalised = centred / deviation.clone();
    let along = (gradient.clone() * normalised.clone()).mean_dim(1);
    let mean = gradient.clone().mean_dim(1);
    (gradient - mean - normalised * along) / deviation
}
