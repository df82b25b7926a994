//! The kernels as operations on Burn tensors of the CPU device, with gradients.
//!
//! Images are `[batch, height, width, channels]`. Every function here is for tensors that [`supports`] says yes to;
//! what it computes can also be had, more slowly, from Burn's own operations, and is tested against them.

mod backend;
mod values;

mod channels;
mod convolution;
mod elementwise;
mod layer_norm;
mod linear;
mod norm;
mod pool;

use burn::tensor::Device;

pub use channels::{concatenate, split};
pub use convolution::{Convolution, convolution};
pub use elementwise::{add, apply, channel_shuffle, to_channels_first, to_channels_last};
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use norm::{Affine, BatchNorm, Before, Normalized, batch_norm, scale_and_shift};
pub use pool::{Reduction, Window, global_average_pool, global_max_pool, pool};

use crate::processor;

/// Whether tensors on `device` can be given to the kernels: Burn's `flex` device, unless the environment variable
/// `LIMBECK_KERNELS` is `off`.
#[must_use]
pub fn supports(device: &Device) -> bool {
    !processor::switched_off() && device.clone().inner() == Device::flex()
}
