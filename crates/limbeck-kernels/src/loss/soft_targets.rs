//! Softened softmaxes against the distributions of a teacher (Hinton et al., 2015).

use rayon::prelude::*;

use super::rows::{greatest, powers};
use super::{TASK, classes};
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::scratch::Scratch;
use crate::vector::Vector;

/// What is taken of a student's distribution `q` under a target `p`; the gradient is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoftTarget {
    /// `sum_c p_c (log p_c - log q_c)`.
    Divergence,
    /// `- sum_c p_c log q_c`.
    CrossEntropy,
}

/// `losses_r` as `form` says with `q = softmax(student / temperature)` and `p = e^target`, and
/// `slopes_rc = (q_rc sum_k p_rk - p_rc) / temperature`, the gradient of row r's loss.
///
/// `student`, `target` (log-probabilities, which need not sum to one) and `slopes` are
/// `[rows, classes]`, `losses` is `[rows]`. There is no factor `temperature^2`. Classes with `p = 0`
/// count as zero whatever the student says of them. What is not a number in a row stays so.
///
/// # Panics
///
/// If the lengths disagree or the temperature is not positive.
pub fn soft_targets(
    form: SoftTarget,
    temperature: f32,
    student: &[f32],
    target: &[f32],
    losses: &mut [f32],
    slopes: &mut [f32],
) {
    let processor = Processor::best();
    soft_targets_on(
        processor,
        form,
        temperature,
        student,
        target,
        losses,
        slopes,
    );
}

/// [`soft_targets`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`soft_targets`], and if this machine lacks the instructions.
pub fn soft_targets_on(
    processor: Processor,
    form: SoftTarget,
    temperature: f32,
    student: &[f32],
    target: &[f32],
    losses: &mut [f32],
    slopes: &mut [f32],
) {
    assert!(temperature > 0.0, "the temperature is positive");
    let classes = classes(student.len(), losses.len());
    assert_eq!(
        target.len(),
        student.len(),
        "target and student differ in length"
    );
    assert_eq!(
        slopes.len(),
        student.len(),
        "the gradient has another length"
    );
    let rows = TASK.div_ceil(classes);
    let inputs = student
        .par_chunks(rows * classes)
        .zip(target.par_chunks(rows * classes));
    let results = losses
        .par_chunks_mut(rows)
        .zip(slopes.par_chunks_mut(rows * classes));
    let tasks = inputs.zip(results);
    tasks.for_each(|((student, target), (losses, slopes))| {
        let mut scratch = Scratch::new(classes);
        let kernel = Rows {
            form,
            temperature,
            student,
            target,
            losses,
            slopes,
            scratch: scratch.values(),
        };
        // SAFETY: the chunks have the same rows and the scratch has one.
        unsafe { dispatch::run(processor, kernel) };
    });
}

struct Rows<'a> {
    form: SoftTarget,
    temperature: f32,
    student: &'a [f32],
    target: &'a [f32],
    losses: &'a mut [f32],
    slopes: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let classes = self.scratch.len();
        let factor = 1.0 / self.temperature;
        let of_target = match self.form {
            SoftTarget::Divergence => 1.0,
            SoftTarget::CrossEntropy => 0.0,
        };
        for row in 0..self.losses.len() {
            let student = self.student[row * classes..][..classes].as_ptr();
            let target = self.target[row * classes..][..classes].as_ptr();
            let slopes = self.slopes[row * classes..][..classes].as_mut_ptr();
            let probabilities = self.scratch.as_mut_ptr();
            // SAFETY: all of them have `classes` elements.
            unsafe {
                let shift = greatest::<V>(student, classes);
                let q_sum = powers::<V>(student, shift, factor, classes, slopes);
                let p_sum = powers::<V>(target, 0.0, 1.0, classes, probabilities);
                let logarithm = V::splat(f64::from(q_sum).ln() as f32);
                let (of_target, scale) = (V::splat(of_target), V::splat(factor));
                let (shift, share) = (V::splat(shift), V::splat(p_sum / q_sum));
                let mut loss = V::zero();
                let mut class = 0;
                while class < classes {
                    let lanes = V::LANES.min(classes - class);
                    let p = V::load_partial(probabilities.add(class), lanes);
                    let log_p = V::load_partial(target.add(class), lanes);
                    let z = V::load_partial(student.add(class), lanes);
                    let log_q = z.sub(shift).mul(scale).sub(logarithm);
                    let term = p.mul(log_p.mul(of_target).sub(log_q));
                    loss = loss.add(term.where_greater(p, V::zero()));
                    let power = V::load_partial(slopes.add(class), lanes);
                    let slope = power.mul(share).sub(p).mul(scale);
                    slope.store_partial(slopes.add(class), lanes);
                    class += V::LANES;
                }
                // The sum passed over probabilities that are not above zero, and so over these.
                self.losses[row] = if p_sum.is_nan() { p_sum } else { loss.sum() };
            }
        }
    }
}
