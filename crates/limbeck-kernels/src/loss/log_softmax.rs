//! Logarithms of softened softmaxes.

use rayon::prelude::*;

use super::rows::{greatest, powers, sum_of_deviations};
use super::{TASK, classes};
use crate::dispatch::{self, Kernel};
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
    assert_eq!(
        result.len(),
        logits.len(),
        "logits and result differ in length"
    );
    let classes = classes(logits.len(), rows);
    let task = TASK.div_ceil(classes) * classes;
    let tasks = logits.par_chunks(task).zip(result.par_chunks_mut(task));
    tasks.for_each(|(logits, result)| {
        let kernel = Forward {
            classes,
            temperature,
            logits,
            result,
        };
        // SAFETY: the chunks have the same rows.
        unsafe { dispatch::run(processor, kernel) };
    });
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
    assert_eq!(
        gradient.len(),
        result.len(),
        "result and gradient differ in length"
    );
    assert_eq!(
        grad_logits.len(),
        result.len(),
        "the gradients differ in length"
    );
    let classes = classes(result.len(), rows);
    let task = TASK.div_ceil(classes) * classes;
    let inputs = result.par_chunks(task).zip(gradient.par_chunks(task));
    let tasks = inputs.zip(grad_logits.par_chunks_mut(task));
    tasks.for_each(|((result, gradient), grad_logits)| {
        let kernel = Backward {
            classes,
            temperature,
            result,
            gradient,
            grad_logits,
        };
        // SAFETY: the chunks have the same rows.
        unsafe { dispatch::run(processor, kernel) };
    });
}

struct Forward<'a> {
    classes: usize,
    temperature: f32,
    logits: &'a [f32],
    result: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let classes = self.classes;
        let factor = 1.0 / self.temperature;
        for (logits, result) in self
            .logits
            .chunks_exact(classes)
            .zip(self.result.chunks_exact_mut(classes))
        {
            let (logits, result) = (logits.as_ptr(), result.as_mut_ptr());
            // SAFETY: both have `classes` elements.
            unsafe {
                let shift = greatest::<V>(logits, classes);
                let sum = powers::<V>(logits, shift, factor, classes, result);
                let logarithm = V::splat(f64::from(sum).ln() as f32);
                let (shift, factor) = (V::splat(shift), V::splat(factor));
                let mut class = 0;
                while class < classes {
                    let lanes = V::LANES.min(classes - class);
                    let scaled = V::load_partial(logits.add(class), lanes)
                        .sub(shift)
                        .mul(factor);
                    scaled
                        .sub(logarithm)
                        .store_partial(result.add(class), lanes);
                    class += V::LANES;
                }
            }
        }
    }
}

struct Backward<'a> {
    classes: usize,
    temperature: f32,
    result: &'a [f32],
    gradient: &'a [f32],
    grad_logits: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let classes = self.classes;
        let factor = 1.0 / self.temperature;
        let inputs = self
            .result
            .chunks_exact(classes)
            .zip(self.gradient.chunks_exact(classes));
        for ((result, gradient), output) in inputs.zip(self.grad_logits.chunks_exact_mut(classes)) {
            let (result, gradient) = (result.as_ptr(), gradient.as_ptr());
            let output = output.as_mut_ptr();
            // SAFETY: all of them have `classes` elements.
            unsafe {
                let total = V::splat(sum_of_deviations::<V>(gradient, 0.0, classes));
                let factor = V::splat(factor);
                let mut class = 0;
                while class < classes {
                    let lanes = V::LANES.min(classes - class);
                    let softmax = exp(V::load_partial(result.add(class), lanes));
                    let slope = V::load_partial(gradient.add(class), lanes);
                    let slope = slope.sub(softmax.mul(total)).mul(factor);
                    slope.store_partial(output.add(class), lanes);
                    class += V::LANES;
                }
            }
        }
    }
}
