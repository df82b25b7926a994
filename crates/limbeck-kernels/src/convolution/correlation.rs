//! The one operation that forward and backward passes are made of.
//!
//! A [`Correlation`] reads a source map at `position * stride + tap` for a list of taps and writes
//! a grid of target pixels. The forward pass is one of them. The gradient of the input at stride
//! `s` is `s * s` of them ("phases"): input pixels with the same remainder modulo the stride see
//! the same taps, at stride 1 over the gradient of the output.

use super::geometry::Convolution;

/// One weight position: where it reads, relative to `position * stride`, and its index in a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tap {
    pub(super) row: isize,
    pub(super) column: isize,
    pub(super) weight: usize,
}

/// The map that is read: `channels` of the `pixel` channels of each pixel, from `first`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) pixel: usize,
    pub(super) first: usize,
    /// Elements that are summed over: channels, or pairs of them.
    pub(super) channels: usize,
    /// Channels of one element.
    pub(super) per_element: usize,
    /// Channels that exist, which an odd number of may leave the last element half empty.
    pub(super) existing: usize,
}

/// The pixels that are written: `first + image * i + row * y + column * x` is the first of
/// `channels` consecutive elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) image: usize,
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) first: usize,
    pub(super) channels: usize,
    /// The index of the first of the channels in arrays of one element per channel.
    pub(super) first_channel: usize,
}

/// Where the weight of a source channel `c`, a target channel `t` and a tap lies in the OIHW
/// tensor: `first + target * t + source * c + tap.weight`.
#[derive(Debug, Clone, Copy)]
pub(super) struct WeightStrides {
    pub(super) first: usize,
    pub(super) target: usize,
    pub(super) source: usize,
    /// The distance of the two weights of a pair of source channels, if they come in pairs.
    pub(super) pair: usize,
}

/// A dense correlation between slices of the channels of two maps.
#[derive(Debug, Clone)]
pub(super) struct Correlation {
    pub(super) batch: usize,
    pub(super) source: Source,
    pub(super) target: Target,
    pub(super) stride: [usize; 2],
    /// By row, then by column.
    pub(super) taps: Vec<Tap>,
    pub(super) weight: WeightStrides,
}

impl Correlation {
    /// The forward pass of one group.
    pub(super) fn forward(of: &Convolution, group: usize) -> Self {
        let (inputs, outputs) = (of.in_channels / of.groups, of.out_channels / of.groups);
        let mut taps = Vec::with_capacity(of.taps());
        for y in 0..of.kernel[0] {
            for x in 0..of.kernel[1] {
                taps.push(Tap {
                    row: (y * of.dilation[0]) as isize - of.padding[0] as isize,
                    column: (x * of.dilation[1]) as isize - of.padding[1] as isize,
                    weight: y * of.kernel[1] + x,
                });
            }
        }
        let (rows, columns) = (of.output_height(), of.output_width());
        Self {
            batch: of.batch,
            source: Source {
                height: of.height,
                width: of.width,
                pixel: of.in_channels,
                first: group * inputs,
                channels: inputs,
                per_element: 1,
                existing: inputs,
            },
            target: Target {
                rows,
                columns,
                image: rows * columns * of.out_channels,
                row: columns * of.out_channels,
                column: of.out_channels,
                first: group * outputs,
                channels: outputs,
                first_channel: group * outputs,
            },
            stride: of.stride,
            taps,
            weight: WeightStrides {
                first: group * outputs * inputs * of.taps(),
                target: inputs * of.taps(),
                source: of.taps(),
                pair: 0,
            },
        }
    }

    /// The same correlation over pairs of source channels, for kernels that multiply two at once.
    pub(super) fn in_pairs(mut self) -> Self {
        self.source.channels = self.source.existing.div_ceil(2);
        self.source.per_element = 2;
        self.weight.pair = self.weight.source;
        self.weight.source *= 2;
        self
    }

