//! Weights in the order in which the kernels read them.
//!
//! Target channels are cut into groups of one or two vectors; the panel of a group is
//! `[step][lane]`, lanes beyond the last channel zero.

use rayon::prelude::*;

use super::bf16;
use super::correlation::Correlation;
use super::family::Family;
use super::layout::Layout;
use crate::Processor;
use crate::scratch::Scratch;
use crate::sharing::Shared;

/// Target channels that one tile holds in registers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lanes {
    /// The first target channel.
    pub(super) first: usize,
    /// Channels that exist.
    pub(super) channels: usize,
    /// Vectors that hold them.
    pub(super) vectors: usize,
    /// Elements of these vectors.
    pub(super) count: usize,
}

/// Cuts `channels` target channels into groups for `processor`.
pub(super) fn lane_groups(processor: Processor, channels: usize) -> Vec<Lanes> {
    let (lanes, most) = match processor {
        Processor::Portable => (8, 1),
        Processor::Avx2 => (8, 2),
        Processor::Avx512 => (16, 2),
    };
    (0..channels)
        .step_by(lanes * most)
        .map(|first| {
            let channels = (channels - first).min(lanes * most);
            let vectors = channels.div_ceil(lanes);
            Lanes {
                first,
                channels,
                vectors,
                count: vectors * lanes,
            }
        })
        .collect()
}

/// The number of lanes of all groups together.
pub(super) fn padded_channels(groups: &[Lanes]) -> usize {
    groups.last().map_or(0, |last| last.first + last.count)
}

/// Packed weights: the panel of a group starts at `steps * lanes.first`.
pub(super) struct Panels {
    memory: Scratch,
}

impl Panels {
    /// Packs the part of an OIHW `weight` that `of` uses; `keep` for panels that outlive the call.
    pub(super) fn new(
        family: Family,
        of: &Correlation,
        layout: &Layout,
        groups: &[Lanes],
        weight: &[f32],
        keep: bool,
    ) -> Self {
        let steps = layout.steps();
        let length = steps * padded_channels(groups);
        let mut memory = if keep {
            Scratch::own(length)
        } else {
            Scratch::new(length)
        };
        let panels = Shared::new(memory.values());
        let target = of.weight.target;
        let pack = |lanes: &Lanes| {
            // SAFETY: groups have panels of their own, and the memory was made for all of them.
            let panel = unsafe { panels.part(steps * lanes.first, steps * lanes.count) };
            let weight = &weight[of.weight.first + lanes.first * target..];
            match family {
                Family::Single(_) => {
                    pack_panel(
                        |lane, step| weight[lane + step],
                        target,
                        layout,
                        lanes,
                        panel,
                    );
                }
                Family::Brain => {
                    let (pair, end) = (of.weight.pair, of.source.existing * of.weight.pair);
                    let value = |lane, step| {
                        let second = if step + pair < end {
                            weight[lane + step + pair]
                        } else {
                            0.0
                        };
                        bf16::pair(weight[lane + step], second)
                    };
                    pack_panel(value, target, layout, lanes, panel);
                }
            }
        };
        if length < 1 << 14 {
            groups.iter().for_each(pack);
        } else {
            groups.par_iter().with_max_len(1).for_each(pack);
        }
        Self { memory }
    }

    /// The first panel.
    pub(super) fn as_ptr(&self) -> *const f32 {
        self.memory.as_ptr()
    }
}

/// Packs one panel of the weights `value(lane * target, step)`. A kernel's taps lie side by side in
/// the tensor: either a target channel's for many source channels, or many target channels' for
/// one source channel; the loops follow.
#[inline(always)]
fn pack_panel(
    value: impl Fn(usize, usize) -> f32,
    target: usize,
    layout: &Layout,
    lanes: &Lanes,
    panel: &mut [f32],
) {
    if lanes.channels < lanes.count {
        panel.fill(0.0);
    }
    let blocks = layout.weights.chunks(layout.block);
    for (steps, rows) in blocks.zip(panel.chunks_mut(layout.block * lanes.count)) {
        if target >= layout.block {
            for lane in 0..lanes.channels {
                for (step, row) in steps.iter().zip(rows.chunks_exact_mut(lanes.count)) {
                    row[lane] = value(lane * target, *step);
                }
            }
        } else {
            for (step, row) in steps.iter().zip(rows.chunks_exact_mut(lanes.count)) {
                for (lane, place) in row[..lanes.channels].iter_mut().enumerate() {
                    *place = value(lane * target, *step);
                }
            }
        }
    }
}

/// Writes sums of panels back to where [`Panels`] would have read them: the weights of `lanes` get
/// `panels[0] + panels[1] + ...`, in this order.
///
/// # Safety
///
/// `weight` is the whole OIHW tensor, every panel has `[step][lane]` elements, and no other thread
/// writes the same channels.
pub(super) unsafe fn scatter_panels(
    of: &Correlation,
    layout: &Layout,
    lanes: &Lanes,
    panels: &[*const f32],
    weight: *mut f32,
) {
    let first = of.weight.first + lanes.first * of.weight.target;
    let mut sums = vec![0.0_f32; layout.block * lanes.count];
    for (block, steps) in layout.weights.chunks(layout.block).enumerate() {
        let length = steps.len() * lanes.count;
        let sums = &mut sums[..length];
        for (number, panel) in panels.iter().enumerate() {
            // SAFETY: the caller's promise.
            let panel = unsafe {
                let start = panel.add(block * layout.block * lanes.count);
                std::slice::from_raw_parts(start, length)
            };
            if number == 0 {
                sums.copy_from_slice(panel);
            } else {
                sums.iter_mut()
                    .zip(panel)
                    .for_each(|(sum, value)| *sum += value);
            }
        }
        for lane in 0..lanes.channels {
            // SAFETY: the caller's promise.
            unsafe {
                let weight = weight.add(first + lane * of.weight.target);
                for (step, row) in steps.iter().zip(sums.chunks_exact(lanes.count)) {
                    *weight.add(*step) = row[lane];
                }
            }
        }
    }
}
