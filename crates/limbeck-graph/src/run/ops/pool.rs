//! Pooling.

use burn::tensor::Tensor;
use burn::tensor::module::{avg_pool1d, avg_pool2d, max_pool1d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};

use crate::ir::{Pool1d, Pool2d};
use crate::run::layout::{to_channels_first, to_channels_last};

/// Which value of a window is kept.
#[derive(Clone, Copy)]
pub(in crate::run) enum Keep {
    Largest,
    Mean,
}

pub(in crate::run) fn sequence(x: Tensor<3>, pool: &Pool1d, keep: Keep) -> Tensor<3> {
    let (kernel, stride, padding) = ([pool.kernel], [pool.stride], [pool.padding]);
    match keep {
        Keep::Largest => max_pool1d(x, largest(kernel, stride, padding, pool.ceil)),
        Keep::Mean => avg_pool1d(
            x,
            mean(kernel, stride, padding, pool.ceil, pool.count_include_pad),
        ),
    }
}

/// Windows over `[batch, channels, height, width]`.
pub(in crate::run) fn image(x: Tensor<4>, pool: &Pool2d, keep: Keep) -> Tensor<4> {
    match keep {
        Keep::Largest => max_pool2d(
            x,
            largest(pool.kernel, pool.stride, pool.padding, pool.ceil),
        ),
        Keep::Mean => {
            let options = mean(
                pool.kernel,
                pool.stride,
                pool.padding,
                pool.ceil,
                pool.count_include_pad,
            );
            avg_pool2d(x, options)
        }
    }
}

/// Windows over `[batch, height, width, channels]`.
///
/// Windows that lie side by side without padding are an axis of their own after a reshape; others
/// go through the channels-first operation.
pub(in crate::run) fn image_channels_last(x: Tensor<4>, pool: &Pool2d, keep: Keep) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let [down, right] = pool.kernel;
    let tiles = pool.stride == pool.kernel && pool.padding == [0; 2];
    if !tiles || !height.is_multiple_of(down) || !width.is_multiple_of(right) {
        return to_channels_last(image(to_channels_first(x), pool, keep));
    }
    let (rows, columns) = (height / down, width / right);
    let sizes = [batch, rows, columns, channels];
    match keep {
        Keep::Mean => {
            let x: Tensor<3> = x.reshape([batch * height * columns, right, channels]);
            let x: Tensor<3> = x
                .mean_dim(1)
                .reshape([batch * rows, down, columns * channels]);
            x.mean_dim(1).reshape(sizes)
        }
        Keep::Largest => {
            let x: Tensor<3> = x.reshape([batch * height * columns, right, channels]);
            let x: Tensor<3> = x
                .max_dim(1)
                .reshape([batch * rows, down, columns * channels]);
            x.max_dim(1).reshape(sizes)
        }
    }
}

fn largest<const N: usize>(
    kernel: [usize; N],
    stride: [usize; N],
    padding: [usize; N],
    ceil: bool,
) -> MaxPoolOptions<N> {
    let mut options = MaxPoolOptions::new(kernel)
        .with_stride(stride)
        .with_padding(padding);
    options.ceil_mode = ceil;
    options
}

fn mean<const N: usize>(
    kernel: [usize; N],
    stride: [usize; N],
    padding: [usize; N],
    ceil: bool,
    count_include_pad: bool,
) -> AvgPoolOptions<N> {
    let mut options = AvgPoolOptions::new(kernel)
        .with_stride(stride)
        .with_padding(padding);
    options.ceil_mode = ceil;
    options.count_include_pad = count_include_pad;
    options
}

/// The mean or maximum over the axes `first..=last`, which stay with size 1.
pub(in crate::run) fn global<const D: usize>(
    x: Tensor<D>,
    first: usize,
    last: usize,
    keep: Keep,
) -> Tensor<D> {
    let dims = x.dims();
    let outer: usize = dims[..first].iter().product();
    let pooled: usize = dims[first..=last].iter().product();
    let inner: usize = dims[last + 1..].iter().product();
    let flat: Tensor<3> = x.reshape([outer, pooled, inner]);
    let reduced = match keep {
        Keep::Largest => flat.max_dim(1),
        Keep::Mean => flat.mean_dim(1),
    };
    let mut sizes = dims;
    sizes[first..=last].fill(1);
    reduced.reshape(sizes)
}
