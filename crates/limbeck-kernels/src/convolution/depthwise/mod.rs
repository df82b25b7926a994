//! Depthwise convolutions of `[batch, height, width, channels]` images: every channel has a kernel
//! of its own.
//!
//! Vectors run over the channels, so there is nothing to pack but the weight, whose channels are
//! brought side by side. The forward pass and the gradient of the input are the same gathering of
//! weighted pixels (`gather.rs`).

mod gather;
mod pairs;
mod plan;
mod weight;

use crate::activation::Activation;
use crate::processor::Processor;
use gather::gather;
use plan::Plan;

/// The sizes of a depthwise convolution; pairs are height, then width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Depthwise {
    /// Images.
    pub batch: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of input and output.
    pub channels: usize,
    /// Taps.
    pub kernel: [usize; 2],
    /// From a window to the next.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: [usize; 2],
    /// From a tap to the next.
    pub dilation: [usize; 2],
}

impl Depthwise {
    /// Rows of the output: `(height + 2 padding - dilation (kernel - 1) - 1) / stride + 1`, rounded
    /// down.
    ///
    /// # Panics
    ///
    /// If the kernel does not fit into the padded input or a size is zero.
    #[must_use]
    pub fn output_height(&self) -> usize {
        self.output_size(self.height, 0)
    }

    /// Columns of the output, by the same formula.
    ///
    /// # Panics
    ///
    /// As [`output_height`](Self::output_height).
    #[must_use]
    pub fn output_width(&self) -> usize {
        self.output_size(self.width, 1)
    }

    fn output_size(&self, size: usize, axis: usize) -> usize {
        assert!(self.kernel[axis] > 0, "a kernel has taps");
        assert!(
            self.stride[axis] > 0 && self.dilation[axis] > 0,
            "strides are positive"
        );
        let padded = size + 2 * self.padding[axis];
        let extent = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
        assert!(
            extent <= padded,
            "the kernel is larger than the padded input"
        );
        (padded - extent) / self.stride[axis] + 1
    }

    /// Elements of the input.
    #[must_use]
    pub fn input_length(&self) -> usize {
        self.batch * self.height * self.width * self.channels
    }

    /// Elements of the output.
    ///
    /// # Panics
    ///
    /// As [`output_height`](Self::output_height).
    #[must_use]
    pub fn output_length(&self) -> usize {
        self.batch * self.output_height() * self.output_width() * self.channels
    }

    /// Elements of the weight, `[channels, 1, kernel, kernel]`.
    #[must_use]
    pub fn weight_length(&self) -> usize {
        self.channels * self.kernel[0] * self.kernel[1]
    }

    fn check(&self, input: usize, weight: usize, output: usize) {
        assert!(self.input_length() > 0, "the input is not empty");
        assert_eq!(input, self.input_length(), "the input has another length");
        assert_eq!(
            weight,
            self.weight_length(),
            "the weight has another length"
        );
        assert_eq!(
            output,
            self.output_length(),
            "the output has another length"
        );
    }
}

/// `output = act(convolution(input, weight) + bias)`: `input` and `output` are
/// `[batch, height, width, channels]`, `weight` `[channels, 1, kernel, kernel]`, `bias`
/// `[channels]`.
///
/// # Panics
///
/// If the sizes do not fit together or the lengths disagree with them.
pub fn forward(
    sizes: Depthwise,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    output: &mut [f32],
) {
    forward_on(
        Processor::best(),
        sizes,
        input,
        weight,
        bias,
        activation,
        output,
    );
}

/// [`forward`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`forward`], and if this machine lacks the instructions.
pub fn forward_on(
    processor: Processor,
    sizes: Depthwise,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    output: &mut [f32],
) {
    sizes.check(input.len(), weight.len(), output.len());
    assert!(
        bias.is_none_or(|bias| bias.len() == sizes.channels),
        "one bias per channel"
    );
    gather(
        processor,
        &Plan::forward(sizes),
        input,
        weight,
        bias,
        activation,
        output,
    );
}

/// The gradient of the input: `grad_output` is shaped as the output of [`forward`], `grad_input` as
/// its input.
///
/// # Panics
///
/// If the sizes do not fit together or the lengths disagree with them.
pub fn backward_input(
    sizes: Depthwise,
    grad_output: &[f32],
    weight: &[f32],
    grad_input: &mut [f32],
) {
    backward_input_on(Processor::best(), sizes, grad_output, weight, grad_input);
}

/// [`backward_input`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`backward_input`], and if this machine lacks the instructions.
pub fn backward_input_on(
    processor: Processor,
    sizes: Depthwise,
    grad_output: &[f32],
    weight: &[f32],
    grad_input: &mut [f32],
) {
    sizes.check(grad_input.len(), weight.len(), grad_output.len());
    let plan = Plan::backward_input(sizes);
    gather(
        processor,
        &plan,
        grad_output,
        weight,
        None,
        Activation::None,
        grad_input,
    );
}

/// The gradient of the weight, `[channels, 1, kernel, kernel]`.
///
/// # Panics
///
/// If the sizes do not fit together or the lengths disagree with them.
pub fn backward_weight(
    sizes: Depthwise,
    input: &[f32],
    grad_output: &[f32],
    grad_weight: &mut [f32],
) {
    backward_weight_on(Processor::best(), sizes, input, grad_output, grad_weight);
}

/// [`backward_weight`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`backward_weight`], and if this machine lacks the instructions.
pub fn backward_weight_on(
    processor: Processor,
    sizes: Depthwise,
    input: &[f32],
    grad_output: &[f32],
    grad_weight: &mut [f32],
) {
    sizes.check(input.len(), grad_weight.len(), grad_output.len());
    weight::gradient(processor, sizes, input, grad_output, grad_weight);
}
