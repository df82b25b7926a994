//! The micro-kernel of forward passes and input gradients: some pixels times one or two vectors
//! of target channels, held in registers over all steps of a chunk.

use std::mem::MaybeUninit;

use super::family::Arithmetic;
use crate::prefetch::prefetch;
use crate::vector::Vector;

/// The source pixels of a tile.
pub(super) trait Pixels<const P: usize>: Copy {
    /// Floats from each pixel to the next, where that is known.
    const STEP: Option<usize>;
    /// The same pixels, `offset` floats on.
    unsafe fn shifted(self, offset: usize) -> Self;
    /// The first float of pixel `index`.
    unsafe fn at(&self, index: usize) -> *const f32;
}

/// Pixels a constant number of floats apart: one pointer serves all.
#[derive(Clone, Copy)]
pub(super) struct Consecutive<const STEP: usize>(pub(super) *const f32);

impl<const P: usize, const STEP: usize> Pixels<P> for Consecutive<STEP> {
    const STEP: Option<usize> = Some(STEP);

    #[inline(always)]
    unsafe fn shifted(self, offset: usize) -> Self {
        // SAFETY: the caller stays inside the source.
        Self(unsafe { self.0.add(offset) })
    }
    #[inline(always)]
    unsafe fn at(&self, index: usize) -> *const f32 {
        // SAFETY: as above.
        unsafe { self.0.add(index * STEP) }
    }
}

/// Pixels anywhere: the end of a row and the start of the next, or of the next image.
#[derive(Clone, Copy)]
pub(super) struct Scattered<const P: usize>(pub(super) [*const f32; P]);

impl<const P: usize> Pixels<P> for Scattered<P> {
    const STEP: Option<usize> = None;

    #[inline(always)]
    unsafe fn shifted(self, offset: usize) -> Self {
        let mut pixels = self;
        for pixel in &mut pixels.0 {
            // SAFETY: the caller stays inside the source.
            *pixel = unsafe { pixel.add(offset) };
        }
        pixels
    }
    #[inline(always)]
    unsafe fn at(&self, index: usize) -> *const f32 {
        self.0[index]
    }
}

/// What every tile of one group of target channels and one chunk shares.
pub(super) struct Work<'a> {
    /// Offset and length of each run of the chunk.
    pub(super) runs: &'a [(usize, usize)],
    /// The chunk's part of the group's panel.
    pub(super) panel: *const f32,
    /// Target channels of the group that exist.
    pub(super) channels: usize,
    /// The group's first channel at target offset zero.
    pub(super) target: *mut f32,
    /// What to do with the sums.
    pub(super) finish: Finish,
}

/// The end of a tile. Pointers to per-channel arrays are those of the group's first channel and
/// padded to whole vectors; null where there is nothing to do.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    /// Whether earlier chunks left their sums in the target.
    pub(super) continues: bool,
    /// Whether this is the last chunk, so that the rest applies.
    pub(super) last: bool,
    pub(super) bias: *const f32,
    /// Laid out like the target.
    pub(super) residual: *const f32,
    pub(super) bounds: (f32, f32),
    pub(super) shift: *const f32,
    pub(super) sum: *mut f32,
    pub(super) sum_of_squares: *mut f32,
}

impl Finish {
    /// Whether all that is left is to add the bias and to clamp.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        !self.continues && self.last && self.residual.is_null() && self.shift.is_null()
    }
}

/// Computes one tile and writes its first `targets.len()` pixels.
///
/// # Safety
///
/// The processor has the vector's instructions, the pointers in `work` are valid for the runs and
/// the targets, and all `P` pixels may be read.
#[inline(always)]
pub(super) unsafe fn tile<
    V: Vector,
    M: Arithmetic<V>,
    A: Pixels<P>,
    const P: usize,
    const N: usize,
>(
    work: &Work<'_>,
    pixels: A,
    targets: &[usize],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let full = work.channels == N * V::LANES;
        if work.finish.last && !work.finish.residual.is_null() {
            for offset in targets {
                for n in 0..N {
                    prefetch(work.finish.residual.wrapping_add(offset + n * V::LANES));
                }
            }
        }
        let mut sums = MaybeUninit::<Sums<P, N>>::uninit();
        let sums = sums.as_mut_ptr();
        if work.finish.is_plain() && targets.len() == P {
            accumulate::<V, M, A, P, N>(work, pixels, Exit::Targets(targets));
            return;
        }
        accumulate::<V, M, A, P, N>(work, pixels, Exit::Sums(sums.cast()));
        if full {
            finish::<V, N, true>(work, sums.cast(), targets);
        } else {
            finish::<V, N, false>(work, sums.cast(), targets);
        }
    }
}

/// Room for a tile's sums between the two halves of [`tile`], as many lanes as any family has.
#[repr(C, align(64))]
struct Sums<const P: usize, const N: usize>([[[f32; 16]; N]; P]);

/// Where a tile's sums go.
#[derive(Clone, Copy)]
enum Exit<'a> {
    /// To memory as `[pixel][lane]`, for [`finish`].
    Sums(*mut f32),
    /// To the target, with nothing left to do than to add bias and clamp.
    Targets(&'a [usize]),
}

