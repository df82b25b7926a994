//! The gradient of the weight.

use std::ops::Range;

use rayon::prelude::*;

use super::Depthwise;
use super::gather::load;
use super::plan::{Phase, Plan};
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::vector::Vector;

/// Elements of the output's gradient that one block sums at least.
const BLOCK: usize = 16 * 1024;

/// The most blocks, each of which has sums of its own.
const BLOCKS: usize = 64;

/// `grad_weight[c, t] = sum over batch and pixels of grad_output[o, c] input[o + t, c]`. The caller
/// has checked the lengths. Blocks of rows are summed in vectors and added in order as `f64`.
pub(super) fn gradient(
    processor: Processor,
    sizes: Depthwise,
    input: &[f32],
    grad_output: &[f32],
    grad_weight: &mut [f32],
) {
    let plan = Plan::forward(sizes);
    let rows = sizes.batch * plan.target[0];
    let block = (BLOCK / (plan.target[1] * plan.channels))
        .max(rows.div_ceil(BLOCKS))
        .max(1);
    let mut partial = vec![0.0f32; rows.div_ceil(block) * grad_weight.len()];
    let blocks = partial.par_chunks_mut(grad_weight.len()).enumerate();
    blocks.for_each(|(index, sums)| {
        let kernel = Block {
            plan: &plan,
            phase: &plan.phases[0],
            input,
            grad_output,
            rows: index * block..rows.min((index + 1) * block),
            sums,
        };
        // SAFETY: the lengths were checked, and the plan reads within the input.
        unsafe { dispatch::run(processor, kernel) };
    });
    let taps = plan.kernel[0] * plan.kernel[1];
    for (index, gradient) in grad_weight.iter_mut().enumerate() {
        let from = index % taps * plan.channels + index / taps;
        let blocks = partial[from..].iter().step_by(taps * plan.channels);
        *gradient = blocks.map(|&sum| f64::from(sum)).sum::<f64>() as f32;
    }
}

/// Rows of the output, counted through the batch.
struct Block<'a> {
    plan: &'a Plan,
    phase: &'a Phase,
    input: &'a [f32],
    grad_output: &'a [f32],
    rows: Range<usize>,
    /// `[kernel, kernel, channels]`.
    sums: &'a mut [f32],
}

impl Kernel for Block<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        let (plan, channels) = (self.plan, self.plan.channels);
        for row in self.rows.clone() {
            let (image, row_in_image) = (row / plan.target[0], row % plan.target[0]);
            for &(tap_row, source_row) in &plan.rows[row_in_image] {
                let pair = Pair {
                    output_row: row,
                    input_row: image * plan.source[0] + source_row,
                    tap_row,
                };
                let mut channel = 0;
                // SAFETY: the rows lie in the images and the channels in the pixels.
                unsafe {
                    while channel + V::LANES <= channels {
                        self.taps::<V, true>(pair, channel);
                        channel += V::LANES;
                    }
                    if channel < channels {
                        self.taps::<V, false>(pair, channel);
                    }
                }
            }
        }
    }
}

/// A row of the output and one of the input (through the batch) that a row of the kernel joins.
#[derive(Clone, Copy)]
struct Pair {
    output_row: usize,
    input_row: usize,
    tap_row: usize,
}

impl Block<'_> {
    /// Adds what two rows give to a row of taps.
    #[inline(always)]
    unsafe fn taps<V: Vector, const WHOLE: bool>(&mut self, pair: Pair, channel: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let taps = self.phase.taps.len();
            let mut tap = 0;
            while tap + 5 <= taps {
                self.some_taps::<V, 5, WHOLE>(pair, channel, tap);
                tap += 5;
            }
            while tap + 3 <= taps {
                self.some_taps::<V, 3, WHOLE>(pair, channel, tap);
                tap += 3;
            }
            while tap < taps {
                self.some_taps::<V, 1, WHOLE>(pair, channel, tap);
                tap += 1;
            }
        }
    }

    #[inline(always)]
    unsafe fn some_taps<V: Vector, const TAPS: usize, const WHOLE: bool>(
        &mut self,
        pair: Pair,
        channel: usize,
        first: usize,
    ) {
        let Plan {
            source,
            target,
            channels,
            kernel,
            ..
        } = *self.plan;
        let lanes = V::LANES.min(channels - channel);
        let phase = self.phase;
        // SAFETY: the rows lie in the images; outside `inside` the columns are checked.
        unsafe {
            let gradients = pair.output_row * target[1] * channels + channel;
            let gradients = self.grad_output.as_ptr().add(gradients);
            let inputs = pair.input_row * source[1] * channels + channel;
            let inputs = self.input.as_ptr().add(inputs);
            let mut sums = [V::zero(); TAPS];
            for index in (0..phase.inside.start).chain(phase.inside.end..phase.count) {
                let gradient = load::<V, WHOLE>(gradients.add(index * channels), lanes);
                for tap in 0..TAPS {
                    let place = phase.source(&phase.taps[first + tap], index, source[1]);
                    if let Some(column) = place {
                        let input = load::<V, WHOLE>(inputs.add(column * channels), lanes);
                        sums[tap] = gradient.mul_add(input, sums[tap]);
                    }
                }
            }
            let mut from = [inputs; TAPS];
            for tap in 0..TAPS {
                let start = phase.taps[first + tap].from;
                from[tap] = inputs.wrapping_offset(start * channels as isize);
            }
            for index in phase.inside.clone() {
                let gradient = load::<V, WHOLE>(gradients.add(index * channels), lanes);
                let offset = index * phase.source_step * channels;
                for tap in 0..TAPS {
                    let input = load::<V, WHOLE>(from[tap].wrapping_add(offset), lanes);
                    sums[tap] = gradient.mul_add(input, sums[tap]);
                }
            }
            for tap in 0..TAPS {
                let to = (pair.tap_row * kernel[1] + first + tap) * channels + channel;
                let to = self.sums.as_mut_ptr().add(to);
                let sum = load::<V, WHOLE>(to, lanes).add(sums[tap]);
                if WHOLE {
                    sum.store(to);
                } else {
                    sum.store_partial(to, lanes);
                }
            }
        }
    }
}
