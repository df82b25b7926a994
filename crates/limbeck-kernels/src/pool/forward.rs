//! Maxima and averages of windows.

use rayon::prelude::*;

use super::Pool;
use super::backward::load;
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::vector::Vector;

/// Elements of the output that are worth a task.
const TASK: usize = 8 * 1024;

/// The greatest element of each window, padding left out; not a number where one of them is not.
///
/// # Panics
///
/// If the sizes do not fit together or the lengths disagree with them.
pub fn maximum(pool: Pool, input: &[f32], output: &mut [f32]) {
    maximum_on(Processor::best(), pool, input, output);
}

/// [`maximum`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`maximum`], and if this machine lacks the instructions.
pub fn maximum_on(processor: Processor, pool: Pool, input: &[f32], output: &mut [f32]) {
    run::<true>(processor, pool, false, input, output);
}

/// The mean of each window. With `count_padding` the padding counts as zeros, otherwise it is left
/// out; what a window reaches behind the padding never counts.
///
/// # Panics
///
/// If the sizes do not fit together or the lengths disagree with them.
pub fn average(pool: Pool, count_padding: bool, input: &[f32], output: &mut [f32]) {
    average_on(Processor::best(), pool, count_padding, input, output);
}

/// [`average`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`average`], and if this machine lacks the instructions.
pub fn average_on(
    processor: Processor,
    pool: Pool,
    count_padding: bool,
    input: &[f32],
    output: &mut [f32],
) {
    run::<false>(processor, pool, count_padding, input, output);
}

fn run<const MAXIMUM: bool>(
    processor: Processor,
    pool: Pool,
    count_padding: bool,
    input: &[f32],
    output: &mut [f32],
) {
    pool.check(input.len(), output.len());
    let row = pool.output_width() * pool.channels;
    let rows = TASK.div_ceil(row);
    output
        .par_chunks_mut(rows * row)
        .enumerate()
        .for_each(|(task, output)| {
            let kernel = Windows::<MAXIMUM> {
                pool,
                count_padding,
                input,
                output,
                first_row: task * rows,
            };
            // SAFETY: the lengths were checked.
            unsafe { dispatch::run(processor, kernel) };
        });
}

/// Rows of the output, counted through the batch.
struct Windows<'a, const MAXIMUM: bool> {
    pool: Pool,
    count_padding: bool,
    input: &'a [f32],
    output: &'a mut [f32],
    first_row: usize,
}

impl<const MAXIMUM: bool> Kernel for Windows<'_, MAXIMUM> {
    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        let (height, width) = (self.pool.output_height(), self.pool.output_width());
        let channels = self.pool.channels;
        for row in 0..self.output.len() / (width * channels) {
            let (image, output_row) = (
                (self.first_row + row) / height,
                (self.first_row + row) % height,
            );
            for column in 0..width {
                let to = (row * width + column) * channels;
                // SAFETY: the window lies in the image and `to` in the output.
                unsafe { self.window::<V>(image, output_row, column, to) };
            }
        }
    }
}

impl<const MAXIMUM: bool> Windows<'_, MAXIMUM> {
    /// The window of one pixel of the output, all channels.
    #[inline(always)]
    unsafe fn window<V: Vector>(&mut self, image: usize, row: usize, column: usize, to: usize) {
        let Pool {
            height,
            width,
            channels,
            ..
        } = self.pool;
        let (rows, columns) = (self.pool.rows(row), self.pool.columns(column));
        let count = self.pool.count(row, column, self.count_padding);
        let window = Window {
            from: ((image * height + rows.start) * width + columns.start) * channels,
            rows: rows.len(),
            columns: columns.len(),
            to,
            share: 1.0 / count as f32,
        };
        let mut channel = 0;
        // SAFETY: the window lies in the image and its channels in the pixels.
        unsafe {
            while channel + V::LANES <= channels {
                self.vector::<V, true>(&window, channel);
                channel += V::LANES;
            }
            if channel < channels {
                self.vector::<V, false>(&window, channel);
            }
        }
    }

    /// One vector of channels of a window.
    #[inline(always)]
    unsafe fn vector<V: Vector, const WHOLE: bool>(&mut self, window: &Window, channel: usize) {
        let (width, channels) = (self.pool.width, self.pool.channels);
        let lanes = V::LANES.min(channels - channel);
        // SAFETY: the caller's promise; partial vectors name their lanes.
        unsafe {
            let start = if MAXIMUM { f32::NEG_INFINITY } else { 0.0 };
            let mut result = V::splat(start);
            for row in 0..window.rows {
                let from = window.from + row * width * channels + channel;
                let from = self.input.as_ptr().add(from);
                for column in 0..window.columns {
                    let value = load::<V, WHOLE>(from.add(column * channels), lanes);
                    result = if MAXIMUM {
                        value.max_or_nan(result)
                    } else {
                        result.add(value)
                    };
                }
            }
            if !MAXIMUM {
                result = result.mul(V::splat(window.share));
            }
            let to = self.output.as_mut_ptr().add(window.to + channel);
            if WHOLE {
                result.store(to);
            } else {
                result.store_partial(to, lanes);
            }
        }
    }
}

/// A window and the pixel of the output that it becomes.
struct Window {
    /// The first element of the window in the input.
    from: usize,
    rows: usize,
    columns: usize,
    /// The first element of the pixel in the output.
    to: usize,
    /// What the sum over the window is multiplied with.
    share: f32,
}
