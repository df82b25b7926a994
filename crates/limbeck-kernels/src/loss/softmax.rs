//! Softmaxes.

use super::rows::{RowMap, greatest, map_rows, powers, products};
use crate::processor::Processor;
use crate::vector::Vector;

/// `result = softmax(logits)` of each of `rows` rows.
///
/// # Panics
///
/// If the lengths disagree.
pub fn softmax(rows: usize, logits: &[f32], result: &mut [f32]) {
    softmax_on(Processor::best(), rows, logits, result);
}

/// [`softmax`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`softmax`], and if this machine lacks the instructions.
pub fn softmax_on(processor: Processor, rows: usize, logits: &[f32], result: &mut [f32]) {
    map_rows(processor, rows, [logits; 2], result, Forward);
}

/// `grad_logits = result (gradient - sum_c gradient_c result_c)` of each of `rows` rows, given the `result` of
/// [`softmax`].
///
/// # Panics
///
/// If the lengths disagree.
pub fn softmax_backward(rows: usize, result: &[f32], gradient: &[f32], grad_logits: &mut [f32]) {
    softmax_backward_on(Processor::best(), rows, result, gradient, grad_logits);
}

/// [`softmax_backward`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`softmax_backward`], and if this machine lacks the instructions.
pub fn softmax_backward_on(
    processor: Processor,
    rows: usize,
    result: &[f32],
    gradient: &[f32],
    grad_logits: &mut [f32],
) {
    map_rows(processor, rows, [result, gradient], grad_logits, Backward);
}

#[derive(Clone, Copy)]
struct Forward;

impl RowMap for Forward {
    #[inline(always)]
    unsafe fn row<V: Vector>(
        self,
        classes: usize,
        logits: *const f32,
        _: *const f32,
        result: *mut f32,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let shift = greatest::<V>(logits, classes);
            let share = V::splat(1.0 / powers::<V>(logits, shift, 1.0, classes, result));
            for class in (0..classes).step_by(V::LANES) {
                let lanes = V::LANES.min(classes - class);
                let power = V::load_partial(result.add(class), lanes);
                power.mul(share).store_partial(result.add(class), lanes);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Backward;

impl RowMap for Backward {
    #[inline(always)]
    unsafe fn row<V: Vector>(
        self,
        classes: usize,
        result: *const f32,
        gradient: *const f32,
        output: *mut f32,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let mean = V::splat(products::<V>(result, gradient, classes));
            for class in (0..classes).step_by(V::LANES) {
                let lanes = V::LANES.min(classes - class);
                let share = V::load_partial(result.add(class), lanes);
                let slope = V::load_partial(gradient.add(class), lanes).sub(mean);
                share.mul(slope).store_partial(output.add(class), lanes);
            }
        }
    }
}
