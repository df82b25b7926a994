//! Attributes of pooling windows.

use serde::{Deserialize, Serialize};

use super::IntoPair;

/// A pooling window over `[batch, channels, length]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool1d {
    /// The window's length.
    pub kernel: usize,
    /// The step between windows.
    pub stride: usize,
    /// Places added at both ends, at most half the window.
    pub padding: usize,
    /// Whether a last window that hangs over the end counts.
    pub ceil: bool,
    /// Whether an average divides by the places of the padding too; means nothing to a maximum.
    pub count_include_pad: bool,
}

impl Pool1d {
    /// Windows side by side, no padding.
    pub const fn new(kernel: usize) -> Self {
        Self {
            kernel,
            stride: kernel,
            padding: 0,
            ceil: false,
            count_include_pad: true,
        }
    }

    /// Sets the stride.
    #[must_use]
    pub const fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Sets the padding.
    #[must_use]
    pub const fn padding(mut self, padding: usize) -> Self {
        self.padding = padding;
        self
    }

    /// Sets whether a last window that hangs over the end counts.
    #[must_use]
    pub const fn ceil(mut self, ceil: bool) -> Self {
        self.ceil = ceil;
        self
    }

    /// Sets whether an average divides by the places of the padding too.
    #[must_use]
    pub const fn count_include_pad(mut self, include: bool) -> Self {
        self.count_include_pad = include;
        self
    }
}

/// A pooling window over `[batch, channels, height, width]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool2d {
    /// The window's `[height, width]`.
    pub kernel: [usize; 2],
    /// The steps between windows, `[down, right]`.
    pub stride: [usize; 2],
    /// Rows added above and below, columns added left and right; at most half the window.
    pub padding: [usize; 2],
    /// Whether last windows that hang over the edge count.
    pub ceil: bool,
    /// Whether an average divides by the places of the padding too; means nothing to a maximum.
    pub count_include_pad: bool,
}

impl Pool2d {
    /// Windows side by side, no padding.
    pub fn new(kernel: impl IntoPair) -> Self {
        let kernel = kernel.into_pair();
        Self {
            kernel,
            stride: kernel,
            padding: [0; 2],
            ceil: false,
            count_include_pad: true,
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

    /// Sets whether last windows that hang over the edge count.
    #[must_use]
    pub const fn ceil(mut self, ceil: bool) -> Self {
        self.ceil = ceil;
        self
    }

    /// Sets whether an average divides by the places of the padding too.
    #[must_use]
    pub const fn count_include_pad(mut self, include: bool) -> Self {
        self.count_include_pad = include;
        self
    }
}
