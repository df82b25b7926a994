//! Sums, norms and limits of gradients.

use std::collections::btree_map::Entry;

use burn::tensor::{Device, Tensor};
use limbeck_graph::{Feature, each_rank};
use limbeck_kernels::tensor as kernels;

use super::parameters::Named;
use super::settings::Clip;
use crate::Result;

/// Runs the same expression on two tensors of one rank.
macro_rules! each_pair {
    ($left:expr, $right:expr, $a:ident, $b:ident => $body:expr) => {
        each_pair!(@ranks $left, $right, $a, $b => $body; Rank1 Rank2 Rank3 Rank4 Rank5 Rank6)
    };
    (@ranks $left:expr, $right:expr, $a:ident, $b:ident => $body:expr; $($rank:ident)*) => {
        match ($left, $right) {
            $((limbeck_graph::Feature::$rank($a), limbeck_graph::Feature::$rank($b)) => $body,)*
            (left, right) => unreachable!(
                "a tensor and its gradient have one rank, got {:?} and {:?}",
                left.shape(),
                right.shape()
            ),
        }
    };
}

pub(super) use each_pair;

/// `left + right`.
pub(super) fn add(left: Feature, right: Feature) -> Feature {
    each_pair!(left, right, a, b => Feature::from(a + b))
}

/// `feature * factor`.
pub(super) fn scale(feature: Feature, factor: f64) -> Feature {
    each_rank!(feature, tensor => tensor.mul_scalar(factor).into())
}

/// `factor * gradients`.
pub(super) fn scaled(gradients: Named, factor: f64) -> Named {
    gradients
        .into_iter()
        .map(|(name, gradient)| (name, scale(gradient, factor)))
        .collect()
}

/// Adds `factor * gradients` to `sum`.
pub(super) fn accumulate(sum: &mut Named, gradients: Named, factor: f64) {
    for (name, gradient) in gradients {
        let scaled = scale(gradient, factor);
        match sum.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(scaled);
            }
            Entry::Occupied(mut entry) => {
                let before = entry.get().clone();
                entry.insert(add(before, scaled));
            }
        }
    }
}

/// The sum of the squares of all values, `[1]`.
pub(super) fn squared_norm<'a>(
    features: impl IntoIterator<Item = &'a Feature>,
    device: &Device,
) -> Tensor<1> {
    features
        .into_iter()
        .map(|feature| each_rank!(feature.clone(), tensor => sum_of_squares(tensor)))
        .reduce(|sum, square| sum + square)
        .unwrap_or_else(|| Tensor::zeros([1], device))
}

fn sum_of_squares<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    if kernels::accepts(&tensor) {
        kernels::sum_of_squares(tensor)
    } else {
        tensor.square().sum()
    }
}

/// `gradients` within the limit; `norm` is their common L2 norm.
pub(super) fn clip(gradients: Named, limit: Option<Clip>, norm: f64) -> Named {
    match limit {
        None => gradients,
        // The small constant is PyTorch's; it keeps the quotient finite.
        Some(Clip::Norm(largest)) => match largest / (norm + 1e-6) {
            factor if factor < 1.0 => scaled(gradients, factor),
            _ => gradients,
        },
        Some(Clip::Value(largest)) => gradients
            .into_iter()
            .map(|(name, gradient)| {
                let cut = each_rank!(gradient, tensor => tensor.clamp(-largest, largest).into());
                (name, cut)
            })
            .collect(),
    }
}

/// Several numbers, `[1]` each, in one transfer from the device.
///
/// # Errors
/// If the device cannot hand them over.
pub(super) fn read(numbers: Vec<Tensor<1>>) -> Result<Vec<f32>> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    Ok(Feature::from(Tensor::cat(numbers, 0)).to_vec()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn gradients() -> Named {
        let device = Device::default();
        let vector = Feature::from_vec(vec![3.0, -4.0], &[2], &device).unwrap();
        let matrix = Feature::from_vec(vec![12.0], &[1, 1], &device).unwrap();
        Named::from([("a".to_owned(), vector), ("b".to_owned(), matrix)])
    }

    fn values(named: &Named) -> Vec<f32> {
        named.values().flat_map(|f| f.to_vec().unwrap()).collect()
    }

    #[test]
    fn the_norm_is_over_all_tensors() {
        let square = squared_norm(gradients().values(), &Device::default());
        assert_eq!(read(vec![square]).unwrap(), [169.0]);
        let nothing = squared_norm(&[], &Device::default());
        assert_eq!(read(vec![nothing]).unwrap(), [0.0]);
    }

    #[test]
    fn norms_are_cut_together_and_values_alone() {
        let cut = values(&clip(gradients(), Some(Clip::Norm(1.3)), 13.0));
        for (got, expected) in cut.iter().zip([0.3, -0.4, 1.2]) {
            assert!(
                (got - expected).abs() < 1e-6,
                "expected {expected}, got {got}"
            );
        }
        let below = clip(gradients(), Some(Clip::Norm(13.1)), 13.0);
        assert_eq!(values(&below), [3.0, -4.0, 12.0]);
        let cut = clip(gradients(), Some(Clip::Value(3.5)), 13.0);
        assert_eq!(values(&cut), [3.0, -3.5, 3.5]);
    }

    #[test]
    fn accumulation_is_a_weighted_sum() {
        let mut sum = Named::new();
        accumulate(&mut sum, gradients(), 0.5);
        accumulate(&mut sum, gradients(), 0.25);
        assert_eq!(values(&sum), [2.25, -3.0, 9.0]);
    }
}
