//! Soft targets: the student learns the teacher's softened distribution, optionally with labels beside it.
//!
//! ```text
//! L = soft_weight * mean of T^2 KL(softmax(v / T) || softmax(z / T)) + hard_weight * mean of CE(y, softmax(z))
//! ```
//!
//! `v` are the teacher's logits `[batch, classes]`, `z` the student's, `y` the labels `[batch]`. The student is deployed at
//! temperature 1. An ensemble teaches with the arithmetic or geometric mean of its members' softened distributions.
//! The factor T^2 belongs to the loss, not to the weight: changing the temperature leaves the balance of the
//! two terms as it is. `alpha` is shorthand for `soft_weight = alpha, hard_weight = 1 - alpha`.
//!
//! With `hard_weight = 0` no labels are needed, so any inputs serve. On a small labelled subset the same method is the
//! paper's "soft targets as regularisers" (section 6): the teacher saw all data, the student sees 3 % of it.
//!
//! It helps most where the teacher is much better than the student alone and its mistakes are informative: many similar
//! classes, little data, an ensemble as the teacher.
//!
//! Settings of the paper: MNIST with T = 20, where any T above 8 did alike for wide students and 2.5 to 4 was best for 30
//! units per layer; speech with T in 1, 2, 5, 10 and a relative weight of 0.5 on the labels. Best
//! results had "a considerably lower weight" on the labels. The defaults are T = 20, 1 and 0.5.
//!
//! Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", <https://arxiv.org/abs/1503.02531>.

use limbeck_graph::Taps;
use serde::{Deserialize, Serialize};

use super::{Method, Step, Term};
use crate::Result;
use crate::loss::{LabelSmoothing, Temperature, cross_entropy, soft_targets};
use crate::recipe::Section;

/// Which of two losses with the same gradient is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SoftTargetForm {
    /// The divergence from the teacher, 0 where the student agrees with it.
    #[default]
    Divergence,
    /// The cross entropy, which still holds the teacher's entropy.
    CrossEntropy,
}

const FORMS: [(&str, SoftTargetForm); 2] = [
    ("divergence", SoftTargetForm::Divergence),
    ("cross-entropy", SoftTargetForm::CrossEntropy),
];

/// The checked settings of [`SoftTargets`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftTargetSettings {
    /// Softens teacher and student.
    pub temperature: Temperature,
    /// The factor of the soft term; T^2 is not part of it.
    pub soft_weight: f64,
    /// The factor of the cross entropy with labels.
    pub hard_weight: f64,
    /// Which value is logged for the soft term.
    pub form: SoftTargetForm,
}

impl Default for SoftTargetSettings {
    fn default() -> Self {
        let temperature = Temperature::new(20.0).expect("20 is positive and finite");
        Self {
            temperature,
            soft_weight: 1.0,
            hard_weight: 0.5,
            form: SoftTargetForm::Divergence,
        }
    }
}

impl SoftTargetSettings {
    pub(super) fn check(section: &mut Section) -> Self {
        let default = Self::default();
        let temperature = section.or("temperature", default.temperature);
        let form = section.choice("form", &FORMS, default.form);
        let expected = "a number of at least 0";
        let soft_weight = section.number("soft_weight", default.soft_weight, expected, |weight| {
            weight >= 0.0
        });
        let hard_weight = section.number("hard_weight", default.hard_weight, expected, |weight| {
            weight >= 0.0
        });
        let settings = Self {
            temperature,
            soft_weight,
            hard_weight,
            form,
        };
        let between = |alpha: f64| (0.0..=1.0).contains(&alpha);
        let alpha = section.number("alpha", 1.0, "a number from 0 to 1", between);
        if !section.has("alpha") {
            if soft_weight == 0.0 {
                section.problem(
                    "soft_weight",
                    "expected a number above 0, got 0; the method `labels` trains on labels alone",
                );
            }
            return settings;
        }
        for weight in ["soft_weight", "hard_weight"] {
            if section.has(weight) {
                section.problem(
                    weight,
                    "cannot stand beside `alpha`, which sets both weights; keep one of the two forms",
                );
            }
        }
        if alpha == 0.0 {
            section.problem(
                "alpha",
                "expected a number above 0, got 0; the method `labels` trains on labels alone",
            );
        }
        Self {
            soft_weight: alpha,
            hard_weight: 1.0 - alpha,
            ..settings
        }
    }
}

/// Distillation with soft targets.
#[derive(Clone, Copy, Debug)]
pub struct SoftTargets {
    settings: SoftTargetSettings,
}

impl SoftTargets {
    /// Its name in recipes.
    pub const NAME: &str = "soft-targets";

    /// Builds the method.
    pub const fn new(settings: SoftTargetSettings) -> Self {
        Self { settings }
    }
}

impl Method for SoftTargets {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn teacher_taps(&self) -> Option<Taps> {
        Some(Taps::none())
    }

    fn needs_labels(&self) -> bool {
        self.settings.hard_weight > 0.0
    }

