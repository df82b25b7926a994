//! The operators on Burn tensors, in both layouts of images.

pub(super) mod activation;
pub(super) mod arrange;
pub(super) mod combine;
pub(super) mod convolution;
pub(super) mod dense;
pub(super) mod normalise;
pub(super) mod pool;
