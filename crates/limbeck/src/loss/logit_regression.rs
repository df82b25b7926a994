//! Logit regression: the teacher's raw scores as regression targets.
//!
//! ```text
//! half squared norm row = 1/2 sum_c (z_c - v_c)^2       gradient z - v
//! mean square row       = 1/C sum_c (z_c - v_c)^2       gradient 2 (z - v) / C
//! ```
//!
//! `z` and `v` are the student's and the teacher's logits `[batch, classes]`, rows are `[batch]`. No labels, no softmax, no
//! temperature. The first form is the paper's; the second is common in public code and smaller by C / 2, which matters
//! as soon as another term is added.
//!
//! [`Whitening`] takes the teacher's mean off each class and divides by its deviation over the training set, so that
//! classes of small spread count as much as others. Applied to both sides it leaves the student in raw units
//! and nothing has to be undone; a student that was trained on whitened targets alone needs [`Whitening::undo`]
//! before its logits are ranked, because a class of small spread would otherwise look too likely.
//!
//! Pitfalls: regressing on probabilities or on log-probabilities instead of logits; expecting invariance to a shift (a
//! shift of all logits of a row changes this loss, though not the distribution).
//!
//! Source: Ba and Caruana 2014, "Do Deep Nets Really Need to be Deep?", sections 2.2 and 2.3.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::types::{Logits, same_dims, shape};
use crate::{Error, Result};

/// Half the squared Euclidean distance of each row, `[batch]`; see the [module](self).
///
/// # Errors
/// If the shapes differ.
pub fn half_squared_norm(student: &Logits, teacher: &Logits) -> Result<Tensor<1>> {
    Ok(squared_norm(student, teacher)?.mul_scalar(0.5))
}

/// The mean squared difference of each row, `[batch]`; see the [module](self).
///
/// # Errors
/// If the shapes differ.
pub fn mean_square(student: &Logits, teacher: &Logits) -> Result<Tensor<1>> {
    let [_, classes] = student.dims();
    Ok(squared_norm(student, teacher)?.div_scalar(classes as f64))
}

fn squared_norm(student: &Logits, teacher: &Logits) -> Result<Tensor<1>> {
    same_dims("logit regression", student.dims(), teacher.dims())?;
    let [rows, _] = student.dims();
    let difference = student.tensor().clone() - teacher.tensor().clone().detach();
    Ok((difference.clone() * difference).sum_dim(1).reshape([rows]))
}

/// Per-class mean and deviation of the teacher's logits over the training set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Whitening {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Whitening {
    /// The mean of each class.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The standard deviation of each class; 1 for a class whose logit never moved.
    pub fn deviation(&self) -> &[f64] {
        &self.deviation
    }

    /// `(z - mean) / deviation`.
    ///
    /// # Errors
    /// If the number of classes differs.
    pub fn apply(&self, logits: &Logits) -> Result<Logits> {
        let (mean, deviation) = self.rows_for(logits)?;
        Logits::new((logits.tensor().clone() - mean) / deviation)
    }

    /// `z * deviation + mean`, the inverse of [`apply`](Self::apply).
    ///
    /// # Errors
    /// If the number of classes differs.
    pub fn undo(&self, whitened: &Logits) -> Result<Logits> {
        let (mean, deviation) = self.rows_for(whitened)?;
        Logits::new(whitened.tensor().clone() * deviation + mean)
    }

    fn rows_for(&self, logits: &Logits) -> Result<(Tensor<2>, Tensor<2>)> {
        let [_, classes] = logits.dims();
        if classes != self.mean.len() {
            return Err(shape(
                "whitening, logits",
                format!("{} classes, as measured", self.mean.len()),
                classes,
            ));
        }
        let like = logits.tensor();
        let row = |values: &[f64]| {
            let data = TensorData::new(values.to_vec(), [1, classes]);
            Tensor::from_data(data, (&like.device(), like.dtype()))
        };
        Ok((row(&self.mean), row(&self.deviation)))
    }
}

/// Measures a [`Whitening`] batch by batch, in double precision on the host.
#[derive(Clone, Debug, Default)]
pub struct WhiteningFit {
    rows: u64,
    mean: Vec<f64>,
    /// Sums of squared distances from the running mean (Welford 1962).
    squares: Vec<f64>,
}

