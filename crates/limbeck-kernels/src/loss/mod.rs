//! Losses over `[rows, classes]` logits, with their gradients in the same pass.
//!
//! Losses are unreduced: one value per row. The gradient of each row is already multiplied by that
//! row's weight, the gradient of the whole with respect to the row's loss (`1 / rows` for a mean).

mod cross_entropy;
mod divergence;
mod softmax;

pub use cross_entropy::{cross_entropy, cross_entropy_on};
pub use divergence::{kl_divergence, kl_divergence_on};

/// Elements of one task.
const TASK: usize = 8 * 1024;

/// Checks that `logits` are `[rows, classes]` and gives the number of classes.
fn classes(logits: usize, rows: usize) -> usize {
    assert!(rows > 0 && logits > 0, "a loss needs rows and classes");
    assert_eq!(logits % rows, 0, "the logits are not [rows, classes]");
    logits / rows
}
