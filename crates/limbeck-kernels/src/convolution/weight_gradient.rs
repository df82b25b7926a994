//! The gradient of the weight: for each step (a source channel and a tap) and target channel a sum
//! of products over all pixels.
//!
//! The pixels are cut into a few fixed shares and the target channels into parts; each pair has
//! sums of its own, laid out like the panels of the forward pass. Shares are added in their order,
//! so that the result doesn't depend on the threads.

use std::ops::Range;

use rayon::prelude::*;

use super::correlation::Correlation;
use super::family::Single;
use super::layout::{Layout, PLANE};
use super::panels::{Lanes, lane_groups, padded_channels, scatter_panels};
use super::rows::{Rows, taps_of_row};
use super::window::{Band, Offsets, Window, bands, equal_parts};
use crate::Processor;
use crate::prefetch::Ahead;
use crate::scratch::Scratch;
use crate::sharing::Shared;
use crate::vector::Vector;

/// Pairs of a share of the pixels and a part of the target channels, if there is enough of both.
const UNITS: usize = 8;
/// Lanes of a part: enough to pay for gathering the source once per part.
const PART: usize = 64;
/// Fewest pixels of a share.
const FEWEST: usize = 128;
/// Most pixels of a band, over which the gradient of one group's output is packed.
const PIXELS: usize = 1024;
/// Floats of the scratch that holds a chunk's source.
const SCRATCH: usize = 48 * 1024;
/// Pixels that are summed over in one go: their gradients for two vectors of channels take half
/// of the first-level cache.
const BLOCK: usize = 128;

/// What all units read.
struct Job<'a> {
    of: &'a Correlation,
    layout: &'a Layout,
    groups: &'a [Lanes],
    bands: &'a [Band],
    offsets: &'a [Offsets],
    input: &'a [f32],
    grad_output: &'a [f32],
    with_bias: bool,
}

