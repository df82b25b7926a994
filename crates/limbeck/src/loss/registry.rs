//! What losses there are.

use serde::Serialize;

use crate::{Error, Result};

/// One loss, for lists and help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LossInfo {
    /// Its name on the command line.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The value of one row.
    pub formula: &'static str,
    /// Its tensors: name and shape.
    pub takes: &'static [(&'static str, &'static str)],
    /// Its parameters: name and meaning.
    pub parameters: &'static [(&'static str, &'static str)],
}

const STUDENT: (&str, &str) = ("student", "logits [batch, classes]");
const TEACHER: (&str, &str) = ("teacher", "logits [batch, classes]");
const LABELS: (&str, &str) = ("labels", "class indices [batch]");
const TEMPERATURE: (&str, &str) = (
    "temperature",
    "divides both logits before the softmax, above 0",
);

const LOSSES: &[LossInfo] = &[
    LossInfo {
        name: "cross-entropy",
        summary: "cross entropy with class labels, optionally smoothed",
        formula: "-sum_c ((1 - a) onehot(y)_c + a / C) log softmax(z)_c",
        takes: &[STUDENT, LABELS],
        parameters: &[(
            "label_smoothing",
            "the share a spread over all classes, 0 to below 1",
        )],
    },
    LossInfo {
        name: "soft-targets-divergence",
        summary: "T^2 times the KL divergence from the teacher's softened distribution",
        formula: "T^2 sum_c p_c (log p_c - log q_c), p = softmax(v / T), q = softmax(z / T)",
        takes: &[STUDENT, TEACHER],
        parameters: &[TEMPERATURE],
    },
    LossInfo {
        name: "soft-targets-cross-entropy",
        summary: "T^2 times the cross entropy under the teacher's softened distribution",
        formula: "-T^2 sum_c p_c log q_c, p = softmax(v / T), q = softmax(z / T)",
        takes: &[STUDENT, TEACHER],
        parameters: &[TEMPERATURE],
    },
    LossInfo {
        name: "logit-half-squared-norm",
        summary: "half the squared distance of student and teacher logits",
        formula: "1/2 sum_c (z_c - v_c)^2",
        takes: &[STUDENT, TEACHER],
        parameters: &[],
    },
    LossInfo {
        name: "logit-mean-square",
        summary: "the mean squared difference of student and teacher logits",
        formula: "1/C sum_c (z_c - v_c)^2",
        takes: &[STUDENT, TEACHER],
        parameters: &[],
    },
];

/// All losses.
pub const fn losses() -> &'static [LossInfo] {
    LOSSES
}

/// The loss called `name`.
///
/// # Errors
/// If there is none; the nearest names are suggested.
pub fn find(name: &str) -> Result<&'static LossInfo> {
    LOSSES
        .iter()
        .find(|loss| loss.name == name)
        .ok_or_else(|| Error::unknown("loss", name, LOSSES.iter().map(|loss| loss.name)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn names_are_found_and_near_misses_suggested() {
        for loss in losses() {
            assert_eq!(find(loss.name).unwrap(), loss);
        }
        assert_eq!(
            find("logit-mean-squares")
                .unwrap_err()
                .to_string()
                .split(';')
                .next()
                .unwrap(),
            "there is no loss `logit-mean-squares`"
        );
        assert!(
            find("cross-entrpy")
                .unwrap_err()
                .to_string()
                .contains("did you mean")
        );
    }
}
