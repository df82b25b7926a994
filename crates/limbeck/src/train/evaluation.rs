//! How good a network is, on batches that it does not learn from.

use burn::tensor::Device;
use limbeck_graph::{Network, Taps};

use super::batches::BatchSource;
use crate::eval::{self, Accumulator, Metrics};
use crate::teacher::Teacher;
use crate::{Error, Result};

/// Measures a network in evaluation mode.
///
/// # Errors
/// If the data has no rows or no labels, or does not fit the network.
pub(super) fn evaluate<S: Network>(
    network: &S,
    source: &dyn BatchSource,
    device: &Device,
) -> Result<Metrics> {
    eval::predict(network, source.epoch(0, 0), device)?.metrics()
}

/// Measures a teacher, once, before anything learns from it.
///
/// # Errors
/// [`Error::WeakTeacher`] if its accuracy is below `minimum_accuracy`; otherwise if the data has no rows or
/// no labels, or does not fit the teacher.
pub fn evaluate_teacher(
    teacher: &dyn Teacher,
    source: &dyn BatchSource,
    device: &Device,
    minimum_accuracy: Option<f64>,
) -> Result<Metrics> {
    let device = device.clone().without_autodiff();
    let mut accumulator: Option<Accumulator> = None;
    for batch in source.epoch(0, 0) {
        let batch = batch?;
        let answer = teacher.answer(&eval::inputs(&batch, &device)?, &Taps::none())?;
        let logits = answer.logits()?;
        let [_, classes] = logits.tensor().dims();
        let values = limbeck_graph::Feature::from(logits.tensor().clone()).to_vec()?;
        let labels = batch.labels.as_deref().ok_or_else(|| {
            Error::Data("the teacher is measured on labels, and the data has none".to_owned())
        })?;
        accumulator
            .get_or_insert_with(|| Accumulator::new(classes))
            .add(&values, labels)?;
    }
    let metrics = accumulator
        .ok_or_else(|| Error::Data("there are no rows to measure the teacher on".to_owned()))?
        .metrics()?;
    match minimum_accuracy {
        Some(minimum) if metrics.top1 < minimum => Err(Error::WeakTeacher {
            accuracy: metrics.top1,
            minimum,
        }),
        _ => Ok(metrics),
    }
}
