//! One method per operator.

use super::{Builder, Value};
use crate::ir::{
    Activation, BatchNorm, ChannelShuffle, Concatenate, Conv1d, Conv2d, ConvTranspose2d, Dropout,
    Embedding, LayerNorm, Linear, Op, Parameter, Pool1d, Pool2d, Reshape, ScaleShift, Softmax,
    Split, Transpose,
};

impl Builder {
    /// A convolution over a sequence `[batch, channels, length]`.
    pub fn conv1d(&mut self, name: &str, x: Value, conv: Conv1d) -> Value {
        self.node(name, Op::Conv1d(conv), &[x])
    }

    /// A convolution over images `[batch, channels, height, width]`.
    pub fn conv2d(&mut self, name: &str, x: Value, conv: Conv2d) -> Value {
        self.node(name, Op::Conv2d(conv), &[x])
    }

    /// A transposed convolution over images.
    pub fn conv_transpose2d(&mut self, name: &str, x: Value, conv: ConvTranspose2d) -> Value {
        self.node(name, Op::ConvTranspose2d(conv), &[x])
    }

    /// A linear layer over the last axis.
    pub fn linear(&mut self, name: &str, x: Value, linear: Linear) -> Value {
        self.node(name, Op::Linear(linear), &[x])
    }

    /// Batch norm with PyTorch's settings over as many channels as `x` has.
    pub fn batch_norm(&mut self, name: &str, x: Value) -> Value {
        let norm = BatchNorm::new(self.channels(x));
        self.batch_norm_with(name, x, norm)
    }

    /// Batch norm.
    pub fn batch_norm_with(&mut self, name: &str, x: Value, norm: BatchNorm) -> Value {
        self.node(name, Op::BatchNorm(norm), &[x])
    }

    /// Layer norm with PyTorch's settings over the last axis.
    pub fn layer_norm(&mut self, name: &str, x: Value) -> Value {
        let norm = LayerNorm::new(self.last_size(x));
        self.layer_norm_with(name, x, norm)
    }

    /// Layer norm.
    pub fn layer_norm_with(&mut self, name: &str, x: Value, norm: LayerNorm) -> Value {
        self.node(name, Op::LayerNorm(norm), &[x])
    }

    /// Dropout with probability `rate` of a zero.
    pub fn dropout(&mut self, name: &str, x: Value, rate: f64) -> Value {
        self.node(name, Op::Dropout(Dropout { rate }), &[x])
    }

    /// An elementwise function.
    pub fn activation(&mut self, name: &str, x: Value, activation: Activation) -> Value {
        self.node(name, Op::Activation(activation), &[x])
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, name: &str, x: Value) -> Value {
        self.activation(name, x, Activation::Relu)
    }

    /// `min(max(x, 0), 6)`.
    pub fn relu6(&mut self, name: &str, x: Value) -> Value {
        self.activation(name, x, Activation::Relu6)
    }

    /// Max pooling over a sequence.
    pub fn max_pool1d(&mut self, name: &str, x: Value, pool: Pool1d) -> Value {
        self.node(name, Op::MaxPool1d(pool), &[x])
    }

    /// Max pooling over images.
    pub fn max_pool2d(&mut self, name: &str, x: Value, pool: Pool2d) -> Value {
        self.node(name, Op::MaxPool2d(pool), &[x])
    }

    /// Average pooling over a sequence.
    pub fn avg_pool1d(&mut self, name: &str, x: Value, pool: Pool1d) -> Value {
        self.node(name, Op::AvgPool1d(pool), &[x])
    }

    /// Average pooling over images.
    pub fn avg_pool2d(&mut self, name: &str, x: Value, pool: Pool2d) -> Value {
        self.node(name, Op::AvgPool2d(pool), &[x])
    }

    /// The mean of each channel; `[batch, channels, height, width]` becomes `[batch, channels, 1, 1]`.
    pub fn global_avg_pool(&mut self, name: &str, x: Value) -> Value {
        self.node(name, Op::GlobalAvgPool, &[x])
    }

