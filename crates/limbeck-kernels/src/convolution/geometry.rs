//! The sizes of a convolution.

/// A two-dimensional convolution (cross-correlation, as in every deep-learning library) over
/// `[batch, height, width, in_channels]` with symmetrical zero padding.
///
/// Pairs are `[vertical, horizontal]`. `groups` must divide both channel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// Images.
    pub batch: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Distance between two applications of the kernel.
    pub stride: [usize; 2],
    /// Zeros on each of two opposite sides.
    pub padding: [usize; 2],
    /// Distance between two taps of the kernel.
    pub dilation: [usize; 2],
    /// Independent slices of the channels.
    pub groups: usize,
}

impl Convolution {
    /// A square kernel of `kernel` taps a side at stride 1 that keeps the map's size (for odd
    /// kernels), in one group.
    #[must_use]
    pub const fn same(
        [batch, height, width]: [usize; 3],
        [in_channels, out_channels]: [usize; 2],
        kernel: usize,
    ) -> Self {
        Self {
            batch,
            height,
            width,
            in_channels,
            out_channels,
            kernel: [kernel; 2],
            stride: [1; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
            groups: 1,
        }
    }

    /// Rows of the output.
    #[must_use]
    pub const fn output_height(&self) -> usize {
        self.output_size(self.height, 0)
    }

    /// Columns of the output.
    #[must_use]
    pub const fn output_width(&self) -> usize {
        self.output_size(self.width, 1)
    }

    const fn output_size(&self, size: usize, axis: usize) -> usize {
        let padded = size + 2 * self.padding[axis];
        let extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
        assert!(
            extent <= padded,
            "the kernel is larger than the padded input"
        );
        (padded - extent) / self.stride[axis] + 1
    }

    /// Elements of the input, `[batch, height, width, in_channels]`.
    #[must_use]
    pub const fn input_length(&self) -> usize {
        self.batch * self.height * self.width * self.in_channels
    }

    /// Elements of the weight, `[out_channels, in_channels / groups, kernel, kernel]`.
    #[must_use]
    pub const fn weight_length(&self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.taps()
    }

    /// Elements of the output, `[batch, output_height, output_width, out_channels]`.
    #[must_use]
    pub const fn output_length(&self) -> usize {
        self.batch * self.output_height() * self.output_width() * self.out_channels
    }

    /// Multiplications with an addition in one direction, those with padding included.
    #[must_use]
    pub const fn multiply_adds(&self) -> usize {
        self.output_length() * (self.in_channels / self.groups) * self.taps()
    }

    /// Whether each group has a single input channel.
    #[must_use]
    pub const fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels
    }

    /// The number of taps of the kernel.
    pub(super) const fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Panics unless the sizes make sense together.
    pub(super) fn check(&self) {
        assert!(
            self.groups > 0
                && self.in_channels.is_multiple_of(self.groups)
                && self.out_channels.is_multiple_of(self.groups),
            "{} groups don't divide {} input and {} output channels",
            self.groups,
            self.in_channels,
            self.out_channels,
        );
        for (name, pair) in [
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("dilation", self.dilation),
        ] {
            assert!(pair[0] > 0 && pair[1] > 0, "the {name} {pair:?} has a zero");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_from_stride_padding_and_dilation() {
        let plain = Convolution::same([2, 32, 30], [3, 16], 3);
        assert_eq!((plain.output_height(), plain.output_width()), (32, 30));
        assert_eq!(plain.multiply_adds(), 2 * 32 * 30 * 16 * 27);
        let strided = Convolution {
            stride: [2, 3],
            dilation: [2, 1],
            ..plain
        };
        assert_eq!((strided.output_height(), strided.output_width()), (15, 10));
    }

    #[test]
    #[should_panic(expected = "larger than the padded input")]
    fn a_kernel_must_fit_its_input() {
        let _ = Convolution {
            padding: [0; 2],
            ..Convolution::same([1, 2, 2], [1, 1], 3)
        }
        .output_height();
    }
}
