//! Support for the tests of losses: golden cases, gradients, finite differences.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::PathBuf;

use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::RngExt;
use safetensors::{Dtype, SafeTensors};

use super::types::Logits;
use crate::Seed;

/// The precision that a loss is evaluated in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    Single,
    Double,
}

impl Precision {
    pub(crate) fn of(logits: &Logits) -> Self {
        if logits.tensor().dtype() == DType::F64 {
            Self::Double
        } else {
            Self::Single
        }
    }

    const fn dtype(self) -> DType {
        match self {
            Self::Single => DType::F32,
            Self::Double => DType::F64,
        }
    }
}

pub(crate) fn tensor(
    values: &[f64],
    classes: usize,
    precision: Precision,
    device: &Device,
) -> Tensor<2> {
    let data = TensorData::new(values.to_vec(), [values.len() / classes, classes]);
    Tensor::from_data(data, (device, precision.dtype()))
}

pub(crate) fn logits(
    values: &[f64],
    classes: usize,
    precision: Precision,
    device: &Device,
) -> Logits {
    Logits::new(tensor(values, classes, precision, device)).unwrap()
}

pub(crate) fn values(rows: &Tensor<1>) -> Vec<f64> {
    rows.to_data().convert::<f64>().try_to_vec().unwrap()
}

pub(crate) fn matrix_values(matrix: &Tensor<2>) -> Vec<f64> {
    matrix.to_data().convert::<f64>().try_to_vec().unwrap()
}

/// Reproducible values in `-scale..scale`.
pub(crate) fn noise(count: usize, scale: f64, seed: u64) -> Vec<f64> {
    let mut random = Seed::new(seed).stream("test", &[]);
    (0..count)
        .map(|_| random.random_range(-scale..scale))
        .collect()
}

pub(crate) fn assert_close(got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(
            (got - expected).abs() <= tolerance,
            "entry {index}: {got}, expected {expected}"
        );
    }
}

/// The value of a loss and its gradient at `student`.
pub(crate) fn differentiate(
    student: &[f64],
    classes: usize,
    precision: Precision,
    loss: impl Fn(&Logits) -> Tensor<1>,
) -> (f64, Vec<f64>) {
    let device = Device::default().autodiff();
    let leaf = tensor(student, classes, precision, &device).require_grad();
    let value = loss(&Logits::new(leaf.clone()).unwrap());
    assert_eq!(
        value.dtype(),
        precision.dtype(),
        "the loss changed the precision"
    );
    let gradients = value.backward();
    (
        values(&value)[0],
        matrix_values(&leaf.grad(&gradients).unwrap()),
    )
}

/// Compares the gradient with central differences of the loss in double precision; `tolerance` is relative to
/// the largest entry.
pub(crate) fn check_gradient(
    student: &[f64],
    classes: usize,
    tolerance: f64,
    loss: impl Fn(&Logits) -> Tensor<1>,
) {
    let (_, gradient) = differentiate(student, classes, Precision::Double, &loss);
    let largest = gradient
        .iter()
        .fold(0.0_f64, |most, entry| most.max(entry.abs()));
    let step = 1e-5;
    let at = |index: usize, by: f64| {
        let mut moved = student.to_vec();
        moved[index] += by;
        values(&loss(&logits(
            &moved,
            classes,
            Precision::Double,
            &Device::default(),
        )))[0]
    };
    for (index, entry) in gradient.iter().enumerate() {
        let slope = (at(index, step) - at(index, -step)) / (2.0 * step);
        assert!(
            (entry - slope).abs() <= tolerance * largest,
            "entry {index}: gradient {entry}, finite difference {slope}"
        );
    }
}

/// One golden case: inputs, expected value and gradients, tolerances.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) variant: String,
    record: serde_json::Value,
    bytes: Vec<u8>,
}

