//! Operations on each element, and copies between layouts.

mod arithmetic;
mod channels;
mod function;
mod layout;
mod map;
mod permute;

pub use arithmetic::{
    accumulate, accumulate_on, add, add_on, multiply, multiply_add, multiply_add_on, multiply_on,
    subtract, subtract_on,
};
pub use channels::{concatenate, narrow, shuffle, split};
pub use function::{Function, apply, apply_on, backward, backward_on};
pub use layout::{nchw_to_nhwc, nchw_to_nhwc_on, nhwc_to_nchw, nhwc_to_nchw_on};
pub use permute::permute;
