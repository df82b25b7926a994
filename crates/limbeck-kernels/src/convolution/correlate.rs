//! Running a correlation over all bands and target channels, on all threads.

use rayon::prelude::*;

use super::correlation::Correlation;
use super::epilogue::ChannelSums;
use super::layout::Layout;
use super::panels::{Lanes, Panels, lane_groups, padded_channels};
use super::scratch::{Scratch, Shared};
use super::tile::{Consecutive, Finish, Scattered, Work, tile};
use super::window::{Band, Window, bands, equal_parts};
use crate::Activation;
use crate::Processor;
use crate::vector::Vector;

/// Floats of the scratch that holds a chunk's source: 192 KiB of the second-level cache.
const SCRATCH: usize = 48 * 1024;
/// Fewest and most target pixels of a band: enough to pay for fetching the weights, and not more
/// than shares of the threads' work can bear.
const PIXELS: (usize, usize) = (256, 1024);
/// Units of work that a call is cut into at least, if it is not tiny.
const UNITS: usize = 8;
/// Fewest pixels of a band that is made small for the sake of [`UNITS`].
const FEWEST: usize = 64;

/// The epilogue of a correlation, for the whole target map.
#[derive(Default)]
pub(super) struct Ending<'a> {
    pub(super) bias: Option<&'a [f32]>,
    pub(super) residual: Option<&'a [f32]>,
    pub(super) activation: Activation,
    pub(super) statistics: Option<&'a mut ChannelSums>,
}

/// A correlation with its order of summation, independent of the values.
pub(super) struct Plan {
    of: Correlation,
    layout: Layout,
    groups: Vec<Lanes>,
    bands: Vec<Band>,
    /// Parts that the groups are cut into.
    parts: usize,
    processor: Processor,
}

impl Plan {
    pub(super) fn new(processor: Processor, of: Correlation) -> Self {
        let direct = of.is_pointwise() && of.source.channels >= 16;
        let layout = Layout::new(&of, direct);
        let groups = lane_groups(processor, of.target.channels);
        let fits = SCRATCH / layout.widest_chunk().max(1);
        let most = if direct {
            PIXELS.0
        } else {
            fits.clamp(PIXELS.0, PIXELS.1)
        };
        let total = of.batch * of.target.rows * of.target.columns;
        let bands = bands(&of, most.min((total / UNITS).max(FEWEST)));
        let lanes = padded_channels(&groups);
        let parts = UNITS
            .div_ceil(bands.len().max(1))
            .min(lanes.div_ceil(64))
            .min(groups.len());
        Self {
            of,
            layout,
            groups,
            bands,
            parts: parts.max(1),
            processor,
        }
    }

    /// The panels of an OIHW weight for this plan.
    pub(super) fn pack(&self, weight: &[f32]) -> Panels {
        Panels::new(&self.of, &self.layout, &self.groups, weight)
    }

    /// Runs the correlation.
    ///
    /// # Safety
    ///
    /// `source` and `target` (and the residual) are the whole maps that the correlation names, and
    /// the panels were packed for this plan.
    pub(super) unsafe fn run(
        &self,
        source: &[f32],
        panels: &Panels,
        ending: Ending<'_>,
        target: Shared,
    ) {
        let lanes = padded_channels(&self.groups);
        let bias = ending.bias.map(|bias| self.padded(bias, lanes));
        let shift = ending
            .statistics
            .as_ref()
            .map(|sums| self.padded(&sums.shift, lanes));
        let counted = if shift.is_some() {
            self.bands.len() * 2 * lanes
        } else {
            0
        };
        let mut partial = vec![0.0_f32; counted];
        let sums = Shared::new(partial.as_mut_ptr());
        let inputs = Inputs {
            source,
            panels: panels.as_ptr(),
            bias: bias.as_deref(),
            shift: shift.as_deref(),
            residual: ending.residual,
            bounds: ending.activation.bounds(),
        };
        let run = |unit: usize| {
            let (band, part) = (unit / self.parts, unit % self.parts);
            let range = equal_parts(self.groups.len(), self.parts)
                .nth(part)
                .unwrap_or_default();
            let unit = Unit {
                band: &self.bands[band],
                groups: &self.groups[range],
            };
            // SAFETY: units write target pixels and channels, and sums, of their own; the family
            // is available.
            unsafe {
                let sums = sums
                    .get()
                    .wrapping_add(if counted > 0 { band * 2 * lanes } else { 0 });
                match self.processor {
                    Processor::Portable => run_portable(self, &inputs, &unit, sums, target.get()),
                    #[cfg(target_arch = "x86_64")]
                    Processor::Avx2 => run_avx2(self, &inputs, &unit, sums, target.get()),
                    #[cfg(target_arch = "x86_64")]
                    Processor::Avx512 => run_avx512(self, &inputs, &unit, sums, target.get()),
                    #[cfg(not(target_arch = "x86_64"))]
                    _ => run_portable(self, &inputs, &unit, sums, target.get()),
                }
            }
        };
        let units = self.bands.len() * self.parts;
        (0..units).into_par_iter().with_max_len(1).for_each(run);
        if let Some(statistics) = ending.statistics {
            self.combine(&partial, lanes, statistics);
        }
    }

