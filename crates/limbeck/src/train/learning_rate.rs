//! The learning rate as a pure function of the step.
//!
//! A resumed run needs no scheduler state: the rate of step 1000 follows from the settings alone. The
//! rate changes at every optimiser step, except with [`Schedule::Step`], which changes at the start of an
//! epoch, as the recipes of the literature count it.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How the learning rate changes between the first and the last step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Schedule {
    /// Always the same.
    Constant,
    /// Multiplied by `gamma` at the start of every epoch in `milestones` (PyTorch's `MultiStepLR`).
    Step {
        /// Epochs, counted from 0.
        milestones: Vec<u64>,
        /// The factor.
        gamma: f64,
    },
    /// Half a cosine from the learning rate to `last`, which it would reach one step after the end (PyTorch's
    /// `CosineAnnealingLR`, stepped per batch; Loshchilov and Hutter 2017, section 3, one cycle).
    Cosine {
        /// The rate that is approached.
        last: f64,
    },
    /// Half a cosine up to the learning rate, then half a cosine down (PyTorch's `OneCycleLR` with two
    /// phases and constant momentum; Smith and Topin 2018, section 3).
    OneCycle {
        /// The share of the steps at which the learning rate is reached, between 0 and 1.
        peak: f64,
        /// The learning rate divided by the rate of the first step.
        start_divisor: f64,
        /// The rate of the first step divided by that of the last.
        final_divisor: f64,
    },
}

/// A schedule with everything it depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct LearningRate {
    /// The rate that the schedule scales.
    pub base: f64,
    /// Its shape.
    pub schedule: Schedule,
    /// The steps of linear warm-up, during which the rate is `base * (step + 1) / warmup` (Goyal et al.
    /// 2017, section 2.2); the schedule takes the steps that are left.
    pub warmup: u64,
    /// All steps of the training.
    pub steps: u64,
    /// The steps of one epoch.
    pub steps_per_epoch: u64,
}

impl LearningRate {
    /// The rate of `step`, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.base * (step + 1) as f64 / self.warmup as f64;
        }
        let position = (step - self.warmup) as f64;
        let length = self.steps.saturating_sub(self.warmup).max(1) as f64;
        match &self.schedule {
            Schedule::Constant => self.base,
            Schedule::Step { milestones, gamma } => {
                let epoch = step / self.steps_per_epoch.max(1);
                let passed = milestones.iter().filter(|&&milestone| milestone <= epoch);
                passed.fold(self.base, |rate, _| rate * gamma)
            }
            Schedule::Cosine { last } => half_cosine(self.base, *last, position / length),
            Schedule::OneCycle {
                peak,
                start_divisor,
                final_divisor,
            } => {
                let first = self.base / start_divisor;
                let last = first / final_divisor;
                let (top, end) = (peak * length - 1.0, length - 1.0);
                if position <= top {
                    half_cosine(first, self.base, position / top.max(f64::MIN_POSITIVE))
                } else {
                    half_cosine(self.base, last, (position - top) / (end - top))
                }
            }
        }
    }
}

/// Half a cosine from `from` (at 0) to `to` (at 1).
fn half_cosine(from: f64, to: f64, position: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * position).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(base: f64, schedule: Schedule, warmup: u64, steps: u64, per_epoch: u64) -> Vec<f64> {
        let rate = LearningRate {
            base,
            schedule,
            warmup,
            steps,
            steps_per_epoch: per_epoch,
        };
        (0..steps).map(|step| rate.at(step)).collect()
    }

    fn assert_close(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (step, (got, expected)) in got.iter().zip(expected).enumerate() {
            assert!(
                (got - expected).abs() <= 1e-12 * expected.abs().max(1e-3),
                "step {step}: expected {expected}, got {got}"
            );
        }
    }

    #[test]
    fn constant_with_warmup_rises_linearly_and_stays() {
        let got = rates(0.4, Schedule::Constant, 4, 6, 3);
        assert_close(&got, &[0.1, 0.2, 0.3, 0.4, 0.4, 0.4]);
    }

    /// `MultiStepLR(milestones=[1, 3], gamma=0.1)` with two steps per epoch.
    #[test]
    fn step_falls_at_the_start_of_each_milestone() {
        let schedule = Schedule::Step {
            milestones: vec![1, 3],
            gamma: 0.1,
        };
        let got = rates(1.0, schedule, 0, 8, 2);
        assert_close(&got, &[1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]);
    }

    /// `CosineAnnealingLR(T_max=4, eta_min=0.02)` from 0.1: with cos(pi/4) = sqrt(1/2) the second value is
    /// 0.02 + 0.04 * 1.7071067811865475.
    #[test]
    fn cosine_follows_the_closed_form() {
        let got = rates(0.1, Schedule::Cosine { last: 0.02 }, 0, 4, 2);
        assert_close(
            &got,
            &[0.1, 0.088_284_271_247_461_9, 0.06, 0.031_715_728_752_538_1],
        );
    }

    #[test]
    fn cosine_starts_after_the_warmup() {
        let got = rates(0.1, Schedule::Cosine { last: 0.0 }, 2, 4, 2);
        assert_close(&got, &[0.05, 0.1, 0.1, 0.05]);
    }

    /// `OneCycleLR(max_lr=0.1, total_steps=10)` with PyTorch's defaults, computed from its definition: phases
    /// end at steps 0.3 * 10 - 1 = 2 and 9, the rates are 0.004, 0.1 and 4e-7.
    #[test]
    fn one_cycle_has_pytorchs_phases() {
        let schedule = Schedule::OneCycle {
            peak: 0.3,
            start_divisor: 25.0,
            final_divisor: 1e4,
        };
        let got = rates(0.1, schedule, 0, 10, 5);
        let down = |position: f64| 4e-7 + (0.1 - 4e-7) * (1.0 + (PI * position / 7.0).cos()) / 2.0;
        assert_close(
            &got,
            &[
                0.004,
                0.052,
                0.1,
                down(1.0),
                down(2.0),
                down(3.0),
                down(4.0),
                down(5.0),
                down(6.0),
                4e-7,
            ],
        );
    }

    #[test]
    fn one_cycle_of_few_steps_is_finite_and_positive() {
        for steps in 1..6 {
            let schedule = Schedule::OneCycle {
                peak: 0.3,
                start_divisor: 25.0,
                final_divisor: 1e4,
            };
            for rate in rates(0.1, schedule, 0, steps, 1) {
                assert!(
                    rate.is_finite() && rate > 0.0 && rate <= 0.1 + 1e-12,
                    "{steps} steps: {rate}"
                );
            }
        }
    }
}
