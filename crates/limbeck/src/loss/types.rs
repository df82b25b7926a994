//! Logits, log-probabilities and probabilities are different types, and a temperature is positive.
//!
//! All three wrap a tensor `[batch, classes]`. A probability cannot land in a logit's place, a distribution
//! remembers the temperature it was softened with, and labels know the number of classes
//! they were checked against, so that a loss never meets an index out of range.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use limbeck_graph::Feature;
use limbeck_kernels::tensor as kernels;
use serde::{Deserialize, Serialize};

use crate::recipe::Value;
use crate::{Error, Result};

/// The temperature of a softmax: positive and finite by construction.
///
/// ```
/// use limbeck::loss::Temperature;
///
/// assert_eq!(Temperature::new(4.0)?.get(), 4.0);
/// assert!(Temperature::new(0.0).is_err());
/// # Ok::<(), limbeck::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Temperature(f64);

impl Temperature {
    /// No softening.
    pub const ONE: Self = Self(1.0);

    /// Wraps a temperature.
    ///
    /// # Errors
    /// If it is not positive and finite in single precision, where the division happens.
    pub fn new(value: f64) -> Result<Self> {
        let single = value as f32;
        if single.is_normal() && single > 0.0 {
            Ok(Self(value))
        } else {
            Err(Error::Range {
                name: "temperature",
                expected: "positive and finite",
                got: value,
            })
        }
    }

    /// The number.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The factor T^2, which keeps gradients of softened distributions at the size of those of hard
    /// labels (Hinton et al. 2015, section 2).
    pub const fn squared(self) -> f64 {
        self.0 * self.0
    }
}

impl TryFrom<f64> for Temperature {
    type Error = Error;

    fn try_from(value: f64) -> Result<Self> {
        Self::new(value)
    }
}

impl From<Temperature> for f64 {
    fn from(temperature: Temperature) -> Self {
        temperature.0
    }
}

impl Value for Temperature {
    const EXPECTED: &'static str = "a positive number";

    fn from_toml(value: &toml::Value) -> Option<Self> {
        f64::from_toml(value).and_then(|number| Self::new(number).ok())
    }
}

/// Raw scores before the softmax, `[batch, classes]`.
#[derive(Clone, Debug)]
pub struct Logits(Tensor<2>);

impl Logits {
    /// Wraps scores.
    ///
    /// # Errors
    /// If there is no row or no class.
    pub fn new(scores: Tensor<2>) -> Result<Self> {
        not_empty("logits", &scores)?;
        Ok(Self(scores))
    }

    /// `[batch, classes]`.
    pub fn dims(&self) -> [usize; 2] {
        self.0.dims()
    }

    /// The scores.
    pub const fn tensor(&self) -> &Tensor<2> {
        &self.0
    }

    /// The scores.
    pub fn into_tensor(self) -> Tensor<2> {
        self.0
    }

    /// `log softmax(z / T)`, stable for logits of any finite size: the row's maximum is taken off before the
    /// division, so a common shift costs no precision.
    pub fn log_probabilities(&self, temperature: Temperature) -> LogProbs {
        let scores = self.0.clone();
        let values = if kernels::accepts(&scores) {
            kernels::log_softmax(temperature.get() as f32, scores)
        } else {
            log_softmax_by_operations(scores, temperature)
        };
        LogProbs {
            values,
            temperature,
        }
    }

    /// `softmax(z / T)`.
    pub fn probabilities(&self, temperature: Temperature) -> Probs {
        self.log_probabilities(temperature).exp()
    }
}

/// `log softmax(scores / T)` by Burn's operations.
pub(super) fn log_softmax_by_operations(scores: Tensor<2>, temperature: Temperature) -> Tensor<2> {
    let largest = scores.clone().detach().max_dim(1);
    log_softmax((scores - largest).div_scalar(temperature.get()), 1)
}

impl TryFrom<Feature> for Logits {
    type Error = Error;

    fn try_from(feature: Feature) -> Result<Self> {
        match feature {
            Feature::Rank2(scores) => Self::new(scores),
            other => Err(Error::Shape {
                what: "logits".to_owned(),
                expected: "[batch, classes]".to_owned(),
                got: format!("{:?}", other.shape()),
            }),
        }
    }
}

/// Logarithms of a distribution over classes, `[batch, classes]`, with the temperature it was softened with.
#[derive(Clone, Debug)]
pub struct LogProbs {
    values: Tensor<2>,
    temperature: Temperature,
}

impl LogProbs {
    /// Wraps log-probabilities that were computed elsewhere, softened with `temperature`.
    ///
    /// # Errors
    /// If there is no row or no class.
    pub fn new(values: Tensor<2>, temperature: Temperature) -> Result<Self> {
        not_empty("log-probabilities", &values)?;
        Ok(Self {
            values,
            temperature,
        })
    }

    /// `[batch, classes]`.
    pub fn dims(&self) -> [usize; 2] {
        self.values.dims()
    }

    /// The log-probabilities.
    pub const fn tensor(&self) -> &Tensor<2> {
        &self.values
    }

