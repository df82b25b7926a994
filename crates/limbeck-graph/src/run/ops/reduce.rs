//! Summaries of axes.

use burn::tensor::Tensor;

use crate::ir::Reduction;

/// The summary of the values along `axes`, in ascending order, which stay with size 1.
pub(crate) fn reduce<const D: usize>(
    x: Tensor<D>,
    axes: &[usize],
    reduction: Reduction,
) -> Tensor<D> {
    // Neighbouring axes are one in memory and take one pass.
    axes.chunk_by(|a, b| a + 1 == *b).rev().fold(x, |x, run| {
        neighbours(x, run[0], run[run.len() - 1], reduction)
    })
}

fn neighbours<const D: usize>(
    x: Tensor<D>,
    first: usize,
    last: usize,
    reduction: Reduction,
) -> Tensor<D> {
    let dims = x.dims();
    let outer: usize = dims[..first].iter().product();
    let reduced: usize = dims[first..=last].iter().product();
    let inner: usize = dims[last + 1..].iter().product();
    let flat: Tensor<3> = x.reshape([outer, reduced, inner]);
    let summary = match reduction {
        Reduction::Sum => flat.sum_dim(1),
        Reduction::Mean => flat.mean_dim(1),
        Reduction::Max => flat.max_dim(1),
        Reduction::Min => flat.min_dim(1),
        Reduction::Product => flat.prod_dim(1),
    };
    let mut sizes = dims;
    sizes[first..=last].fill(1);
    summary.reshape(sizes)
}
