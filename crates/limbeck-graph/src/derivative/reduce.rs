//! Gradients of summaries of axes.

use burn::tensor::Tensor;

use crate::ir::{Reduce, Reduction, Relation};
use crate::run::ops::arrange;
use crate::run::ops::combine::{Elementwise, elementwise};
use crate::run::ops::reduce::reduce as summary;
use crate::{Feature, Result, each_rank};

/// The gradient of `x`, given that of its summary `y`.
///
/// Values that are the largest or smallest together have equal shares.
pub(super) fn reduce(x: Feature, y: Feature, gradient: Feature, op: &Reduce) -> Result<Feature> {
    let shape = x.shape();
    match op.reduction {
        Reduction::Sum => arrange::expand(gradient, &shape),
        Reduction::Mean => {
            let count: usize = op.axes.iter().map(|&axis| shape[axis]).product();
            let share = each_rank!(gradient, tensor => tensor.div_scalar(count as f64).into());
            arrange::expand(share, &shape)
        }
        Reduction::Max | Reduction::Min => {
            let equal = elementwise(Elementwise::Compare(Relation::Equal), x, y)?;
            let count = each_rank!(equal.clone(), tensor => {
                summary(tensor, &op.axes, Reduction::Sum).into()
            });
            let share = elementwise(Elementwise::Divide, gradient, count)?;
            elementwise(Elementwise::Multiply, share, equal)
        }
        Reduction::Product => {
            let others = products_of_others(x, &op.axes)?;
            elementwise(Elementwise::Multiply, gradient, others)
        }
    }
}

/// For each value the product of all others along `axes`, right where some are zero too.
fn products_of_others(x: Feature, axes: &[usize]) -> Result<Feature> {
    let shape = x.shape();
    let kept = (0..shape.len()).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = kept.chain(axes.iter().copied()).collect();
    let moved = arrange::permute(x, &order)?;
    let sizes = moved.shape();
    let count: usize = axes.iter().map(|&axis| shape[axis]).product();
    let rows: Tensor<2> = each_rank!(moved, tensor => {
        let rows = tensor.dims().iter().product::<usize>() / count;
        tensor.reshape([rows, count])
    });
    let columns: Vec<Tensor<2>> = (0..count).map(|at| rows.clone().narrow(1, at, 1)).collect();
    let running = |product: &mut Tensor<2>, column: &Tensor<2>| {
        let before = product.clone();
        *product = before.clone() * column.clone();
        Some(before)
    };
    let one = columns[0].ones_like();
    let before: Vec<Tensor<2>> = columns.iter().scan(one.clone(), running).collect();
    let behind: Vec<Tensor<2>> = columns.iter().rev().scan(one, running).collect();
    let others = before.into_iter().zip(behind.into_iter().rev());
    let others = Tensor::cat(others.map(|(before, behind)| before * behind).collect(), 1);
    let back = super::inverse(&order);
    arrange::permute(arrange::reshape(others.into(), &sizes)?, &back)
}