    /// The temperature they were softened with.
    pub const fn temperature(&self) -> Temperature {
        self.temperature
    }

    /// The probabilities.
    pub fn exp(&self) -> Probs {
        Probs {
            values: self.values.clone().exp(),
            temperature: self.temperature,
        }
    }

    /// The same values without their history.
    #[must_use]
    pub fn detach(self) -> Self {
        Self {
            values: self.values.detach(),
            temperature: self.temperature,
        }
    }
}

/// A distribution over classes, `[batch, classes]`, with the temperature it was softened with.
#[derive(Clone, Debug)]
pub struct Probs {
    values: Tensor<2>,
    temperature: Temperature,
}

impl Probs {
    /// Wraps probabilities that were computed elsewhere, softened with `temperature`. Each row must be
    /// non-negative and sum to 1.
    ///
    /// # Errors
    /// If there is no row or no class.
    pub fn new(values: Tensor<2>, temperature: Temperature) -> Result<Self> {
        not_empty("probabilities", &values)?;
        Ok(Self {
            values,
            temperature,
        })
    }

    /// `[batch, classes]`.
    pub fn dims(&self) -> [usize; 2] {
        self.values.dims()
    }

    /// The probabilities.
    pub const fn tensor(&self) -> &Tensor<2> {
        &self.values
    }

    /// The temperature they were softened with.
    pub const fn temperature(&self) -> Temperature {
        self.temperature
    }

    /// The logarithms; `-inf` where a probability is 0.
    pub fn ln(&self) -> LogProbs {
        LogProbs {
            values: self.values.clone().log(),
            temperature: self.temperature,
        }
    }
}

/// Class indices `[batch]`, each below the number of classes.
#[derive(Clone, Debug)]
pub struct Labels {
    indices: Tensor<1, Int>,
    classes: usize,
}

impl Labels {
    /// Uploads class indices.
    ///
    /// # Errors
    /// If there is none, or one is not below `classes`.
    pub fn new(values: &[u32], classes: usize, device: &Device) -> Result<Self> {
        if values.is_empty() {
            return Err(shape("labels", "at least one row", "none"));
        }
        if let Some((row, label)) = values
            .iter()
            .enumerate()
            .find(|(_, label)| **label as usize >= classes)
        {
            return Err(Error::Data(format!(
                "label of batch row {row}: expected a class below {classes}, got {label}"
            )));
        }
        let indices: Vec<i64> = values.iter().map(|label| i64::from(*label)).collect();
        let data = TensorData::new(indices, [values.len()]);
        Ok(Self {
            indices: Tensor::from_data(data, device),
            classes,
        })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.indices.dims()[0]
    }

    /// Whether there is no row; never true for checked labels.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of classes they were checked against.
    pub const fn classes(&self) -> usize {
        self.classes
    }

    /// The indices, `[batch]`.
    pub const fn tensor(&self) -> &Tensor<1, Int> {
        &self.indices
    }
}

/// Which rows of a batch count, `[batch]`.
#[derive(Clone, Debug)]
pub struct RowMask {
    keep: Tensor<1, Bool>,
    kept: usize,
}

impl RowMask {
    /// Uploads a mask; `true` keeps the row.
    pub fn new(keep: &[bool], device: &Device) -> Self {
        let kept = keep.iter().filter(|keep| **keep).count();
        let data = TensorData::new(keep.to_vec(), [keep.len()]);
        Self {
            keep: Tensor::from_data(data, device),
            kept,
        }
    }

    /// The mean of the kept rows, `[1]`; 0 if none is kept. What a dropped row holds, be it NaN, reaches neither the
    /// value nor the gradient.
    ///
    /// # Errors
    /// If the number of rows differs.
    pub fn mean(&self, rows: Tensor<1>) -> Result<Tensor<1>> {
        if rows.dims() != self.keep.dims() {
            return Err(shape(
                "mean of masked rows",
                format!("{} rows, as the mask has", self.keep.dims()[0]),
                rows.dims()[0],
            ));
        }
        let kept = rows.mask_fill(self.keep.clone().bool_not(), 0.0);
        Ok(kept.sum().div_scalar(self.kept.max(1) as f64))
    }
}

pub(crate) fn shape(
    what: &str,
    expected: impl std::fmt::Display,
    got: impl std::fmt::Display,
) -> Error {
    Error::Shape {
        what: what.to_owned(),
        expected: expected.to_string(),
        got: got.to_string(),
    }
}

/// An error naming the loss and both shapes unless they are equal.
pub(crate) fn same_dims(loss: &str, student: [usize; 2], teacher: [usize; 2]) -> Result<()> {
    if student == teacher {
        return Ok(());
    }
    Err(shape(
        &format!("{loss}, teacher"),
        format!("{student:?} as the student's logits"),
        format!("{teacher:?}"),
    ))
}

