//! Metrics of a classifier, accumulated batch by batch in double precision.
//!
//! With `p = softmax(z)` over the logits `z` `[rows, classes]` of a row with label `y`:
//!
//! ```text
//! top-k  share of rows whose label is among the k largest logits
//! NLL    mean of -log p_y, nats
//! Brier  mean of sum_c (p_c - onehot(y)_c)^2, 0 to 2
//! ECE    sum over bins of share of rows * |accuracy - mean largest probability|
//! ```
//!
//! The bins of the expected calibration error are 15 equal intervals (low, high] of the largest probability (Guo et al. 2017,
//! "On Calibration of Modern Neural Networks"). Of equal logits the first class counts as larger, so a
//! network that says the same of every class is not credited with every label.

use serde::{Deserialize, Serialize};

use super::{argmax, log_softmax, rows};
use crate::{Error, Result};

/// The number of bins of the expected calibration error.
pub const RELIABILITY_BINS: usize = 15;

/// Metrics over the rows of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Share of rows whose most likely class is right, 0 to 1.
    pub top1: f64,
    /// Share of rows whose class is among the five most likely, 0 to 1; `None` with five classes or fewer, where it
    /// says nothing.
    pub top5: Option<f64>,
    /// Mean negative log-likelihood, nats.
    pub nll: f64,
    /// Expected calibration error over 15 bins, 0 to 1.
    pub ece: f64,
    /// Brier score, 0 to 2.
    pub brier: f64,
    /// Rows counted.
    pub count: u64,
    /// Accuracy per class.
    pub per_class: Vec<ClassAccuracy>,
    /// Rows by true class, then predicted class.
    pub confusion: Vec<Vec<u64>>,
    /// Rows by confidence, lowest bin first.
    #[serde(default)]
    pub reliability: Vec<ReliabilityBin>,
}

/// Accuracy on the rows of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassAccuracy {
    /// The class.
    pub class: u32,
    /// Its rows.
    pub count: u64,
    /// Those answered rightly.
    pub correct: u64,
}

impl ClassAccuracy {
    /// The share answered rightly; `None` for a class without rows.
    pub fn accuracy(&self) -> Option<f64> {
        (self.count > 0).then(|| self.correct as f64 / self.count as f64)
    }
}

/// The rows whose largest probability is in (low, high].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// The lower end, excluded.
    pub low: f64,
    /// The upper end, included.
    pub high: f64,
    /// The rows in it.
    pub count: u64,
    /// The share of them answered rightly; 0 for an empty bin.
    pub accuracy: f64,
    /// Their mean largest probability; 0 for an empty bin.
    pub confidence: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct BinSums {
    count: u64,
    correct: u64,
    confidence: f64,
}

/// Metrics in the making.
#[derive(Clone, Debug)]
pub struct Accumulator {
    count: u64,
    /// Rows by the rank of their label, 0 for the most likely class.
    ranks: Vec<u64>,
    nll: f64,
    brier: f64,
    bins: [BinSums; RELIABILITY_BINS],
    confusion: Vec<Vec<u64>>,
}