    /// This correlation's part of a per-channel array, with zeros up to `lanes`.
    fn padded(&self, values: &[f32], lanes: usize) -> Vec<f32> {
        let first = self.of.target.first_channel;
        let mut padded = values[first..first + self.of.target.channels].to_vec();
        padded.resize(lanes, 0.0);
        padded
    }

    fn combine(&self, partial: &[f32], lanes: usize, statistics: &mut ChannelSums) {
        for channel in 0..self.of.target.channels {
            let (mut sum, mut squares) = (0.0_f64, 0.0_f64);
            for band in partial.chunks_exact(2 * lanes) {
                sum += f64::from(band[channel]);
                squares += f64::from(band[lanes + channel]);
            }
            statistics.sum[self.of.target.first_channel + channel] = sum;
            statistics.sum_of_squares[self.of.target.first_channel + channel] = squares;
        }
        statistics.count = self.of.batch * self.of.target.rows * self.of.target.columns;
    }
}

/// What all units of a call read.
struct Inputs<'a> {
    source: &'a [f32],
    panels: *const f32,
    bias: Option<&'a [f32]>,
    shift: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    bounds: (f32, f32),
}

// SAFETY: the panels are only read.
unsafe impl Sync for Inputs<'_> {}

/// What one thread computes in one go.
struct Unit<'a> {
    band: &'a Band,
    groups: &'a [Lanes],
}

/// A tile's first pixel, its number of pixels, and whether they are consecutive.
struct Cut {
    first: usize,
    count: usize,
    consecutive: bool,
}

/// The family with 512-bit vectors: tiles of 16 pixels x 1 vector, or 8 x 2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn run_avx512(
    plan: &Plan,
    inputs: &Inputs<'_>,
    unit: &Unit<'_>,
    sums: *mut f32,
    target: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe { run::<std::arch::x86_64::__m512, 8, 16>(plan, inputs, unit, sums, target) }
}

/// The family with 256-bit vectors: tiles of 4 pixels.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2(
    plan: &Plan,
    inputs: &Inputs<'_>,
    unit: &Unit<'_>,
    sums: *mut f32,
    target: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe { run::<std::arch::x86_64::__m256, 4, 8>(plan, inputs, unit, sums, target) }
}

unsafe fn run_portable(
    plan: &Plan,
    inputs: &Inputs<'_>,
    unit: &Unit<'_>,
    sums: *mut f32,
    target: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe { run::<[f32; 8], 4, 4>(plan, inputs, unit, sums, target) }
}