    fn terms(&self, step: &Step<'_>) -> Result<Vec<Term>> {
        let settings = &self.settings;
        let student = step.student_logits()?;
        let target = step
            .require_teacher(Self::NAME)?
            .log_probabilities(settings.temperature)?;
        let soft = match settings.form {
            SoftTargetForm::Divergence => soft_targets::divergence(&student, &target)?,
            SoftTargetForm::CrossEntropy => soft_targets::cross_entropy(&student, &target)?,
        };
        let mut terms = vec![Term {
            name: "soft",
            weight: settings.soft_weight,
            rows: soft,
        }];
        if self.needs_labels() {
            let labels = step.require_labels(
                Self::NAME,
                "set `method.hard_weight = 0` to learn from the teacher alone",
            )?;
            let rows = cross_entropy(&student, labels, LabelSmoothing::NONE)?;
            terms.push(Term {
                name: "labels",
                weight: settings.hard_weight,
                rows,
            });
        }
        Ok(terms)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::loss::testing::{assert_close, golden};
    use crate::method::testing::{Scene, total};
    use crate::teacher::{Answer, EnsembleMean};

    #[test]
    fn golden_mix_through_the_method() {
        let Some(cases) = golden("kd_ce") else { return };
        for case in &cases {
            let scene = Scene::from_case(case);
            let alpha = case.parameter("alpha");
            let settings = SoftTargetSettings {
                temperature: Temperature::new(case.parameter("temperature")).unwrap(),
                soft_weight: alpha,
                hard_weight: 1.0 - alpha,
                form: SoftTargetForm::Divergence,
            };
            let terms = SoftTargets::new(settings).terms(&scene.step()).unwrap();
            case.check_value(total(&terms));
        }
    }

    #[test]
    fn without_labels_the_teacher_is_enough() {
        let scene = Scene::new(&[[0.0, 0.0]], Some(&[[2.0, 0.0]]), None);
        let settings = SoftTargetSettings {
            hard_weight: 0.0,
            ..SoftTargetSettings::default()
        };
        let method = SoftTargets::new(settings);
        assert!(!method.needs_labels());
        let terms = method.terms(&scene.step()).unwrap();
        assert_eq!(
            terms.iter().map(|term| term.name).collect::<Vec<_>>(),
            ["soft"]
        );

        let method = SoftTargets::new(SoftTargetSettings::default());
        let message = method.terms(&scene.step()).unwrap_err().to_string();
        assert!(message.ends_with("set `method.hard_weight = 0` to learn from the teacher alone"));
        let no_teacher = Scene::new(&[[0.0, 0.0]], None, Some(&[0]));
        let message = method.terms(&no_teacher.step()).unwrap_err().to_string();
        assert_eq!(
            message,
            "method `soft-targets` needs a teacher, and the recipe names none"
        );
    }

    #[test]
    fn weights_multiply_and_temperature_does_not_leak_into_them() {
        let scene = Scene::new(
            &[[0.0, 0.0]],
            Some(&[[8.0 * 3.0_f32.ln(), 0.0]]),
            Some(&[1]),
        );
        let settings = SoftTargetSettings {
            temperature: Temperature::new(8.0).unwrap(),
            soft_weight: 0.25,
            hard_weight: 2.0,
            form: SoftTargetForm::CrossEntropy,
        };
        let terms = SoftTargets::new(settings).terms(&scene.step()).unwrap();
        let ln2 = 2.0_f64.ln();
        assert!((total(&terms) - (0.25 * 64.0 * ln2 + 2.0 * ln2)).abs() < 1e-4);
        assert_eq!(
            terms.iter().map(|term| term.weight).collect::<Vec<_>>(),
            [0.25, 2.0]
        );
    }

    #[test]
    fn the_mean_of_an_ensemble_matters() {
        let mut scene = Scene::new(&[[0.5, 0.0]], Some(&[[4.0, 0.0]]), None);
        let other = Scene::new(&[[0.0, 0.0]], Some(&[[0.0, 1.0]]), None);
        let members = |scene: &Scene| scene.answer.as_ref().unwrap().members[0].clone();
        let members = vec![members(&scene), members(&other)];
        let settings = SoftTargetSettings {
            temperature: Temperature::ONE,
            hard_weight: 0.0,
            ..SoftTargetSettings::default()
        };
        let mut value = |mean| {
            scene.answer = Some(Answer {
                members: members.clone(),
                mean,
            });
            total(&SoftTargets::new(settings).terms(&scene.step()).unwrap())
        };
        let kl = |p: f64, q: f64| p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let expected = [
            kl((sigmoid(4.0) + sigmoid(-1.0)) / 2.0, sigmoid(0.5)),
            kl(sigmoid(1.5), sigmoid(0.5)),
        ];
        let got = [
            value(EnsembleMean::Arithmetic),
            value(EnsembleMean::Geometric),
        ];
        assert_close(&got, &expected, 1e-6);
    }
}
