//! Weighted sums of pixels, channel by channel.

use rayon::prelude::*;

use super::pairs::Pattern;
use super::plan::{Phase, Plan};
use crate::activation::{Activation, apply};
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::scratch::Scratch;
use crate::vector::Vector;

/// Elements of the target that are worth a task.
const TASK: usize = 16 * 1024;

/// `target = act(gathered source + bias)`. The caller has checked the lengths against the plan.
pub(super) fn gather(
    processor: Processor,
    plan: &Plan,
    source: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    target: &mut [f32],
) {
    let channels = plan.channels;
    let mut scratch = Scratch::new(weight.len());
    let taps = scratch.values();
    let kernel = plan.kernel[0] * plan.kernel[1];
    for (channel, weight) in weight.chunks_exact(kernel).enumerate() {
        for (tap, weight) in weight.iter().enumerate() {
            taps[tap * channels + channel] = *weight;
        }
    }
    let taps = &*taps;
    let row = plan.target[1] * channels;
    let rows = TASK.div_ceil(row);
    target
        .par_chunks_mut(rows * row)
        .enumerate()
        .for_each(|(task, target)| {
            let kernel = Rows {
                plan,
                source,
                taps,
                bias,
                activation,
                target,
                first: task * rows,
            };
            // SAFETY: the lengths were checked, and the plan reads within the source.
            unsafe { dispatch::run(processor, kernel) };
        });
}

/// Rows of the target, counted through the batch.
pub(super) struct Rows<'a> {
    pub(super) plan: &'a Plan,
    pub(super) source: &'a [f32],
    /// `[kernel, kernel, channels]`.
    pub(super) taps: &'a [f32],
    bias: Option<&'a [f32]>,
    activation: Activation,
    target: &'a mut [f32],
    pub(super) first: usize,
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        let channels = self.plan.channels;
        let pattern = Pattern::of(self.plan);
        for row in 0..self.target.len() / (self.plan.target[1] * channels) {
            if let Some(pattern) = pattern {
                let mut channel = 0;
                // SAFETY: the channels lie in the pixels.
                unsafe {
                    while channel + V::LANES <= channels {
                        self.row_of_pairs::<V, true>(row, pattern, channel);
                        channel += V::LANES;
                    }
                    if channel < channels {
                        self.row_of_pairs::<V, false>(row, pattern, channel);
                    }
                }
                continue;
            }
            for phase in &self.plan.phases {
                let mut channel = 0;
                // SAFETY: the channels lie in the pixels.
                unsafe {
                    while channel + V::LANES <= channels {
                        self.phase::<V, true>(row, phase, channel);
                        channel += V::LANES;
                    }
                    if channel < channels {
                        self.phase::<V, false>(row, phase, channel);
                    }
                }
            }
        }
    }
}

