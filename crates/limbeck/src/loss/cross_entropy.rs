//! Cross entropy with class labels.
//!
//! ```text
//! row = -sum_c t_c log softmax(z)_c,   t = (1 - a) onehot(y) + a / C
//! ```
//!
//! Student logits `z` are `[batch, classes]`, labels `y` are `[batch]`, rows are `[batch]`; `a` is the label smoothing
//! (0 for plain labels). The gradient of a row is `softmax(z) - t`.
//!
//! Pitfalls: smoothing makes a later teacher worse at conveying similarities between classes (Müller et al. 2019,
//! "When Does Label Smoothing Help?"); the smallest value is the entropy of `t`, not 0.
//!
//! Source: label smoothing from Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7.

use burn::tensor::Tensor;
use limbeck_kernels::tensor as kernels;
use serde::{Deserialize, Serialize};

use super::types::{Labels, Logits, Temperature, log_softmax_by_operations, shape};
use crate::recipe::Value;
use crate::{Error, Result};

/// The share of the target that is spread over all classes: at least 0, below 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct LabelSmoothing(f64);

impl LabelSmoothing {
    /// Plain labels.
    pub const NONE: Self = Self(0.0);

    /// Wraps a share.
    ///
    /// # Errors
    /// If it is not at least 0 and below 1.
    pub fn new(value: f64) -> Result<Self> {
        if (0.0..1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(Error::Range {
                name: "label smoothing",
                expected: "at least 0 and below 1",
                got: value,
            })
        }
    }

    /// The share.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for LabelSmoothing {
    type Error = Error;

    fn try_from(value: f64) -> Result<Self> {
        Self::new(value)
    }
}

impl From<LabelSmoothing> for f64 {
    fn from(smoothing: LabelSmoothing) -> Self {
        smoothing.0
    }
}

impl Value for LabelSmoothing {
    const EXPECTED: &'static str = "a number of at least 0 and below 1";

    fn from_toml(value: &toml::Value) -> Option<Self> {
        f64::from_toml(value).and_then(|number| Self::new(number).ok())
    }
}

/// The cross entropy of each row, `[batch]`; see the [module](self) for the formula.
///
/// # Errors
/// If the rows differ in number, or the labels were checked against another number of classes.
pub fn cross_entropy(
    student: &Logits,
    labels: &Labels,
    smoothing: LabelSmoothing,
) -> Result<Tensor<1>> {
    let [rows, classes] = student.dims();
    if labels.len() != rows {
        return Err(shape(
            "cross entropy, labels",
            format!("{rows} rows as the student's logits"),
            labels.len(),
        ));
    }
    if labels.classes() != classes {
        return Err(shape(
            "cross entropy, labels",
            format!("{classes} classes as the student's logits"),
            labels.classes(),
        ));
    }
    if kernels::accepts(student.tensor()) {
        Ok(by_kernel(student, labels, smoothing))
    } else {
        Ok(by_operations(student, labels, smoothing))
    }
}

fn by_kernel(student: &Logits, labels: &Labels, smoothing: LabelSmoothing) -> Tensor<1> {
    let (scores, labels) = (student.tensor().clone(), labels.tensor().clone());
    kernels::cross_entropy(smoothing.get() as f32, scores, labels)
}

