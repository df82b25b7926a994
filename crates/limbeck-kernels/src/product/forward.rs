//! `act(input weight^T + bias)`.

use rayon::prelude::*;

use super::Linear;
use super::pack::{Panels, pack_rows};
use super::tile::{Columns, Rows, tile};
use crate::activation::{Activation, apply};
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::scratch::with_scratch;
use crate::sharing::Shared;
use crate::vector::Vector;

/// Up to this batch, dot products of rows beat tiles, which would be mostly padding.
const DOT_BATCH: usize = 10;

/// Multiplications that are worth a task.
const TASK: usize = 512 * 1024;

/// `output = act(input weight^T + bias)`: `input` `[batch, inputs]`, `weight` `[outputs, inputs]`,
/// `bias` `[outputs]`, `output` `[batch, outputs]`.
///
/// # Panics
///
/// If the lengths disagree with `sizes`.
pub fn linear(
    sizes: Linear,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    output: &mut [f32],
) {
    linear_on(
        Processor::best(),
        sizes,
        input,
        weight,
        bias,
        activation,
        output,
    );
}

/// [`linear`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`linear`], and if this machine lacks the instructions.
pub fn linear_on(
    processor: Processor,
    sizes: Linear,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    output: &mut [f32],
) {
    sizes.check(input, weight, output);
    if let Some(bias) = bias {
        assert_eq!(bias.len(), sizes.outputs, "one bias per output");
    }
    let layer = Layer {
        sizes,
        weight,
        bias,
        activation,
        output: Shared::new(output),
    };
    if sizes.batch <= DOT_BATCH {
        dot_products(processor, layer, input);
    } else {
        tiles(processor, layer, input);
    }
}

/// What every task needs.
#[derive(Clone, Copy)]
struct Layer<'a> {
    sizes: Linear,
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    activation: Activation,
    output: Shared<'a>,
}

impl Layer<'_> {
    fn bias(&self, output: usize) -> f32 {
        self.bias.map_or(0.0, |bias| bias[output])
    }
}

fn dot_products(processor: Processor, layer: Layer<'_>, input: &[f32]) {
    let Linear {
        inputs, outputs, ..
    } = layer.sizes;
    let rows = (TASK / 8 / inputs.max(1))
        .next_multiple_of(4)
        .min(outputs.max(1));
    (0..outputs.div_ceil(rows))
        .into_par_iter()
        .for_each(|task| {
            let kernel = Dots {
                layer,
                input,
                rows: task * rows..outputs.min((task + 1) * rows),
            };
            // SAFETY: the lengths were checked, and each task writes outputs of its own.
            unsafe { dispatch::run(processor, kernel) };
        });
}

struct Dots<'a> {
    layer: Layer<'a>,
    input: &'a [f32],
    rows: std::ops::Range<usize>,
}

impl Kernel for Dots<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let mut row = self.rows.start;
        // SAFETY: the rows lie in the weight.
        unsafe {
            while row + 4 <= self.rows.end {
                self.dot::<V, 4>(row);
                row += 4;
            }
            while row < self.rows.end {
                self.dot::<V, 1>(row);
                row += 1;
            }
        }
    }
}

impl Dots<'_> {
    /// The products of `ROWS` rows of the weight with every row of the input.
    #[inline(always)]
    unsafe fn dot<V: Vector, const ROWS: usize>(&self, first: usize) {
        let inputs = self.layer.sizes.inputs;
        let weight = self.layer.weight[first * inputs..][..ROWS * inputs].as_ptr();
        for (item, input) in self.input.chunks_exact(inputs).enumerate() {
            let input = input.as_ptr();
            // SAFETY: all rows have `inputs` elements; this task alone writes these outputs.
            unsafe {
                // Two sums per row hide the latency of the additions.
                let mut sums = [[V::zero(); 2]; ROWS];
                let mut k = 0;
                while k + 2 * V::LANES <= inputs {
                    for half in 0..2 {
                        let at = k + half * V::LANES;
                        let value = V::load(input.add(at));
                        for row in 0..ROWS {
                            let weight = V::load(weight.add(row * inputs + at));
                            sums[row][half] = value.mul_add(weight, sums[row][half]);
                        }
                    }
                    k += 2 * V::LANES;
                }
                while k < inputs {
                    let lanes = V::LANES.min(inputs - k);
                    let value = V::load_partial(input.add(k), lanes);
                    for row in 0..ROWS {
                        let weight = V::load_partial(weight.add(row * inputs + k), lanes);
                        sums[row][0] = value.mul_add(weight, sums[row][0]);
                    }
                    k += lanes;
                }
                for row in 0..ROWS {
                    let sum = sums[row][0].add(sums[row][1]).sum() + self.layer.bias(first + row);
                    let to = item * self.layer.sizes.outputs + first + row;
                    *self.layer.output.at(to) = self.layer.activation.apply(sum);
                }
            }
        }
    }
}

