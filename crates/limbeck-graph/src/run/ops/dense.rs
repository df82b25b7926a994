//! Linear layers, embeddings, softmax.

use burn::tensor::{Int, Tensor, module};

/// `x * weight^T + bias` over the last axis with a weight `[outputs, inputs]`.
pub(in crate::run) fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    module::linear(x, weight.transpose(), bias)
}

/// The rows of `table` for `tokens` `[batch, length]`.
pub(in crate::run) fn embedding(tokens: Tensor<2, Int>, table: Tensor<2>) -> Tensor<3> {
    module::embedding(table, tokens)
}

/// A layer norm over the last axis.
pub(in crate::run) fn layer_norm<const D: usize>(
    x: Tensor<D>,
    affine: Option<(Tensor<1>, Tensor<1>)>,
    epsilon: f64,
) -> Tensor<D> {
    let (weight, bias) = match affine {
        Some((weight, bias)) => (weight, Some(bias)),
        None => (Tensor::ones([x.dims()[D - 1]], &x.device()), None),
    };
    module::layer_norm(x, weight, bias, epsilon)
}
