//! The operators.

use serde::{Deserialize, Serialize};

use super::{
    Activation, ChannelShuffle, Compare, Concatenate, Conv1d, Conv2d, ConvTranspose2d, Expand, Pad,
    Pool1d, Pool2d, Recurrent, Reduce, Reshape, Slice, Split, Take, Transpose, View, WeightKind,
};

/// What a node computes. Axes count from 0, and axis 0 is mostly the batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Op {
    /// A convolution over a sequence.
    Conv1d(Conv1d),
    /// A convolution over an image.
    Conv2d(Conv2d),
    /// A transposed convolution over an image.
    ConvTranspose2d(ConvTranspose2d),
    /// `x * weight^T + bias` over the last axis.
    Linear(Linear),
    /// Normalisation of each channel (axis 1) over the batch.
    BatchNorm(BatchNorm),
    /// Normalisation of each row over its last axis.
    LayerNorm(LayerNorm),
    /// Random zeros while training.
    Dropout(Dropout),
    /// An elementwise function.
    Activation(Activation),
    /// The largest value in each window of a sequence.
    MaxPool1d(Pool1d),
    /// The largest value in each window of an image.
    MaxPool2d(Pool2d),
    /// The mean of each window of a sequence.
    AvgPool1d(Pool1d),
    /// The mean of each window of an image.
    AvgPool2d(Pool2d),
    /// The mean over all axes after the channels, which stay with size 1.
    GlobalAvgPool,
    /// The maximum over all axes after the channels, which stay with size 1.
    GlobalMaxPool,
    /// The sum of two or more values; axes of size 1 are repeated.
    Add,
    /// The difference of two values; axes of size 1 are repeated.
    Subtract,
    /// The product of two or more values; axes of size 1 are repeated.
    Multiply,
    /// The quotient of two values; axes of size 1 are repeated.
    Divide,
    /// The larger of two values; axes of size 1 are repeated.
    Maximum,
    /// The smaller of two values; axes of size 1 are repeated.
    Minimum,
    /// 1 where two values are in a relation, else 0; axes of size 1 are repeated. No gradient passes.
    Compare(Compare),
    /// The second value where the first, the condition, is not 0, else the third; axes of size 1 are repeated. No
    /// gradient reaches the condition.
    Where,
    /// A sum, mean or another summary of axes.
    Reduce(Reduce),
    /// `x * scale + shift` with two constants.
    ScaleShift(ScaleShift),
    /// Values side by side along an axis.
    Concatenate(Concatenate),
    /// A value cut along an axis.
    Split(Split),
    /// The same numbers with other axes after the batch.
    Reshape(Reshape),
    /// The same numbers with other axes, wherever the batch is.
    View(View),
    /// Axes of size 1 repeated.
    Expand(Expand),
    /// Places of an axis at equal distances.
    Slice(Slice),
    /// Listed places of an axis.
    Take(Take),
    /// More places at the ends of axes.
    Pad(Pad),
    /// The axes in another order.
    Transpose(Transpose),
    /// The channels (axis 1) of `groups` groups dealt out in turn (Zhang et al. 2018).
    ChannelShuffle(ChannelShuffle),
    /// All axes after the batch made one.
    Flatten,
    /// The matrix product over the last two axes.
    MatMul,
    /// `exp(x) / sum(exp(x))` over an axis.
    Softmax(Softmax),
    /// The logarithm of the softmax over an axis.
    LogSoftmax(Softmax),
    /// The row of a table for each token id.
    Embedding(Embedding),
    /// The token ids as real numbers.
    TokensAsFloats,
    /// A parameter as a value, the same for every row of the batch.
    Parameter(Parameter),
    /// A constant as a value, the same for every row of the batch.
    Constant(Constant),
    /// A recurrent layer over sequences `[length, batch, size]`.
    Recurrent(Recurrent),
}

/// `x * weight^T + bias` over the last axis; the weight is `[outputs, inputs]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// The size of the last axis of the input.
    pub inputs: usize,
    /// The size of the last axis of the output.
    pub outputs: usize,
    /// Whether a bias `[outputs]` is added.
    pub bias: bool,
}

impl Linear {
    /// With bias.
    pub const fn new(inputs: usize, outputs: usize) -> Self {
        Self {
            inputs,
            outputs,
            bias: true,
        }
    }

