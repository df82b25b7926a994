//! Elementwise functions.

use serde::{Deserialize, Serialize};

/// An elementwise function of one value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "function", deny_unknown_fields)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)` (Howard et al. 2017).
    Relu6,
    /// `x` where positive, else `slope * x` (Maas et al. 2013).
    LeakyRelu {
        /// The slope below zero, usually 0.01.
        slope: f64,
    },
    /// `x * Phi(x)` with the exact normal distribution function (Hendrycks and Gimpel 2016).
    Gelu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`.
    GeluTanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `tanh(x)`.
    Tanh,
    /// `x * sigmoid(x)`, also called swish (Ramachandran et al. 2017).
    Silu,
    /// `min(max(x + 3, 0), 6) / 6` (Howard et al. 2019).
    HardSigmoid,
    /// `x * min(max(x + 3, 0), 6) / 6` (Howard et al. 2019).
    HardSwish,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// `x` where positive, else `alpha * (exp(x) - 1)` (Clevert et al. 2015).
    Elu {
        /// The limit below zero, usually 1.
        alpha: f64,
    },
    /// `min(max(x, least), most)`; either may be infinite.
    Clip {
        /// The lower bound.
        #[serde(with = "super::number")]
        least: f64,
        /// The upper bound.
        #[serde(with = "super::number")]
        most: f64,
    },
    /// `x^exponent`.
    Power {
        /// The exponent.
        exponent: f64,
    },
    /// The square root of `x`.
    SquareRoot,
    /// `1 / x`.
    Reciprocal,
    /// `exp(x)`.
    Exponential,
    /// The natural logarithm of `x`.
    Logarithm,
    /// `|x|`.
    Absolute,
    /// The error function `2 / sqrt(pi) * integral of exp(-t^2) from 0 to x`.
    Erf,
    /// `sin(x)`.
    Sine,
    /// `cos(x)`.
    Cosine,
}

impl Activation {
    /// The function's name as it is written in a graph file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Silu => "silu",
            Self::HardSigmoid => "hard_sigmoid",
            Self::HardSwish => "hard_swish",
            Self::Softplus => "softplus",
            Self::Elu { .. } => "elu",
            Self::Clip { .. } => "clip",
            Self::Power { .. } => "power",
            Self::SquareRoot => "square_root",
            Self::Reciprocal => "reciprocal",
            Self::Exponential => "exponential",
            Self::Logarithm => "logarithm",
            Self::Absolute => "absolute",
            Self::Erf => "erf",
            Self::Sine => "sine",
            Self::Cosine => "cosine",
        }
    }
}
