//! Operators that move values without changing them.

use burn::tensor::ops::PadMode;
use burn::tensor::{Int, Tensor, TensorData};

use crate::ir::{Fill, Slice};
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

/// The same values with axes of size 1 repeated and missing ones put in front, as `to` has them.
pub(crate) fn expand(x: Feature, to: &[usize]) -> Result<Feature> {
    let x = raise(x, to.len())?;
    let shape = x.shape();
    // A shape to repeat to may itself have axes of size 1, which keep the value's.
    let repeated = shape.iter().zip(to).map(|(&from, &to)| from.max(to));
    let to: Vec<usize> = repeated.collect();
    if shape == to {
        return Ok(x);
    }
    each_rank!(x, tensor => Ok(same_rank(&tensor, &to)?.into()))
}

fn same_rank<const D: usize>(x: &Tensor<D>, to: &[usize]) -> Result<Tensor<D>> {
    Ok(x.clone().expand(sizes::<D>(to)?))
}

/// Places of an axis at equal distances.
pub(crate) fn slice<const D: usize>(x: Tensor<D>, slice: &Slice) -> Tensor<D> {
    let end = slice.start + (slice.count - 1) * slice.step + 1;
    if slice.step == 1 {
        return x.narrow(slice.axis, slice.start, slice.count);
    }
    let mut places = [burn::tensor::Slice::full(); D];
    places[slice.axis] = burn::tensor::Slice::new(
        slice.start as isize,
        Some(end as isize),
        slice.step as isize,
    );
    x.slice(places)
}

/// The listed places of an axis.
pub(crate) fn take<const D: usize>(x: Tensor<D>, axis: usize, indices: &[usize]) -> Tensor<D> {
    if let [index] = indices {
        return x.narrow(axis, *index, 1);
    }
    let device = x.device();
    x.select(axis, places(indices, &device))
}

/// Indices on a device.
pub(crate) fn places(indices: &[usize], device: &burn::tensor::Device) -> Tensor<1, Int> {
    let values: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// More places at the ends of the axes.
pub(crate) fn pad<const D: usize>(x: Tensor<D>, sides: &[[usize; 2]], fill: Fill) -> Tensor<D> {
    let sides: Vec<(usize, usize)> = sides
        .iter()
        .map(|&[before, after]| (before, after))
        .collect();
    if sides.iter().all(|&sides| sides == (0, 0)) {
        return x;
    }
    let mode = match fill {
        Fill::Constant { value } => PadMode::Constant(value as f32),
        Fill::Reflect => PadMode::Reflect,
        Fill::Edge => PadMode::Edge,
    };
    x.pad(sides.as_slice(), mode)
}

/// The axes in another order.
pub(crate) fn permute(x: Feature, axes: &[usize]) -> Result<Feature> {
    let shape = x.shape();
    let moved: Vec<usize> = axes
        .iter()
        .copied()
        .filter(|&axis| shape[axis] != 1)
        .collect();
    if moved.is_sorted() {
        // Only axes of size 1 change their places.
        let to: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
        return reshape(x, &to);
    }
    each_rank!(x, tensor => permuted(tensor, axes).map(Feature::from))
}

fn permuted<const D: usize>(x: Tensor<D>, axes: &[usize]) -> Result<Tensor<D>> {
    let axes = sizes::<D>(axes)?;
    if limbeck_kernels::tensor::accepts(&x) {
        return Ok(limbeck_kernels::tensor::permute(x, axes));
    }
    Ok(crate::run::layout::dense(
        crate::run::layout::dense(x).permute(axes.map(|axis| axis as isize)),
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
