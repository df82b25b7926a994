//! Attributes of convolutions.

use serde::{Deserialize, Serialize};

/// One number for both axes, or `[height, width]`.
pub trait IntoPair {
    /// `[height, width]`.
    fn into_pair(self) -> [usize; 2];
}

impl IntoPair for usize {
    fn into_pair(self) -> [usize; 2] {
        [self, self]
    }
}

impl IntoPair for [usize; 2] {
    fn into_pair(self) -> [usize; 2] {
        self
    }
}

/// A convolution over `[batch, channels, length]`.
///
/// The weight is `[out_channels, in_channels / groups, kernel]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv1d {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// The kernel's length.
    pub kernel: usize,
    /// The step between outputs.
    pub stride: usize,
    /// Zeros added at the start and the end.
    pub padding: [usize; 2],
    /// The distance between kernel taps.
    pub dilation: usize,
    /// Independent slices of the channels.
    pub groups: usize,
    /// Whether a bias `[out_channels]` is added.
    pub bias: bool,
}

impl Conv1d {
    /// Stride 1, no padding, no dilation, one group, with bias.
    pub const fn new(in_channels: usize, out_channels: usize, kernel: usize) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel,
            stride: 1,
            padding: [0; 2],
            dilation: 1,
            groups: 1,
            bias: true,
        }
    }

    /// Sets the stride.
    #[must_use]
    pub const fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Sets the same padding for both ends.
    #[must_use]
    pub const fn padding(mut self, padding: usize) -> Self {
        self.padding = [padding; 2];
        self
    }

    /// Sets the padding at the start and the end.
    #[must_use]
    pub const fn padding_sides(mut self, padding: [usize; 2]) -> Self {
        self.padding = padding;
        self
    }

    /// Sets the dilation.
    #[must_use]
    pub const fn dilation(mut self, dilation: usize) -> Self {
        self.dilation = dilation;
        self
    }

    /// Sets the number of groups.
    #[must_use]
    pub const fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Sets whether there is a bias.
    #[must_use]
    pub const fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }
}

/// A convolution over `[batch, channels, height, width]`.
///
/// The weight is `[out_channels, in_channels / groups, kernel height, kernel width]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2d {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// The kernel's `[height, width]`.
    pub kernel: [usize; 2],
    /// The steps between outputs, `[down, right]`.
    pub stride: [usize; 2],
    /// Zeros added, `[[top, bottom], [left, right]]`.
    pub padding: [[usize; 2]; 2],
    /// The distances between kernel taps, `[down, right]`.
    pub dilation: [usize; 2],
    /// Independent slices of the channels.
    pub groups: usize,
    /// Whether a bias `[out_channels]` is added.
    pub bias: bool,
}

impl Conv2d {
    /// Stride 1, no padding, no dilation, one group, with bias.
    pub fn new(in_channels: usize, out_channels: usize, kernel: impl IntoPair) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel: kernel.into_pair(),
            stride: [1; 2],
            padding: [[0; 2]; 2],
            dilation: [1; 2],
            groups: 1,
            bias: true,
        }
    }

    /// One filter per channel: as many groups as channels.
    pub fn depthwise(channels: usize, kernel: impl IntoPair) -> Self {
        Self::new(channels, channels, kernel).groups(channels)
    }

    /// Sets the stride.
    #[must_use]
    pub fn stride(mut self, stride: impl IntoPair) -> Self {
        self.stride = stride.into_pair();
        self
    }

    /// Sets the same padding for opposite sides.
    #[must_use]
    pub fn padding(mut self, padding: impl IntoPair) -> Self {
        self.padding = padding.into_pair().map(|side| [side; 2]);
        self
    }

    /// Sets the padding `[[top, bottom], [left, right]]`.
    #[must_use]
    pub const fn padding_sides(mut self, padding: [[usize; 2]; 2]) -> Self {
        self.padding = padding;
        self
    }

    /// Sets the dilation.
    #[must_use]
    pub fn dilation(mut self, dilation: impl IntoPair) -> Self {
        self.dilation = dilation.into_pair();
        self
    }

    /// Sets the number of groups.
    #[must_use]
    pub const fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Sets whether there is a bias.
    #[must_use]
    pub const fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }
}

/// The transpose of a convolution over `[batch, channels, height, width]`, used to enlarge images.
///
/// The weight is `[in_channels, out_channels / groups, kernel height, kernel width]`. Along each axis
/// the output has `(in - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1` pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvTranspose2d {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// The kernel's `[height, width]`.
    pub kernel: [usize; 2],
    /// The steps between inputs, seen from the output.
    pub stride: [usize; 2],
    /// Rows and columns cut from both sides of the output.
    pub padding: [usize; 2],
    /// Rows and columns added at the bottom and the right of the output.
    pub output_padding: [usize; 2],
    /// The distances between kernel taps.
    pub dilation: [usize; 2],
    /// Independent slices of the channels.
    pub groups: usize,
    /// Whether a bias `[out_channels]` is added.
    pub bias: bool,
}

impl ConvTranspose2d {
    /// Stride 1, no padding, no dilation, one group, with bias.
    pub fn new(in_channels: usize, out_channels: usize, kernel: impl IntoPair) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel: kernel.into_pair(),
            stride: [1; 2],
            padding: [0; 2],
            output_padding: [0; 2],
            dilation: [1; 2],
            groups: 1,
            bias: true,
        }
    }

    /// Sets the stride.
    #[must_use]
    pub fn stride(mut self, stride: impl IntoPair) -> Self {
        self.stride = stride.into_pair();
        self
    }

    /// Sets the padding.
    #[must_use]
    pub fn padding(mut self, padding: impl IntoPair) -> Self {
        self.padding = padding.into_pair();
        self
    }

    /// Sets the padding of the output.
    #[must_use]
    pub fn output_padding(mut self, padding: impl IntoPair) -> Self {
        self.output_padding = padding.into_pair();
        self
    }

    /// Sets the dilation.
    #[must_use]
    pub fn dilation(mut self, dilation: impl IntoPair) -> Self {
        self.dilation = dilation.into_pair();
        self
    }

    /// Sets the number of groups.
    #[must_use]
    pub const fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Sets whether there is a bias.
    #[must_use]
    pub const fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }
}
