//! The kernels as operations on Burn tensors of the CPU device, with gradients.
//!
//! Images are `[batch, height, width, channels]`. Every function here is for tensors that [`supports`] says yes to;
//! what it computes can also be had, more slowly, from Burn's own operations, and is tested against them.

mod backend;
mod values;

mod convolution;
mod linear;
mod norm;

use burn::tensor::Device;

pub use convolution::{Convolution, convolution};
pub use linear::linear;
pub use norm::{Affine, BatchNorm, Normalized, batch_norm};

use crate::processor;

/// Whether tensors on `device` can be given to the kernels: Burn's `flex` device, unless the environment variable
/// `LIMBECK_KERNELS` is `off`.
#[must_use]
pub fn supports(device: &Device) -> bool {
    !processor::switched_off() && device.clone().inner() == Device::flex()
}
