//! Arms as tables and figures see them: one style each, and means over seeds.

use super::comparison::{mean, sample_deviation};
use super::summary::{Arm, ArmRun, Role, Summary};
use crate::eval::Metrics;

/// Styles of the arms that share a role; a fifth distilled arm starts over.
const DISTILLED: [&str; 4] = ["distilled", "distilled-2", "distilled-3", "distilled-4"];

/// An arm and the style it has in every figure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Styled<'a> {
    pub(super) arm: &'a Arm,
    pub(super) class: &'static str,
}

impl Summary {
    /// Its arms with their styles: teacher, alone, distilled, in this order.
    pub(super) fn styled(&self) -> Vec<Styled<'_>> {
        let mut arms: Vec<&Arm> = self.arms.iter().collect();
        arms.sort_by_key(|arm| arm.role);
        let mut distilled = 0;
        arms.into_iter()
            .map(|arm| {
                let class = match arm.role {
                    Role::Teacher => "teacher",
                    Role::Alone => "alone",
                    Role::Distilled => {
                        distilled += 1;
                        DISTILLED[(distilled - 1) % DISTILLED.len()]
                    }
                };
                Styled { arm, class }
            })
            .collect()
    }
}

impl Arm {
    /// A metric of every run that has it.
    pub(super) fn values(&self, metric: impl Fn(&ArmRun) -> Option<f64>) -> Vec<f64> {
        self.runs
            .iter()
            .filter_map(metric)
            .filter(|value| value.is_finite())
            .collect()
    }

    /// Mean and sample deviation of a metric over the runs that have it.
    pub(super) fn spread(
        &self,
        metric: impl Fn(&ArmRun) -> Option<f64>,
    ) -> Option<(f64, Option<f64>)> {
        let values = self.values(metric);
        mean(&values).map(|mean| (mean, sample_deviation(&values)))
    }

    /// Mean top-1 accuracy.
    pub(super) fn accuracy(&self) -> Option<f64> {
        self.spread(|run| Some(run.metrics.top1))
            .map(|(mean, _)| mean)
    }

    /// Rows by true class, then predicted class, over all runs; none if no run counted them.
    pub(super) fn confusion(&self, classes: usize) -> Option<Vec<Vec<u64>>> {
        let mut sum = vec![vec![0; classes]; classes];
        let mut rows = 0;
        for Metrics { confusion, .. } in self.runs.iter().map(|run| &run.metrics) {
            if confusion.len() != classes || confusion.iter().any(|row| row.len() != classes) {
                continue;
            }
            for (into, row) in sum.iter_mut().flatten().zip(confusion.iter().flatten()) {
                *into += row;
                rows += row;
            }
        }
        (rows > 0).then_some(sum)
    }

    /// Accuracy per class over all runs, none for a class without rows; none if no run has it.
    pub(super) fn class_accuracies(&self, classes: usize) -> Option<Vec<Option<f64>>> {
        let mut counts = vec![(0_u64, 0_u64); classes];
        for entry in self.runs.iter().flat_map(|run| &run.metrics.per_class) {
            if let Some((count, correct)) = counts.get_mut(entry.class as usize) {
                *count += entry.count;
                *correct += entry.correct;
            }
        }
        let accuracies: Vec<Option<f64>> = counts
            .into_iter()
            .map(|(count, correct)| (count > 0).then(|| correct as f64 / count as f64))
            .collect();
        accuracies.iter().any(Option::is_some).then_some(accuracies)
    }
}