    /// The gradient of one group's input, one correlation per phase.
    pub(super) fn backward_input(of: &Convolution, group: usize) -> Vec<Self> {
        let (inputs, outputs) = (of.in_channels / of.groups, of.out_channels / of.groups);
        let mut phases = Vec::new();
        for phase_row in 0..of.stride[0].min(of.height) {
            for phase_column in 0..of.stride[1].min(of.width) {
                let rows = axis_taps(of, 0, phase_row);
                let columns = axis_taps(of, 1, phase_column);
                let mut taps = Vec::with_capacity(rows.len() * columns.len());
                for &(row, y) in &rows {
                    for &(column, x) in &columns {
                        taps.push(Tap {
                            row,
                            column,
                            weight: y * of.kernel[1] + x,
                        });
                    }
                }
                let row = of.width * of.in_channels;
                phases.push(
                    Self {
                        batch: of.batch,
                        source: Source {
                            height: of.output_height(),
                            width: of.output_width(),
                            pixel: of.out_channels,
                            first: group * outputs,
                            channels: outputs,
                            per_element: 1,
                            existing: outputs,
                        },
                        target: Target {
                            rows: (of.height - phase_row).div_ceil(of.stride[0]),
                            columns: (of.width - phase_column).div_ceil(of.stride[1]),
                            image: of.height * row,
                            row: of.stride[0] * row,
                            column: of.stride[1] * of.in_channels,
                            first: phase_row * row + phase_column * of.in_channels + group * inputs,
                            channels: inputs,
                            first_channel: group * inputs,
                        },
                        stride: [1; 2],
                        taps,
                        weight: WeightStrides {
                            first: group * outputs * inputs * of.taps(),
                            target: of.taps(),
                            source: inputs * of.taps(),
                            pair: 0,
                        },
                    }
                    .flattened(),
                );
            }
        }
        phases
    }

    /// Whether each target pixel reads one source pixel that is always there, so that the source
    /// needs no padding.
    pub(super) fn is_pointwise(&self) -> bool {
        let reach = |size: usize, stride: usize| (size - 1) * stride;
        self.taps.len() == 1
            && self.taps[0].row == 0
            && self.taps[0].column == 0
            && reach(self.target.rows, self.stride[0]) < self.source.height
            && reach(self.target.columns, self.stride[1]) < self.source.width
    }

    /// A pointwise correlation of whole maps is one product over all pixels: a single column of
    /// them, so that it can be cut anywhere.
    pub(super) fn flattened(mut self) -> Self {
        let same = self.source.height == self.target.rows
            && self.source.width == self.target.columns
            && self.target.row == self.target.columns * self.target.column
            && self.target.image == self.target.rows * self.target.row;
        if same && self.stride == [1; 2] && self.is_pointwise() {
            let pixels = self.batch * self.target.rows * self.target.columns;
            self.batch = 1;
            self.source.height = pixels;
            self.source.width = 1;
            self.target.rows = pixels;
            self.target.columns = 1;
            self.target.row = self.target.column;
            self.target.image = pixels * self.target.column;
        }
        self
    }
}

/// The taps that reach input positions `position * stride + phase` on one axis, as pairs of the
/// output's distance from `position` and the tap, by distance.
fn axis_taps(of: &Convolution, axis: usize, phase: usize) -> Vec<(isize, usize)> {
    let stride = of.stride[axis] as isize;
    let mut taps: Vec<(isize, usize)> = (0..of.kernel[axis])
        .filter_map(|tap| {
            let distance = (phase + of.padding[axis]) as isize - (tap * of.dilation[axis]) as isize;
            (distance % stride == 0).then_some((distance / stride, tap))
        })
        .collect();
    taps.reverse();
    taps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_share_the_taps_among_them() {
        let of = Convolution {
            stride: [2; 2],
            ..Convolution::same([1, 8, 7], [4, 5], 3)
        };
        let phases = Correlation::backward_input(&of, 0);
        let taps: Vec<usize> = phases.iter().map(|phase| phase.taps.len()).collect();
        assert_eq!(taps, [1, 2, 2, 4]);
        let pixels: usize = phases
            .iter()
            .map(|phase| phase.target.rows * phase.target.columns)
            .sum();
        assert_eq!(pixels, 8 * 7);
    }

    #[test]
    fn a_one_by_one_kernel_is_a_product_over_all_pixels() {
        let of = Convolution::same([3, 5, 7], [4, 6], 1);
        assert_eq!(Correlation::forward(&of, 0).flattened().target.rows, 105);
        assert_eq!(Correlation::backward_input(&of, 0)[0].target.rows, 105);
    }
}