    /// The maximum of each channel; `[batch, channels, height, width]` becomes `[batch, channels, 1, 1]`.
    pub fn global_max_pool(&mut self, name: &str, x: Value) -> Value {
        self.node(name, Op::GlobalMaxPool, &[x])
    }

    /// `a + b`; axes of size 1 are repeated.
    pub fn add(&mut self, name: &str, a: Value, b: Value) -> Value {
        self.node(name, Op::Add, &[a, b])
    }

    /// `a - b`; axes of size 1 are repeated.
    pub fn subtract(&mut self, name: &str, a: Value, b: Value) -> Value {
        self.node(name, Op::Subtract, &[a, b])
    }

    /// `a * b`, element by element; axes of size 1 are repeated.
    pub fn multiply(&mut self, name: &str, a: Value, b: Value) -> Value {
        self.node(name, Op::Multiply, &[a, b])
    }

    /// `x * scale + shift` with two constants.
    pub fn scale_shift(&mut self, name: &str, x: Value, scale: f64, shift: f64) -> Value {
        self.node(name, Op::ScaleShift(ScaleShift { scale, shift }), &[x])
    }

    /// Values side by side along `axis` (1 = channels).
    pub fn concatenate(&mut self, name: &str, parts: &[Value], axis: usize) -> Value {
        self.node(name, Op::Concatenate(Concatenate { axis }), parts)
    }

    /// A value cut along `axis` (1 = channels) into parts of `sizes`.
    pub fn split<const N: usize>(
        &mut self,
        name: &str,
        x: Value,
        axis: usize,
        sizes: [usize; N],
    ) -> [Value; N] {
        let op = Op::Split(Split {
            axis,
            sizes: sizes.to_vec(),
        });
        let parts = self.nodes_values(name, op, &[x]);
        std::array::from_fn(|index| parts[index])
    }

    /// The same numbers with the axes `sizes` after the batch.
    pub fn reshape(&mut self, name: &str, x: Value, sizes: &[usize]) -> Value {
        self.node(
            name,
            Op::Reshape(Reshape {
                sizes: sizes.to_vec(),
            }),
            &[x],
        )
    }

    /// The axes in another order, the batch first, such as `[0, 2, 1]`.
    pub fn transpose(&mut self, name: &str, x: Value, axes: &[usize]) -> Value {
        self.node(
            name,
            Op::Transpose(Transpose {
                axes: axes.to_vec(),
            }),
            &[x],
        )
    }

    /// The channels of `groups` groups dealt out in turn.
    pub fn channel_shuffle(&mut self, name: &str, x: Value, groups: usize) -> Value {
        self.node(name, Op::ChannelShuffle(ChannelShuffle { groups }), &[x])
    }

    /// All axes after the batch made one.
    pub fn flatten(&mut self, name: &str, x: Value) -> Value {
        self.node(name, Op::Flatten, &[x])
    }

    /// The matrix product over the last two axes.
    pub fn mat_mul(&mut self, name: &str, a: Value, b: Value) -> Value {
        self.node(name, Op::MatMul, &[a, b])
    }

    /// Softmax over `axis`.
    pub fn softmax(&mut self, name: &str, x: Value, axis: usize) -> Value {
        self.node(name, Op::Softmax(Softmax { axis }), &[x])
    }

    /// The logarithm of the softmax over `axis`.
    pub fn log_softmax(&mut self, name: &str, x: Value, axis: usize) -> Value {
        self.node(name, Op::LogSoftmax(Softmax { axis }), &[x])
    }

    /// A row of `size` numbers for each token id.
    pub fn embedding(&mut self, name: &str, tokens: Value, table: Embedding) -> Value {
        self.node(name, Op::Embedding(table), &[tokens])
    }

    /// A parameter as a value, the same for every row of the batch.
    pub fn parameter(&mut self, name: &str, shape: &[usize]) -> Value {
        self.node(
            name,
            Op::Parameter(Parameter {
                shape: shape.to_vec(),
            }),
            &[],
        )
    }
}