    /// Sets whether there is a bias.
    #[must_use]
    pub const fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }
}

/// Batch normalisation (Ioffe and Szegedy 2015) over `[batch, channels, ...]`.
///
/// `y = (x - mean) / sqrt(variance + epsilon) * weight + bias`, with the batch's mean and biased variance while
/// training, the running ones otherwise. After a training step the running value becomes
/// `(1 - momentum) * running + momentum * batch`, where the batch's variance is the unbiased one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// The number of channels.
    pub channels: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// The share of the new batch in the running statistics.
    pub momentum: f64,
    /// Whether there are a weight and a bias `[channels]`.
    pub affine: bool,
}

impl BatchNorm {
    /// Epsilon 1e-5, momentum 0.1, affine.
    pub const fn new(channels: usize) -> Self {
        Self {
            channels,
            epsilon: 1e-5,
            momentum: 0.1,
            affine: true,
        }
    }

    /// Sets epsilon.
    #[must_use]
    pub const fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets the momentum.
    #[must_use]
    pub const fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Sets whether there are a weight and a bias.
    #[must_use]
    pub const fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }
}

/// Layer normalisation (Ba et al. 2016) over the last axis.
///
/// `y = (x - mean) / sqrt(variance + epsilon) * weight + bias` with the row's mean and biased variance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// The size of the last axis.
    pub size: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether there are a weight and a bias `[size]`.
    pub affine: bool,
}

impl LayerNorm {
    /// Epsilon 1e-5, affine.
    pub const fn new(size: usize) -> Self {
        Self {
            size,
            epsilon: 1e-5,
            affine: true,
        }
    }

    /// Sets epsilon.
    #[must_use]
    pub const fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets whether there are a weight and a bias.
    #[must_use]
    pub const fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }
}

/// Dropout (Srivastava et al. 2014): while training, a value is zero with probability `rate`, else
/// divided by `1 - rate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// The probability of a zero, from 0 up to but not including 1.
    pub rate: f64,
}

/// `x * scale + shift`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleShift {
    /// The factor.
    pub scale: f64,
    /// The summand.
    pub shift: f64,
}

/// The axis of a softmax.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softmax {
    /// The axis whose values sum to 1.
    pub axis: usize,
}

/// A table with one row per token; the weight is `[tokens, size]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// The number of tokens; ids run from 0 to one less.
    pub tokens: usize,
    /// The size of a row.
    pub size: usize,
}

/// A parameter as a value, such as a position embedding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its sizes.
    pub shape: Vec<usize>,
}

/// A constant as a value, such as an attention mask; nothing trains it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// Its sizes.
    pub shape: Vec<usize>,
}

/// A weight that an operator needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpWeight {
    /// The operator's word for it; the last part of its usual name.
    pub role: &'static str,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its purpose.
    pub kind: WeightKind,
}

impl OpWeight {
    pub(super) fn new(role: &'static str, shape: Vec<usize>, kind: WeightKind) -> Self {
        Self { role, shape, kind }
    }
}

