//! The one type for weights outside a device.

use crate::{Error, Result};

/// A tensor on the host: dimensions and `f32` values, row major.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// The dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The values, row major; as many as the product of the dimensions.
    pub values: Vec<f32>,
}

impl HostTensor {
    /// `values`, row major, as a tensor of `shape`.
    ///
    /// # Errors
    /// If the shape does not hold exactly that many values.
    pub fn new(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Result<Self> {
        let shape = shape.into();
        Self::check(&shape, values.len())?;
        Ok(Self { shape, values })
    }

    /// Checks that `shape` holds `count` values.
    pub(super) fn check(shape: &[usize], count: usize) -> Result<()> {
        if element_count(shape) == Some(count) {
            return Ok(());
        }
        Err(Error::Length {
            shape: shape.to_vec(),
            values: count,
        })
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no values (a dimension is zero).
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The product of the dimensions, unless it overflows.
pub(super) fn element_count(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |count, &dimension| count.checked_mul(dimension))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_shape_must_hold_its_values() {
        assert_eq!(HostTensor::new([2, 3], vec![0.0; 6]).unwrap().len(), 6);
        assert_eq!(HostTensor::new(vec![], vec![4.0]).unwrap().len(), 1);
        assert!(HostTensor::new([0, 5], vec![]).unwrap().is_empty());
        let message = HostTensor::new([2, 3], vec![0.0; 5])
            .unwrap_err()
            .to_string();
        assert_eq!(message, "shape [2, 3] does not hold 5 values");
    }

    #[test]
    fn an_overflowing_shape_is_an_error() {
        assert!(HostTensor::new([usize::MAX, 2], vec![]).is_err());
        assert!(HostTensor::new([1 << 32, 1 << 32], vec![]).is_err());
    }
}
