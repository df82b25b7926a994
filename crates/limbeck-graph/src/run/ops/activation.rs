//! Elementwise functions of one value.

use burn::tensor::activation::{
    gelu, gelu_approximate, hard_swish, leaky_relu, relu, relu6, sigmoid, silu, softplus, tanh,
};
use burn::tensor::{Distribution, Tensor};

use crate::ir::Activation;

pub(in crate::run) fn apply<const D: usize>(activation: Activation, x: Tensor<D>) -> Tensor<D> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => relu(x),
        Activation::Relu6 => relu6(x),
        Activation::LeakyRelu { slope } => leaky_relu(x, slope),
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => gelu_approximate(x),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => tanh(x),
        Activation::Silu => silu(x),
        Activation::HardSigmoid => relu6(x.add_scalar(3.0)).div_scalar(6.0),
        Activation::HardSwish => hard_swish(x),
        Activation::Softplus => softplus(x, 1.0),
        Activation::Elu { alpha } => elu(x, alpha),
        Activation::Clip { least, most } => clip(x, least, most),
        Activation::Power { exponent } => x.powf_scalar(exponent),
        Activation::SquareRoot => x.sqrt(),
        Activation::Reciprocal => x.recip(),
        Activation::Exponential => x.exp(),
        Activation::Logarithm => x.log(),
        Activation::Absolute => x.abs(),
        Activation::Erf => x.erf(),
        Activation::Sine => x.sin(),
        Activation::Cosine => x.cos(),
    }
}

/// An infinite bound is none.
fn clip<const D: usize>(x: Tensor<D>, least: f64, most: f64) -> Tensor<D> {
    let x = match least.is_finite() {
        true => x.clamp_min(least),
        false => x,
    };
    match most.is_finite() {
        true => x.clamp_max(most),
        false => x,
    }
}

/// Burn's own `elu` computes `exp(x)` for positive `x` too, which overflows above 88 and turns the
/// gradient into NaN.
fn elu<const D: usize>(x: Tensor<D>, alpha: f64) -> Tensor<D> {
    let below = x
        .clone()
        .clamp_max(0.0)
        .exp()
        .sub_scalar(1.0)
        .mul_scalar(alpha);
    let positive = x.clone().greater_elem(0.0);
    below.mask_where(positive, x)
}

/// A mask of zeros and `1 / (1 - rate)`, drawn in the order of `[batch, channels, ...]`.
pub(in crate::run) fn dropout_mask<const D: usize>(like: &Tensor<D>, rate: f64) -> Tensor<D> {
    let keep = 1.0 - rate;
    like.random_like(Distribution::Bernoulli(keep))
        .div_scalar(keep)
}
