//! Softmaxes.

use rayon::prelude::*;

use super::rows::{greatest, powers, products};
use super::{TASK, classes};
use crate::dispatch::{self, Kernel};
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
            logits,
            result,
        };
        // SAFETY: the chunks have the same rows.
        unsafe { dispatch::run(processor, kernel) };
    });
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
    let length = result.len();
    assert_eq!(
        gradient.len(),
        length,
        "result and gradient differ in length"
    );
    assert_eq!(grad_logits.len(), length, "the gradients differ in length");
    let classes = classes(length, rows);
    let task = TASK.div_ceil(classes) * classes;
    let inputs = result.par_chunks(task).zip(gradient.par_chunks(task));
    let tasks = inputs.zip(grad_logits.par_chunks_mut(task));
    tasks.for_each(|((result, gradient), grad_logits)| {
        let kernel = Backward {
            classes,
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
    logits: &'a [f32],
    result: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let classes = self.classes;
        let rows = self.logits.chunks_exact(classes);
        for (logits, result) in rows.zip(self.result.chunks_exact_mut(classes)) {
            let (logits, result) = (logits.as_ptr(), result.as_mut_ptr());
            // SAFETY: both have `classes` elements.
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
}

struct Backward<'a> {
    classes: usize,
    result: &'a [f32],
    gradient: &'a [f32],
    grad_logits: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let classes = self.classes;
        let rows = self.result.chunks_exact(classes);
        let rows = rows.zip(self.gradient.chunks_exact(classes));
        for ((result, gradient), output) in rows.zip(self.grad_logits.chunks_exact_mut(classes)) {
            let (result, gradient) = (result.as_ptr(), gradient.as_ptr());
            let output = output.as_mut_ptr();
            // SAFETY: all of them have `classes` elements.
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
}