fn by_operations(student: &Logits, labels: &Labels, smoothing: LabelSmoothing) -> Tensor<1> {
    let rows = labels.len();
    let log_probs = log_softmax_by_operations(student.tensor().clone(), Temperature::ONE);
    let indices = labels.tensor().clone().reshape([rows, 1]);
    let of_label = log_probs.clone().gather(1, indices).reshape([rows]).neg();
    if smoothing.get() == 0.0 {
        return of_label;
    }
    let of_all = log_probs.mean_dim(1).reshape([rows]).neg();
    of_label.mul_scalar(1.0 - smoothing.get()) + of_all.mul_scalar(smoothing.get())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::loss::testing::{self, Precision};
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn rows(logits: &[f64], labels: &[u32], classes: usize, smoothing: f64) -> Vec<f64> {
        let device = Device::default();
        let student = testing::logits(logits, classes, Precision::Single, &device);
        let labels = Labels::new(labels, classes, &device).unwrap();
        let smoothing = LabelSmoothing::new(smoothing).unwrap();
        testing::values(&cross_entropy(&student, &labels, smoothing).unwrap())
    }

    #[test]
    fn hand_values() {
        let logits = [0.0, 3.0_f64.ln(), 0.0, 0.0];
        testing::assert_close(
            &rows(&logits, &[1, 0], 2, 0.0),
            &[(4.0_f64 / 3.0).ln(), 2.0_f64.ln()],
            1e-6,
        );
        let smoothed =
            0.9 * (4.0_f64 / 3.0).ln() + 0.1 * 0.5 * ((4.0_f64 / 3.0).ln() + 4.0_f64.ln());
        testing::assert_close(&rows(&logits[..2], &[1], 2, 0.1), &[smoothed], 1e-6);
    }

    #[test]
    fn gradient_is_softmax_minus_target() {
        let classes = 5;
        let values = testing::noise(3 * classes, 3.0, 11);
        let labels = [4, 0, 2];
        for smoothing in [0.0, 0.2] {
            let smoothing = LabelSmoothing::new(smoothing).unwrap();
            let loss = |student: &Logits| {
                let labels = Labels::new(&labels, classes, &student.tensor().device()).unwrap();
                cross_entropy(student, &labels, smoothing).unwrap().mean()
            };
            testing::check_gradient(&values, classes, 1e-7, loss);
            let (_, gradient) = testing::differentiate(&values, classes, Precision::Double, loss);
            for (row, label) in labels.iter().enumerate() {
                let row_values = &values[row * classes..(row + 1) * classes];
                let total: f64 = row_values.iter().map(|z| z.exp()).sum();
                for (class, z) in row_values.iter().enumerate() {
                    let onehot = f64::from(class == *label as usize);
                    let a = smoothing.get();
                    let target = (1.0 - a) * onehot + a / classes as f64;
                    let expected = (z.exp() / total - target) / labels.len() as f64;
                    assert!((gradient[row * classes + class] - expected).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn permuted_classes_and_rows_give_permuted_rows() {
        let plain = rows(&[1.0, 2.0, 3.0, -1.0, 0.5, 0.0], &[2, 0], 3, 0.3);
        let classes = rows(&[3.0, 1.0, 2.0, 0.0, -1.0, 0.5], &[0, 1], 3, 0.3);
        let swapped = rows(&[-1.0, 0.5, 0.0, 1.0, 2.0, 3.0], &[0, 2], 3, 0.3);
        testing::assert_close(&plain, &classes, 1e-6);
        testing::assert_close(&plain, &[swapped[1], swapped[0]], 1e-7);
        let shifted = rows(
            &[1025.0, 1026.0, 1027.0, 1023.0, 1024.5, 1024.0],
            &[2, 0],
            3,
            0.3,
        );
        testing::assert_close(&plain, &shifted, 1e-6);
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let values = [5000.0, -5000.0, 0.0, -5000.0, 5000.0, 0.0];
        let (value, gradient) = testing::differentiate(&values, 3, Precision::Single, |student| {
            let labels = Labels::new(&[1, 1], 3, &student.tensor().device()).unwrap();
            cross_entropy(student, &labels, LabelSmoothing::NONE)
                .unwrap()
                .mean()
        });
        assert_eq!(value, 5000.0);
        assert_eq!(gradient, [0.5, -0.5, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn wrong_shapes_are_errors() {
        let device = Device::default();
        let student = testing::logits(&[0.0; 6], 3, Precision::Single, &device);
        let error = |labels: &[u32], classes| {
            let labels = Labels::new(labels, classes, &device).unwrap();
            cross_entropy(&student, &labels, LabelSmoothing::NONE)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(&[0, 1, 2], 3),
            "cross entropy, labels: expected 2 rows as the student's logits, got 3"
        );
        assert_eq!(
            error(&[0, 1], 4),
            "cross entropy, labels: expected 3 classes as the student's logits, got 4"
        );
        assert!(LabelSmoothing::new(1.0).is_err() && LabelSmoothing::new(f64::NAN).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn kernel_and_operations_agree(
            batch in 1usize..9,
            classes in prop_oneof![1usize..40, 90usize..120],
            smoothing in prop::sample::select(vec![0.0, 0.1, 0.9]),
            scale in prop::sample::select(vec![1.0, 20.0]),
            seed in 0u64..1 << 40,
        ) {
            let smoothing = LabelSmoothing::new(smoothing).unwrap();
            let values = testing::noise(batch * classes, scale, seed);
            let labels: Vec<u32> = testing::noise(batch, 0.5, seed + 1)
                .iter()
                .map(|place| ((place + 0.5) * classes as f64) as u32)
                .collect();
            let weights = testing::noise(batch, 1.0, seed + 2);
            let device = Device::default().autodiff();
            let labels = Labels::new(&labels, classes, &device).unwrap();
            let weights = testing::tensor(&weights, batch, Precision::Single, &device);
            let differentiate = |path: fn(&Logits, &Labels, LabelSmoothing) -> Tensor<1>| {
                let leaf = testing::tensor(&values, classes, Precision::Single, &device);
                let leaf = leaf.require_grad();
                let rows = path(&Logits::new(leaf.clone()).unwrap(), &labels, smoothing);
                let gradients = (rows.clone() * weights.clone().reshape([batch])).sum().backward();
                (testing::values(&rows), testing::matrix_values(&leaf.grad(&gradients).unwrap()))
            };
            let (fast, slow) = (differentiate(by_kernel), differentiate(by_operations));
            testing::assert_close(&fast.0, &slow.0, 1e-5 * scale);
            testing::assert_close(&fast.1, &slow.1, 1e-6);
        }
    }

    #[test]
    fn what_is_not_finite_is_the_same_on_both_paths() {
        let device = Device::default();
        for (at, odd) in [
            (0, f64::NAN),
            (1, f64::NAN),
            (1, f64::NEG_INFINITY),
            (2, f64::INFINITY),
        ] {
            let mut values = [0.5, 1.0, -1.0];
            values[at] = odd;
            let student = testing::logits(&values, 3, Precision::Single, &device);
            let labels = Labels::new(&[1], 3, &device).unwrap();
            for smoothing in [0.0, 0.1] {
                let smoothing = LabelSmoothing::new(smoothing).unwrap();
                let fast = testing::values(&by_kernel(&student, &labels, smoothing))[0];
                let slow = testing::values(&by_operations(&student, &labels, smoothing))[0];
                assert!(
                    fast == slow || fast.is_nan() && slow.is_nan(),
                    "{fast}, not {slow}"
                );
                assert!(!fast.is_finite());
            }
        }
    }
}
