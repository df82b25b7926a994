//! What one thread computes in one go: a band of target pixels for some of the target channels.

use super::correlate::Plan;
use super::family::{Arithmetic, Tile};
use super::layout::{HALF_PLANE, PLANE};
use super::panels::Lanes;
use super::tile::{Consecutive, Finish, Scattered, Work, tile};
use super::window::{Band, Offsets, Window};
use crate::prefetch::Ahead;
use crate::scratch::Scratch;
use crate::vector::Vector;

/// What all units of a call read.
pub(super) struct Inputs<'a> {
    pub(super) source: &'a [f32],
    pub(super) panels: *const f32,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) shift: Option<&'a [f32]>,
    pub(super) residual: Option<&'a [f32]>,
    pub(super) bounds: (f32, f32),
    pub(super) accumulates: bool,
}

// SAFETY: the panels are only read.
unsafe impl Sync for Inputs<'_> {}

/// What one thread computes in one go.
pub(super) struct Unit<'a> {
    pub(super) band: &'a Band,
    pub(super) tiling: &'a Tiling,
    pub(super) groups: &'a [Lanes],
}

/// How the pixels of bands of one size are cut into tiles.
pub(super) struct Tiling {
    pub(super) offsets: Offsets,
    /// For tiles of two vectors.
    narrow: Vec<Cut>,
    /// For tiles of one.
    wide: Vec<Cut>,
}

impl Tiling {
    pub(super) fn new(offsets: Offsets, tile: Tile) -> Self {
        Self {
            narrow: cut(&offsets.sources, tile.narrow, tile.narrow),
            wide: cut(&offsets.sources, tile.wide, tile.narrow),
            offsets,
        }
    }
}

/// A tile's first pixel and its number of pixels.
struct Cut {
    first: usize,
    count: usize,
    /// The floats from each pixel to the next, where they are a plane's.
    step: Option<usize>,
}

/// Computes a unit with tiles of `P` pixels, or of `WIDE` for groups of a single vector.
#[inline(always)]
pub(super) unsafe fn run<V: Vector, M: Arithmetic<V>, const P: usize, const WIDE: usize>(
    plan: &Plan,
    inputs: &Inputs<'_>,
    unit: &Unit<'_>,
    sums: *mut f32,
    target: *mut f32,
) {
    let Plan { of, layout, .. } = plan;
    let window = Window::new(of, unit.band, layout.plane);
    let Tiling {
        offsets: Offsets {
            sources, targets, ..
        },
        narrow,
        wide,
    } = unit.tiling;
    let (first_source, first_target) = window.first_pixel();
    let mut scratch = Scratch::new(window.scratch_length(layout.widest_chunk()));
    let mut runs = Vec::new();
    let single = unit
        .groups
        .iter()
        .filter(|lanes| lanes.vectors == 1)
        .count();
    let tile_count = single * wide.len() + (unit.groups.len() - single) * narrow.len();
    let following = window.following();
    let mut ahead = Ahead::new(
        inputs.source.as_ptr().wrapping_add(following.start),
        following.len(),
        tile_count * layout.chunks.len(),
    );
    for (number, chunk) in layout.chunks.iter().enumerate() {
        // SAFETY: the scratch was made for the widest chunk; the caller vouches for the maps.
        let base = unsafe {
            window.gather::<V, M>(chunk, inputs.source.as_ptr(), scratch.as_mut_ptr());
            match layout.plane {
                Some(_) => scratch.as_ptr(),
                None => inputs
                    .source
                    .as_ptr()
                    .add(first_source + chunk.channels.start),
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
                target: target.wrapping_add(first_target + lanes.first),
                finish: Finish {
                    continues: number > 0 || inputs.accumulates,
                    last: number + 1 == layout.chunks.len(),
                    bias: channel(inputs.bias),
                    residual: inputs.residual.map_or(std::ptr::null(), |residual| {
                        residual.as_ptr().wrapping_add(first_target + lanes.first)
                    }),
                    bounds: inputs.bounds,
                    shift: channel(inputs.shift),
                    sum: sums.wrapping_add(lanes.first),
                    sum_of_squares: sums.wrapping_add(all + lanes.first),
                },
            };
            // SAFETY: offsets come from the window that the scratch was gathered for.
            unsafe {
                if lanes.vectors == 1 {
                    tiles::<V, M, P, WIDE, 1>(&work, base, sources, targets, wide, &mut ahead);
                } else {
                    tiles::<V, M, P, P, 2>(&work, base, sources, targets, narrow, &mut ahead);
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
        let step = [PLANE, HALF_PLANE].into_iter().find(|step| {
            rest.len() >= wide
                && rest[..wide]
                    .windows(2)
                    .all(|pair| pair[1] == pair[0] + step)
        });
        let count = match step {
            Some(_) => wide,
            None => narrow.min(rest.len()),
        };
        cuts.push(Cut { first, count, step });
        first += count;
    }
    cuts
}

#[inline(always)]
unsafe fn tiles<V: Vector, M: Arithmetic<V>, const P: usize, const WIDE: usize, const N: usize>(
    work: &Work<'_>,
    base: *const f32,
    sources: &[usize],
    targets: &[usize],
    cuts: &[Cut],
    ahead: &mut Ahead,
) {
    for cut in cuts {
        ahead.fetch();
        let range = cut.first..cut.first + cut.count;
        // SAFETY: the caller's promise.
        unsafe {
            match cut.step {
                Some(PLANE) => {
                    let pixels = Consecutive::<PLANE>(base.add(sources[cut.first]));
                    tile::<V, M, _, WIDE, N>(work, pixels, &targets[range]);
                }
                Some(_) => {
                    let pixels = Consecutive::<HALF_PLANE>(base.add(sources[cut.first]));
                    tile::<V, M, _, WIDE, N>(work, pixels, &targets[range]);
                }
                None => {
                    // Pixels beyond the last repeat it; they are computed and not written.
                    let mut pixels = [std::ptr::null(); P];
                    for (index, pixel) in pixels.iter_mut().enumerate() {
                        *pixel = base.add(sources[cut.first + index.min(cut.count - 1)]);
                    }
                    tile::<V, M, _, P, N>(work, Scattered(pixels), &targets[range]);
                }
            }
        }
    }
}
