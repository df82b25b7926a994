//! Did distillation help? Paired differences over seeds.
//!
//! Runs of the two arms are paired by seed: the same seed gives both the same initial weights and
//! the same order of rows, so that the difference `d = distilled - alone` cancels what they share.
//! With `n` differences, mean `m` and sample deviation `s`, the 95 % interval of the mean is
//! `m ± t(0.975, n - 1) · s / sqrt(n)` (Student, "The probable error of a mean", 1908).

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::summary::{Arm, Role, Summary};
use super::text;

/// The paired comparison of a distilled arm with the student alone, in shares of rows (0 to 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The distilled arm's label.
    pub distilled: String,
    /// The other arm's label.
    pub alone: String,
    /// One entry per seed that both arms have, by seed.
    pub pairs: Vec<Pair>,
    /// Mean difference of top-1 accuracy; none without a pair.
    pub mean: Option<f64>,
    /// Sample standard deviation of the differences; none below two pairs.
    pub deviation: Option<f64>,
    /// Standard error of the mean; none below two pairs.
    pub standard_error: Option<f64>,
    /// 95 % interval of the mean, lower and upper; none below two pairs.
    pub interval: Option<(f64, f64)>,
    /// Seeds on which distilled is better.
    pub wins: usize,
    /// Seeds on which both are exactly equal.
    pub ties: usize,
}

/// The top-1 accuracies of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The seed.
    pub seed: u64,
    /// Accuracy of the student alone.
    pub alone: f64,
    /// Accuracy of the distilled student.
    pub distilled: f64,
}

impl Pair {
    /// Distilled minus alone.
    pub fn difference(&self) -> f64 {
        self.distilled - self.alone
    }
}

/// What the pairs say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Better on average, and the 95 % interval is above zero.
    Better,
    /// Better on average, but chance is not excluded.
    PerhapsBetter,
    /// No difference on average.
    Equal,
    /// Worse on average.
    Worse,
    /// No seed was run in both arms.
    Unknown,
}

impl Outcome {
    /// Whether the mean difference is above zero.
    pub fn is_gain(self) -> bool {
        matches!(self, Self::Better | Self::PerhapsBetter)
    }
}

/// Differences below this are rounding, not accuracy: one row in a billion is far above it.
const ROUNDING: f64 = 1e-12;

impl Comparison {
    /// Pairs the runs of two arms by seed.
    pub fn between(alone: &Arm, distilled: &Arm) -> Self {
        let mut pairs: Vec<Pair> = distilled
            .runs
            .iter()
            .filter_map(|run| {
                let seed = run.seed?;
                let other = alone.runs.iter().find(|other| other.seed == Some(seed))?;
                Some(Pair {
                    seed,
                    alone: other.metrics.top1,
                    distilled: run.metrics.top1,
                })
            })
            .collect();
        pairs.sort_by_key(|pair| pair.seed);
        pairs.dedup_by_key(|pair| pair.seed);

        let differences: Vec<f64> = pairs.iter().map(Pair::difference).collect();
        let mean = mean(&differences);
        let deviation = sample_deviation(&differences);
        let standard_error = deviation.map(|deviation| deviation / (pairs.len() as f64).sqrt());
        let interval = mean.zip(standard_error).and_then(|(mean, error)| {
            let half = quantile_t(pairs.len() - 1)? * error;
            Some((mean - half, mean + half))
        });
        Self {
            distilled: distilled.label.clone(),
            alone: alone.label.clone(),
            mean,
            deviation,
            standard_error,
            interval,
            wins: differences
                .iter()
                .filter(|difference| **difference > ROUNDING)
                .count(),
            ties: differences
                .iter()
                .filter(|difference| difference.abs() <= ROUNDING)
                .count(),
            pairs,
        }
    }