impl Accumulator {
    /// Starts with no rows of `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self {
            count: 0,
            ranks: vec![0; classes],
            nll: 0.0,
            brier: 0.0,
            bins: [BinSums::default(); RELIABILITY_BINS],
            confusion: vec![vec![0; classes]; classes],
        }
    }

    /// Adds rows: `logits` `[rows, classes]` row major, `labels` `[rows]`.
    ///
    /// # Errors
    /// If the sizes do not fit, a logit is not finite, or a label is out of range; the row is named, counted from 0 over
    /// all rows added, and none of this call's rows is counted.
    pub fn add(&mut self, logits: &[f32], labels: &[u32]) -> Result<()> {
        let classes = self.ranks.len();
        let before = self.count;
        let name = |row: usize| format!("row {}", before + row as u64);
        let rows = rows(logits, classes, name)?;
        if rows.len() != labels.len() {
            return Err(Error::Shape {
                what: "labels".to_owned(),
                expected: format!("{} rows, as there are logits", rows.len()),
                got: labels.len().to_string(),
            });
        }
        let in_range = |label: u32| (label as usize) < classes;
        if let Some(row) = labels.iter().position(|label| !in_range(*label)) {
            return Err(Error::Data(format!(
                "{}: expected a label below {classes}, got {}",
                name(row),
                labels[row]
            )));
        }
        for (row, label) in rows.zip(labels) {
            self.add_row(row, *label as usize);
        }
        Ok(())
    }

    fn add_row(&mut self, row: &[f32], label: usize) {
        let log_probs = log_softmax(row);
        let predicted = argmax(row);
        let correct = predicted == label;
        let own = row[label];
        let above = row
            .iter()
            .enumerate()
            .filter(|(class, value)| **value > own || (**value == own && *class < label));
        self.ranks[above.count()] += 1;
        self.count += 1;
        self.confusion[label][predicted] += 1;
        let mut confidence = 0.0_f64;
        for (class, log_prob) in log_probs.enumerate() {
            let probability = log_prob.exp();
            confidence = confidence.max(probability);
            if class == label {
                self.nll -= log_prob;
                self.brier += (probability - 1.0).powi(2);
            } else {
                self.brier += probability.powi(2);
            }
        }
        let bin = (confidence * RELIABILITY_BINS as f64).ceil() as usize;
        let bin = &mut self.bins[bin.clamp(1, RELIABILITY_BINS) - 1];
        bin.count += 1;
        bin.correct += u64::from(correct);
        bin.confidence += confidence;
    }

    /// The rows added so far.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The share of rows whose label is among the `k` most likely classes.
    ///
    /// # Errors
    /// If no row was added.
    pub fn top_k(&self, k: usize) -> Result<f64> {
        let hits: u64 = self.ranks.iter().take(k).sum();
        Ok(hits as f64 / self.rows()?)
    }

    /// The metrics over the rows added so far.
    ///
    /// # Errors
    /// If no row was added.
    pub fn metrics(&self) -> Result<Metrics> {
        let rows = self.rows()?;
        let reliability: Vec<ReliabilityBin> = self
            .bins
            .iter()
            .enumerate()
            .map(|(index, bin)| {
                let mean = |sum: f64| sum / bin.count.max(1) as f64;
                ReliabilityBin {
                    low: index as f64 / RELIABILITY_BINS as f64,
                    high: (index + 1) as f64 / RELIABILITY_BINS as f64,
                    count: bin.count,
                    accuracy: mean(bin.correct as f64),
                    confidence: mean(bin.confidence),
                }
            })
            .collect();
        let gap =
            |bin: &ReliabilityBin| bin.count as f64 / rows * (bin.accuracy - bin.confidence).abs();
        let per_class = self
            .confusion
            .iter()
            .enumerate()
            .map(|(class, predicted)| ClassAccuracy {
                class: class as u32,
                count: predicted.iter().sum(),
                correct: predicted[class],
            });
        Ok(Metrics {
            top1: self.top_k(1)?,
            top5: if self.ranks.len() > 5 {
                Some(self.top_k(5)?)
            } else {
                None
            },
            nll: self.nll / rows,
            ece: reliability.iter().map(gap).sum(),
            brier: self.brier / rows,
            count: self.count,
            per_class: per_class.collect(),
            confusion: self.confusion.clone(),
            reliability,
        })
    }

    fn rows(&self) -> Result<f64> {
        if self.count == 0 {
            return Err(Error::Data("there are no rows to measure".to_owned()));
        }
        Ok(self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::loss::testing::{Case, assert_close, golden, noise};

    fn measure(logits: &[f32], labels: &[u32], classes: usize) -> Metrics {
        let mut accumulator = Accumulator::new(classes);
        accumulator.add(logits, labels).unwrap();
        accumulator.metrics().unwrap()
    }

    fn measure_case(case: &Case) -> Metrics {
        let (logits, classes) = case.matrix("logits");
        let logits: Vec<f32> = logits.into_iter().map(|value| value as f32).collect();
        measure(&logits, &case.labels("labels"), classes)
    }

    #[test]
    fn golden_calibration() {
        let Some(cases) = golden("calibration") else {
            return;
        };
        assert_eq!(cases.len(), 3, "cases of `calibration`");
        for case in &cases {
            let metrics = measure_case(case);
            case.check_metric("ece", metrics.ece);
            case.check_metric("nll", metrics.nll);
            case.check_metric("brier", metrics.brier);
        }
    }

    #[test]
    fn golden_accuracy() {
        let Some(cases) = golden("top_k_accuracy") else {
            return;
        };
        assert_eq!(cases.len(), 3, "cases of `top_k_accuracy`");
        for case in &cases {
            let metrics = measure_case(case);
            case.check_metric("top1", metrics.top1);
            case.check_metric("top5", metrics.top5.unwrap());
        }
    }

    #[test]
    fn hand_values() {
        let ln3 = 3.0_f32.ln();
        // Probabilities (1/4, 3/4), (3/4, 1/4), (1/2, 1/2).
        let metrics = measure(&[0.0, ln3, ln3, 0.0, 1.0, 1.0], &[1, 1, 0], 2);
        assert_eq!(metrics.count, 3);
        assert_close(&[metrics.top1], &[2.0 / 3.0], 1e-12);
        assert_eq!(metrics.top5, None);
        let nll = ((4.0_f64 / 3.0).ln() + 4.0_f64.ln() + 2.0_f64.ln()) / 3.0;
        let brier = (2.0 / 16.0 + 2.0 * 9.0 / 16.0 + 0.5) / 3.0;
        assert_close(&[metrics.nll, metrics.brier], &[nll, brier], 1e-7);
        // Two rows of confidence 3/4, one right; one of 1/2, right.
        assert_close(&[metrics.ece], &[2.0 / 3.0 * 0.25 + 1.0 / 3.0 * 0.5], 1e-7);
        assert_eq!(metrics.confusion, [[1, 0], [1, 1]]);
        let correct: Vec<_> = metrics
            .per_class
            .iter()
            .map(|class| (class.count, class.correct))
            .collect();
        assert_eq!(correct, [(1, 1), (2, 1)]);
        assert_eq!(metrics.per_class[1].accuracy(), Some(0.5));
        let filled: Vec<_> = metrics
            .reliability
            .iter()
            .filter(|bin| bin.count > 0)
            .map(|bin| bin.count)
            .collect();
        assert_eq!(filled, [1, 2]);
    }

    #[test]
    fn bins_include_their_upper_end() {
        // Confidence 1 belongs to the last bin, confidence 1/3 = 5/15 to the fifth.
        let metrics = measure(&[500.0, 0.0, 0.0, 1.0, 1.0, 1.0], &[0, 0], 3);
        assert_eq!(metrics.reliability[14].count, 1);
        assert_eq!(metrics.reliability[4].count, 1);
        assert_close(&[metrics.reliability[4].high], &[1.0 / 3.0], 1e-12);
    }

    #[test]
    fn ties_go_to_the_first_class() {
        let logits = [0.0; 21];
        let metrics = measure(&logits, &[0, 5, 6], 7);
        assert_close(
            &[metrics.top1, metrics.top5.unwrap()],
            &[1.0 / 3.0, 1.0 / 3.0],
            1e-12,
        );
        assert_eq!(metrics.confusion[6][0], 1);
    }

    #[test]
    fn batches_add_up_to_the_whole() {
        let logits: Vec<f32> = noise(60, 3.0, 1)
            .into_iter()
            .map(|value| value as f32)
            .collect();
        let labels: Vec<u32> = (0..10).map(|row| row % 6).collect();
        let whole = measure(&logits, &labels, 6);
        let mut parts = Accumulator::new(6);
        for (logits, labels) in logits.chunks(18).zip(labels.chunks(3)) {
            parts.add(logits, labels).unwrap();
        }
        assert_eq!(parts.metrics().unwrap(), whole);
        assert_eq!(parts.top_k(6).unwrap(), 1.0);
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let metrics = measure(&[f32::MAX, f32::MIN, 0.0, 0.0], &[1, 0], 2);
        assert!(metrics.nll.is_finite() && metrics.brier.is_finite() && metrics.ece.is_finite());
    }

    #[test]
    fn bad_rows_are_named_and_not_counted() {
        let mut accumulator = Accumulator::new(2);
        accumulator.add(&[0.0, 1.0], &[1]).unwrap();
        let message = accumulator
            .add(&[0.0, 1.0, f32::NAN, 0.0], &[0, 0])
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("row 2: the logit of class 0 is NaN"),
            "{message}"
        );
        let message = accumulator.add(&[0.0, 1.0], &[2]).unwrap_err().to_string();
        assert_eq!(message, "row 1: expected a label below 2, got 2");
        assert!(accumulator.add(&[0.0, 1.0, 2.0], &[0]).is_err());
        assert!(accumulator.add(&[0.0, 1.0], &[0, 1]).is_err());
        assert_eq!(accumulator.count(), 1);
        assert!(Accumulator::new(2).metrics().is_err());
        assert!(Accumulator::new(0).add(&[], &[]).is_err());
    }

    #[test]
    fn metrics_survive_serialisation() {
        let metrics = measure(&[0.0, 1.0, 2.0, 0.5], &[1, 1], 2);
        let text = serde_json::to_string(&metrics).unwrap();
        let read: Metrics = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (read.count, &read.confusion),
            (metrics.count, &metrics.confusion)
        );
        assert_eq!(read.per_class, metrics.per_class);
        assert_close(
            &[read.top1, read.nll, read.ece, read.brier],
            &[metrics.top1, metrics.nll, metrics.ece, metrics.brier],
            1e-12,
        );
        assert_eq!(read.reliability.len(), RELIABILITY_BINS);
    }
}