impl Rows<'_> {
    /// One vector of channels of the columns of one phase.
    #[inline(always)]
    unsafe fn phase<V: Vector, const WHOLE: bool>(
        &mut self,
        row: usize,
        phase: &Phase,
        channel: usize,
    ) {
        // SAFETY: `inside` are the columns where no tap leaves the source.
        unsafe {
            for index in (0..phase.inside.start).chain(phase.inside.end..phase.count) {
                self.border::<V, WHOLE>(row, phase, channel, index);
            }
            // Narrower vectors leave fewer registers for sums.
            if V::LANES == 16 {
                self.inside::<V, 8, WHOLE>(row, phase, channel);
            } else {
                self.inside::<V, 4, WHOLE>(row, phase, channel);
            }
        }
    }

    /// The columns of a phase where no tap leaves the source, `PIXELS` at a time.
    #[inline(always)]
    unsafe fn inside<V: Vector, const PIXELS: usize, const WHOLE: bool>(
        &mut self,
        row: usize,
        phase: &Phase,
        channel: usize,
    ) {
        let inside = phase.inside.clone();
        let mut index = inside.start;
        // SAFETY: the tiles lie inside.
        unsafe {
            while index < inside.end {
                // The last tile steps back and does some pixels again.
                if inside.len() >= PIXELS {
                    let start = index.min(inside.end - PIXELS);
                    self.pixels::<V, PIXELS, WHOLE>(row, phase, channel, start);
                    index += PIXELS;
                } else if inside.len() >= 3 {
                    let start = index.min(inside.end - 3);
                    self.pixels::<V, 3, WHOLE>(row, phase, channel, start);
                    index += 3;
                } else {
                    self.tile::<V, 1, WHOLE>(row, phase, channel, index);
                    index += 1;
                }
            }
        }
    }

    /// `PIXELS` columns of a phase, by the kernel that suits its taps.
    #[inline(always)]
    unsafe fn pixels<V: Vector, const PIXELS: usize, const WHOLE: bool>(
        &mut self,
        row: usize,
        phase: &Phase,
        channel: usize,
        index: usize,
    ) {
        let taps = if phase.neighbours {
            phase.taps.len()
        } else {
            0
        };
        // SAFETY: the caller's promise.
        unsafe {
            match (taps, phase.source_step) {
                (3, 1) => self.slide::<V, PIXELS, 10, 3, 1, WHOLE>(row, phase, channel, index),
                (5, 1) => self.slide::<V, PIXELS, 12, 5, 1, WHOLE>(row, phase, channel, index),
                (3, 2) => self.slide::<V, PIXELS, 17, 3, 2, WHOLE>(row, phase, channel, index),
                _ => self.tile::<V, PIXELS, WHOLE>(row, phase, channel, index),
            }
        }
    }

    /// [`tile`](Self::tile) for `TAPS` neighbouring taps: the `(PIXELS - 1) STEP + TAPS <= COLUMNS`
    /// columns of a row that the pixels share are loaded once.
    #[inline(always)]
    unsafe fn slide<
        V: Vector,
        const PIXELS: usize,
        const COLUMNS: usize,
        const TAPS: usize,
        const STEP: usize,
        const WHOLE: bool,
    >(
        &mut self,
        row: usize,
        phase: &Phase,
        channel: usize,
        index: usize,
    ) {
        let plan = self.plan;
        let (channels, lanes) = (plan.channels, V::LANES.min(plan.channels - channel));
        let row_in_batch = self.first + row;
        let (image, row_in_image) = (row_in_batch / plan.target[0], row_in_batch % plan.target[0]);
        let first = (phase.taps[0].from + (index * STEP) as isize) as usize;
        // SAFETY: the plan's rows and the caller's columns lie in the source.
        unsafe {
            let mut sums = [V::zero(); PIXELS];
            for &(tap_row, source_row) in &plan.rows[row_in_image] {
                let source_row = image * plan.source[0] + source_row;
                let from = (source_row * plan.source[1] + first) * channels + channel;
                let from = self.source.as_ptr().add(from);
                let weight = tap_row * plan.kernel[1] * channels + channel;
                let weight = self.taps.as_ptr().add(weight);
                let mut columns = [V::zero(); COLUMNS];
                for column in 0..COLUMNS {
                    if column < (PIXELS - 1) * STEP + TAPS {
                        columns[column] = load::<V, WHOLE>(from.add(column * channels), lanes);
                    }
                }
                for tap in 0..TAPS {
                    let weight = weight.add(phase.taps[tap].tap * channels);
                    let weight = load::<V, WHOLE>(weight, lanes);
                    for pixel in 0..PIXELS {
                        sums[pixel] = columns[pixel * STEP + tap].mul_add(weight, sums[pixel]);
                    }
                }
            }
            for pixel in 0..PIXELS {
                let column = phase.first + (index + pixel) * phase.step;
                self.write::<V, WHOLE>(row, column, channel, sums[pixel]);
            }
        }
    }

    /// `PIXELS` columns of a phase, all of whose taps read within the source.
    #[inline(always)]
    unsafe fn tile<V: Vector, const PIXELS: usize, const WHOLE: bool>(
        &mut self,
        row: usize,
        phase: &Phase,
        channel: usize,
        index: usize,
    ) {
        let plan = self.plan;
        let (channels, lanes) = (plan.channels, V::LANES.min(plan.channels - channel));
        let row_in_batch = self.first + row;
        let (image, row_in_image) = (row_in_batch / plan.target[0], row_in_batch % plan.target[0]);
        let step = phase.source_step * channels;
        // SAFETY: the plan's rows and the caller's columns lie in the source.
        unsafe {
            let mut sums = [V::zero(); PIXELS];
            for &(tap_row, source_row) in &plan.rows[row_in_image] {
                let source_row = image * plan.source[0] + source_row;
                for tap in &phase.taps {
                    let column = (tap.from + (index * phase.source_step) as isize) as usize;
                    let from = (source_row * plan.source[1] + column) * channels + channel;
                    let from = self.source.as_ptr().add(from);
                    let weight = (tap_row * plan.kernel[1] + tap.tap) * channels + channel;
                    let weight = load::<V, WHOLE>(self.taps.as_ptr().add(weight), lanes);
                    for pixel in 0..PIXELS {
                        let value = load::<V, WHOLE>(from.add(pixel * step), lanes);
                        sums[pixel] = value.mul_add(weight, sums[pixel]);
                    }
                }
            }
            for pixel in 0..PIXELS {
                let column = phase.first + (index + pixel) * phase.step;
                self.write::<V, WHOLE>(row, column, channel, sums[pixel]);
            }
        }
    }

    /// A column of a phase some of whose taps read outside the source.
    #[inline(always)]
    pub(super) unsafe fn border<V: Vector, const WHOLE: bool>(
        &mut self,
        row: usize,
        phase: &Phase,
        channel: usize,
        index: usize,
    ) {
        let plan = self.plan;
        let (channels, lanes) = (plan.channels, V::LANES.min(plan.channels - channel));
        let row_in_batch = self.first + row;
        let (image, row_in_image) = (row_in_batch / plan.target[0], row_in_batch % plan.target[0]);
        // SAFETY: only taps within the source are read.
        unsafe {
            let mut sum = V::zero();
            for &(tap_row, source_row) in &plan.rows[row_in_image] {
                let source_row = image * plan.source[0] + source_row;
                for tap in &phase.taps {
                    if let Some(column) = phase.source(tap, index, plan.source[1]) {
                        let from = (source_row * plan.source[1] + column) * channels + channel;
                        let weight = (tap_row * plan.kernel[1] + tap.tap) * channels + channel;
                        let weight = load::<V, WHOLE>(self.taps.as_ptr().add(weight), lanes);
                        let value = load::<V, WHOLE>(self.source.as_ptr().add(from), lanes);
                        sum = value.mul_add(weight, sum);
                    }
                }
            }
            self.write::<V, WHOLE>(row, phase.first + index * phase.step, channel, sum);
        }
    }

    #[inline(always)]
    pub(super) unsafe fn write<V: Vector, const WHOLE: bool>(
        &mut self,
        row: usize,
        column: usize,
        channel: usize,
        sum: V,
    ) {
        let channels = self.plan.channels;
        let to = (row * self.plan.target[1] + column) * channels + channel;
        let lanes = V::LANES.min(channels - channel);
        // SAFETY: the pixel lies in the task's part of the target.
        unsafe {
            let mut value = sum;
            if let Some(bias) = self.bias {
                value = value.add(load::<V, WHOLE>(bias.as_ptr().add(channel), lanes));
            }
            let value = apply(self.activation, value);
            let to = self.target.as_mut_ptr().add(to);
            if WHOLE {
                value.store(to);
            } else {
                value.store_partial(to, lanes);
            }
        }
    }
}

/// The lanes in use, all of them where `WHOLE` is true.
///
/// # Safety
///
/// That many values can be read at `from`, and the processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn load<V: Vector, const WHOLE: bool>(from: *const f32, lanes: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        if WHOLE {
            V::load(from)
        } else {
            V::load_partial(from, lanes)
        }
    }
}
