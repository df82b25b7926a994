//! Whether an exported file means elsewhere what it means here.

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::TractNetwork;
use crate::{Error, Feature, Inputs, Network, Result, Taps};

/// The program that checks exports, and its version.
pub const RUNTIME: &str = "tract 0.23.9";

/// How far the output of an exported file, computed by another program, is from what it should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parity {
    /// The program that ran the file.
    pub runtime: String,
    /// The number of rows that were compared.
    pub rows: usize,
    /// The number of values that were compared.
    pub values: usize,
    /// The largest absolute expected value.
    pub largest_expected: f64,
    /// The largest absolute difference.
    pub largest_difference: f64,
    /// The largest difference by the largest expected value (by 1 where all of these are 0).
    pub largest_relative: f64,
    /// The row of the largest difference, from 0.
    pub row: usize,
    /// The largest relative difference that passes.
    pub limit: f64,
}

impl Parity {
    /// The largest relative difference that passes.
    pub const LIMIT: f64 = 1e-4;

    /// How far `got` is from `expected`.
    ///
    /// # Errors
    /// A sentence if the shapes differ or a value is not finite.
    fn between(got: &Feature, expected: &Feature) -> std::result::Result<Self, String> {
        let (shape, wanted) = (got.shape(), expected.shape());
        if shape != wanted {
            return Err(format!(
                "expected an output of shape {wanted:?}, got {shape:?}"
            ));
        }
        let to_vec = |feature: &Feature| feature.to_vec().map_err(|error| error.to_string());
        let (got, expected) = (to_vec(got)?, to_vec(expected)?);
        let rows = wanted.first().copied().unwrap_or(0);
        let per_row = (expected.len() / rows.max(1)).max(1);
        let mut parity = Self {
            runtime: RUNTIME.to_owned(),
            rows,
            values: expected.len(),
            largest_expected: 0.0,
            largest_difference: 0.0,
            largest_relative: 0.0,
            row: 0,
            limit: Self::LIMIT,
        };
        for (place, (&got, &expected)) in got.iter().zip(&expected).enumerate() {
            if !got.is_finite() || !expected.is_finite() {
                return Err(format!(
                    "row {}: expected finite outputs, got {got} where {expected} was expected",
                    place / per_row
                ));
            }
            let difference = (f64::from(got) - f64::from(expected)).abs();
            if difference > parity.largest_difference {
                parity.largest_difference = difference;
                parity.row = place / per_row;
            }
            parity.largest_expected = parity.largest_expected.max(f64::from(expected).abs());
        }
        let scale = match parity.largest_expected {
            0.0 => 1.0,
            largest => largest,
        };
        parity.largest_relative = parity.largest_difference / scale;
        Ok(parity)
    }

    /// Whether the largest relative difference is within the limit.
    pub fn passes(&self) -> bool {
        self.largest_relative <= self.limit
    }

    /// Checks that the file at `path`, of which this was measured, passes.
    ///
    /// # Errors
    /// [`Error::Runtime`] if it does not.
    pub fn check(&self, path: &Path) -> Result<()> {
        if self.passes() {
            return Ok(());
        }
        Err(Error::Runtime {
            path: path.to_owned(),
            problem: format!(
                "its output is up to {:.3e} of the largest one off what it should be (row {}), at most {:e} is allowed; \
                 do not use the file",
                self.largest_relative, self.row, self.limit
            ),
        })
    }
}

/// Runs the ONNX file at `path` with tract on `inputs` and compares its first output with `expected`, the network's own.
///
/// ```text
/// largest_relative = max |got - expected| / max |expected|
/// ```
///
/// [`Parity::check`] says whether that is good enough.
///
/// # Errors
/// As [`TractNetwork::read`] and its `forward`; [`Error::Runtime`] if the output has another shape than `expected`
/// or a value is not finite.
pub fn parity(path: impl AsRef<Path>, inputs: &Inputs, expected: &Feature) -> Result<Parity> {
    let path = path.as_ref();
    let network = TractNetwork::read(path, &Device::flex())?;
    let trace = network.forward(inputs, &Taps::none())?;
    Parity::between(&trace.output, expected).map_err(|problem| Error::Runtime {
        path: path.to_owned(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn rows(values: Vec<f32>) -> Feature {
        let rows = values.len() / 2;
        Feature::from_vec(values, &[rows, 2], &Device::flex()).unwrap()
    }

    #[test]
    fn differences_are_relative_to_the_largest_output() {
        let expected = rows(vec![0.0, -4.0, 1.0, 2.0]);
        let parity = Parity::between(&rows(vec![0.0, -4.0, 1.5, 1.75]), &expected).unwrap();
        assert_eq!((parity.rows, parity.values, parity.row), (2, 4, 1));
        assert_eq!(parity.largest_difference, 0.5);
        assert_eq!(parity.largest_relative, 0.125);
        assert!(!parity.passes());
        let message = parity.check(Path::new("s.onnx")).unwrap_err().to_string();
        assert_eq!(
            message,
            "tract cannot run `s.onnx`: its output is up to 1.250e-1 of the largest one off what it should be (row 1), \
             at most 1e-4 is allowed; do not use the file"
        );
        let same = Parity::between(&expected, &expected).unwrap();
        assert_eq!((same.largest_difference, same.largest_relative), (0.0, 0.0));
        same.check(Path::new("s.onnx")).unwrap();
        let zeros = rows(vec![0.0; 4]);
        let near = Parity::between(&rows(vec![0.0, 1e-5, 0.0, 0.0]), &zeros).unwrap();
        assert!(near.passes(), "{near:?}");
    }

    #[test]
    fn shapes_and_numbers_must_be_comparable() {
        let expected = rows(vec![1.0, 2.0]);
        let message = Parity::between(&rows(vec![1.0, 2.0, 3.0, 4.0]), &expected).unwrap_err();
        assert_eq!(message, "expected an output of shape [1, 2], got [2, 2]");
        let message = Parity::between(&rows(vec![1.0, f32::NAN]), &expected).unwrap_err();
        assert_eq!(
            message,
            "row 0: expected finite outputs, got NaN where 2 was expected"
        );
        assert!(Parity::between(&expected, &rows(vec![f32::INFINITY, 2.0])).is_err());
    }

    #[test]
    fn it_is_written_and_read_as_json() {
        let expected = rows(vec![1.0, 2.0]);
        let parity = Parity::between(&rows(vec![1.0, 2.125]), &expected).unwrap();
        let text = serde_json::to_string(&parity).unwrap();
        assert!(
            text.starts_with(r#"{"runtime":"tract 0.23.9","rows":1,"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Parity>(&text).unwrap(), parity);
    }

    /// The version in the workspace's lock file, which is not part of a published crate.
    #[test]
    fn the_version_is_the_one_that_runs() {
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
        let Ok(lock) = std::fs::read_to_string(lock) else {
            return;
        };
        let version = RUNTIME.strip_prefix("tract ").unwrap();
        let expected = format!("name = \"tract-onnx\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&expected), "Cargo.lock has another version");
    }
}
