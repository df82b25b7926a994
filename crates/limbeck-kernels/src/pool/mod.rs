//! Pooling of `[batch, height, width, channels]` images.
//!
//! The backward pass of max pooling finds the maxima again instead of keeping their places: it has
//! to read its input's gradient anyway, and the windows are small.

mod backward;
mod forward;
mod global;

pub use backward::{average_backward, average_backward_on, maximum_backward, maximum_backward_on};
pub use forward::{average, average_on, maximum, maximum_on};
pub use global::{
    global_average, global_average_backward, global_average_backward_on, global_average_on,
};

use std::ops::Range;

/// The sizes of a pooling; pairs are height, then width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pool {
    /// Images.
    pub batch: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// Size of a window.
    pub kernel: [usize; 2],
    /// From a window to the next.
    pub stride: [usize; 2],
    /// Rows and columns around the input; at most half a window, so that none is empty.
    pub padding: [usize; 2],
    /// Whether a last window that reaches beyond the padding counts, if it starts in the input or in the padding before it.
    pub ceil: bool,
}

impl Pool {
    /// Rows of the output: `(height + 2 padding - kernel) / stride + 1`, rounded down, and one more where
    /// [`ceil`](Self::ceil) asks for it.
    ///
    /// # Panics
    ///
    /// If the window does not fit into the padded input or the stride is zero.
    #[must_use]
    pub fn output_height(&self) -> usize {
        self.output_size(self.height, 0)
    }

    /// Columns of the output, by the same formula.
    ///
    /// # Panics
    ///
    /// As [`output_height`](Self::output_height).
    #[must_use]
    pub fn output_width(&self) -> usize {
        self.output_size(self.width, 1)
    }

    fn output_size(&self, size: usize, axis: usize) -> usize {
        let (stride, padding) = (self.stride[axis], self.padding[axis]);
        let room = size + 2 * padding - self.kernel[axis];
        let whole = room / stride + 1;
        let more = self.ceil && !room.is_multiple_of(stride) && whole * stride < size + padding;
        whole + usize::from(more)
    }

    /// Elements of the input.
    #[must_use]
    pub fn input_length(&self) -> usize {
        self.batch * self.height * self.width * self.channels
    }

    /// Elements of the output.
    ///
    /// # Panics
    ///
    /// As [`output_height`](Self::output_height).
    #[must_use]
    pub fn output_length(&self) -> usize {
        self.batch * self.output_height() * self.output_width() * self.channels
    }

    /// The rows of the input in the windows of a row of the output.
    #[inline(always)]
    fn rows(&self, output_row: usize) -> Range<usize> {
        clip(
            output_row * self.stride[0],
            self.kernel[0],
            self.padding[0],
            self.height,
        )
    }

    /// The columns of the input in the windows of a column of the output.
    #[inline(always)]
    fn columns(&self, output_column: usize) -> Range<usize> {
        clip(
            output_column * self.stride[1],
            self.kernel[1],
            self.padding[1],
            self.width,
        )
    }

    /// What the sum over a window is divided by.
    #[inline(always)]
    fn count(&self, output_row: usize, output_column: usize, padding: bool) -> usize {
        if !padding {
            return self.rows(output_row).len() * self.columns(output_column).len();
        }
        let extent = |start: usize, size: usize, axis: usize| {
            self.kernel[axis].min(size + 2 * self.padding[axis] - start)
        };
        extent(output_row * self.stride[0], self.height, 0)
            * extent(output_column * self.stride[1], self.width, 1)
    }

    fn check(&self, input: usize, output: usize) {
        for axis in 0..2 {
            assert!(self.stride[axis] > 0, "windows move");
            assert!(
                2 * self.padding[axis] <= self.kernel[axis],
                "padding beyond half a window"
            );
            let size = [self.height, self.width][axis] + 2 * self.padding[axis];
            assert!(
                self.kernel[axis] <= size,
                "the window is larger than the padded input"
            );
        }
        assert!(
            self.kernel[0] > 0 && self.kernel[1] > 0,
            "windows are not empty"
        );
        assert!(self.input_length() > 0, "the input is not empty");
        assert_eq!(input, self.input_length(), "the input has another length");
        assert_eq!(
            output,
            self.output_length(),
            "the output has another length"
        );
    }
}

/// The part of a window that starts at `start` of the padded axis which lies in `0..size`.
#[inline(always)]
fn clip(start: usize, kernel: usize, padding: usize, size: usize) -> Range<usize> {
    start.saturating_sub(padding)..(start + kernel - padding).min(size)
}