    /// What the pairs say.
    pub fn outcome(&self) -> Outcome {
        match (self.mean, self.interval) {
            (None, _) => Outcome::Unknown,
            (Some(mean), _) if mean.abs() < ROUNDING => Outcome::Equal,
            (Some(mean), _) if mean < 0.0 => Outcome::Worse,
            (Some(_), Some((low, _))) if low > 0.0 => Outcome::Better,
            (Some(_), _) => Outcome::PerhapsBetter,
        }
    }

    /// One honest sentence.
    pub fn verdict(&self) -> String {
        let (distilled, alone) = (text::capitalised(&self.distilled), &self.alone);
        let seeds = text::count_of(self.pairs.len(), "seed");
        let Some(mean) = self.mean else {
            return format!("{distilled} and {alone} share no seed, so they cannot be compared.");
        };
        if self.ties == self.pairs.len() {
            return format!("{distilled} equals {alone} on {seeds}: it made no difference.");
        }
        let ties = match self.ties {
            0 => String::new(),
            ties => format!(" ({})", text::count_of(ties, "tie")),
        };
        let verb = if self.outcome().is_gain() {
            "beats"
        } else {
            "does not beat"
        };
        let wins = if self.outcome().is_gain() {
            format!(" on {} of {seeds}{ties}", self.wins)
        } else {
            format!(": better on {} of {seeds}{ties}", self.wins)
        };
        format!(
            "{distilled} {verb} {alone}{wins}, mean {} points; {}.",
            text::signed_points(mean),
            self.chance()
        )
    }

    fn chance(&self) -> String {
        let Some((low, high)) = self.interval else {
            return "one seed gives no interval, run at least three".to_owned();
        };
        let interval = format!(
            "95 % interval {} to {}",
            text::signed_points(low),
            text::signed_points(high)
        );
        if low <= 0.0 && high >= 0.0 {
            format!("the {interval} includes zero, so this may be chance")
        } else {
            interval
        }
    }
}

impl Summary {
    /// The first distilled arm against the student alone; none if the experiment lacks either.
    pub fn comparison(&self) -> Option<Comparison> {
        self.comparisons().into_iter().next()
    }

    /// One honest sentence on the first distilled arm, or on why there is none.
    pub fn verdict(&self) -> String {
        self.verdicts().swap_remove(0)
    }

    /// One honest sentence per distilled arm; one that says why if nothing can be compared.
    pub(super) fn verdicts(&self) -> Vec<String> {
        let comparisons = self.comparisons();
        if !comparisons.is_empty() {
            return comparisons.iter().map(Comparison::verdict).collect();
        }
        let missing = match self.arm(Role::Alone) {
            None => "the student was not trained alone",
            Some(_) => "no student was distilled",
        };
        vec![format!("There is no verdict: {missing}.")]
    }

    /// Every distilled arm against the student alone.
    pub fn comparisons(&self) -> Vec<Comparison> {
        let Some(alone) = self.arm(Role::Alone) else {
            return Vec::new();
        };
        self.arms
            .iter()
            .filter(|arm| arm.role == Role::Distilled)
            .map(|distilled| Comparison::between(alone, distilled))
            .collect()
    }

    /// The first arm of a role.
    pub fn arm(&self, role: Role) -> Option<&Arm> {
        self.arms.iter().find(|arm| arm.role == role)
    }
}

