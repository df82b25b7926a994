//! Cross-entropy with whole labels and label smoothing.

use rayon::prelude::*;

use super::rows::{greatest, powers, sum_of_deviations};
use super::{TASK, classes};
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::vector::Vector;

/// `losses_r = - sum_c y_rc log softmax(logits_r)_c`, where `y` is `1 - smoothing` for the label
/// plus `smoothing / classes` for every class, and `slopes_rc = softmax(logits_r)_c - y_rc`, the
/// gradient of row r's loss.
///
/// `logits` and `slopes` are `[rows, classes]`, `labels` and `losses` `[rows]`.
///
/// # Panics
///
/// If the lengths disagree or a label is not below the number of classes.
pub fn cross_entropy(
    smoothing: f32,
    logits: &[f32],
    labels: &[u32],
    losses: &mut [f32],
    slopes: &mut [f32],
) {
    let processor = Processor::best();
    cross_entropy_on(processor, smoothing, logits, labels, losses, slopes);
}

/// [`cross_entropy`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`cross_entropy`], and if this machine lacks the instructions.
pub fn cross_entropy_on(
    processor: Processor,
    smoothing: f32,
    logits: &[f32],
    labels: &[u32],
    losses: &mut [f32],
    slopes: &mut [f32],
) {
    let classes = classes(logits.len(), losses.len());
    assert_eq!(
        slopes.len(),
        logits.len(),
        "the gradient has another length"
    );
    assert_eq!(labels.len(), losses.len(), "one label per row");
    let known = labels.iter().all(|&label| (label as usize) < classes);
    assert!(known, "labels are below the number of classes");
    let rows = TASK.div_ceil(classes);
    let inputs = logits
        .par_chunks(rows * classes)
        .zip(labels.par_chunks(rows));
    let results = losses
        .par_chunks_mut(rows)
        .zip(slopes.par_chunks_mut(rows * classes));
    let tasks = inputs.zip(results);
    tasks.for_each(|((logits, labels), (losses, slopes))| {
        let kernel = Rows {
            smoothing,
            classes,
            logits,
            labels,
            losses,
            slopes,
        };
        // SAFETY: the chunks have the same rows.
        unsafe { dispatch::run(processor, kernel) };
    });
}

struct Rows<'a> {
    smoothing: f32,
    classes: usize,
    logits: &'a [f32],
    labels: &'a [u32],
    losses: &'a mut [f32],
    slopes: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let classes = self.classes;
        let everywhere = self.smoothing / classes as f32;
        for row in 0..self.losses.len() {
            let logits = &self.logits[row * classes..][..classes];
            let slopes = &mut self.slopes[row * classes..][..classes];
            let label = self.labels[row] as usize;
            // SAFETY: both slices have `classes` elements.
            unsafe {
                let shift = greatest::<V>(logits.as_ptr(), classes);
                let sum = powers::<V>(logits.as_ptr(), shift, 1.0, classes, slopes.as_mut_ptr());
                let logarithm = f64::from(sum).ln() as f32;
                let mut loss = (1.0 - self.smoothing) * (logarithm - (logits[label] - shift));
                if self.smoothing != 0.0 {
                    let total = sum_of_deviations::<V>(logits.as_ptr(), shift, classes);
                    loss += self.smoothing * logarithm - everywhere * total;
                }
                self.losses[row] = loss;
                let (share, everywhere) = (V::splat(1.0 / sum), V::splat(everywhere));
                let mut class = 0;
                while class < classes {
                    let lanes = V::LANES.min(classes - class);
                    let at = slopes.as_mut_ptr().add(class);
                    let softmax = V::load_partial(at, lanes).mul(share);
                    softmax.sub(everywhere).store_partial(at, lanes);
                    class += V::LANES;
                }
            }
            slopes[label] -= 1.0 - self.smoothing;
        }
    }
}
