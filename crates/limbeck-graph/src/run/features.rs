//! Elementwise operators, softmaxes and matrix products of features that are no images, on the CPU kernels.

use burn::tensor::Tensor;
use limbeck_kernels::tensor as kernels;

use super::Step;
use super::execute::Value;
use super::joined::function;
use super::node::Run;
use super::ops::arrange::{raise, reshape};
use crate::ir::{Activation, Op};
use crate::{Feature, Result, each_rank};

impl Run<'_> {
    /// The value of a step that the kernels can compute; `None` where they can't.
    pub(super) fn of_features(
        &self,
        step: &Step,
        op: &Op,
        values: &[Option<Value>],
    ) -> Result<Option<Value>> {
        let input = |number: usize| match step.inputs.get(number).map(|&input| &values[input]) {
            Some(Some(Value::Feature(feature))) => Some(feature.clone()),
            _ => None,
        };
        let Some(x) = input(0) else { return Ok(None) };
        let last = x.rank() - 1;
        let output: Feature = match op {
            // Burn raises to any power but the second by logarithms.
            Op::Activation(Activation::Power { exponent: 3.0 }) => {
                each_rank!(x, x => kernels::multiply(kernels::multiply(x.clone(), x.clone()), x).into())
            }
            Op::Activation(activation) => match function(*activation) {
                Some(function) => each_rank!(x, x => kernels::apply(function, x).into()),
                None => return Ok(None),
            },
            Op::ScaleShift(line) => {
                let (factor, term) = (line.scale as f32, line.shift as f32);
                each_rank!(x, x => kernels::multiply_add(x, factor, term).into())
            }
            Op::Softmax(softmax) if softmax.axis == last => {
                each_rank!(x, x => kernels::softmax(x).into())
            }
            Op::LogSoftmax(softmax) if softmax.axis == last => {
                each_rank!(x, x => kernels::log_softmax(1.0, x).into())
            }
            Op::Add | Op::Subtract | Op::Multiply if step.inputs.len() == 2 => match input(1) {
                Some(y) if y.shape() == x.shape() => {
                    each_rank!(x, x => combined(op, x, y.try_into()?).into())
                }
                _ => return Ok(None),
            },
            Op::MatMul => match input(1).map(|y| product(x, y)).transpose()?.flatten() {
                Some(product) => product,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(Value::Feature(output)))
    }
}

/// The matrix product of two values, of which the right one is the same matrix for all or one for each; `None` where the left
/// one is repeated.
fn product(x: Feature, y: Feature) -> Result<Option<Feature>> {
    let rank = x.rank().max(y.rank());
    let (x, y) = (raise(x, rank)?, raise(y, rank)?);
    let (from, to) = (x.shape(), y.shape());
    let ([outer @ .., rows, inner], [others @ .., _, columns]) = (&from[..], &to[..]) else {
        return Ok(None);
    };
    let all: usize = outer.iter().product();
    let count = match others {
        _ if outer == others => all,
        _ if others.iter().all(|&size| size == 1) => 1,
        _ => return Ok(None),
    };
    let left = reshape(x, &[count, all / count * rows, *inner])?.try_into()?;
    let right = reshape(y, &[count, *inner, *columns])?.try_into()?;
    let mut shape = from.clone();
    shape[rank - 1] = *columns;
    reshape(kernels::mat_mul(left, right).into(), &shape).map(Some)
}

/// The sum, difference or product of two tensors of one shape.
pub(super) fn combined<const D: usize>(op: &Op, left: Tensor<D>, right: Tensor<D>) -> Tensor<D> {
    match op {
        Op::Subtract => kernels::subtract(left, right),
        Op::Multiply => kernels::multiply(left, right),
        _ => kernels::add(left, right),
    }
}