/// The mean; none for no values.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation with `n - 1`; none below two values.
pub(super) fn sample_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// The 0.975 quantile of Student's t distribution.
fn quantile_t(freedom: usize) -> Option<f64> {
    StudentsT::new(0.0, 1.0, freedom as f64)
        .ok()
        .map(|t| t.inverse_cdf(0.975))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::report::fixture;

    fn compare(alone: &[(u64, f64)], distilled: &[(u64, f64)]) -> Comparison {
        Comparison::between(
            &fixture::arm(Role::Alone, "student alone", alone),
            &fixture::arm(Role::Distilled, "student distilled", distilled),
        )
    }

    fn close(got: f64, expected: f64) {
        assert!(
            (got - expected).abs() < 1e-9,
            "expected {expected}, got {got}"
        );
    }

    /// Differences 0.01, 0.02, 0.03: mean 0.02, deviation 0.01, error 0.01 / sqrt(3), and
    /// t(0.975, 2) = 4.302652729911275 from the tables.
    #[test]
    fn three_seeds_by_hand() {
        let compared = compare(
            &[(0, 0.90), (1, 0.90), (2, 0.90)],
            &[(2, 0.93), (0, 0.91), (1, 0.92)],
        );
        close(compared.mean.unwrap(), 0.02);
        close(compared.deviation.unwrap(), 0.01);
        close(compared.standard_error.unwrap(), 0.005_773_502_691_896);
        let (low, high) = compared.interval.unwrap();
        close(low, 0.02 - 4.302_652_729_911_275 * 0.005_773_502_691_896);
        close(high, 0.02 + 4.302_652_729_911_275 * 0.005_773_502_691_896);
        assert_eq!((compared.wins, compared.ties), (3, 0));
        assert_eq!(compared.outcome(), Outcome::PerhapsBetter);
        assert_eq!(
            compared.verdict(),
            "Student distilled beats student alone on 3 of 3 seeds, mean +2.00 points; \
             the 95 % interval \u{2212}0.48 to +4.48 includes zero, so this may be chance."
        );
    }

    #[test]
    fn a_clear_gain() {
        let compared = compare(
            &[(0, 0.90), (1, 0.91), (2, 0.92)],
            &[(0, 0.920), (1, 0.931), (2, 0.939)],
        );
        assert_eq!(compared.outcome(), Outcome::Better);
        assert_eq!(
            compared.verdict(),
            "Student distilled beats student alone on 3 of 3 seeds, mean +2.00 points; \
             95 % interval +1.75 to +2.25."
        );
    }

    #[test]
    fn a_loss_is_called_a_loss() {
        let compared = compare(
            &[(0, 0.90), (1, 0.90), (2, 0.90)],
            &[(0, 0.88), (1, 0.91), (2, 0.87)],
        );
        assert_eq!(compared.outcome(), Outcome::Worse);
        assert!(
            compared.verdict().starts_with(
                "Student distilled does not beat student alone: better on 1 of 3 seeds, \
                 mean \u{2212}1.33 points; the 95 % interval"
            ),
            "{}",
            compared.verdict()
        );
    }

    #[test]
    fn one_seed_has_no_interval() {
        let compared = compare(&[(7, 0.5)], &[(7, 0.6)]);
        assert_eq!((compared.deviation, compared.interval), (None, None));
        assert_eq!(compared.outcome(), Outcome::PerhapsBetter);
        assert!(compared.verdict().contains("one seed gives no interval"));
    }

    #[test]
    fn ties_and_unpaired_seeds() {
        let compared = compare(
            &[(0, 0.5), (1, 0.6), (9, 0.1)],
            &[(0, 0.5), (1, 0.6), (3, 0.9)],
        );
        assert_eq!(compared.pairs.len(), 2);
        assert_eq!(compared.outcome(), Outcome::Equal);
        assert_eq!(
            compared.verdict(),
            "Student distilled equals student alone on 2 seeds: it made no difference."
        );
        let apart = compare(&[(0, 0.5)], &[(1, 0.9)]);
        assert_eq!(apart.outcome(), Outcome::Unknown);
        assert_eq!(
            apart.verdict(),
            "Student distilled and student alone share no seed, so they cannot be compared."
        );
    }

    /// Quantiles from the tables, to the digits tables give.
    #[test]
    fn quantiles_of_t() {
        for (freedom, expected) in [
            (1, 12.706_204_7),
            (2, 4.302_652_7),
            (4, 2.776_445_1),
            (9, 2.262_157_2),
            (30, 2.042_272_5),
        ] {
            let got = quantile_t(freedom).unwrap();
            assert!((got - expected).abs() < 1e-6, "t(0.975, {freedom}): {got}");
        }
    }
}
