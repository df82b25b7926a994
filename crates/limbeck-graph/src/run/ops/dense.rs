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

/// [`linear`] of rows, on the CPU kernels where they can.
pub(in crate::run) fn linear_rows(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<2> {
    match limbeck_kernels::tensor::accepts(&x) {
        true => {
            let none = limbeck_kernels::Activation::None;
            limbeck_kernels::tensor::linear(x, weight, bias, none)
        }
        false => linear(x, weight, bias),
    }
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
