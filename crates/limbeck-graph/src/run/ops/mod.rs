//! The operators on Burn tensors, in both layouts of images.

pub(super) mod activation;
pub(crate) mod arrange;
pub(crate) mod combine;
pub(super) mod convolution;
pub(super) mod dense;
pub(crate) mod normalise;
pub(super) mod pool;
pub(crate) mod recurrent;
pub(crate) mod reduce;
