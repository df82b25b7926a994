//! Where the channels of an image lie in memory.

use std::fmt;

use burn::tensor::{Device, Tensor};

/// The order of an image feature's axes between layers.
///
/// Only the executor sees it: inputs, taps and outputs are always channels first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageLayout {
    /// `[batch, channels, height, width]`.
    ChannelsFirst,
    /// `[batch, height, width, channels]`.
    ChannelsLast,
}

impl ImageLayout {
    /// The faster layout on `device`: channels last on the CPU, where the channels of a pixel fill a vector
    /// register, channels first elsewhere, where Burn's own kernels choose.
    pub fn preferred(device: &Device) -> Self {
        if device.clone().inner() == Device::flex() {
            Self::ChannelsLast
        } else {
            Self::ChannelsFirst
        }
    }
}

impl fmt::Display for ImageLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChannelsFirst => "channels first",
            Self::ChannelsLast => "channels last",
        })
    }
}

/// The same values, each row after the other in memory.
///
/// On the CPU an operation on two tensors of which one is a permuted view is about nine times slower. Burn has no
/// operation that only copies; a reshape to one axis does, here and for the gradient.
pub(super) fn dense<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let dims = tensor.dims();
    let flat: Tensor<1> = tensor.reshape([dims.iter().product::<usize>()]);
    flat.reshape(dims)
}

/// `[batch, channels, height, width]` to `[batch, height, width, channels]`.
pub(super) fn to_channels_last(image: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = image.dims();
    if height * width == 1 || channels == 1 {
        return image.reshape([batch, height, width, channels]);
    }
    if limbeck_kernels::tensor::supports(&image.device()) {
        return limbeck_kernels::tensor::to_channels_last(image);
    }
    dense(dense(image).permute([0, 2, 3, 1]))
}

/// `[batch, height, width, channels]` to `[batch, channels, height, width]`.
pub(super) fn to_channels_first(image: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = image.dims();
    if height * width == 1 || channels == 1 {
        return image.reshape([batch, channels, height, width]);
    }
    if limbeck_kernels::tensor::supports(&image.device()) {
        return limbeck_kernels::tensor::to_channels_first(image);
    }
    dense(dense(image).permute([0, 3, 1, 2]))
}
