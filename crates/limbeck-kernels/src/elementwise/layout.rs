//! Copies between `[batch, channels, pixels]` and `[batch, pixels, channels]`.

use rayon::prelude::*;

use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::sharing::Shared;
use crate::vector::Vector;

/// Elements of one task.
const TASK: usize = 16 * 1024;

/// Copies images from `[batch, height, width, channels]` to `[batch, channels, height, width]`;
/// `pixels` is height times width.
///
/// # Panics
///
/// If the lengths differ or are not a whole number of images.
pub fn nhwc_to_nchw(pixels: usize, channels: usize, input: &[f32], output: &mut [f32]) {
    nhwc_to_nchw_on(Processor::best(), pixels, channels, input, output);
}

/// [`nhwc_to_nchw`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`nhwc_to_nchw`], and if this machine lacks the instructions.
pub fn nhwc_to_nchw_on(
    processor: Processor,
    pixels: usize,
    channels: usize,
    input: &[f32],
    output: &mut [f32],
) {
    transpose(processor, pixels, channels, input, output);
}

/// Copies images from `[batch, channels, height, width]` to `[batch, height, width, channels]`;
/// `pixels` is height times width.
///
/// # Panics
///
/// If the lengths differ or are not a whole number of images.
pub fn nchw_to_nhwc(pixels: usize, channels: usize, input: &[f32], output: &mut [f32]) {
    nchw_to_nhwc_on(Processor::best(), pixels, channels, input, output);
}

/// [`nchw_to_nhwc`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`nchw_to_nhwc`], and if this machine lacks the instructions.
pub fn nchw_to_nhwc_on(
    processor: Processor,
    pixels: usize,
    channels: usize,
    input: &[f32],
    output: &mut [f32],
) {
    transpose(processor, channels, pixels, input, output);
}

/// Transposes each `[rows, columns]` matrix of a batch.
fn transpose(processor: Processor, rows: usize, columns: usize, input: &[f32], output: &mut [f32]) {
    let size = rows * columns;
    assert!(size > 0, "images have pixels and channels");
    assert_eq!(
        input.len(),
        output.len(),
        "input and output differ in length"
    );
    assert_eq!(
        input.len() % size,
        0,
        "the elements are not a whole number of images"
    );
    // Few rows make long tasks of columns, few columns long tasks of rows: either way the task's
    // part of one side stays in the cache while the other side is run through.
    let task_columns = (TASK / rows)
        .next_multiple_of(16)
        .clamp(16, columns.next_multiple_of(16));
    let task_rows = (TASK / task_columns).next_multiple_of(16);
    let (down, across) = (rows.div_ceil(task_rows), columns.div_ceil(task_columns));
    let shared = Shared::new(output);
    (0..input.len() / size * down * across)
        .into_par_iter()
        .for_each(|task| {
            let (image, task) = (task / (down * across), task % (down * across));
            let (row, column) = (task / across * task_rows, task % across * task_columns);
            let kernel = Block {
                from: input[image * size + row * columns + column..].as_ptr(),
                from_stride: columns,
                to: shared.at(image * size + column * rows + row),
                to_stride: rows,
                rows: task_rows.min(rows - row),
                columns: task_columns.min(columns - column),
            };
            // SAFETY: the block lies in the image, and its transpose is this task's own.
            unsafe { dispatch::run(processor, kernel) };
        });
}

struct Block {
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
    rows: usize,
    columns: usize,
}

impl Kernel for Block {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            let (rows, columns) = (self.rows - self.rows % 8, self.columns - self.columns % 8);
            for column in (0..columns).step_by(8) {
                for row in (0..rows).step_by(8) {
                    let from = self.from.add(row * self.from_stride + column);
                    let to = self.to.add(column * self.to_stride + row);
                    V::transpose(from, self.from_stride, to, self.to_stride);
                }
            }
            self.scalar(0..self.rows, columns..self.columns);
            self.scalar(rows..self.rows, 0..columns);
        }
    }
}

impl Block {
    #[inline(always)]
    unsafe fn scalar(&self, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) {
        for row in rows {
            for column in columns.clone() {
                // SAFETY: the caller keeps rows and columns within the block.
                unsafe {
                    let value = *self.from.add(row * self.from_stride + column);
                    *self.to.add(column * self.to_stride + row) = value;
                }
            }
        }
    }
}
