//! One method per file: what is compared between teacher and student, and with which weight.
//!
//! A method describes, [`train`](crate::train) runs. Its settings are read from a recipe's `[method]` table by [`check`], are
//! valid by construction, and build it; [`methods`] lists what there is.

mod labels;
mod logit_regression;
mod registry;
mod settings;
mod soft_targets;

#[cfg(test)]
pub(crate) mod testing;

pub use labels::{LabelSettings, LabelTraining};
pub use logit_regression::{LogitRegression, LogitRegressionSettings, RegressionLoss};
pub use registry::{MethodInfo, Paper, SettingInfo, find, methods};
pub use settings::{MethodSettings, check};
pub use soft_targets::{SoftTargetForm, SoftTargetSettings, SoftTargets};

use burn::tensor::Tensor;
use limbeck_graph::{Taps, Trace};

use crate::loss::{Labels, Logits};
use crate::teacher::Answer;
use crate::{Error, Result};

/// A method of distillation.
pub trait Method: Send {
    /// Its name in recipes.
    fn name(&self) -> &'static str;

    /// The student's features that it compares.
    fn student_taps(&self) -> Taps {
        Taps::none()
    }

    /// The teacher's features that it compares; `None` if it needs no teacher.
    fn teacher_taps(&self) -> Option<Taps>;

    /// Whether every batch must have labels.
    fn needs_labels(&self) -> bool;

    /// Called once per process before the first step, also of a resumed run, with the teacher's answers over the training
    /// set: every row once, not augmented, in a fixed order. The answers are computed as the iterator is pulled, so a
    /// method that leaves it alone, as the default does, costs no pass of the teacher.
    ///
    /// # Errors
    /// If an answer failed, or does not fit the method.
    fn prepare(&mut self, answers: &mut dyn Iterator<Item = Result<Answer>>) -> Result<()> {
        let _ = answers;
        Ok(())
    }

    /// The loss terms of one batch.
    ///
    /// # Errors
    /// If shapes do not fit, or the batch lacks labels that the method needs.
    fn terms(&self, step: &Step<'_>) -> Result<Vec<Term>>;
}

/// What a method sees of one batch.
#[derive(Debug)]
pub struct Step<'a> {
    /// The student's output and recorded features; gradients flow into them.
    pub student: &'a Trace,
    /// The teacher's answer, without gradients.
    pub teacher: Option<&'a Answer>,
    /// The classes, `[batch]`; `None` where the batch has no labels.
    pub labels: Option<&'a Labels>,
    /// The share of the training that is done, 0 to 1.
    pub progress: f64,
}

impl<'a> Step<'a> {
    /// The student's logits, `[batch, classes]`.
    ///
    /// # Errors
    /// If its output has another rank.
    pub fn student_logits(&self) -> Result<Logits> {
        Logits::try_from(self.student.output.clone())
    }

    /// The teacher's answer, for a method that needs one.
    ///
    /// # Errors
    /// If there is none.
    pub fn require_teacher(&self, method: &str) -> Result<&'a Answer> {
        self.teacher.ok_or_else(|| {
            Error::Data(format!(
                "method `{method}` needs a teacher, and the recipe names none"
            ))
        })
    }

    /// The labels, for a method that needs them.
    ///
    /// # Errors
    /// If the batch has none.
    pub fn require_labels(&self, method: &str, advice: &str) -> Result<&'a Labels> {
        self.labels.ok_or_else(|| {
            Error::Data(format!(
                "method `{method}` needs labels, and the data has none; {advice}"
            ))
        })
    }
}

/// One weighted term of a loss.
#[derive(Clone, Debug)]
pub struct Term {
    /// Its name in logs.
    pub name: &'static str,
    /// The factor of its mean in the total loss.
    pub weight: f64,
    /// One value per row, `[batch]`, unweighted.
    pub rows: Tensor<1>,
}
