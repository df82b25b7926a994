//! From a product of two matrices to tiles on many threads.

use std::ops::Range;

use rayon::prelude::*;

use super::pack::{Pack, Panels, Right};
use super::tile::{Columns, Rows, tile};
use crate::activation::{Activation, apply};
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::scratch::Scratch;
use crate::sharing::Shared;
use crate::vector::Vector;

/// Multiplications that are worth a task.
const TASK: usize = 512 * 1024;

/// The greatest right matrix that is packed as a whole, in elements.
const PACKED: usize = 4 * 1024 * 1024;

/// Where a product goes.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    /// The result: `[rows, columns]`, or its transpose.
    pub(super) result: Shared<'a>,
    /// Whether it is the transpose.
    pub(super) transposed: bool,
    /// What is added to row `c` of the transpose, or column `c` of the plain result.
    pub(super) bias: Option<&'a [f32]>,
    /// What is applied last.
    pub(super) activation: Activation,
}

impl<'a> Target<'a> {
    /// The product itself.
    pub(super) fn plain(result: &'a mut [f32]) -> Self {
        Self {
            result: Shared::new(result),
            transposed: false,
            bias: None,
            activation: Activation::None,
        }
    }
}

/// `target_rc = sum_k left_rk right_kc` with `left_rk = left[r * row_stride + k * step]`.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) left: &'a [f32],
    pub(super) row_stride: usize,
    pub(super) step: usize,
    pub(super) rows: usize,
    pub(super) right: Right<'a>,
    pub(super) target: Target<'a>,
}

impl Product<'_> {
    /// Computes it with the instructions of `processor`. The caller has checked the lengths.
    pub(super) fn run(self, processor: Processor) {
        let panels = Panels::new(processor, self.right.columns);
        let size = panels.vectors * panels.lanes * self.right.inner;
        // A single group of rows reads each panel by itself; more of them share the copy.
        if self.rows <= 128 || size > PACKED {
            self.tasks(&panels, 512, |panel, rows| {
                self.pack_and_multiply(processor, panels, panel, rows);
            });
            return;
        }
        let start = |panel| panels.start(panel) * panels.lanes * self.right.inner;
        let mut scratch = Scratch::new(size);
        let packed = Shared::new(scratch.values());
        (0..panels.count).into_par_iter().for_each(|panel| {
            // SAFETY: panels do not overlap.
            let part = unsafe { packed.part(start(panel), start(panel + 1) - start(panel)) };
            self.pack(processor, panels, panel, part);
        });
        let rows = TASK / (3 * panels.lanes * self.right.inner);
        self.tasks(&panels, rows.next_multiple_of(8).max(8), |panel, rows| {
            let right = Columns {
                pointer: packed.at(start(panel)),
                stride: panels.width(panel) * panels.lanes,
            };
            self.multiply(processor, panels, panel, rows, right);
        });
    }

    /// Calls `task` with every panel and group of rows, on many threads.
    fn tasks(&self, panels: &Panels, rows: usize, task: impl Fn(usize, Range<usize>) + Sync) {
        let count = self.rows.div_ceil(rows) * panels.count;
        (0..count).into_par_iter().for_each(|index| {
            let (group, panel) = (index / panels.count, index % panels.count);
            task(panel, group * rows..self.rows.min((group + 1) * rows));
        });
    }

    fn pack_and_multiply(
        self,
        processor: Processor,
        panels: Panels,
        panel: usize,
        rows: Range<usize>,
    ) {
        let width = panels.width(panel) * panels.lanes;
        let whole = panels.range(panel).len() == width;
        if !self.right.transposed && whole && rows.len() <= 8 {
            // One block of rows reads the panel once: no need to copy it first.
            let from = panels.range(panel).start;
            let right = Columns {
                pointer: self.right.matrix.as_ptr().wrapping_add(from),
                stride: panels.columns,
            };
            self.multiply(processor, panels, panel, rows, right);
            return;
        }
        let mut packed = Scratch::new(self.right.inner * width);
        self.pack(processor, panels, panel, packed.values());
        let right = Columns {
            pointer: packed.as_ptr(),
            stride: width,
        };
        self.multiply(processor, panels, panel, rows, right);
    }

    fn pack(self, processor: Processor, panels: Panels, panel: usize, packed: &mut [f32]) {
        let kernel = Pack {
            right: self.right,
            panels,
            panel,
            packed,
        };
        // SAFETY: the lengths were checked.
        unsafe { dispatch::run(processor, kernel) };
    }

    fn multiply(
        self,
        processor: Processor,
        panels: Panels,
        panel: usize,
        rows: Range<usize>,
        right: Columns,
    ) {
        let kernel = Panel {
            product: self,
            columns: panels.range(panel),
            width: panels.width(panel),
            rows,
            right,
        };
        // SAFETY: the lengths were checked, and each task writes a part of its own.
        unsafe { dispatch::run(processor, kernel) };
    }
}

