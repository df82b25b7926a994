//! How closely a student follows its teacher, whether they are right or not.

use serde::{Deserialize, Serialize};

use super::{argmax, log_softmax, rows};
use crate::{Error, Result};

/// Agreement of a student with a teacher on the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Rows compared.
    pub count: u64,
    /// Share of rows with the same most likely class, 0 to 1.
    pub equal_argmax: f64,
    /// Mean of `KL(teacher || student)` at temperature 1, nats.
    pub mean_kl: f64,
}

/// Compares logits `[rows, classes]`, row major, of a student and a teacher on the same rows.
///
/// # Errors
/// If the sizes do not fit, there are no rows, or a logit is not finite.
pub fn agreement(student: &[f32], teacher: &[f32], classes: usize) -> Result<Agreement> {
    let student = rows(student, classes, |row| format!("student, row {row}"))?;
    let teacher = rows(teacher, classes, |row| format!("teacher, row {row}"))?;
    if student.len() != teacher.len() || student.len() == 0 {
        return Err(Error::Shape {
            what: "agreement, student's logits".to_owned(),
            expected: format!("{} rows as the teacher's, at least one", teacher.len()),
            got: student.len().to_string(),
        });
    }
    let count = student.len() as u64;
    let (mut equal, mut kl) = (0_u64, 0.0);
    for (student, teacher) in student.zip(teacher) {
        equal += u64::from(argmax(student) == argmax(teacher));
        let row: f64 = log_softmax(teacher)
            .zip(log_softmax(student))
            .map(|(log_p, log_q)| log_p.exp() * (log_p - log_q))
            .sum();
        // A divergence is never negative; its rounding error can be.
        kl += row.max(0.0);
    }
    Ok(Agreement {
        count,
        equal_argmax: equal as f64 / count as f64,
        mean_kl: kl / count as f64,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::loss::testing::{assert_close, golden};

    #[test]
    fn hand_values() {
        let ln3 = 3.0_f32.ln();
        // Teacher (3/4, 1/4) and (1/2, 1/2), student (1/2, 1/2) and (1/4, 3/4).
        let got = agreement(&[0.0, 0.0, 0.0, ln3], &[ln3, 0.0, 0.0, 0.0], 2).unwrap();
        assert_eq!((got.count, got.equal_argmax), (2, 0.5));
        let first = 0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln();
        let second = 0.5 * 2.0_f64.ln() + 0.5 * (2.0_f64 / 3.0).ln();
        assert_close(&[got.mean_kl], &[(first + second) / 2.0], 1e-7);
    }

    #[test]
    fn golden_divergence_at_temperature_one() {
        let Some(cases) = golden("kd") else { return };
        let single = |values: Vec<f64>| -> Vec<f32> {
            values.into_iter().map(|value| value as f32).collect()
        };
        for case in cases
            .iter()
            .filter(|case| case.parameter("temperature") == 1.0)
        {
            let (student, classes) = case.matrix("student.logits");
            let teacher = single(case.matrix("teacher.logits").0);
            case.check_value(
                agreement(&single(student), &teacher, classes)
                    .unwrap()
                    .mean_kl,
            );
        }
    }

    #[test]
    fn the_teacher_agrees_with_itself() {
        let logits = [3.0, -2.0, 500.0, 0.1, 0.2, 0.3];
        let got = agreement(&logits, &logits, 3).unwrap();
        assert_eq!((got.equal_argmax, got.mean_kl), (1.0, 0.0));
    }

    #[test]
    fn unlike_rows_are_errors() {
        assert!(agreement(&[0.0; 4], &[0.0; 6], 2).is_err());
        assert!(agreement(&[], &[], 2).is_err());
        let message = agreement(&[0.0; 2], &[0.0, f32::INFINITY], 2)
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("teacher, row 0: the logit of class 1 is inf"),
            "{message}"
        );
    }
}