/// The golden cases of a loss or metric, or `None` (after a note) where the shared folder is not at hand.
pub(crate) fn golden(canonical: &str) -> Option<Vec<Case>> {
    let Some(shared) = std::env::var_os("LIMBECK_SHARED") else {
        println!("skipped: LIMBECK_SHARED is not set");
        return None;
    };
    let folder = PathBuf::from(shared).join("golden");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        let matches = |kind: &str| record.get(kind).is_some_and(|name| name == canonical);
        if matches("loss") || matches("metric") {
            let bytes = std::fs::read(path.with_extension("safetensors")).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let variant = record["variant"].as_str().unwrap().to_owned();
            cases.push(Case {
                name,
                variant,
                record,
                bytes,
            });
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Some(cases)
}

impl Case {
    pub(crate) fn parameter(&self, name: &str) -> f64 {
        self.record["params"][name].as_f64().unwrap()
    }

    pub(crate) fn has(&self, input: &str) -> bool {
        self.record["inputs"].get(input).is_some()
    }

    pub(crate) fn labels(&self, name: &str) -> Vec<u32> {
        self.read(name)
            .0
            .into_iter()
            .map(|label| label as u32)
            .collect()
    }

    /// The values of `[rows, columns]`, and the columns.
    pub(crate) fn matrix(&self, name: &str) -> (Vec<f64>, usize) {
        let (values, shape) = self.read(name);
        assert_eq!(shape.len(), 2, "{}: `{name}` is not a matrix", self.name);
        (values, shape[1])
    }

    /// Compares a metric with the expected value of that name.
    pub(crate) fn check_metric(&self, name: &str, got: f64) {
        let expected = self.record["expect"]["values"][name].as_f64().unwrap();
        let (rtol, atol) = self.tolerance("tolerance");
        assert!(
            (got - expected).abs() <= atol + rtol * expected.abs(),
            "{}: {name} is {got}, expected {expected}",
            self.name
        );
    }

    /// Compares a single-precision loss with the expected value.
    pub(crate) fn check_value(&self, got: f64) {
        let expected = self.read("expect.loss").0[0];
        let (rtol, atol) = self.tolerance("tolerance");
        assert!(
            (got - expected).abs() <= atol + rtol * expected.abs(),
            "{}: {got}, expected {expected}",
            self.name
        );
    }

    /// Compares a loss and its gradient with the case, in single and in double precision.
    pub(crate) fn check(&self, student: &str, loss: impl Fn(&Logits) -> Tensor<1>) {
        let (values, classes) = self.matrix(student);
        let expected = self.read("expect.loss").0[0];
        let (gradients, _) = self.matrix(&format!("grad.{student}"));
        let largest = gradients
            .iter()
            .fold(0.0_f64, |most, entry| most.max(entry.abs()));
        for precision in [Precision::Single, Precision::Double] {
            let (value, gradient) = differentiate(&values, classes, precision, &loss);
            let (rtol, atol) = self.tolerance(match precision {
                Precision::Single => "tolerance",
                Precision::Double => "tolerance_f64",
            });
            assert!(
                (value - expected).abs() <= atol + rtol * expected.abs(),
                "{} in {precision:?} precision: {value}, expected {expected}",
                self.name
            );
            let (rtol, atol) = self.tolerance("grad_tolerance");
            assert_close(&gradient, &gradients, atol + rtol * largest);
        }
    }

    fn tolerance(&self, name: &str) -> (f64, f64) {
        let tolerance = &self.record["expect"][name];
        (
            tolerance["rtol"].as_f64().unwrap(),
            tolerance["atol"].as_f64().unwrap(),
        )
    }

    fn read(&self, name: &str) -> (Vec<f64>, Vec<usize>) {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap();
        let data = tensor.data();
        let values = match tensor.dtype() {
            Dtype::F32 => chunks(data)
                .map(|b| f64::from(f32::from_le_bytes(b)))
                .collect(),
            Dtype::F64 => chunks(data).map(f64::from_le_bytes).collect(),
            Dtype::I64 => chunks(data).map(|b| i64::from_le_bytes(b) as f64).collect(),
            other => panic!("{}: `{name}` has type {other:?}", self.name),
        };
        (values, tensor.shape().to_vec())
    }
}

fn chunks<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> {
    data.chunks_exact(N).map(|chunk| chunk.try_into().unwrap())
}
