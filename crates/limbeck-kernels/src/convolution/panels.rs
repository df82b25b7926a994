//! Weights in the order in which the kernels read them.
//!
//! Target channels are cut into groups of one or two vectors; the panel of a group is
//! `[step][lane]`, lanes beyond the last channel zero.

use rayon::prelude::*;

use super::correlation::Correlation;
use super::layout::Layout;
use super::scratch::{Scratch, Shared};
use crate::Processor;

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
    /// Packs the part of an OIHW `weight` that `of` uses.
    pub(super) fn new(of: &Correlation, layout: &Layout, groups: &[Lanes], weight: &[f32]) -> Self {
        let steps = layout.steps();
        let mut memory = Scratch::new(steps * padded_channels(groups));
        let panels = Shared::new(memory.as_mut_ptr());
        let pack = |lanes: &Lanes| {
            // SAFETY: groups have panels of their own, and the memory was made for all of them.
            let panel = unsafe {
                std::slice::from_raw_parts_mut(
                    panels.get().add(steps * lanes.first),
                    steps * lanes.count,
                )
            };
            let first = of.weight.first + lanes.first * of.weight.target;
            pack_panel(
                &weight[first..],
                of.weight.target,
                &layout.weights,
                lanes,
                panel,
            );
        };
        if steps * padded_channels(groups) < 1 << 14 {
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

fn pack_panel(weight: &[f32], target: usize, steps: &[usize], lanes: &Lanes, panel: &mut [f32]) {
    for (step, row) in steps.iter().zip(panel.chunks_exact_mut(lanes.count)) {
        let (used, unused) = row.split_at_mut(lanes.channels);
        for (lane, value) in used.iter_mut().enumerate() {
            *value = weight[step + lane * target];
        }
        unused.fill(0.0);
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
    steps: &[usize],
    lanes: &Lanes,
    panels: &[*const f32],
    weight: *mut f32,
) {
    let first = of.weight.first + lanes.first * of.weight.target;
    for (number, step) in steps.iter().enumerate() {
        for lane in 0..lanes.channels {
            let mut sum = 0.0;
            // SAFETY: the caller's promise.
            unsafe {
                for panel in panels {
                    sum += *panel.add(number * lanes.count + lane);
                }
                *weight.add(first + step + lane * of.weight.target) = sum;
            }
        }
    }
}
