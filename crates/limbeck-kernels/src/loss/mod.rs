//! Losses over `[rows, classes]` logits, with their gradients in the same pass, and softmaxes and their logarithms.
//!
//! Losses are unreduced: one value per row, and the gradient of each row is that of its own loss.
//! [`scale_rows`] turns it into the gradient of whatever the losses are reduced to.

mod cross_entropy;
mod log_softmax;
mod rows;
mod soft_targets;
mod softmax;

use rayon::prelude::*;

pub use cross_entropy::{cross_entropy, cross_entropy_on};
pub use log_softmax::{log_softmax, log_softmax_backward, log_softmax_backward_on, log_softmax_on};
pub use soft_targets::{SoftTarget, soft_targets, soft_targets_on};
pub use softmax::{softmax, softmax_backward, softmax_backward_on, softmax_on};

/// Elements of one task.
const TASK: usize = 8 * 1024;

/// Checks that `logits` are `[rows, classes]` and gives the number of classes.
fn classes(logits: usize, rows: usize) -> usize {
    assert!(rows > 0 && logits > 0, "a loss needs rows and classes");
    assert_eq!(logits % rows, 0, "the logits are not [rows, classes]");
    logits / rows
}

/// `result_rc = weights_r slopes_rc`; `weights` is `[rows]`, the others `[rows, classes]`.
///
/// # Panics
///
/// If the lengths disagree.
pub fn scale_rows(weights: &[f32], slopes: &[f32], result: &mut [f32]) {
    let classes = classes(slopes.len(), weights.len());
    assert_eq!(
        result.len(),
        slopes.len(),
        "slopes and result differ in length"
    );
    let rows = TASK.div_ceil(classes);
    let inputs = weights
        .par_chunks(rows)
        .zip(slopes.par_chunks(rows * classes));
    let tasks = inputs.zip(result.par_chunks_mut(rows * classes));
    tasks.for_each(|((weights, slopes), result)| {
        let rows = slopes
            .chunks_exact(classes)
            .zip(result.chunks_exact_mut(classes));
        for (weight, (slopes, result)) in weights.iter().zip(rows) {
            for (result, slope) in result.iter_mut().zip(slopes) {
                *result = weight * slope;
            }
        }
    });
}
