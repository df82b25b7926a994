//! Operators that move values without changing them.

use burn::tensor::Tensor;

use crate::{Error, Feature, Result, each_rank};

fn sizes<const D: usize>(sizes: &[usize]) -> Result<[usize; D]> {
    sizes.try_into().map_err(|_| Error::Rank {
        expected: D,
        shape: sizes.to_vec(),
    })
}

/// The same values with the sizes `to`, 1 to 6 of them.
pub(crate) fn reshape(x: Feature, to: &[usize]) -> Result<Feature> {
    each_rank!(x, tensor => Ok(match to.len() {
        1 => Feature::Rank1(tensor.reshape(sizes::<1>(to)?)),
        2 => Feature::Rank2(tensor.reshape(sizes::<2>(to)?)),
        3 => Feature::Rank3(tensor.reshape(sizes::<3>(to)?)),
        4 => Feature::Rank4(tensor.reshape(sizes::<4>(to)?)),
        5 => Feature::Rank5(tensor.reshape(sizes::<5>(to)?)),
        _ => Feature::Rank6(tensor.reshape(sizes::<6>(to)?)),
    }))
}

/// The same values with axes of size 1 put in front until there are `rank`.
pub(crate) fn raise(x: Feature, rank: usize) -> Result<Feature> {
    let shape = x.shape();
    if shape.len() >= rank {
        return Ok(x);
    }
    let mut to = vec![1; rank - shape.len()];
    to.extend(shape);
    reshape(x, &to)
}

/// The axes in another order.
pub(crate) fn permute(x: Feature, axes: &[usize]) -> Result<Feature> {
    each_rank!(x, tensor => permuted(tensor, axes).map(Feature::from))
}

fn permuted<const D: usize>(x: Tensor<D>, axes: &[usize]) -> Result<Tensor<D>> {
    let axes = sizes::<D>(axes)?.map(|axis| axis as isize);
    Ok(crate::run::layout::dense(
        crate::run::layout::dense(x).permute(axes),
    ))
}

/// Parts of the given sizes along `axis`.
pub(in crate::run) fn split<const D: usize>(
    x: &Tensor<D>,
    axis: usize,
    parts: &[usize],
) -> Vec<Tensor<D>> {
    let mut start = 0;
    let part = |&size: &usize| {
        start += size;
        crate::run::layout::dense(x.clone().narrow(axis, start - size, size))
    };
    parts.iter().map(part).collect()
}

/// The channels along `axis` dealt out in turn from `groups` groups.
pub(crate) fn shuffle<const D: usize>(x: Tensor<D>, axis: usize, groups: usize) -> Tensor<D> {
    let dims = x.dims();
    let outer: usize = dims[..axis].iter().product();
    let inner: usize = dims[axis + 1..].iter().product();
    let each = dims[axis] / groups;
    let grouped: Tensor<4> = x.reshape([outer, groups, each, inner]);
    grouped.permute([0, 2, 1, 3]).reshape(dims)
}
