//! Batch norm over `[rows, channels]` (rows = batch * height * width) and layer norm over the last
//! axis.
//!
//! In training, batch norm is [`statistics`] (or sums that a convolution took in its epilogue, by
//! way of [`ChannelStatistics::from_sums`]), then one [`normalize`] with the scale and offset of
//! [`scale_and_offset`], which also adds a residual and applies the activation. [`backward`] takes
//! the gradient through all of that.

mod backward;
mod layer;
mod normalize;
mod statistics;

pub use backward::{BatchNormGradients, BatchNormSaved, NormOutput, backward, backward_on};
pub use layer::{
    LayerNormGradients, LayerNormStatistics, layer_norm, layer_norm_backward,
    layer_norm_backward_on, layer_norm_on,
};
pub use normalize::{
    normalize, normalize_in_place, normalize_in_place_on, normalize_on, scale_and_offset,
};
pub use statistics::{ChannelStatistics, statistics, statistics_on};

/// Rows of a `[rows, channels]` matrix of `length` elements.
fn rows(length: usize, channels: usize) -> usize {
    assert!(channels > 0, "a norm needs at least one channel");
    assert!(length > 0, "a norm needs at least one row");
    assert_eq!(
        length % channels,
        0,
        "the elements are not a whole number of rows"
    );
    length / channels
}