fn tiles(processor: Processor, layer: Layer<'_>, input: &[f32]) {
    let Linear {
        batch,
        inputs,
        outputs,
    } = layer.sizes;
    let panels = Panels::new(processor, batch);
    with_scratch(panels.vectors * panels.lanes * inputs, |packed| {
        let shared = Shared::new(packed);
        (0..panels.count).into_par_iter().for_each(|panel| {
            let start = panels.start(panel) * panels.lanes * inputs;
            let length = panels.width(panel) * panels.lanes * inputs;
            // SAFETY: panels do not overlap.
            let part = unsafe { shared.part(start, length) };
            pack_rows(input, inputs, &panels, panel, part);
        });
        let panel_work = 3 * panels.lanes * inputs.max(1);
        let rows = (TASK / panel_work)
            .next_multiple_of(8)
            .clamp(8, outputs.next_multiple_of(8).max(8));
        let tasks = outputs.div_ceil(rows) * panels.count;
        (0..tasks).into_par_iter().for_each(|task| {
            let (group, panel) = (task / panels.count, task % panels.count);
            let kernel = Tiles {
                layer,
                panels,
                panel,
                packed: shared.at(panels.start(panel) * panels.lanes * inputs),
                rows: group * rows..outputs.min((group + 1) * rows),
            };
            // SAFETY: the lengths were checked, and each task writes outputs of its own.
            unsafe { dispatch::run(processor, kernel) };
        });
    });
}

struct Tiles<'a> {
    layer: Layer<'a>,
    panels: Panels,
    panel: usize,
    packed: *const f32,
    rows: std::ops::Range<usize>,
}

impl Kernel for Tiles<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller's promise; the widths are those that the panels have.
        unsafe {
            match (V::LANES, self.panels.width(self.panel)) {
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

impl Tiles<'_> {
    #[inline(always)]
    unsafe fn rows<V: Vector, const ROWS: usize, const WIDTH: usize>(&self) {
        let Linear {
            inputs, outputs, ..
        } = self.layer.sizes;
        let items = self.panels.range(self.panel);
        let right = Columns {
            pointer: self.packed,
            stride: WIDTH * V::LANES,
        };
        for first in self.rows.clone().step_by(ROWS) {
            let count = ROWS.min(self.rows.end - first);
            let left = Rows {
                pointer: self.layer.weight[first * inputs..].as_ptr(),
                row_stride: inputs,
                step: 1,
                count,
            };
            // SAFETY: the rows lie in the weight and the panel is packed; `transposed` has room
            // for the tile, of which the items and rows that exist are written.
            unsafe {
                let sums = tile::<V, ROWS, WIDTH>(left, right, inputs);
                // The most that any tile holds: 8 rows of 3 vectors of 16.
                let mut transposed = [0.0f32; 8 * 3 * 16];
                for row in 0..ROWS {
                    let bias = V::splat(self.layer.bias(first + row.min(count - 1)));
                    for vector in 0..WIDTH {
                        let value = apply(self.layer.activation, sums[row][vector].add(bias));
                        let to = (row * WIDTH + vector) * V::LANES;
                        value.store(transposed.as_mut_ptr().add(to));
                    }
                }
                for (lane, item) in items.clone().enumerate() {
                    let output = self.layer.output.at(item * outputs + first);
                    for row in 0..count {
                        *output.add(row) = transposed[row * WIDTH * V::LANES + lane];
                    }
                }
            }
        }
    }
}