/// Computes a unit with tiles of `P` pixels, or of `WIDE` for groups of a single vector.
#[inline(always)]
unsafe fn run<V: Vector, const P: usize, const WIDE: usize>(
    plan: &Plan,
    inputs: &Inputs<'_>,
    unit: &Unit<'_>,
    sums: *mut f32,
    target: *mut f32,
) {
    let Plan { of, layout, .. } = plan;
    let window = Window::new(of, unit.band, layout.plane);
    let (sources, targets) = window.pixel_offsets();
    let mut scratch = Scratch::new(window.scratch_length(layout.widest_chunk()));
    let narrow = cut(&sources, P, P);
    let wide = cut(&sources, WIDE, P);
    let mut runs = Vec::new();
    for (number, chunk) in layout.chunks.iter().enumerate() {
        // SAFETY: the scratch was made for the widest chunk; the caller vouches for the maps.
        let base = unsafe {
            window.gather(chunk, inputs.source.as_ptr(), scratch.as_mut_ptr());
            match layout.plane {
                Some(_) => scratch.as_ptr(),
                None => inputs.source.as_ptr().add(chunk.channels.start),
            }
        };
        runs.clear();
        runs.extend(chunk.runs.iter().map(|run| {
            (
                window.run_offset(run.plane, run.row, run.column),
                run.length,
            )
        }));
        for lanes in unit.groups {
            let steps = layout.steps() * lanes.first + chunk.first_step * lanes.count;
            let channel = |array: Option<&[f32]>| {
                array.map_or(std::ptr::null(), |array| {
                    array.as_ptr().wrapping_add(lanes.first)
                })
            };
            let all = plan.groups.last().map_or(0, |last| last.first + last.count);
            let work = Work {
                runs: &runs,
                panel: inputs.panels.wrapping_add(steps),
                channels: lanes.channels,
                target: target.wrapping_add(lanes.first),
                finish: Finish {
                    continues: number > 0,
                    last: number + 1 == layout.chunks.len(),
                    bias: channel(inputs.bias),
                    residual: channel(inputs.residual),
                    bounds: inputs.bounds,
                    shift: channel(inputs.shift),
                    sum: sums.wrapping_add(lanes.first),
                    sum_of_squares: sums.wrapping_add(all + lanes.first),
                },
            };
            // SAFETY: offsets come from the window that the scratch was gathered for.
            unsafe {
                if lanes.vectors == 1 {
                    tiles::<V, P, WIDE, 1>(&work, base, &sources, &targets, &wide);
                } else {
                    tiles::<V, P, P, 2>(&work, base, &sources, &targets, &narrow);
                }
            }
        }
    }
}

/// Cuts pixels into tiles of `wide` consecutive ones and otherwise of at most `narrow`.
fn cut(offsets: &[usize], wide: usize, narrow: usize) -> Vec<Cut> {
    let mut cuts = Vec::with_capacity(offsets.len() / narrow + 1);
    let mut first = 0;
    while first < offsets.len() {
        let rest = &offsets[first..];
        let consecutive = rest.len() >= wide
            && rest[..wide]
                .windows(2)
                .all(|pair| pair[1] == pair[0] + STEP);
        let count = if consecutive {
            wide
        } else {
            narrow.min(rest.len())
        };
        cuts.push(Cut {
            first,
            count,
            consecutive,
        });
        first += count;
    }
    cuts
}

/// The distance of consecutive pixels that tiles are specialised for.
const STEP: usize = 16;

#[inline(always)]
unsafe fn tiles<V: Vector, const P: usize, const WIDE: usize, const N: usize>(
    work: &Work<'_>,
    base: *const f32,
    sources: &[usize],
    targets: &[usize],
    cuts: &[Cut],
) {
    for cut in cuts {
        let range = cut.first..cut.first + cut.count;
        // SAFETY: the caller's promise.
        unsafe {
            if cut.consecutive {
                let pixels = Consecutive::<STEP>(base.add(sources[cut.first]));
                tile::<V, _, WIDE, N>(work, pixels, &targets[range]);
            } else {
                // Pixels beyond the last repeat it; they are computed and not written.
                let mut pixels = [std::ptr::null(); P];
                for (index, pixel) in pixels.iter_mut().enumerate() {
                    *pixel = base.add(sources[cut.first + index.min(cut.count - 1)]);
                }
                tile::<V, _, P, N>(work, Scattered(pixels), &targets[range]);
            }
        }
    }
}
