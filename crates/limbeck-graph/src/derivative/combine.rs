//! Gradients of operators on several values.

use crate::ir::Relation;
use crate::run::ops::arrange;
use crate::run::ops::combine::{Elementwise, choose, elementwise};
use crate::{Feature, Result, each_rank};

/// The gradient of a value that was repeated: the sum over the axes that `shape` lacks or has with size 1.
pub(super) fn sum_to(gradient: Feature, shape: &[usize]) -> Result<Feature> {
    let from = gradient.shape();
    if from == shape {
        return Ok(gradient);
    }
    let missing = from.len() - shape.len();
    let repeated = |axis: usize| axis < missing || shape[axis - missing] != from[axis];
    let axes: Vec<usize> = (0..from.len()).filter(|&axis| repeated(axis)).collect();
    let summed = each_rank!(gradient, tensor => {
        axes.iter().fold(tensor, |sum, &axis| sum.sum_dim(axis)).into()
    });
    arrange::reshape(summed, shape)
}

/// The `size` places from `start` along `axis`.
pub(super) fn part(gradient: Feature, axis: usize, start: usize, size: usize) -> Feature {
    each_rank!(gradient, tensor => tensor.narrow(axis, start, size).into())
}

/// Of a quotient `y = a / b`: `gradient / b` for `a`, `-gradient y / b` for `b`.
pub(super) fn divide(
    gradient: Feature,
    divisor: Feature,
    quotient: Feature,
    position: usize,
) -> Result<Feature> {
    let share = elementwise(Elementwise::Divide, gradient, divisor)?;
    if position == 0 {
        return Ok(share);
    }
    let product = elementwise(Elementwise::Multiply, share, quotient)?;
    Ok(each_rank!(product, tensor => tensor.neg().into()))
}

/// Of the larger or smaller of `a` and `b`: all of it for the one that was taken, the first if they are equal.
pub(super) fn extreme(
    gradient: Feature,
    [a, b]: [Feature; 2],
    largest: bool,
    position: usize,
) -> Result<Feature> {
    let relation = match (largest, position) {
        (true, 0) => Relation::GreaterOrEqual,
        (true, _) => Relation::Less,
        (false, 0) => Relation::LessOrEqual,
        (false, _) => Relation::Greater,
    };
    let taken = elementwise(Elementwise::Compare(relation), a, b)?;
    elementwise(Elementwise::Multiply, gradient, taken)
}

/// Of a choice: where the condition chose the value at `position`, 1 or 2.
pub(super) fn chosen(gradient: Feature, condition: Feature, position: usize) -> Result<Feature> {
    let zeros = super::zeros_like(gradient.clone());
    match position {
        1 => choose(condition, gradient, zeros),
        _ => choose(condition, zeros, gradient),
    }
}
