//! Labels only: the student alone, the baseline that every method of distillation is measured against.
//!
//! `L = mean of CE(y, softmax(z))`, with student logits `z` `[batch, classes]` and labels `y` `[batch]`; see
//! [`loss::cross_entropy`](mod@crate::loss::cross_entropy). No teacher is asked.

use limbeck_graph::Taps;
use serde::{Deserialize, Serialize};

use super::{Method, Step, Term};
use crate::Result;
use crate::loss::{LabelSmoothing, cross_entropy};
use crate::recipe::Section;

/// The checked settings of [`LabelTraining`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelSettings {
    /// The share of each target that is spread over all classes.
    pub label_smoothing: LabelSmoothing,
}

impl LabelSettings {
    pub(super) fn check(section: &mut Section) -> Self {
        Self {
            label_smoothing: section.or("label_smoothing", LabelSmoothing::NONE),
        }
    }
}

/// Training on labels, without a teacher.
#[derive(Clone, Copy, Debug)]
pub struct LabelTraining {
    settings: LabelSettings,
}

impl LabelTraining {
    /// Its name in recipes.
    pub const NAME: &str = "labels";

    /// Builds the method.
    pub const fn new(settings: LabelSettings) -> Self {
        Self { settings }
    }
}

impl Method for LabelTraining {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn teacher_taps(&self) -> Option<Taps> {
        None
    }

    fn needs_labels(&self) -> bool {
        true
    }

    fn terms(&self, step: &Step<'_>) -> Result<Vec<Term>> {
        let labels = step.require_labels(
            Self::NAME,
            "choose a method that learns from the teacher alone, such as `logit-regression`",
        )?;
        let rows = cross_entropy(
            &step.student_logits()?,
            labels,
            self.settings.label_smoothing,
        )?;
        Ok(vec![Term {
            name: "labels",
            weight: 1.0,
            rows,
        }])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::loss::testing::{assert_close, values};
    use crate::method::testing::{Scene, total};

    #[test]
    fn one_term_of_weight_one() {
        let scene = Scene::new(&[[0.0, 3.0_f32.ln()]], None, Some(&[0]));
        let terms = LabelTraining::new(LabelSettings::default())
            .terms(&scene.step())
            .unwrap();
        assert_eq!(terms.len(), 1);
        assert_eq!((terms[0].name, terms[0].weight), ("labels", 1.0));
        assert_close(&values(&terms[0].rows), &[4.0_f64.ln()], 1e-6);
        assert!((total(&terms) - 4.0_f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn labels_are_required() {
        let scene = Scene::new(&[[0.0, 1.0]], None, None);
        let method = LabelTraining::new(LabelSettings::default());
        let message = method.terms(&scene.step()).unwrap_err().to_string();
        assert!(message.starts_with("method `labels` needs labels, and the data has none"));
        assert!(method.needs_labels() && method.teacher_taps().is_none());
    }
}
