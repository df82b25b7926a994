//! Gradients of pooling.

use burn::tensor::module::max_pool2d_with_indices;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

use super::convolution::{cut, spread};
use crate::ir::{Pool1d, Pool2d};
use crate::run::ops::arrange;
use crate::{Feature, Result, each_rank};

/// Of the maxima of windows over `[batch, channels, length]`.
pub(super) fn largest_of_sequence(x: Tensor<3>, gradient: Tensor<3>, pool: &Pool1d) -> Tensor<3> {
    let ([batch, channels, length], [_, _, windows]) = (x.dims(), gradient.dims());
    let x = x.reshape([batch, channels, 1, length]);
    let gradient = gradient.reshape([batch, channels, 1, windows]);
    largest(&x, gradient, &as_image(pool)).reshape([batch, channels, length])
}

/// Of the maxima of windows over `[batch, channels, height, width]`: each goes to the place of its maximum.
pub(super) fn largest(x: &Tensor<4>, gradient: Tensor<4>, pool: &Pool2d) -> Tensor<4> {
    let dims = x.dims();
    let [batch, channels, height, width] = dims;
    let [_, _, rows, columns] = gradient.dims();
    let mut options = MaxPoolOptions::new(pool.kernel)
        .with_stride(pool.stride)
        .with_padding(pool.padding);
    options.ceil_mode = pool.ceil;
    let (maps, windows) = (batch * channels, rows * columns);
    let map: Tensor<2> = x.zeros_like().reshape([maps, height * width]);
    let (_, places) = max_pool2d_with_indices(x.clone().detach(), options);
    let places: Tensor<2, Int> = places.reshape([maps, windows]);
    placed(map, places, gradient.reshape([maps, windows])).reshape(dims)
}

/// Of the means of windows over `[batch, channels, length]`.
pub(super) fn mean_of_sequence(gradient: Tensor<3>, pool: &Pool1d, length: usize) -> Tensor<3> {
    let [batch, channels, windows] = gradient.dims();
    let gradient = gradient.reshape([batch, channels, 1, windows]);
    mean(gradient, &as_image(pool), [1, length]).reshape([batch, channels, length])
}

/// Of the means of windows over `[batch, channels, height, width]`: an equal share for each place.
pub(super) fn mean(gradient: Tensor<4>, pool: &Pool2d, size: [usize; 2]) -> Tensor<4> {
    let [batch, channels, rows, columns] = gradient.dims();
    let [height, width] = size;
    let (device, kind) = (gradient.device(), gradient.dtype());
    let shares = |axis: usize, windows: usize| -> Tensor<1> {
        let shares =
            (0..windows).map(|window| 1.0 / counted(pool, axis, window, size[axis]) as f64);
        let shares = TensorData::new(shares.collect::<Vec<f64>>(), [windows]);
        Tensor::from_data(shares, (&device, kind))
    };
    let gradient = gradient
        * shares(0, rows).reshape([1, 1, rows, 1])
        * shares(1, columns).reshape([1, 1, 1, columns]);
    let [down, right] = pool.kernel;
    let ones = TensorData::new(vec![1.0_f64; down * right], [1, 1, down, right]);
    let ones = Tensor::from_data(ones, (&device, kind));
    let maps = gradient.reshape([batch * channels, 1, rows, columns]);
    cut(
        spread(maps, ones, pool.stride, [1; 2], 1),
        pool.padding,
        size,
    )
    .reshape([batch, channels, height, width])
}

/// By how many places a mean divides along an axis.
fn counted(pool: &Pool2d, axis: usize, window: usize, size: usize) -> usize {
    let padding = pool.padding[axis];
    // Counted from the beginning of the padding.
    let start = window * pool.stride[axis];
    let end = start + pool.kernel[axis];
    match pool.count_include_pad {
        true => end.min(size + 2 * padding) - start,
        false => end.min(size + padding) - start.max(padding),
    }
}

/// Of the mean over all axes after the channels.
pub(super) fn global_mean(x: &Feature, gradient: Feature) -> Result<Feature> {
    let shape = x.shape();
    let (maps, places) = maps(&shape);
    let gradient: Tensor<2> = each_rank!(gradient, tensor => tensor.reshape([maps, 1]));
    let spread = gradient.div_scalar(places as f64).repeat_dim(1, places);
    arrange::reshape(spread.into(), &shape)
}

/// Of the maximum over all axes after the channels.
pub(super) fn global_largest(x: Feature, gradient: Feature) -> Result<Feature> {
    let shape = x.shape();
    let (maps, places) = maps(&shape);
    let x: Tensor<2> = each_rank!(x, tensor => tensor.detach().reshape([maps, places]));
    let gradient: Tensor<2> = each_rank!(gradient, tensor => tensor.reshape([maps, 1]));
    let at = x.clone().argmax(1);
    arrange::reshape(placed(x.zeros_like(), at, gradient).into(), &shape)
}

/// The number of maps, and of places on each.
fn maps(shape: &[usize]) -> (usize, usize) {
    (shape[..2].iter().product(), shape[2..].iter().product())
}

/// Values added to the places of each row.
fn placed(map: Tensor<2>, places: Tensor<2, Int>, values: Tensor<2>) -> Tensor<2> {
    map.scatter(1, places, values, IndexingUpdateOp::Add)
}

/// Windows over a sequence as windows over an image of one row.
fn as_image(pool: &Pool1d) -> Pool2d {
    Pool2d {
        kernel: [1, pool.kernel],
        stride: [1, pool.stride],
        padding: [0, pool.padding],
        ceil: pool.ceil,
        count_include_pad: pool.count_include_pad,
    }
}
