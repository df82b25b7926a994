//! `act(input weight^T + bias)`.

use rayon::prelude::*;

use super::Linear;
use super::engine::{Product, Target};
use super::pack::Right;
use crate::activation::Activation;
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::sharing::Shared;
use crate::vector::Vector;

/// Up to this batch, dot products of rows beat tiles, which would be mostly padding.
const DOT_BATCH: usize = 10;

/// Elements of the weight that are worth a task.
const TASK: usize = 64 * 1024;

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
    let target = Target {
        result: Shared::new(output),
        transposed: false,
        bias,
        activation,
    };
    if sizes.batch <= DOT_BATCH {
        dot_products(processor, sizes, input, weight, target);
    } else {
        product(sizes, input, weight, target).run(processor);
    }
}

/// The layer as a product whose right matrix, which is packed, is the one with fewer rows.
fn product<'a>(
    sizes: Linear,
    input: &'a [f32],
    weight: &'a [f32],
    target: Target<'a>,
) -> Product<'a> {
    let Linear {
        batch,
        inputs,
        outputs,
    } = sizes;
    let transposed = outputs > batch;
    let (left, rows, matrix, columns) = if transposed {
        (weight, outputs, input, batch)
    } else {
        (input, batch, weight, outputs)
    };
    Product {
        left,
        row_stride: inputs,
        step: 1,
        rows,
        right: Right {
            matrix,
            transposed: true,
            inner: inputs,
            columns,
        },
        target: Target {
            transposed,
            ..target
        },
    }
}

fn dot_products(
    processor: Processor,
    sizes: Linear,
    input: &[f32],
    weight: &[f32],
    target: Target<'_>,
) {
    let Linear {
        inputs, outputs, ..
    } = sizes;
    let rows = (TASK / inputs).next_multiple_of(4).max(4);
    (0..outputs.div_ceil(rows))
        .into_par_iter()
        .for_each(|task| {
            let kernel = Dots {
                sizes,
                input,
                weight,
                target,
                rows: task * rows..outputs.min((task + 1) * rows),
            };
            // SAFETY: the lengths were checked, and each task writes outputs of its own.
            unsafe { dispatch::run(processor, kernel) };
        });
}

struct Dots<'a> {
    sizes: Linear,
    input: &'a [f32],
    weight: &'a [f32],
    target: Target<'a>,
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
        let inputs = self.sizes.inputs;
        let weight = self.weight[first * inputs..][..ROWS * inputs].as_ptr();
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
                    let bias = self.target.bias.map_or(0.0, |bias| bias[first + row]);
                    let sum = sums[row][0].add(sums[row][1]).sum() + bias;
                    let to = item * self.sizes.outputs + first + row;
                    *self.target.result.at(to) = self.target.activation.apply(sum);
                }
            }
        }
    }
}