impl Op {
    /// The operator's name as it is written in a graph file.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conv1d(_) => "conv1d",
            Self::Conv2d(_) => "conv2d",
            Self::ConvTranspose2d(_) => "conv_transpose2d",
            Self::Linear(_) => "linear",
            Self::BatchNorm(_) => "batch_norm",
            Self::LayerNorm(_) => "layer_norm",
            Self::Dropout(_) => "dropout",
            Self::Activation(activation) => activation.name(),
            Self::MaxPool1d(_) => "max_pool1d",
            Self::MaxPool2d(_) => "max_pool2d",
            Self::AvgPool1d(_) => "avg_pool1d",
            Self::AvgPool2d(_) => "avg_pool2d",
            Self::GlobalAvgPool => "global_avg_pool",
            Self::GlobalMaxPool => "global_max_pool",
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
            Self::Maximum => "maximum",
            Self::Minimum => "minimum",
            Self::Compare(_) => "compare",
            Self::Where => "where",
            Self::Reduce(_) => "reduce",
            Self::ScaleShift(_) => "scale_shift",
            Self::Concatenate(_) => "concatenate",
            Self::Split(_) => "split",
            Self::Reshape(_) => "reshape",
            Self::View(_) => "view",
            Self::Expand(_) => "expand",
            Self::Slice(_) => "slice",
            Self::Take(_) => "take",
            Self::Pad(_) => "pad",
            Self::Transpose(_) => "transpose",
            Self::ChannelShuffle(_) => "channel_shuffle",
            Self::Flatten => "flatten",
            Self::MatMul => "mat_mul",
            Self::Softmax(_) => "softmax",
            Self::LogSoftmax(_) => "log_softmax",
            Self::Embedding(_) => "embedding",
            Self::TokensAsFloats => "tokens_as_floats",
            Self::Parameter(_) => "parameter",
            Self::Constant(_) => "constant",
            Self::Recurrent(recurrent) => recurrent.cell.name(),
        }
    }

    /// The weights it needs, in the order PyTorch lists them.
    pub fn weights(&self) -> Vec<OpWeight> {
        use WeightKind::{Bias, NormScale, NormShift, RunningMean, RunningVariance, Weight};
        let with_bias = |shape: Vec<usize>, bias: bool, outputs: usize| {
            let mut weights = vec![OpWeight::new("weight", shape, Weight)];
            if bias {
                weights.push(OpWeight::new("bias", vec![outputs], Bias));
            }
            weights
        };
        let affine = |affine: bool, size: usize| {
            if affine {
                vec![
                    OpWeight::new("weight", vec![size], NormScale),
                    OpWeight::new("bias", vec![size], NormShift),
                ]
            } else {
                Vec::new()
            }
        };
        match self {
            Self::Conv1d(conv) => with_bias(
                vec![
                    conv.out_channels,
                    conv.in_channels / conv.groups.max(1),
                    conv.kernel,
                ],
                conv.bias,
                conv.out_channels,
            ),
            Self::Conv2d(conv) => {
                let [height, width] = conv.kernel;
                let shape = vec![
                    conv.out_channels,
                    conv.in_channels / conv.groups.max(1),
                    height,
                    width,
                ];
                with_bias(shape, conv.bias, conv.out_channels)
            }
            Self::ConvTranspose2d(conv) => {
                let [height, width] = conv.kernel;
                let shape = vec![
                    conv.in_channels,
                    conv.out_channels / conv.groups.max(1),
                    height,
                    width,
                ];
                with_bias(shape, conv.bias, conv.out_channels)
            }
            Self::Linear(linear) => with_bias(
                vec![linear.outputs, linear.inputs],
                linear.bias,
                linear.outputs,
            ),
            Self::BatchNorm(norm) => {
                let mut weights = affine(norm.affine, norm.channels);
                weights.push(OpWeight::new(
                    "running_mean",
                    vec![norm.channels],
                    RunningMean,
                ));
                weights.push(OpWeight::new(
                    "running_var",
                    vec![norm.channels],
                    RunningVariance,
                ));
                weights
            }
            Self::LayerNorm(norm) => affine(norm.affine, norm.size),
            Self::Embedding(table) => with_bias(vec![table.tokens, table.size], false, 0),
            Self::Parameter(parameter) => {
                vec![OpWeight::new("value", parameter.shape.clone(), Weight)]
            }
            Self::Constant(constant) => {
                vec![OpWeight::new(
                    "value",
                    constant.shape.clone(),
                    WeightKind::Constant,
                )]
            }
            Self::Recurrent(recurrent) => recurrent.weights(),
            _ => Vec::new(),
        }
    }

    /// The number of inputs it takes: `(fewest, most)`.
    pub const fn arity(&self) -> (usize, usize) {
        match self {
            Self::Parameter(_) | Self::Constant(_) => (0, 0),
            Self::Recurrent(recurrent) => (1, recurrent.cell.most_inputs()),
            Self::Where => (3, 3),
            Self::Add | Self::Multiply => (2, usize::MAX),
            Self::Concatenate(_) => (1, usize::MAX),
            Self::Subtract
            | Self::Divide
            | Self::Maximum
            | Self::Minimum
            | Self::Compare(_)
            | Self::MatMul => (2, 2),
            _ => (1, 1),
        }
    }

    /// The number of outputs of an operator that numbers them; `None` for a single output.
    pub const fn output_count(&self) -> Option<usize> {
        match self {
            Self::Split(split) => Some(split.sizes.len()),
            Self::Recurrent(recurrent) => Some(recurrent.cell.outputs()),
            _ => None,
        }
    }
}
