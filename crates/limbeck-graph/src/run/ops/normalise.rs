//! Batch normalisation.

use burn::tensor::{Tensor, module};

/// What a batch norm needs besides its input.
pub(crate) struct Affine {
    pub(crate) weight: Tensor<1>,
    pub(crate) bias: Tensor<1>,
    pub(crate) epsilon: f64,
}

/// A normalised batch and its statistics per channel, for the running ones.
pub(in crate::run) struct Normalised<const D: usize> {
    pub(in crate::run) output: Tensor<D>,
    pub(in crate::run) mean: Tensor<1>,
    /// The biased variance.
    pub(in crate::run) variance: Tensor<1>,
}

/// Normalises `[batch, channels, ...]` by its own statistics.
pub(in crate::run) fn by_batch<const D: usize>(x: Tensor<D>, affine: Affine) -> Normalised<D> {
    let result = module::batch_norm_train(x, affine.weight, affine.bias, affine.epsilon);
    Normalised {
        output: result.output,
        mean: result.mean.detach(),
        variance: result.variance.detach(),
    }
}

/// Normalises `[rows, channels]` by its own statistics: the layout of images with channels last. Sums over the
/// first axis need no transposed copy, which Burn's operation makes.
pub(in crate::run) fn by_batch_rows(x: Tensor<2>, affine: Affine) -> Normalised<2> {
    let channels = x.dims()[1];
    let mean = x.clone().mean_dim(0);
    let centred = x - mean.clone();
    let variance = (centred.clone() * centred.clone()).mean_dim(0);
    let scale = affine.weight.unsqueeze::<2>() / variance.clone().add_scalar(affine.epsilon).sqrt();
    Normalised {
        output: centred * scale + affine.bias.unsqueeze::<2>(),
        mean: mean.detach().reshape([channels]),
        variance: variance.detach().reshape([channels]),
    }
}

/// Normalises by given statistics; channels lie along `axis`.
pub(in crate::run) fn by_statistics<const D: usize>(
    x: Tensor<D>,
    axis: usize,
    affine: Affine,
    mean: Tensor<1>,
    variance: Tensor<1>,
) -> Tensor<D> {
    let mut sizes = [1; D];
    sizes[axis] = mean.dims()[0];
    let scale = affine.weight / variance.add_scalar(affine.epsilon).sqrt();
    let shift = affine.bias - mean * scale.clone();
    x * scale.reshape(sizes) + shift.reshape(sizes)
}
