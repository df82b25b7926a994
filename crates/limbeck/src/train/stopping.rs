//! When to stop early, decided on the validation split.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The best evaluation so far. Higher accuracy is better; of equal accuracies, the lower negative log-likelihood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stopping {
    best: Option<Best>,
    /// Evaluations since then.
    waited: usize,
    /// Whether the training has ended early.
    stopped: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Best {
    epoch: u64,
    #[serde(serialize_with = "write_exact", deserialize_with = "read_exact")]
    top1: f64,
    #[serde(serialize_with = "write_exact", deserialize_with = "read_exact")]
    nll: f64,
}

impl Stopping {
    /// Before any evaluation.
    pub(super) const START: Self = Self {
        best: None,
        waited: 0,
        stopped: false,
    };

    /// Takes in the evaluation after `epoch`; whether it is the best so far.
    pub(super) fn observe(&mut self, epoch: u64, top1: f64, nll: f64, patience: usize) -> bool {
        let better = self
            .best
            .as_ref()
            .is_none_or(|best| top1 > best.top1 || (top1 == best.top1 && nll < best.nll));
        if better {
            self.best = Some(Best { epoch, top1, nll });
            self.waited = 0;
        } else {
            self.waited += 1;
            self.stopped = self.waited >= patience;
        }
        better
    }

    /// Whether the training has ended.
    pub(super) const fn stopped(&self) -> bool {
        self.stopped
    }

    /// The epoch of the best evaluation.
    pub(super) fn best_epoch(&self) -> Option<u64> {
        self.best.as_ref().map(|best| best.epoch)
    }
}

/// A number as text, which comes back to the bit; numbers in JSON may change in the last digit.
fn write_exact<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{value:?}"))
}

fn read_exact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn stops_after_patience_without_improvement() {
        let mut stopping = Stopping::START;
        let accuracies = [(0.5, 1.0), (0.6, 1.0), (0.6, 0.9), (0.6, 0.95), (0.55, 0.1)];
        let better: Vec<bool> = (0..)
            .zip(accuracies)
            .map(|(epoch, (top1, nll))| stopping.observe(epoch, top1, nll, 2))
            .collect();
        assert_eq!(better, [true, true, true, false, false]);
        assert!(stopping.stopped());
        assert_eq!(stopping.best_epoch(), Some(2));
    }

    #[test]
    fn comes_back_from_json_to_the_bit() {
        let mut stopping = Stopping::START;
        stopping.observe(3, 0.1 + 0.2, 1.0 / 3.0, 1);
        let text = serde_json::to_string(&stopping).unwrap();
        assert_eq!(serde_json::from_str::<Stopping>(&text).unwrap(), stopping);
    }
}
