//! The gradients of a linear layer.

use rayon::prelude::*;

use super::Linear;
use super::pack::{Panels, pack_columns};
use super::tile::{Columns, Rows, tile};
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::scratch::with_scratch;
use crate::sharing::Shared;
use crate::sums::{Place, Terms, column_sums};
use crate::vector::Vector;

/// Rows of the result that share a packed panel; more of them share its cost, fewer make more
/// tasks.
const TASK_ROWS: usize = 128;

/// `grad_input = grad_output weight`: `grad_output` `[batch, outputs]`, `weight`
/// `[outputs, inputs]`, `grad_input` `[batch, inputs]`.
///
/// # Panics
///
/// If the lengths disagree with `sizes`.
pub fn linear_backward_input(
    sizes: Linear,
    grad_output: &[f32],
    weight: &[f32],
    grad_input: &mut [f32],
) {
    linear_backward_input_on(Processor::best(), sizes, grad_output, weight, grad_input);
}

/// [`linear_backward_input`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`linear_backward_input`], and if this machine lacks the instructions.
pub fn linear_backward_input_on(
    processor: Processor,
    sizes: Linear,
    grad_output: &[f32],
    weight: &[f32],
    grad_input: &mut [f32],
) {
    sizes.check(grad_input, weight, grad_output);
    let product = Product {
        left: grad_output,
        row_stride: sizes.outputs,
        step: 1,
        rows: sizes.batch,
        right: weight,
        inner: sizes.outputs,
        panels: Panels::new(processor, sizes.inputs),
        result: Shared::new(grad_input),
    };
    product.run(processor);
}

/// `grad_weight = grad_output^T input`: `grad_output` `[batch, outputs]`, `input`
/// `[batch, inputs]`, `grad_weight` `[outputs, inputs]`.
///
/// # Panics
///
/// If the lengths disagree with `sizes`.
pub fn linear_backward_weight(
    sizes: Linear,
    input: &[f32],
    grad_output: &[f32],
    grad_weight: &mut [f32],
) {
    linear_backward_weight_on(Processor::best(), sizes, input, grad_output, grad_weight);
}

/// [`linear_backward_weight`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`linear_backward_weight`], and if this machine lacks the instructions.
pub fn linear_backward_weight_on(
    processor: Processor,
    sizes: Linear,
    input: &[f32],
    grad_output: &[f32],
    grad_weight: &mut [f32],
) {
    sizes.check(input, grad_weight, grad_output);
    let product = Product {
        left: grad_output,
        row_stride: 1,
        step: sizes.outputs,
        rows: sizes.outputs,
        right: input,
        inner: sizes.batch,
        panels: Panels::new(processor, sizes.inputs),
        result: Shared::new(grad_weight),
    };
    product.run(processor);
}

/// `grad_bias = sum over the batch of grad_output`, `[outputs]`.
///
/// # Panics
///
/// If `grad_output` is not a whole number of rows of as many elements as `grad_bias`.
pub fn linear_backward_bias(grad_output: &[f32], grad_bias: &mut [f32]) {
    linear_backward_bias_on(Processor::best(), grad_output, grad_bias);
}

/// [`linear_backward_bias`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`linear_backward_bias`], and if this machine lacks the instructions.
pub fn linear_backward_bias_on(processor: Processor, grad_output: &[f32], grad_bias: &mut [f32]) {
    let outputs = grad_bias.len();
    if outputs == 0 {
        return;
    }
    assert_eq!(
        grad_output.len() % outputs,
        0,
        "the gradient is not a whole number of rows"
    );
    let rows = grad_output.len() / outputs;
    // SAFETY: `grad_output` has `rows` rows.
    let (sums, _) = unsafe { column_sums(processor, rows, outputs, &Values(grad_output)) };
    for (bias, sum) in grad_bias.iter_mut().zip(sums) {
        *bias = sum as f32;
    }
}

struct Values<'a>(&'a [f32]);

