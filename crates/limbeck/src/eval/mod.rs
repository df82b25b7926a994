//! Metrics, predictions and latency.
//!
//! [`predict`] runs a network over batches and keeps its logits with the samples' identities; everything else
//! is computed from them on the host in double precision, so that two networks can be compared row by row
//! without running them again.

mod agreement;
mod latency;
mod metrics;
mod predictions;
mod upload;

pub use agreement::{Agreement, agreement};
pub use latency::{Latency, Quantiles, latency};
pub use metrics::{Accumulator, ClassAccuracy, Metrics, RELIABILITY_BINS, ReliabilityBin};
pub use predictions::{Predictions, predict, predict_teacher};
pub use upload::{inputs, labels};

use crate::{Error, Result};

/// `log softmax` of one row in double precision.
fn log_softmax(row: &[f32]) -> impl Iterator<Item = f64> + Clone + '_ {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = row
        .iter()
        .map(move |value| f64::from(*value) - f64::from(largest));
    let log_total = shifted.clone().map(f64::exp).sum::<f64>().ln();
    shifted.map(move |value| value - log_total)
}

/// The class of the largest logit; of equal ones the first.
fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (class, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = class;
        }
    }
    best
}

/// The rows of `logits`, row major; an error if they are not whole, or a logit is not finite.
fn rows(
    logits: &[f32],
    classes: usize,
    name: impl Fn(usize) -> String,
) -> Result<std::slice::ChunksExact<'_, f32>> {
    check_finite(logits, classes, name)?;
    Ok(logits.chunks_exact(classes))
}

/// An error if `logits` are not whole rows, or one is not finite; `name` says which row.
fn check_finite(logits: &[f32], classes: usize, name: impl Fn(usize) -> String) -> Result<()> {
    if classes == 0 || !logits.len().is_multiple_of(classes) {
        return Err(Error::Shape {
            what: "logits".to_owned(),
            expected: format!("rows of {classes} classes, at least one"),
            got: format!("{} values", logits.len()),
        });
    }
    match logits.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::Data(format!(
            "{}: the logit of class {} is {}; check the weights and the normalisation",
            name(index / classes),
            index % classes,
            logits[index]
        ))),
    }
}