/// Stores the sums over all steps of the chunk. The accumulators are only ever indexed by
/// constants once the loops over `P` and `N` are unrolled, and leave through pointers: returned as
/// an array, the compiler would keep that up to date in memory at every step.
#[inline(always)]
unsafe fn accumulate<V: Vector, M: Arithmetic<V>, A: Pixels<P>, const P: usize, const N: usize>(
    work: &Work<'_>,
    pixels: A,
    exit: Exit<'_>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::zero(); N]; P];
        let mut panel = work.panel;
        let mut runs = work.runs;
        while let Some((&(offset, length), rest)) = runs.split_first() {
            let pixels = pixels.shifted(offset);
            if let (1, 16, Some(step)) = (N, V::LANES, A::STEP)
                && let [second, third, rest @ ..] = rest
                && *second == (offset + step, length)
                && *third == (offset + 2 * step, length)
            {
                accumulate_row::<V, M, A, P, N>(pixels, panel, length, &mut sums);
                panel = panel.add(3 * length * V::LANES);
                runs = rest;
                continue;
            }
            runs = rest;
            for step in 0..length {
                let mut weights = [V::zero(); N];
                for n in 0..N {
                    weights[n] = V::load(panel.add(n * V::LANES));
                }
                for p in 0..P {
                    let value = V::splat(*pixels.at(p).add(step));
                    for n in 0..N {
                        sums[p][n] = M::multiply_add(value, weights[n], sums[p][n]);
                    }
                }
                panel = panel.add(N * V::LANES);
            }
        }
        match exit {
            Exit::Sums(to) => {
                for p in 0..P {
                    for n in 0..N {
                        sums[p][n].store(to.add((p * N + n) * V::LANES));
                    }
                }
            }
            Exit::Targets(targets) => {
                let end = &work.finish;
                let (low, high) = (V::splat(end.bounds.0), V::splat(end.bounds.1));
                for n in 0..N {
                    let lane = n * V::LANES;
                    let count = work.channels - lane;
                    let bias = optional::<V>(end.bias, lane);
                    for p in 0..P {
                        let value = high.min(low.max(sums[p][n].add(bias)));
                        let to = work.target.add(*targets.get_unchecked(p) + lane);
                        if count >= V::LANES {
                            value.store(to);
                        } else {
                            value.store_partial(to, count);
                        }
                    }
                }
            }
        }
    }
}

/// Adds the products of three taps side by side, for pixels side by side and a single vector of target channels: what one tap reads
/// for a pixel the next one reads for the pixel before, so that each value is loaded once for three products. With
/// one vector the loads are otherwise as many as the products, and what limits the speed.
#[inline(always)]
unsafe fn accumulate_row<
    V: Vector,
    M: Arithmetic<V>,
    A: Pixels<P>,
    const P: usize,
    const N: usize,
>(
    pixels: A,
    panel: *const f32,
    length: usize,
    sums: &mut [[V; N]; P],
) {
    // SAFETY: the caller's promise: three runs of `length` steps, whose pixels follow each other.
    unsafe {
        for step in 0..length {
            let weight = panel.add(step * V::LANES);
            let [first, second, third] =
                [0, 1, 2].map(|tap| V::load(weight.add(tap * length * V::LANES)));
            let mut left = V::splat(*pixels.at(0).add(step));
            let mut middle = V::splat(*pixels.at(1).add(step));
            for p in 0..P {
                let right = V::splat(*pixels.at(p + 2).add(step));
                let sum = M::multiply_add(left, first, sums[p][0]);
                let sum = M::multiply_add(middle, second, sum);
                sums[p][0] = M::multiply_add(right, third, sum);
                (left, middle) = (middle, right);
            }
        }
    }
}

#[inline(always)]
unsafe fn finish<V: Vector, const N: usize, const FULL: bool>(
    work: &Work<'_>,
    sums: *const f32,
    targets: &[usize],
) {
    let end = &work.finish;
    // SAFETY: the caller's promise.
    unsafe {
        for n in 0..N {
            let lane = n * V::LANES;
            let count = if FULL {
                V::LANES
            } else {
                work.channels.saturating_sub(lane)
            };
            let count = count.min(V::LANES);
            let bias = optional::<V>(end.bias, lane);
            let (low, high) = (V::splat(end.bounds.0), V::splat(end.bounds.1));
            let shift = optional::<V>(end.shift, lane);
            let (mut sum, mut squares) = (V::zero(), V::zero());
            for (p, offset) in targets.iter().enumerate() {
                let to = work.target.add(*offset + lane);
                let mut value = V::load(sums.add((p * N + n) * V::LANES));
                if end.continues {
                    value = value.add(load::<V, FULL>(to, count));
                }
                if end.last {
                    value = value.add(bias);
                    if !end.shift.is_null() {
                        let distance = value.sub(shift);
                        sum = sum.add(distance);
                        squares = distance.mul_add(distance, squares);
                    }
                    if !end.residual.is_null() {
                        value = value.add(load::<V, FULL>(end.residual.add(*offset + lane), count));
                    }
                    // In this order a value that is not a number stays one.
                    value = high.min(low.max(value));
                }
                if FULL {
                    value.store(to);
                } else {
                    value.store_partial(to, count);
                }
            }
            if end.last && !end.shift.is_null() {
                V::load(end.sum.add(lane)).add(sum).store(end.sum.add(lane));
                let total = V::load(end.sum_of_squares.add(lane)).add(squares);
                total.store(end.sum_of_squares.add(lane));
            }
        }
    }
}

#[inline(always)]
unsafe fn optional<V: Vector>(from: *const f32, lane: usize) -> V {
    // SAFETY: the caller's promise: null, or padded to whole vectors.
    unsafe {
        if from.is_null() {
            V::zero()
        } else {
            V::load(from.add(lane))
        }
    }
}

#[inline(always)]
unsafe fn load<V: Vector, const FULL: bool>(from: *const f32, count: usize) -> V {
    // SAFETY: the caller's promise: `count` elements, or a full vector.
    unsafe {
        if FULL {
            V::load(from)
        } else {
            V::load_partial(from, count)
        }
    }
}
