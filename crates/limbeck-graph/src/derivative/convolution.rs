//! Gradients of convolutions with respect to their input.
//!
//! A convolution's gradient is the transposed convolution with the same weight. Here that is computed without padding, so that its size is
//! `(n - 1) * stride + dilation * (kernel - 1) + 1` for any padding, and then cut to the image. What
//! lies behind the last window, which the stride skipped, is zero.

use burn::tensor::ops::{ConvOptions, ConvTransposeOptions, PadMode};
use burn::tensor::{Tensor, module};

use crate::ir::{Conv1d, Conv2d, ConvTranspose2d};

/// The gradient `[batch, in_channels, length]` of a sequence of `length` places.
pub(super) fn sequence(
    gradient: Tensor<3>,
    weight: Tensor<3>,
    conv: &Conv1d,
    length: usize,
) -> Tensor<3> {
    let [batch, outputs, places] = gradient.dims();
    let [_, inputs, kernel] = weight.dims();
    let spread = spread(
        gradient.reshape([batch, outputs, 1, places]),
        weight.reshape([outputs, inputs, 1, kernel]),
        [1, conv.stride],
        [1, conv.dilation],
        conv.groups,
    );
    cut(spread, [0, conv.padding[0]], [1, length]).reshape([batch, conv.in_channels, length])
}

/// The gradient `[batch, in_channels, height, width]` of an image of `size` `[height, width]`.
pub(super) fn image(
    gradient: Tensor<4>,
    weight: Tensor<4>,
    conv: &Conv2d,
    size: [usize; 2],
) -> Tensor<4> {
    let spread = spread(gradient, weight, conv.stride, conv.dilation, conv.groups);
    cut(spread, conv.padding.map(|[before, _]| before), size)
}

/// The gradient of the input of a transposed convolution: the convolution with the same weight.
pub(super) fn transposed(
    gradient: Tensor<4>,
    weight: Tensor<4>,
    conv: &ConvTranspose2d,
    [height, width]: [usize; 2],
) -> Tensor<4> {
    let options = ConvOptions::new(conv.stride, conv.padding, conv.dilation, conv.groups);
    // Output padding of a stride or more, which a dilation allows, makes windows that belong to no input.
    module::conv2d(gradient, weight, None, options)
        .narrow(2, 0, height)
        .narrow(3, 0, width)
}

/// The transposed convolution without padding.
pub(super) fn spread(
    gradient: Tensor<4>,
    weight: Tensor<4>,
    stride: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
) -> Tensor<4> {
    let options = ConvTransposeOptions::new(stride, [0; 2], [0; 2], dilation, groups);
    module::conv_transpose2d(gradient, weight, None, options)
}

/// The image of `size` that begins `before` places into a padded one, which may end early.
pub(super) fn cut(padded: Tensor<4>, before: [usize; 2], size: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = padded.dims();
    let missing = |axis: usize, length: usize| (before[axis] + size[axis]).saturating_sub(length);
    let (below, right) = (missing(0, height), missing(1, width));
    let padded = match below + right {
        0 => padded,
        _ => padded.pad(
            [(0, 0), (0, 0), (0, below), (0, right)].as_slice(),
            PadMode::Constant(0.0),
        ),
    };
    padded
        .narrow(2, before[0], size[0])
        .narrow(3, before[1], size[1])
}
