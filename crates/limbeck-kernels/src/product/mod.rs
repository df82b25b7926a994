//! Dense products of matrices for linear layers.
//!
//! A layer `output = act(input weight^T + bias)` with `input` `[batch, in]` and `weight`
//! `[out, in]` is [`linear`]; its gradients are [`linear_backward_input`]
//! (`grad_output weight`) and [`linear_backward_weight`] (`grad_output^T input`).
//!
//! All three run on the same tile (`tile.rs`): a few rows of the left matrix, whose elements are
//! spread over a vector one by one, times up to three vectors of columns of the right one, packed
//! so that the tile reads them in one run. The left matrix is read as it is, so in the forward pass
//! the left one is the greater of input and weight, and the result may come out transposed. Sums
//! run over the whole inner axis within one task: their order depends on the shapes alone.

mod backward;
mod engine;
mod forward;
mod pack;
mod tile;

pub use backward::{
    linear_backward_bias, linear_backward_bias_on, linear_backward_input, linear_backward_input_on,
    linear_backward_weight, linear_backward_weight_on,
};
pub use forward::{linear, linear_on};

/// The sizes of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Linear {
    /// Rows of the input.
    pub batch: usize,
    /// Columns of the input.
    pub inputs: usize,
    /// Columns of the output.
    pub outputs: usize,
}

impl Linear {
    fn check(&self, input: &[f32], weight: &[f32], output: &[f32]) {
        assert_eq!(
            input.len(),
            self.batch * self.inputs,
            "the input is [batch, inputs]"
        );
        assert_eq!(
            weight.len(),
            self.outputs * self.inputs,
            "the weight is [outputs, inputs]"
        );
        assert_eq!(
            output.len(),
            self.batch * self.outputs,
            "the output is [batch, outputs]"
        );
    }
}
