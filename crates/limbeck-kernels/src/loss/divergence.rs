//! The Kullback-Leibler divergence of softened softmaxes (Hinton et al., 2015).

use rayon::prelude::*;

use super::softmax::{greatest, powers};
use super::{TASK, classes};
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::scratch::Scratch;
use crate::vector::Vector;

/// `losses_r = sum_c p_rc (log p_rc - log q_rc)` with `p = softmax(teacher / temperature)` and
/// `q = softmax(student / temperature)`, and
/// `grad_student_rc = weights_r (q_rc - p_rc) / temperature`.
///
/// `student`, `teacher` and `grad_student` are `[rows, classes]`, `weights` (the gradient with
/// respect to each row's loss) and `losses` `[rows]`. There is no factor `temperature^2`. Finite
/// logits of any size give finite results.
///
/// # Panics
///
/// If the lengths disagree or the temperature is not positive.
pub fn kl_divergence(
    temperature: f32,
    student: &[f32],
    teacher: &[f32],
    weights: &[f32],
    losses: &mut [f32],
    grad_student: &mut [f32],
) {
    let processor = Processor::best();
    kl_divergence_on(
        processor,
        temperature,
        student,
        teacher,
        weights,
        losses,
        grad_student,
    );
}

/// [`kl_divergence`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`kl_divergence`], and if this machine lacks the instructions.
pub fn kl_divergence_on(
    processor: Processor,
    temperature: f32,
    student: &[f32],
    teacher: &[f32],
    weights: &[f32],
    losses: &mut [f32],
    grad_student: &mut [f32],
) {
    assert!(temperature > 0.0, "the temperature is positive");
    let classes = classes(student.len(), losses.len());
    assert_eq!(
        teacher.len(),
        student.len(),
        "teacher and student differ in length"
    );
    assert_eq!(
        grad_student.len(),
        student.len(),
        "the gradient has another length"
    );
    assert_eq!(weights.len(), losses.len(), "one weight per row");
    let rows = TASK.div_ceil(classes);
    let logits = student
        .par_chunks(rows * classes)
        .zip(teacher.par_chunks(rows * classes));
    let results = losses
        .par_chunks_mut(rows)
        .zip(grad_student.par_chunks_mut(rows * classes));
    let tasks = logits.zip(results).zip(weights.par_chunks(rows));
    tasks.for_each(|(((student, teacher), (losses, grad_student)), weights)| {
        let mut scratch = Scratch::new(classes);
        let kernel = Rows {
            temperature,
            student,
            teacher,
            weights,
            losses,
            grad_student,
            scratch: scratch.values(),
        };
        // SAFETY: the chunks have the same rows and the scratch has one.
        unsafe { dispatch::run(processor, kernel) };
    });
}

struct Rows<'a> {
    temperature: f32,
    student: &'a [f32],
    teacher: &'a [f32],
    weights: &'a [f32],
    losses: &'a mut [f32],
    grad_student: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let classes = self.scratch.len();
        let factor = 1.0 / self.temperature;
        for row in 0..self.losses.len() {
            let student = self.student[row * classes..][..classes].as_ptr();
            let teacher = self.teacher[row * classes..][..classes].as_ptr();
            let gradient = self.grad_student[row * classes..][..classes].as_mut_ptr();
            let of_teacher = self.scratch.as_mut_ptr();
            // SAFETY: all of them have `classes` elements.
            unsafe {
                let student_shift = greatest::<V>(student, classes);
                let teacher_shift = greatest::<V>(teacher, classes);
                let q = powers::<V>(student, student_shift, factor, classes, gradient);
                let p = powers::<V>(teacher, teacher_shift, factor, classes, of_teacher);
                // log p - log q, but for what is the same for all classes.
                let mut difference = V::zero();
                let scale = V::splat(self.weights[row] * factor);
                let (q_share, p_share) = (V::splat(1.0 / q), V::splat(1.0 / p));
                let (to_student, to_teacher) = (V::splat(student_shift), V::splat(teacher_shift));
                let mut class = 0;
                while class < classes {
                    let lanes = V::LANES.min(classes - class);
                    let t = V::load_partial(teacher.add(class), lanes).sub(to_teacher);
                    let s = V::load_partial(student.add(class), lanes).sub(to_student);
                    let p = V::load_partial(of_teacher.add(class), lanes).mul(p_share);
                    let q = V::load_partial(gradient.add(class), lanes).mul(q_share);
                    difference = p.mul_add(t.sub(s), difference);
                    let slope = q.sub(p).mul(scale);
                    slope.store_partial(gradient.add(class), lanes);
                    class += V::LANES;
                }
                let constant = (f64::from(q).ln() - f64::from(p).ln()) as f32;
                self.losses[row] = difference.sum().mul_add(factor, constant);
            }
        }
    }
}