impl WhiteningFit {
    /// Adds a batch of teacher logits.
    ///
    /// # Errors
    /// If the number of classes differs from earlier batches, a logit is not finite, or the device fails.
    pub fn add(&mut self, logits: &Logits) -> Result<()> {
        let [_, classes] = logits.dims();
        if self.rows == 0 {
            self.mean = vec![0.0; classes];
            self.squares = vec![0.0; classes];
        } else if self.mean.len() != classes {
            let expected = format!("{} classes, as before", self.mean.len());
            return Err(shape("whitening, logits", expected, classes));
        }
        let values = limbeck_graph::Feature::from(logits.tensor().clone()).to_vec()?;
        for row in values.chunks_exact(classes) {
            self.rows += 1;
            for (class, value) in row.iter().enumerate() {
                if !value.is_finite() {
                    return Err(Error::Data(format!(
                        "the teacher's logit of class {class} in row {} is {value}; \
                         check the teacher's weights and its normalisation",
                        self.rows - 1
                    )));
                }
                let before = f64::from(*value) - self.mean[class];
                self.mean[class] += before / self.rows as f64;
                self.squares[class] += before * (f64::from(*value) - self.mean[class]);
            }
        }
        Ok(())
    }

    /// The measured statistics.
    ///
    /// # Errors
    /// If no row was added.
    pub fn finish(self) -> Result<Whitening> {
        if self.rows == 0 {
            return Err(Error::Data(
                "whitening needs the teacher's logits over the training set, and it is empty"
                    .to_owned(),
            ));
        }
        let deviation = self
            .squares
            .iter()
            .zip(&self.mean)
            .map(|(squares, mean)| {
                let deviation = (squares / self.rows as f64).sqrt();
                let rounding = f64::from(f32::EPSILON) * mean.abs();
                if deviation > rounding { deviation } else { 1.0 }
            })
            .collect();
        Ok(Whitening {
            mean: self.mean,
            deviation,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::loss::testing::{self, Precision};
    use burn::tensor::Device;

    type Loss = fn(&Logits, &Logits) -> Result<Tensor<1>>;

    fn single(values: &[f64], classes: usize) -> Logits {
        testing::logits(values, classes, Precision::Single, &Device::default())
    }

    fn constant(values: &[f64], classes: usize, like: &Logits) -> Logits {
        let device = like.tensor().device().inner();
        testing::logits(values, classes, Precision::of(like), &device)
    }

    #[test]
    fn hand_values() {
        let student = single(&[1.0, 2.0, 0.0, 0.0, 0.0, 6.0], 3);
        let teacher = single(&[0.0, 4.0, 2.0, 0.0, 0.0, 0.0], 3);
        let half = testing::values(&half_squared_norm(&student, &teacher).unwrap());
        assert_eq!(half, [4.5, 18.0]);
        assert_eq!(
            testing::values(&mean_square(&student, &teacher).unwrap()),
            [3.0, 12.0]
        );
    }

    #[test]
    fn golden() {
        let Some(cases) = testing::golden("logit_mse") else {
            return;
        };
        assert_eq!(cases.len(), 6, "cases of `logit_mse`");
        for case in &cases {
            let loss: Loss = match case.variant.as_str() {
                "half squared norm per sample" => half_squared_norm,
                "mean over all N*C entries" => mean_square,
                other => panic!("a variant without code: {other}"),
            };
            let (teacher, classes) = case.matrix("teacher.logits");
            case.check("student.logits", |student| {
                loss(student, &constant(&teacher, classes, student))
                    .unwrap()
                    .mean()
            });
        }
    }

    #[test]
    fn gradient_is_the_difference() {
        let (student, teacher) = (testing::noise(12, 5.0, 1), testing::noise(12, 5.0, 2));
        for (loss, factor) in [
            (half_squared_norm as Loss, 1.0),
            (mean_square as Loss, 2.0 / 4.0),
        ] {
            let mean = |student: &Logits| {
                loss(student, &constant(&teacher, 4, student))
                    .unwrap()
                    .mean()
            };
            testing::check_gradient(&student, 4, 1e-6, mean);
            let (_, gradient) = testing::differentiate(&student, 4, Precision::Double, mean);
            let expected: Vec<f64> = student
                .iter()
                .zip(&teacher)
                .map(|(z, v)| factor * (z - v) / 3.0)
                .collect();
            testing::assert_close(&gradient, &expected, 1e-12);
        }
    }

    #[test]
    fn invariances() {
        let (student, teacher) = (testing::noise(12, 5.0, 3), testing::noise(12, 5.0, 4));
        let rows = |student: &[f64], teacher: &[f64]| {
            testing::values(&half_squared_norm(&single(student, 4), &single(teacher, 4)).unwrap())
        };
        let plain = rows(&student, &teacher);
        assert_eq!(rows(&student, &student), [0.0; 3]);
        let reverse = |values: &[f64]| values.iter().rev().copied().collect::<Vec<_>>();
        let reversed = rows(&reverse(&student), &reverse(&teacher));
        testing::assert_close(&plain, &reverse(&reversed), 1e-4);
        let shift = |values: &[f64], by: f64| values.iter().map(|v| v + by).collect::<Vec<_>>();
        testing::assert_close(
            &plain,
            &rows(&shift(&student, 8.0), &shift(&teacher, 8.0)),
            1e-3,
        );
        assert!(
            rows(&shift(&student, 8.0), &teacher)[0] > plain[0] + 10.0,
            "a shift must cost"
        );
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let values = [1e4, -1e4, 1e15, -1e15];
        let (value, gradient) = testing::differentiate(&values, 2, Precision::Single, |student| {
            half_squared_norm(student, &constant(&[0.0; 4], 2, student))
                .unwrap()
                .mean()
        });
        assert!(value.is_finite() && gradient.iter().all(|entry| entry.is_finite()));
    }

    #[test]
    fn whitening_hand_values_and_inverse() {
        let mut fit = WhiteningFit::default();
        fit.add(&single(&[1.0, 10.0, 7.0, 3.0, 14.0, 7.0], 3))
            .unwrap();
        fit.add(&single(&[5.0, 12.0, 7.0], 3)).unwrap();
        let whitening = fit.finish().unwrap();
        testing::assert_close(whitening.mean(), &[3.0, 12.0, 7.0], 1e-12);
        let deviation = (8.0_f64 / 3.0).sqrt();
        testing::assert_close(whitening.deviation(), &[deviation, deviation, 1.0], 1e-12);

        let logits = single(&[3.0 + deviation, 12.0, 8.0], 3);
        let whitened = whitening.apply(&logits).unwrap();
        let values = |logits: &Logits| testing::matrix_values(logits.tensor());
        testing::assert_close(&values(&whitened), &[1.0, 0.0, 1.0], 1e-6);
        testing::assert_close(
            &values(&whitening.undo(&whitened).unwrap()),
            &values(&logits),
            1e-5,
        );
    }

    #[test]
    fn whitening_both_sides_scales_each_class() {
        let mut fit = WhiteningFit::default();
        fit.add(&single(&[0.0, 0.0, 2.0, 20.0], 2)).unwrap();
        let whitening = fit.finish().unwrap();
        let (student, teacher) = (single(&[1.0, 1.0], 2), single(&[2.0, 11.0], 2));
        let rows = half_squared_norm(
            &whitening.apply(&student).unwrap(),
            &whitening.apply(&teacher).unwrap(),
        );
        // Deviations are 1 and 10: differences of 1 and 10 both count as 1.
        assert_eq!(testing::values(&rows.unwrap()), [1.0]);
    }

    #[test]
    fn wrong_shapes_and_values_are_errors() {
        assert_eq!(
            half_squared_norm(&single(&[0.0; 6], 3), &single(&[0.0; 6], 2))
                .unwrap_err()
                .to_string(),
            "logit regression, teacher: expected [2, 3] as the student's logits, got [3, 2]"
        );
        let mut fit = WhiteningFit::default();
        assert!(fit.clone().finish().is_err());
        fit.add(&single(&[0.0; 6], 3)).unwrap();
        assert!(fit.add(&single(&[0.0; 6], 2)).is_err());
        let message = fit
            .add(&single(&[0.0, 1.0, f64::NAN], 3))
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("the teacher's logit of class 2 in row 2 is NaN"),
            "{message}"
        );
        let whitening = fit.finish().unwrap();
        assert!(whitening.apply(&single(&[0.0; 4], 2)).is_err());
    }
}
