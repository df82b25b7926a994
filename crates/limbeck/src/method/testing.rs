//! Support for the tests of methods: one batch of student, teacher and labels.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use burn::tensor::Device;
use limbeck_graph::{Feature, Trace};

use super::{Step, Term};
use crate::loss::Labels;
use crate::loss::testing::{Case, values};
use crate::teacher::Answer;

pub(crate) struct Scene {
    pub(crate) student: Trace,
    pub(crate) answer: Option<Answer>,
    pub(crate) labels: Option<Labels>,
}

impl Scene {
    pub(crate) fn new(
        student: &[[f32; 2]],
        teacher: Option<&[[f32; 2]]>,
        labels: Option<&[u32]>,
    ) -> Self {
        Self {
            student: trace(student.concat(), 2),
            answer: teacher.map(|rows| Answer::single(trace(rows.concat(), 2))),
            labels: labels.map(|values| Labels::new(values, 2, &Device::default()).unwrap()),
        }
    }

    /// The batch of a golden case with `student.logits`, `teacher.logits` and, where it has them, `labels`.
    pub(crate) fn from_case(case: &Case) -> Self {
        let single = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        let (student, classes) = case.matrix("student.logits");
        let (teacher, _) = case.matrix("teacher.logits");
        let labels = case.has("labels").then(|| case.labels("labels"));
        Self {
            student: trace(single(student), classes),
            answer: Some(Answer::single(trace(single(teacher), classes))),
            labels: labels.map(|values| Labels::new(&values, classes, &Device::default()).unwrap()),
        }
    }

    pub(crate) fn step(&self) -> Step<'_> {
        Step {
            student: &self.student,
            teacher: self.answer.as_ref(),
            labels: self.labels.as_ref(),
            progress: 0.0,
        }
    }
}

fn trace(logits: Vec<f32>, classes: usize) -> Trace {
    let shape = [logits.len() / classes, classes];
    let output = Feature::from_vec(logits, &shape, &Device::default()).unwrap();
    Trace {
        output,
        features: BTreeMap::new(),
    }
}

/// The weighted sum of the terms' means, as a trainer adds them up.
pub(crate) fn total(terms: &[Term]) -> f64 {
    terms
        .iter()
        .map(|term| term.weight * values(&term.rows.clone().mean())[0])
        .sum()
}