/// Computes the gradient of the weights that `of` uses and of the bias of its target channels.
pub(super) fn run(
    processor: Processor,
    of: &Correlation,
    input: &[f32],
    grad_output: &[f32],
    grad_weight: &mut [f32],
    grad_bias: Option<&mut [f32]>,
) {
    assert!(
        processor.is_available(),
        "this machine can't run {processor:?} kernels"
    );
    let direct = of.is_pointwise() && of.source.channels >= 16;
    let layout = Layout::new(of, direct);
    let groups = lane_groups(processor, of.target.channels);
    let lanes = padded_channels(&groups);
    let pixels = of.batch * of.target.rows * of.target.columns;
    let parts = (lanes / PART).clamp(1, groups.len().max(1));
    let wanted = UNITS.div_ceil(parts).min(pixels.div_ceil(FEWEST)).max(1);
    let limit = (SCRATCH / layout.widest_chunk().max(1)).clamp(2 * BLOCK, PIXELS);
    let bands = bands(of, limit.min(pixels.div_ceil(wanted)).max(1));
    let shares = wanted.min(bands.len()).max(1);
    let share_length = layout.steps() * lanes;
    let mut memory = Scratch::new(shares * share_length);
    let sums = Shared::new(memory.values());
    let mut bias_sums = vec![
        0.0_f32;
        if grad_bias.is_some() {
            bands.len() * lanes
        } else {
            0
        }
    ];
    let bias_target = Shared::new(&mut bias_sums);
    let job = Job {
        of,
        layout: &layout,
        groups: &groups,
        bands: &bands,
        offsets: &Offsets::of_bands(of, &bands, layout.plane),
        input,
        grad_output,
        with_bias: grad_bias.is_some(),
    };
    (0..shares * parts)
        .into_par_iter()
        .with_max_len(1)
        .for_each(|unit| {
            let (share, part) = (unit / parts, unit % parts);
            let groups = equal_parts(job.groups.len(), parts)
                .nth(part)
                .unwrap_or_default();
            let bands = equal_parts(job.bands.len(), shares)
                .nth(share)
                .unwrap_or_default();
            // SAFETY: units have sums of their own; the family is available.
            unsafe {
                let sums = sums.at(share * share_length);
                let bias = bias_target.at(0);
                match processor {
                    Processor::Portable => run_portable(&job, bands, groups, sums, bias),
                    #[cfg(target_arch = "x86_64")]
                    Processor::Avx2 => run_avx2(&job, bands, groups, sums, bias),
                    #[cfg(target_arch = "x86_64")]
                    Processor::Avx512 => run_avx512(&job, bands, groups, sums, bias),
                    #[cfg(not(target_arch = "x86_64"))]
                    _ => run_portable(&job, bands, groups, sums, bias),
                }
            }
        });
    let target = Shared::new(grad_weight);
    groups.par_iter().with_max_len(1).for_each(|group| {
        // SAFETY: groups write channels of their own, and every share has all panels.
        unsafe {
            let mut panels = Vec::with_capacity(shares);
            for share in 0..shares {
                let offset = share * share_length + layout.steps() * group.first;
                panels.push(sums.at(offset).cast_const());
            }
            scatter_panels(of, &layout, group, &panels, target.at(0));
        }
    });
    if let Some(grad_bias) = grad_bias {
        for channel in 0..of.target.channels {
            let sum: f64 = bias_sums
                .chunks_exact(lanes)
                .map(|band| f64::from(band[channel]))
                .sum();
            grad_bias[of.target.first_channel + channel] = sum as f32;
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn run_avx512(
    job: &Job<'_>,
    bands: Range<usize>,
    groups: Range<usize>,
    sums: *mut f32,
    bias: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe { accumulate::<std::arch::x86_64::__m512, 8, 16>(job, bands, groups, sums, bias) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2(
    job: &Job<'_>,
    bands: Range<usize>,
    groups: Range<usize>,
    sums: *mut f32,
    bias: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe { accumulate::<std::arch::x86_64::__m256, 4, 8>(job, bands, groups, sums, bias) }
}

unsafe fn run_portable(
    job: &Job<'_>,
    bands: Range<usize>,
    groups: Range<usize>,
    sums: *mut f32,
    bias: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe { accumulate::<[f32; 8], 4, 4>(job, bands, groups, sums, bias) }
}

/// Sums over the pixels of `bands` for the target channels of `groups`, with tiles of `M` steps by
/// two vectors or `WIDE` steps by one.
#[inline(always)]
unsafe fn accumulate<V: Vector, const M: usize, const WIDE: usize>(
    job: &Job<'_>,
    bands: Range<usize>,
    groups: Range<usize>,
    sums: *mut f32,
    bias: *mut f32,
) {
    let Job { of, layout, .. } = job;
    let groups = &job.groups[groups];
    for lanes in groups {
        // SAFETY: the group's sums.
        unsafe {
            sums.add(layout.steps() * lanes.first)
                .write_bytes(0, layout.steps() * lanes.count);
        }
    }
    for number in bands {
        let band = &job.bands[number];
        let window = Window::new(of, band, layout.plane);
        let Some(Offsets {
            sources, targets, ..
        }) = job.offsets.iter().find(|offsets| offsets.fit(band))
        else {
            unreachable!("there are offsets for every band")
        };
        let (first_source, first_target) = window.first_pixel();
        let output = job.grad_output.as_ptr().wrapping_add(first_target);
        // Whether neighbours in a row lie side by side.
        let in_rows = layout.plane == Some(PLANE) && of.stride[1] == 1;
        let mut scratch = Scratch::new(window.scratch_length(layout.widest_chunk()));
        let mut gradients = Scratch::new(targets.len() * 2 * V::LANES);
        let runs: usize = layout.chunks.iter().map(|chunk| chunk.runs.len()).sum();
        let tiles = groups.len() * runs * sources.len().div_ceil(BLOCK);
        let following = window.following();
        let next = job.input.as_ptr().wrapping_add(following.start);
        let mut next_input = Ahead::new(next, following.len(), tiles);
        let from = first_target;
        let to = from + targets[targets.len() - 1] + of.target.column;
        let next = job.grad_output.as_ptr().wrapping_add(to);
        let length = (to - from).min(job.grad_output.len().saturating_sub(to));
        let mut next_gradients = Ahead::new(next, length, tiles);
        for (index, chunk) in layout.chunks.iter().enumerate() {
            // SAFETY: the scratch was made for the widest chunk, the panel for the widest group;
            // offsets come from the window that the scratch was gathered for.
            unsafe {
                window.gather::<V, Single>(chunk, job.input.as_ptr(), scratch.as_mut_ptr());
                let base = match layout.plane {
                    Some(_) => scratch.as_ptr(),
                    None => job.input.as_ptr().add(first_source + chunk.channels.start),
                };
                for lanes in groups {
                    let panel = panel::<V>(of, output, lanes, targets, &mut gradients);
                    if index == 0 && job.with_bias {
                        let row = number * padded_channels(job.groups) + lanes.first;
                        sum_rows::<V>(panel, targets.len(), lanes, bias.add(row));
                    }
                    let group_sums = sums.add(layout.steps() * lanes.first);
                    for (block, offsets) in sources.chunks(BLOCK).enumerate() {
                        let panel = panel.add(block * BLOCK * lanes.count);
                        let mut runs = &chunk.runs[..];
                        while let Some((run, rest)) = runs.split_first() {
                            next_input.fetch();
                            next_gradients.fetch();
                            let offset = window.run_offset(run.plane, run.row, run.column);
                            let source = base.add(offset);
                            let sums = group_sums.add(run.step * lanes.count);
                            runs = rest;
                            if lanes.vectors == 1
                                && V::LANES == 16
                                && in_rows
                                && taps_of_row(run, rest)
                            {
                                let rows = Rows {
                                    source,
                                    offsets,
                                    panel,
                                    column: block * BLOCK % of.target.columns,
                                    columns: of.target.columns,
                                };
                                rows.add::<V>(sums, run.length);
                                runs = &rest[2..];
                            } else if lanes.vectors == 1 {
                                steps::<V, WIDE, 1>(source, offsets, panel, sums, run.length);
                            } else {
                                steps::<V, M, 2>(source, offsets, panel, sums, run.length);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The gradients of a group's channels as `[pixel][lane]`: where they lie if that is already their
/// order, otherwise copied to `memory`.
#[inline(always)]
unsafe fn panel<V: Vector>(
    of: &Correlation,
    output: *const f32,
    lanes: &Lanes,
    targets: &[usize],
    memory: &mut Scratch,
) -> *const f32 {
    let source = output.wrapping_add(lanes.first);
    if of.target.column == lanes.count && source.addr().is_multiple_of(V::LANES * 4) {
        return source;
    }
    let panel = memory.as_mut_ptr();
    // SAFETY: the caller's promise; partial loads read channels that exist only.
    unsafe {
        for (pixel, offset) in targets.iter().enumerate() {
            for n in 0..lanes.vectors {
                let lane = n * V::LANES;
                let from = source.add(offset + lane);
                let count = (lanes.channels - lane).min(V::LANES);
                let to = panel.add(pixel * lanes.count + lane);
                let value = if count == V::LANES {
                    V::load(from)
                } else {
                    V::load_partial(from, count)
                };
                value.store(to);
            }
        }
    }
    panel
}

#[inline(always)]
unsafe fn sum_rows<V: Vector>(panel: *const f32, pixels: usize, lanes: &Lanes, to: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        for n in 0..lanes.vectors {
            let mut sum = V::zero();
            for pixel in 0..pixels {
                sum = sum.add(V::load(panel.add(pixel * lanes.count + n * V::LANES)));
            }
            sum.store(to.add(n * V::LANES));
        }
    }
}

/// Adds to the sums of the `length` steps of a run, with the largest tiles that fit.
#[inline(always)]
unsafe fn steps<V: Vector, const M: usize, const N: usize>(
    source: *const f32,
    offsets: &[usize],
    panel: *const f32,
    sums: *mut f32,
    length: usize,
) {
    let mut done = 0;
    while done < length {
        // SAFETY: the run has `length` steps and as many rows of sums.
        unsafe {
            let source = source.add(done);
            let sums = sums.add(done * N * V::LANES);
            let left = length - done;
            done += if left >= M && left != 9 {
                tile::<V, M, N>(source, offsets, panel, sums)
            } else if left == 9 && M >= 8 {
                tile::<V, 9, N>(source, offsets, panel, sums)
            } else if left >= 8 && M > 8 {
                tile::<V, 8, N>(source, offsets, panel, sums)
            } else if left >= 4 && M > 4 {
                tile::<V, 4, N>(source, offsets, panel, sums)
            } else if left >= 3 {
                tile::<V, 3, N>(source, offsets, panel, sums)
            } else if left >= 2 {
                tile::<V, 2, N>(source, offsets, panel, sums)
            } else {
                tile::<V, 1, N>(source, offsets, panel, sums)
            };
        }
    }
}

/// `sums[m][lane] += source[pixel][m] * panel[pixel][lane]` over all pixels; returns `M`.
#[inline(always)]
unsafe fn tile<V: Vector, const M: usize, const N: usize>(
    source: *const f32,
    offsets: &[usize],
    panel: *const f32,
    sums: *mut f32,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        let mut tile = [[V::zero(); N]; M];
        for m in 0..M {
            for n in 0..N {
                tile[m][n] = V::load(sums.add((m * N + n) * V::LANES));
            }
        }
        let mut panel = panel;
        for offset in offsets {
            let pixel = source.add(*offset);
            let mut gradient = [V::zero(); N];
            for n in 0..N {
                gradient[n] = V::load(panel.add(n * V::LANES));
            }
            for m in 0..M {
                let value = V::splat(*pixel.add(m));
                for n in 0..N {
                    tile[m][n] = value.mul_add(gradient[n], tile[m][n]);
                }
            }
            panel = panel.add(N * V::LANES);
        }
        for m in 0..M {
            for n in 0..N {
                tile[m][n].store(sums.add((m * N + n) * V::LANES));
            }
        }
    }
    M
}