fn not_empty(what: &str, tensor: &Tensor<2>) -> Result<()> {
    let dims = tensor.dims();
    if dims.contains(&0) {
        return Err(shape(
            what,
            "at least one row and one class",
            format!("{dims:?}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::loss::testing::{self, Precision};

    #[test]
    fn temperature_rejects_what_cannot_divide() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-60, 1e60] {
            let message = Temperature::new(bad).unwrap_err().to_string();
            assert!(
                message.starts_with("temperature must be positive and finite"),
                "{message}"
            );
        }
        assert_eq!(Temperature::new(0.5).unwrap().squared(), 0.25);
        assert_eq!(serde_json::to_string(&Temperature::ONE).unwrap(), "1.0");
        assert!(serde_json::from_str::<Temperature>("-2.0").is_err());
    }

    #[test]
    fn softmax_of_known_logits() {
        let device = Device::default();
        let logits =
            Logits::new(Tensor::from_floats([[0.0, 2.0_f32.ln() * 2.0]], &device)).unwrap();
        let softened = logits.probabilities(Temperature::new(2.0).unwrap());
        let values = softened.tensor().to_data().try_to_vec::<f32>().unwrap();
        assert!((values[0] - 1.0 / 3.0).abs() < 1e-6 && (values[1] - 2.0 / 3.0).abs() < 1e-6);
        assert_eq!(softened.temperature().get(), 2.0);
    }

    #[test]
    fn kernel_and_operations_agree() {
        let device = Device::default().autodiff();
        for (case, (classes, temperature)) in
            (1..).zip([(1, 1.0), (10, 4.0), (37, 0.5), (1003, 20.0)])
        {
            let temperature = Temperature::new(temperature).unwrap();
            let values = testing::noise(5 * classes, 8.0, case);
            let slopes = testing::noise(5 * classes, 1.0, case + 10);
            let single = Precision::Single;
            let slopes = testing::tensor(&slopes, classes, single, &device);
            let differentiate = |log_softmax: &dyn Fn(Tensor<2>) -> Tensor<2>| {
                let leaf = testing::tensor(&values, classes, single, &device).require_grad();
                let result = log_softmax(leaf.clone());
                let gradients = (result.clone() * slopes.clone()).sum().backward();
                let gradient = leaf.grad(&gradients).unwrap();
                (
                    testing::matrix_values(&result),
                    testing::matrix_values(&gradient),
                )
            };
            let fast =
                differentiate(&|scores| kernels::log_softmax(temperature.get() as f32, scores));
            let slow = differentiate(&|scores| log_softmax_by_operations(scores, temperature));
            testing::assert_close(&fast.0, &slow.0, 1e-5);
            testing::assert_close(&fast.1, &slow.1, 1e-5);
        }
    }

    #[test]
    fn softmax_keeps_its_digits_under_a_large_shift() {
        let device = Device::default();
        let temperature = Temperature::new(20.0).unwrap();
        let row = |shift: f32| {
            let values = [[1.0 + shift, 2.0 + shift, 4.5 + shift]];
            let logits = Logits::new(Tensor::from_floats(values, &device)).unwrap();
            logits
                .log_probabilities(temperature)
                .tensor()
                .to_data()
                .try_to_vec::<f32>()
                .unwrap()
        };
        assert_eq!(row(0.0), row(65536.0));
        let extreme = Logits::new(Tensor::from_floats([[3e38_f32, -3e38, 0.0]], &device)).unwrap();
        let values = extreme
            .probabilities(Temperature::ONE)
            .tensor()
            .to_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert_eq!(values, [1.0, 0.0, 0.0]);
    }

    #[test]
    fn wrong_shapes_are_errors() {
        let device = Device::default();
        assert!(Logits::new(Tensor::zeros([0, 3], &device)).is_err());
        let rank3: Tensor<3> = Tensor::zeros([1, 2, 3], &device);
        let message = Logits::try_from(Feature::from(rank3))
            .unwrap_err()
            .to_string();
        assert_eq!(message, "logits: expected [batch, classes], got [1, 2, 3]");
        let message = Labels::new(&[0, 1, 10], 10, &device)
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "label of batch row 2: expected a class below 10, got 10"
        );
        assert!(Labels::new(&[], 10, &device).is_err());
        assert!(Probs::new(Tensor::zeros([2, 0], &device), Temperature::ONE).is_err());
    }

    #[test]
    fn masked_rows_reach_neither_value_nor_gradient() {
        let device = Device::default().autodiff();
        let rows = Tensor::<1>::from_floats([1.0, f32::NAN, 5.0], &device).require_grad();
        let mask = RowMask::new(&[true, false, true], &device);
        let mean = mask.mean(rows.clone()).unwrap();
        let gradients = mean.backward();
        assert_eq!(mean.into_scalar::<f32>(), 3.0);
        let gradient = rows
            .grad(&gradients)
            .unwrap()
            .to_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert_eq!(gradient, [0.5, 0.0, 0.5]);

        let none = RowMask::new(&[false, false, false], &device);
        assert_eq!(none.mean(rows.clone()).unwrap().into_scalar::<f32>(), 0.0);
        assert!(RowMask::new(&[true], &device).mean(rows).is_err());
    }
}