/// The rows of one task times the columns of one panel.
struct Panel<'a> {
    product: Product<'a>,
    columns: Range<usize>,
    width: usize,
    rows: Range<usize>,
    right: Columns,
}

impl Kernel for Panel<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            match (V::LANES, self.width) {
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
        let mut row = self.rows.start;
        // SAFETY: the rows lie in the left matrix.
        unsafe {
            while row < self.rows.end {
                let left = self.rows.end - row;
                if left > 2 {
                    self.block::<V, ROWS, WIDTH>(row, left.min(ROWS));
                    row += ROWS;
                } else {
                    self.block::<V, 2, WIDTH>(row, left);
                    row += 2;
                }
            }
        }
    }

    /// `count` rows from `first`, by a tile of `ROWS`.
    #[inline(always)]
    unsafe fn block<V: Vector, const ROWS: usize, const WIDTH: usize>(
        &self,
        first: usize,
        count: usize,
    ) {
        let Product {
            left,
            row_stride,
            step,
            right,
            target,
            ..
        } = self.product;
        let rows = Rows {
            pointer: left.as_ptr().wrapping_add(first * row_stride),
            row_stride,
            step,
            count,
        };
        // SAFETY: the rows lie in the left matrix and the panel in the right one.
        unsafe {
            let mut sums = tile::<V, ROWS, WIDTH>(rows, self.right, right.inner);
            if let Some(bias) = target.bias {
                for row in 0..ROWS {
                    for vector in 0..WIDTH {
                        let bias = if target.transposed {
                            V::splat(bias[first + row.min(count - 1)])
                        } else {
                            let column = self.columns.start + vector * V::LANES;
                            let used = (self.columns.end - column).min(V::LANES);
                            V::load_partial(bias.as_ptr().add(column), used)
                        };
                        sums[row][vector] = sums[row][vector].add(bias);
                    }
                }
            }
            // The most that any tile holds: 8 rows of 3 vectors of 16.
            let mut block = [0.0f32; 8 * 3 * 16];
            for row in 0..ROWS {
                for vector in 0..WIDTH {
                    let to = (row * WIDTH + vector) * V::LANES;
                    apply(target.activation, sums[row][vector]).store(block.as_mut_ptr().add(to));
                }
            }
            if target.transposed {
                self.write_transposed::<V>(&block, first, count);
            } else {
                self.write::<V>(&block, first, count);
            }
        }
    }

    #[inline(always)]
    unsafe fn write<V: Vector>(&self, block: &[f32; 384], first: usize, count: usize) {
        let columns = self.product.right.columns;
        for row in 0..count {
            let to = (first + row) * columns + self.columns.start;
            let mut column = 0;
            while column < self.columns.len() {
                let used = (self.columns.len() - column).min(V::LANES);
                // SAFETY: these rows and columns are the task's own.
                unsafe {
                    let from = block.as_ptr().add(row * self.width * V::LANES + column);
                    let to = self.product.target.result.at(to + column);
                    if used == V::LANES {
                        V::load(from).store(to);
                    } else {
                        V::load(from).store_partial(to, used);
                    }
                }
                column += V::LANES;
            }
        }
    }

    #[inline(always)]
    unsafe fn write_transposed<V: Vector>(&self, block: &[f32; 384], first: usize, count: usize) {
        let (rows, width) = (self.product.rows, self.width * V::LANES);
        let target = self.product.target.result;
        let mut column = 0;
        // SAFETY: these rows and columns are the task's own.
        unsafe {
            while count == 8 && column + 8 <= self.columns.len() {
                let to = target.at((self.columns.start + column) * rows + first);
                V::transpose(block.as_ptr().add(column), width, to, rows);
                column += 8;
            }
            while column < self.columns.len() {
                let to = target.at((self.columns.start + column) * rows + first);
                for row in 0..count {
                    *to.add(row) = block[row * width + column];
                }
                column += 1;
            }
        }
    }
}
