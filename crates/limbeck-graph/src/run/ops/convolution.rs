//! Convolutions: one function per layout of the image.

use burn::tensor::ops::{ConvOptions, ConvTransposeOptions, PadMode};
use burn::tensor::{Int, Slice, Tensor, TensorData, module};

use crate::ir::{Conv1d, Conv2d, ConvTranspose2d};
use crate::run::layout::{to_channels_first, to_channels_last};

/// A convolution over `[batch, channels, length]`.
pub(in crate::run) fn sequence(
    x: Tensor<3>,
    weight: Tensor<3>,
    bias: Option<Tensor<1>>,
    conv: &Conv1d,
) -> Tensor<3> {
    let [before, after] = conv.padding;
    let x = match before == after {
        true => x,
        false => x.pad(
            [(0, 0), (0, 0), (before, after)].as_slice(),
            PadMode::Constant(0.0),
        ),
    };
    let padding = if before == after { before } else { 0 };
    let options = ConvOptions::new([conv.stride], [padding], [conv.dilation], conv.groups);
    module::conv1d(x, weight, bias, options)
}

/// A convolution over `[batch, channels, height, width]`.
pub(in crate::run) fn channels_first(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    conv: &Conv2d,
) -> Tensor<4> {
    let [[top, bottom], [left, right]] = conv.padding;
    let symmetric = top == bottom && left == right;
    let (x, padding) = match symmetric {
        true => (x, [top, left]),
        false => {
            let sides = [(0, 0), (0, 0), (top, bottom), (left, right)];
            (x.pad(sides.as_slice(), PadMode::Constant(0.0)), [0; 2])
        }
    };
    let options = ConvOptions::new(conv.stride, padding, conv.dilation, conv.groups);
    module::conv2d(x, weight, bias, options)
}

/// A transposed convolution over `[batch, channels, height, width]`.
pub(in crate::run) fn transposed(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    conv: &ConvTranspose2d,
) -> Tensor<4> {
    let options = ConvTransposeOptions::new(
        conv.stride,
        conv.padding,
        conv.output_padding,
        conv.dilation,
        conv.groups,
    );
    module::conv_transpose2d(x, weight, bias, options)
}

/// How a channels-last convolution is computed from Burn's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// One matrix product over all pixels: kernels of one place.
    Pixels,
    /// One matrix product per kernel place, on a shifted copy of the image, summed.
    Places,
    /// The windows gathered into the rows of one matrix, then one matrix product.
    Windows,
    /// Burn's channels-first convolution between two changes of layout.
    ChannelsFirst,
}

/// Values per image above which shifted copies beat gathered windows (measured, Zen 4, two threads).
const SMALL_IMAGE: usize = 4096;
/// Values in all windows of a batch above which the copies cost more memory than the time they save is
/// worth: 256 MiB.
const LARGE_WINDOWS: usize = 1 << 26;

fn route(x: [usize; 4], conv: &Conv2d) -> Route {
    let [batch, height, width, channels] = x;
    if conv.groups != 1 {
        return Route::ChannelsFirst;
    }
    if conv.kernel == [1, 1] {
        return Route::Pixels;
    }
    let [down, right] = conv.kernel;
    let windows =
        batch * height * width * channels * down * right / (conv.stride[0] * conv.stride[1]);
    if windows > LARGE_WINDOWS {
        Route::ChannelsFirst
    } else if conv.stride != [1, 1] || height * width * channels <= SMALL_IMAGE {
        Route::Windows
    } else {
        Route::Places
    }
}

/// A convolution over `[batch, height, width, channels]`; the weight is
/// `[out_channels, in_channels / groups, kernel height, kernel width]`.
pub(in crate::run) fn channels_last(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    conv: &Conv2d,
) -> Tensor<4> {
    let route = route(x.dims(), conv);
    if route == Route::ChannelsFirst {
        return to_channels_last(channels_first(to_channels_first(x), weight, bias, conv));
    }
    let x = padded(x, conv.padding);
    let [batch, height, width, _] = x.dims();
    let grid = Grid {
        batch,
        size: [height, width],
        windows: [count(height, conv, 0), count(width, conv, 1)],
    };
    let pixels = match route {
        Route::Windows => by_windows(x, weight, conv, &grid),
        _ => by_places(&x, weight, conv, &grid),
    };
    let pixels = match bias {
        Some(bias) => pixels + bias.unsqueeze::<2>(),
        None => pixels,
    };
    let [rows, columns] = grid.windows;
    pixels.reshape([batch, rows, columns, conv.out_channels])
}

/// A padded image and the windows on it.
struct Grid {
    batch: usize,
    size: [usize; 2],
    windows: [usize; 2],
}

impl Grid {
    fn rows(&self) -> usize {
        self.batch * self.windows[0] * self.windows[1]
    }
}

fn count(padded: usize, conv: &Conv2d, axis: usize) -> usize {
    (padded - conv.dilation[axis] * (conv.kernel[axis] - 1) - 1) / conv.stride[axis] + 1
}

fn padded(x: Tensor<4>, [[top, bottom], [left, right]]: [[usize; 2]; 2]) -> Tensor<4> {
    if top + bottom + left + right == 0 {
        return x;
    }
    let sides = [(0, 0), (top, bottom), (left, right), (0, 0)];
    x.pad(sides.as_slice(), PadMode::Constant(0.0))
}

fn by_places(x: &Tensor<4>, weight: Tensor<4>, conv: &Conv2d, grid: &Grid) -> Tensor<2> {
    let [outputs, inputs, down, right] = weight.dims();
    let rows = grid.rows();
    let matrices: Tensor<3> = weight
        .permute([2, 3, 1, 0])
        .reshape([down * right, inputs, outputs]);
    let along = |axis: usize, place: usize| {
        let start = place * conv.dilation[axis];
        let end = start + (grid.windows[axis] - 1) * conv.stride[axis] + 1;
        Slice::new(
            start as isize,
            Some(end as isize),
            conv.stride[axis] as isize,
        )
    };
    let product = |place: usize| {
        let shifted = x.clone().slice([
            Slice::full(),
            along(0, place / right),
            along(1, place % right),
            Slice::full(),
        ]);
        let matrix: Tensor<2> = matrices
            .clone()
            .narrow(0, place, 1)
            .reshape([inputs, outputs]);
        shifted.reshape([rows, inputs]).matmul(matrix)
    };
    (1..down * right).fold(product(0), |sum, place| sum + product(place))
}

fn by_windows(x: Tensor<4>, weight: Tensor<4>, conv: &Conv2d, grid: &Grid) -> Tensor<2> {
    let [outputs, inputs, down, right] = weight.dims();
    let [height, width] = grid.size;
    let device = x.device();
    let mut places = Vec::with_capacity(grid.rows() * down * right);
    for image in 0..grid.batch {
        for row in 0..grid.windows[0] {
            for column in 0..grid.windows[1] {
                for i in 0..down {
                    let y = image * height + row * conv.stride[0] + i * conv.dilation[0];
                    for j in 0..right {
                        let place = y * width + column * conv.stride[1] + j * conv.dilation[1];
                        places.push(place as i32);
                    }
                }
            }
        }
    }
    let count = places.len();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device);
    let pixels: Tensor<2> = x.reshape([grid.batch * height * width, inputs]);
    let windows: Tensor<2> = pixels
        .select(0, places)
        .reshape([grid.rows(), down * right * inputs]);
    let matrix: Tensor<2> = weight
        .permute([2, 3, 1, 0])
        .reshape([down * right * inputs, outputs]);
    windows.matmul(matrix)
}
