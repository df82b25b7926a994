//! Slow and plain versions of the operators, in `f64` on the host, written from their definitions.

use crate::ir::{Conv2d, ConvTranspose2d, Pool2d};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f64>,
}

impl Array {
    pub(super) fn new(shape: &[usize], values: Vec<f64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        Self {
            shape: shape.to_vec(),
            values,
        }
    }

    fn offset(&self, index: &[usize]) -> usize {
        index
            .iter()
            .zip(&self.shape)
            .fold(0, |offset, (&i, &size)| {
                assert!(i < size);
                offset * size + i
            })
    }

    pub(super) fn at(&self, index: &[usize]) -> f64 {
        self.values[self.offset(index)]
    }

    pub(super) fn set(&mut self, index: &[usize], value: f64) {
        let offset = self.offset(index);
        self.values[offset] = value;
    }

    pub(super) fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self::new(&self.shape, self.values.iter().map(|&x| f(x)).collect())
    }

    /// The array whose value at each index is `f(index)`.
    pub(super) fn from_fn(shape: &[usize], f: impl Fn(&[usize]) -> f64) -> Self {
        let mut index = vec![0; shape.len()];
        let count = shape.iter().product();
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(f(&index));
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Self::new(shape, values)
    }

    pub(super) fn reshaped(&self, shape: &[usize]) -> Self {
        Self::new(shape, self.values.clone())
    }

    pub(super) fn assert_close(&self, got: &Self, tolerance: f64, what: &str) {
        assert_eq!(self.shape, got.shape, "{what}");
        for (place, (expected, got)) in self.values.iter().zip(&got.values).enumerate() {
            let allowed = tolerance * (1.0 + expected.abs());
            assert!(
                (expected - got).abs() <= allowed,
                "{what}: at {place} expected {expected}, got {got}"
            );
        }
    }
}

/// A pixel of a padded image: `None` in the padding.
fn pixel(x: &Array, b: usize, c: usize, row: isize, column: isize) -> Option<f64> {
    let inside =
        row >= 0 && column >= 0 && (row as usize) < x.shape[2] && (column as usize) < x.shape[3];
    inside.then(|| x.at(&[b, c, row as usize, column as usize]))
}

pub(super) fn conv2d(x: &Array, weight: &Array, bias: Option<&Array>, conv: &Conv2d) -> Array {
    let size = |axis: usize| {
        let padded = x.shape[axis + 2] + conv.padding[axis][0] + conv.padding[axis][1];
        (padded - conv.dilation[axis] * (conv.kernel[axis] - 1) - 1) / conv.stride[axis] + 1
    };
    let (in_each, out_each) = (
        conv.in_channels / conv.groups,
        conv.out_channels / conv.groups,
    );
    Array::from_fn(
        &[x.shape[0], conv.out_channels, size(0), size(1)],
        |index| {
            let mut sum = bias.map_or(0.0, |bias| bias.at(&[index[1]]));
            for c in 0..in_each {
                for i in 0..conv.kernel[0] {
                    for j in 0..conv.kernel[1] {
                        let row = (index[2] * conv.stride[0] + i * conv.dilation[0]) as isize
                            - conv.padding[0][0] as isize;
                        let column = (index[3] * conv.stride[1] + j * conv.dilation[1]) as isize
                            - conv.padding[1][0] as isize;
                        let channel = index[1] / out_each * in_each + c;
                        let value = pixel(x, index[0], channel, row, column).unwrap_or(0.0);
                        sum += value * weight.at(&[index[1], c, i, j]);
                    }
                }
            }
            sum
        },
    )
}

/// Every input pixel is spread over the output, which is then cut.
pub(super) fn conv_transpose2d(
    x: &Array,
    weight: &Array,
    bias: Option<&Array>,
    conv: &ConvTranspose2d,
) -> Array {
    let size = |axis: usize| {
        (x.shape[axis + 2] - 1) * conv.stride[axis]
            + conv.dilation[axis] * (conv.kernel[axis] - 1)
            + conv.output_padding[axis]
            + 1
            - 2 * conv.padding[axis]
    };
    let (in_each, out_each) = (
        conv.in_channels / conv.groups,
        conv.out_channels / conv.groups,
    );
    let mut output = Array::from_fn(
        &[x.shape[0], conv.out_channels, size(0), size(1)],
        |index| bias.map_or(0.0, |bias| bias.at(&[index[1]])),
    );
    for b in 0..x.shape[0] {
        for c in 0..conv.in_channels {
            for row in 0..x.shape[2] {
                for column in 0..x.shape[3] {
                    for o in 0..out_each {
                        for i in 0..conv.kernel[0] {
                            for j in 0..conv.kernel[1] {
                                let y = (row * conv.stride[0] + i * conv.dilation[0])
                                    .checked_sub(conv.padding[0]);
                                let z = (column * conv.stride[1] + j * conv.dilation[1])
                                    .checked_sub(conv.padding[1]);
                                let (Some(y), Some(z)) = (y, z) else { continue };
                                if y < output.shape[2] && z < output.shape[3] {
                                    let at = [b, c / in_each * out_each + o, y, z];
                                    let more =
                                        x.at(&[b, c, row, column]) * weight.at(&[c, o, i, j]);
                                    output.set(&at, output.at(&at) + more);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    output
}

/// PyTorch's pooling: a window counts if it starts inside the image or the padding before it.
pub(super) fn pool2d(x: &Array, pool: &Pool2d, maximum: bool) -> Array {
    let size = |axis: usize| {
        let room = x.shape[axis + 2] + 2 * pool.padding[axis] - pool.kernel[axis];
        let mut count = room / pool.stride[axis] + 1;
        if pool.ceil && !room.is_multiple_of(pool.stride[axis]) {
            let start = count * pool.stride[axis];
            if start < x.shape[axis + 2] + pool.padding[axis] {
                count += 1;
            }
        }
        count
    };
    Array::from_fn(&[x.shape[0], x.shape[1], size(0), size(1)], |index| {
        let (mut sum, mut largest, mut inside, mut padded) = (0.0, f64::NEG_INFINITY, 0, 0);
        for i in 0..pool.kernel[0] {
            for j in 0..pool.kernel[1] {
                let row = (index[2] * pool.stride[0] + i) as isize - pool.padding[0] as isize;
                let column = (index[3] * pool.stride[1] + j) as isize - pool.padding[1] as isize;
                let within = row < (x.shape[2] + pool.padding[0]) as isize
                    && column < (x.shape[3] + pool.padding[1]) as isize;
                padded += usize::from(within);
                if let Some(value) = pixel(x, index[0], index[1], row, column) {
                    sum += value;
                    largest = largest.max(value);
                    inside += 1;
                }
            }
        }
        match (maximum, pool.count_include_pad) {
            (true, _) => largest,
            (false, true) => sum / padded as f64,
            (false, false) => sum / inside as f64,
        }
    })
}

/// Abramowitz and Stegun's series for the error function, summed until it stops changing.
pub(super) fn erf(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-17 * sum.abs().max(1e-300) && n < 500.0 {
        n += 1.0;
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    2.0 / std::f64::consts::PI.sqrt() * sum
}
