//! Logarithms of softened softmaxes.

use super::rows::{RowMap, greatest, map_rows, powers, sum_of_deviations};
use crate::functions::exp;
use crate::processor::Processor;
use crate::vector::Vector;

/// `result = log softmax(logits / temperature)` of each of `rows` rows.
///
/// The row's greatest value is taken off before the division, so a common shift costs no precision.
///
/// # Panics
///
/// If the lengths disagree or the temperature is not positive.
pub fn log_softmax(rows: usize, temperature: f32, logits: &[f32], result: &mut [f32]) {
    log_softmax_on(Processor::best(), rows, temperature, logits, result);
}

/// [`log_softmax`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`log_softmax`], and if this machine lacks the instructions.
pub fn log_softmax_on(
    processor: Processor,
    rows: usize,
    temperature: f32,
    logits: &[f32],
    result: &mut [f32],
) {
    assert!(temperature > 0.0, "the temperature is positive");
    let factor = 1.0 / temperature;
    map_rows(processor, rows, [logits; 2], result, Forward { factor });
}

/// `grad_logits = (gradient - softmax(logits / temperature) sum_c gradient_c) / temperature` of each
/// of `rows` rows, given the `result` of [`log_softmax`].
///
/// # Panics
///
/// If the lengths disagree or the temperature is not positive.
pub fn log_softmax_backward(
    rows: usize,
    temperature: f32,
    result: &[f32],
    gradient: &[f32],
    grad_logits: &mut [f32],
) {
    let processor = Processor::best();
    log_softmax_backward_on(processor, rows, temperature, result, gradient, grad_logits);
}

/// [`log_softmax_backward`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`log_softmax_backward`], and if this machine lacks the instructions.
pub fn log_softmax_backward_on(
    processor: Processor,
    rows: usize,
    temperature: f32,
    result: &[f32],
    gradient: &[f32],
    grad_logits: &mut [f32],
) {
    assert!(temperature > 0.0, "the temperature is positive");
    let factor = 1.0 / temperature;
    let map = Backward { factor };
    map_rows(processor, rows, [result, gradient], grad_logits, map);
}

#[derive(Clone, Copy)]
struct Forward {
    factor: f32,
}

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
            let sum = powers::<V>(logits, shift, self.factor, classes, result);
            let logarithm = V::splat(f64::from(sum).ln() as f32);
            let (shift, factor) = (V::splat(shift), V::splat(self.factor));
            for class in (0..classes).step_by(V::LANES) {
                let lanes = V::LANES.min(classes - class);
                let scaled = V::load_partial(logits.add(class), lanes)
                    .sub(shift)
                    .mul(factor);
                scaled
                    .sub(logarithm)
                    .store_partial(result.add(class), lanes);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Backward {
    factor: f32,
}

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
            let total = V::splat(sum_of_deviations::<V>(gradient, 0.0, classes));
            let factor = V::splat(self.factor);
            for class in (0..classes).step_by(V::LANES) {
                let lanes = V::LANES.min(classes - class);
                let softmax = exp(V::load_partial(result.add(class), lanes));
                let slope = V::load_partial(gradient.add(class), lanes);
                let slope = slope.sub(softmax.mul(total)).mul(factor);
                slope.store_partial(output.add(class), lanes);
            }
        }
    }
}