impl Terms for Values<'_> {
    #[inline(always)]
    unsafe fn at<V: Vector, const WHOLE: bool>(&self, place: Place) -> (V, V) {
        // SAFETY: the caller keeps `place` within the matrix.
        let value = unsafe { place.load::<V, WHOLE>(self.0.as_ptr().add(place.index)) };
        (value, value)
    }
}

/// `result_rc = sum_k left_rk right_kc` with the right matrix, `[inner, columns]`, packed a panel
/// at a time, and `left_rk = left[r * row_stride + k * step]`.
#[derive(Clone, Copy)]
struct Product<'a> {
    left: &'a [f32],
    row_stride: usize,
    step: usize,
    rows: usize,
    right: &'a [f32],
    inner: usize,
    panels: Panels,
    result: Shared<'a>,
}

impl Product<'_> {
    fn run(self, processor: Processor) {
        let panels = self.panels;
        let tasks = self.rows.div_ceil(TASK_ROWS) * panels.count;
        (0..tasks).into_par_iter().for_each(|task| {
            let (group, panel) = (task / panels.count, task % panels.count);
            let rows = group * TASK_ROWS..self.rows.min((group + 1) * TASK_ROWS);
            let width = panels.width(panel) * panels.lanes;
            // One block of rows reads the panel once: no need to copy it first.
            let whole = panels.range(panel).len() == width;
            if whole && rows.len() <= 8 {
                let right = Columns {
                    pointer: self.right.as_ptr().wrapping_add(panels.range(panel).start),
                    stride: panels.columns,
                };
                self.panel(processor, panel, rows, right);
            } else {
                with_scratch(self.inner * width, |packed| {
                    pack_columns(self.right, &panels, panel, packed);
                    let right = Columns {
                        pointer: packed.as_ptr(),
                        stride: width,
                    };
                    self.panel(processor, panel, rows, right);
                });
            }
        });
    }

    fn panel(
        self,
        processor: Processor,
        panel: usize,
        rows: std::ops::Range<usize>,
        right: Columns,
    ) {
        let kernel = Panel {
            product: self,
            panel,
            rows,
            right,
        };
        // SAFETY: the lengths were checked, and each task writes a part of its own.
        unsafe { dispatch::run(processor, kernel) };
    }
}

struct Panel<'a> {
    product: Product<'a>,
    panel: usize,
    rows: std::ops::Range<usize>,
    right: Columns,
}

impl Kernel for Panel<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller's promise; the widths are those that the panels have.
        unsafe {
            match (V::LANES, self.product.panels.width(self.panel)) {
                (16, 3) => self.rows::<V, 8, 3>(),
                (16, 2) => self.rows::<V, 8, 2>(),
                (16, _) => self.rows::<V, 8, 1>(),
                (_, 3) => self.rows::<V, 4, 3>(),
                (_, 2) => self.rows::<V, 4, 2>(),
                _ => self.rows::<V, 4, 1>(),
            }
        }
    }
}

impl Panel<'_> {
    #[inline(always)]
    unsafe fn rows<V: Vector, const ROWS: usize, const WIDTH: usize>(&self) {
        let product = &self.product;
        let columns = product.panels.range(self.panel);
        for first in self.rows.clone().step_by(ROWS) {
            let count = ROWS.min(self.rows.end - first);
            let left = Rows {
                pointer: product
                    .left
                    .as_ptr()
                    .wrapping_add(first * product.row_stride),
                row_stride: product.row_stride,
                step: product.step,
                count,
            };
            // SAFETY: the rows lie in the left matrix and the panel in the right one; only rows
            // and columns that exist are written.
            unsafe {
                let sums = tile::<V, ROWS, WIDTH>(left, self.right, product.inner);
                for row in 0..ROWS {
                    if row >= count {
                        break;
                    }
                    let to = (first + row) * product.panels.columns + columns.start;
                    for vector in 0..WIDTH {
                        let used = columns.len() - vector * V::LANES;
                        let to = product.result.at(to + vector * V::LANES);
                        if used >= V::LANES {
                            sums[row][vector].store(to);
                        } else {
                            sums[row][vector].store_partial(to, used);
                        }
                    }
                }
            }
        }
    }
}
