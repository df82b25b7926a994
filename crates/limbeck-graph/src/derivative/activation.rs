//! Derivatives of elementwise functions.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, FRAC_2_SQRT_PI, PI};

use burn::tensor::activation::sigmoid;
use burn::tensor::{Bool, Tensor};

use crate::ir::Activation;
use crate::run::ops::combine::{Elementwise, elementwise};
use crate::{Feature, Result, each_rank};

/// `gradient * f'(x)`.
pub(super) fn gradient(function: Activation, x: Feature, gradient: Feature) -> Result<Feature> {
    if function == Activation::Identity {
        return Ok(gradient);
    }
    let derivative = each_rank!(x, tensor => derivative(function, tensor).into());
    elementwise(Elementwise::Multiply, gradient, derivative)
}

/// `f'(x)`; at a kink the one from below, as in PyTorch.
fn derivative<const D: usize>(function: Activation, x: Tensor<D>) -> Tensor<D> {
    match function {
        Activation::Identity => x.ones_like(),
        Activation::Relu => indicator(&x, positive(&x), 1.0, 0.0),
        Activation::Relu6 => indicator(&x, between(&x, 0.0, 6.0), 1.0, 0.0),
        Activation::LeakyRelu { slope } => indicator(&x, positive(&x), 1.0, slope),
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::Sigmoid => sigmoid_derivative(x),
        Activation::Tanh => x.tanh().powi_scalar(2).neg().add_scalar(1.0),
        Activation::Silu => {
            let share = sigmoid(x.clone());
            share + x.clone() * sigmoid_derivative(x)
        }
        Activation::HardSigmoid => indicator(&x, between(&x, -3.0, 3.0), 1.0 / 6.0, 0.0),
        Activation::HardSwish => {
            let middle = x.clone().mul_scalar(1.0 / 3.0).add_scalar(0.5);
            let (below, above) = (x.clone().lower_equal_elem(-3.0), x.greater_elem(3.0));
            middle.mask_fill(below, 0.0).mask_fill(above, 1.0)
        }
        Activation::Softplus => sigmoid(x),
        Activation::Elu { alpha } => {
            // Above zero `exp` would overflow.
            let below = x.clone().clamp_max(0.0).exp().mul_scalar(alpha);
            below.mask_fill(positive(&x), 1.0)
        }
        Activation::Clip { least, most } => {
            let inside = x
                .clone()
                .greater_equal_elem(least)
                .bool_and(x.clone().lower_equal_elem(most));
            indicator(&x, inside, 1.0, 0.0)
        }
        Activation::Power { exponent } => x.powf_scalar(exponent - 1.0).mul_scalar(exponent),
        Activation::SquareRoot => x.sqrt().recip().mul_scalar(0.5),
        Activation::Reciprocal => x.powi_scalar(2).recip().neg(),
        Activation::Exponential => x.exp(),
        Activation::Logarithm => x.recip(),
        Activation::Absolute => x.sign(),
        Activation::Erf => x.powi_scalar(2).neg().exp().mul_scalar(FRAC_2_SQRT_PI),
        Activation::Sine => x.cos(),
        Activation::Cosine => x.sin().neg(),
    }
}

fn positive<const D: usize>(x: &Tensor<D>) -> Tensor<D, Bool> {
    x.clone().greater_elem(0.0)
}

fn between<const D: usize>(x: &Tensor<D>, low: f64, high: f64) -> Tensor<D, Bool> {
    x.clone()
        .greater_elem(low)
        .bool_and(x.clone().lower_elem(high))
}

/// A constant: `inside` where `mask` holds, else `outside`.
fn indicator<const D: usize>(
    x: &Tensor<D>,
    mask: Tensor<D, Bool>,
    inside: f64,
    outside: f64,
) -> Tensor<D> {
    x.zeros_like().add_scalar(outside).mask_fill(mask, inside)
}

fn sigmoid_derivative<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    // The product of both tails keeps its digits where one of them is nearly 1.
    sigmoid(x.clone()) * sigmoid(x.neg())
}

/// `Phi(x) + x * phi(x)`.
fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let distribution = x
        .clone()
        .mul_scalar(FRAC_1_SQRT_2)
        .erf()
        .add_scalar(1.0)
        .mul_scalar(0.5);
    let density = (x.clone() * x.clone())
        .mul_scalar(-0.5)
        .exp()
        .mul_scalar(1.0 / (2.0 * PI).sqrt());
    distribution + x * density
}

/// `(1 + t) / 2 + x / 2 * (1 - t^2) * u'` with `t = tanh(u)`.
fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    const CUBIC: f64 = 0.044_715;
    let scale = FRAC_2_PI.sqrt();
    let square = x.clone() * x.clone();
    let t = (x.clone() * square.clone().mul_scalar(CUBIC).add_scalar(1.0))
        .mul_scalar(scale)
        .tanh();
    let slope = square
        .mul_scalar(3.0 * CUBIC)
        .add_scalar(1.0)
        .mul_scalar(scale);
    let bend = (t.clone() * t.clone()).neg().add_scalar(1.0);
    (t.add_scalar(1.0) + x * bend * slope).mul_scalar(0.5)
}
