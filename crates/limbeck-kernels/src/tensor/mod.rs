//! The kernels as operations on Burn tensors of the CPU device, with gradients.
//!
//! Images are `[batch, height, width, channels]`. Every function here is for tensors that [`supports`] says yes to;
//! what it computes can also be had, more slowly, from Burn's own operations, and is tested against them.

mod backend;
mod values;

mod arithmetic;
mod channels;
mod convolution;
mod elementwise;
mod frozen;
mod layer_norm;
mod linear;
mod loss;
mod norm;
mod permute;
mod pool;
mod product;
mod shortcut;
mod softmax;
mod update;

use burn::tensor::{DType, Device, Tensor};

pub use arithmetic::{add, multiply, multiply_add, subtract};
pub use channels::{concatenate, split};
pub use convolution::{Convolution, convolution};
pub use elementwise::{apply, channel_shuffle, to_channels_first, to_channels_last};
pub use frozen::{EvaluatedNorm, FrozenConvolution};
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use loss::{cross_entropy, soft_targets};
pub use norm::{Affine, BatchNorm, Before, Normalized, batch_norm, scale_and_shift};
pub use permute::permute;
pub use pool::{Reduction, Window, global_average_pool, global_max_pool, pool};
pub use product::mat_mul;
pub use shortcut::{Shortcut, Shortcuts};
pub use softmax::{log_softmax, softmax};
pub use update::{Moments, adam, sgd, sum_of_squares};

use crate::processor;

/// Whether tensors on `device` can be given to the kernels: Burn's `flex` device, unless the environment variable
/// `LIMBECK_KERNELS` is `off`.
#[must_use]
pub fn supports(device: &Device) -> bool {
    !processor::switched_off() && device.clone().inner() == Device::flex()
}

/// Whether `tensor` can be given to the kernels: 32-bit floats on a device that [`supports`] says yes to.
#[must_use]
pub fn accepts<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && supports(&tensor.device())
}
