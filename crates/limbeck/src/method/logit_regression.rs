//! Logit regression: the student regresses on the teacher's raw logits, without labels, softmax or temperature.
//!
//! ```text
//! L = 1 / (2 N) sum over rows of ||z - v||^2
//! ```
//!
//! `v` are the teacher's logits `[batch, classes]` (of an ensemble the mean of the members' logits), `z` the student's. Since
//! no label enters, any inputs serve, and more of them help: the paper's students gain most from unlabelled data.
//!
//! `whiten = true` measures each class's mean and deviation of `v` over the training set and compares
//! `(z - mean) / deviation` with `(v - mean) / deviation`. The student itself stays in raw units, so there
//! is nothing to undo when it is deployed. The paper reports a small gain.
//!
//! It helps students that cannot fit labels well but have the capacity to copy a smooth function: shallow and wide
//! ones. The logged value has the scale of squared logits; learning rates tuned for cross entropy are often too high.
//!
//! Settings of the paper: half squared norm, no regularisation of the student, SGD with momentum.
//!
//! Source: Ba and Caruana 2014, "Do Deep Nets Really Need to be Deep?", <https://arxiv.org/abs/1312.6184>.

use limbeck_graph::Taps;
use serde::{Deserialize, Serialize};

use super::{Method, Step, Term};
use crate::loss::{Whitening, WhiteningFit, logit_regression};
use crate::recipe::Section;
use crate::teacher::Answer;
use crate::{Error, Result};

/// The scale of the regression loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegressionLoss {
    /// Half the squared norm of each row, as in the paper.
    #[default]
    HalfSquaredNorm,
    /// The mean over classes, smaller by half the number of classes.
    MeanSquare,
}

const LOSSES: [(&str, RegressionLoss); 2] = [
    ("half-squared-norm", RegressionLoss::HalfSquaredNorm),
    ("mean-square", RegressionLoss::MeanSquare),
];

/// The checked settings of [`LogitRegression`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogitRegressionSettings {
    /// The scale of the loss.
    pub loss: RegressionLoss,
    /// Whether each class is compared in units of its deviation over the training set.
    pub whiten: bool,
}

impl LogitRegressionSettings {
    pub(super) fn check(section: &mut Section) -> Self {
        let loss = section.choice("loss", &LOSSES, RegressionLoss::default());
        Self {
            loss,
            whiten: section.or("whiten", false),
        }
    }
}

/// Distillation by regression on logits.
#[derive(Clone, Debug)]
pub struct LogitRegression {
    settings: LogitRegressionSettings,
    whitening: Option<Whitening>,
}

impl LogitRegression {
    /// Its name in recipes.
    pub const NAME: &str = "logit-regression";

    /// Builds the method.
    pub const fn new(settings: LogitRegressionSettings) -> Self {
        Self {
            settings,
            whitening: None,
        }
    }
}

impl Method for LogitRegression {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn teacher_taps(&self) -> Option<Taps> {
        Some(Taps::none())
    }

    fn needs_labels(&self) -> bool {
        false
    }

    fn prepare(&mut self, answers: &mut dyn Iterator<Item = Result<Answer>>) -> Result<()> {
        if self.settings.whiten {
            let mut fit = WhiteningFit::default();
            for answer in answers {
                fit.add(&answer?.logits()?)?;
            }
            self.whitening = Some(fit.finish()?);
        }
        Ok(())
    }

    fn terms(&self, step: &Step<'_>) -> Result<Vec<Term>> {
        let mut student = step.student_logits()?;
        let mut teacher = step.require_teacher(Self::NAME)?.logits()?;
        if self.settings.whiten {
            let whitening = self.whitening.as_ref().ok_or_else(|| {
                Error::Data(format!(
                    "method `{}` with `whiten = true` was not prepared with the teacher's answers",
                    Self::NAME
                ))
            })?;
            student = whitening.apply(&student)?;
            teacher = whitening.apply(&teacher)?;
        }
        let rows = match self.settings.loss {
            RegressionLoss::HalfSquaredNorm => {
                logit_regression::half_squared_norm(&student, &teacher)?
            }
            RegressionLoss::MeanSquare => logit_regression::mean_square(&student, &teacher)?,
        };
        Ok(vec![Term {
            name: "logits",
            weight: 1.0,
            rows,
        }])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::loss::testing::golden;
    use crate::method::testing::{Scene, total};

    #[test]
    fn golden_through_the_method() {
        let Some(cases) = golden("logit_mse") else {
            return;
        };
        for case in &cases {
            let half = case.variant.starts_with("half");
            let loss = if half {
                RegressionLoss::HalfSquaredNorm
            } else {
                RegressionLoss::MeanSquare
            };
            let settings = LogitRegressionSettings {
                loss,
                whiten: false,
            };
            let scene = Scene::from_case(case);
            case.check_value(total(
                &LogitRegression::new(settings).terms(&scene.step()).unwrap(),
            ));
        }
    }

    #[test]
    fn ensembles_teach_their_mean_logits() {
        let mut scene = Scene::new(&[[0.0, 0.0]], Some(&[[4.0, 0.0]]), None);
        let other = Scene::new(&[[0.0, 0.0]], Some(&[[0.0, 2.0]]), None);
        let answer = scene.answer.as_mut().unwrap();
        answer.members.extend(other.answer.unwrap().members);
        let method = LogitRegression::new(LogitRegressionSettings::default());
        assert!(!method.needs_labels());
        assert_eq!(total(&method.terms(&scene.step()).unwrap()), 2.5);
    }

    #[test]
    fn whitening_is_measured_over_the_training_set() {
        let settings = LogitRegressionSettings {
            whiten: true,
            ..Default::default()
        };
        let mut method = LogitRegression::new(settings);
        let scene = Scene::new(&[[1.0, 1.0]], Some(&[[2.0, 11.0]]), None);
        let message = method.terms(&scene.step()).unwrap_err().to_string();
        assert!(message.contains("was not prepared"), "{message}");

        let batch = |row: [f32; 2]| Ok(Scene::new(&[row], Some(&[row]), None).answer.unwrap());
        let mut answers = [batch([0.0, 0.0]), batch([2.0, 20.0])].into_iter();
        method.prepare(&mut answers).unwrap();
        assert_eq!(total(&method.terms(&scene.step()).unwrap()), 1.0);

        let mut failing = [Err(Error::Data("broken row".to_owned()))].into_iter();
        assert_eq!(
            method.prepare(&mut failing).unwrap_err().to_string(),
            "broken row"
        );
        assert!(method.prepare(&mut std::iter::empty()).is_err());
    }

    #[test]
    fn an_unused_preparation_costs_nothing() {
        let mut pulled = 0;
        let mut answers = std::iter::from_fn(|| {
            pulled += 1;
            None
        });
        let mut method = LogitRegression::new(LogitRegressionSettings::default());
        method.prepare(&mut answers).unwrap();
        assert_eq!(pulled, 0);
    }
}
