//! The gradient of the weight along rows of pixels, for one vector of target channels.
//!
//! What one tap reads at a pixel the next tap reads at the pixel before. Taken along a row, each value of the source is loaded once for the
//! products of three taps, and each gradient once for all. With a single vector of target channels the loads of [`tile`] are as
//! many as its products, and what limits it.
//!
//! [`tile`]: super::weight_gradient

use super::layout::{PLANE, Run};
use crate::vector::Vector;

/// Source channels of a tile: three taps of each are held in registers.
const CHANNELS: usize = 8;
/// Taps of a tile.
const TAPS: usize = 3;

/// Whether `run` and the first two of `rest` are taps side by side that [`Rows`] can take together.
pub(super) fn taps_of_row(run: &Run, rest: &[Run]) -> bool {
    let follows = |(next, distance): (&Run, isize)| {
        next.plane == run.plane
            && next.row == run.row
            && next.column == run.column + distance
            && next.length == run.length
            && next.step == run.step + distance as usize * run.length
    };
    run.length.is_multiple_of(CHANNELS) && rest.len() >= 2 && rest.iter().zip([1, 2]).all(follows)
}

/// Pixels of a block, row by row; the pixels of a row are [`PLANE`] floats apart.
pub(super) struct Rows<'a> {
    /// What the first of the three taps reads for the block's first offset 0.
    pub(super) source: *const f32,
    /// The pixels' distances from `source`.
    pub(super) offsets: &'a [usize],
    /// The gradients of the pixels, `[pixel][lane]`.
    pub(super) panel: *const f32,
    /// The column of the first pixel.
    pub(super) column: usize,
    /// Pixels of a row.
    pub(super) columns: usize,
}

impl Rows<'_> {
    /// Adds to the sums `[tap][channel][lane]` of three taps of `channels` source channels.
    ///
    /// # Safety
    ///
    /// The processor has the vector's instructions; source, panel and sums have these elements, and two pixels more than the offsets name
    /// can be read behind each row.
    #[inline(always)]
    pub(super) unsafe fn add<V: Vector>(&self, sums: *mut f32, channels: usize) {
        for first in (0..channels).step_by(CHANNELS) {
            // SAFETY: the caller's promise.
            unsafe {
                let at = |tap: usize, channel: usize| {
                    sums.add((tap * channels + first + channel) * V::LANES)
                };
                let mut tile = [[V::zero(); CHANNELS]; TAPS];
                for tap in 0..TAPS {
                    for channel in 0..CHANNELS {
                        tile[tap][channel] = V::load(at(tap, channel));
                    }
                }
                let mut done = 0;
                while done < self.offsets.len() {
                    let left = if done == 0 {
                        self.columns - self.column
                    } else {
                        self.columns
                    };
                    let length = left.min(self.offsets.len() - done);
                    let source = self.source.add(self.offsets[done] + first);
                    row::<V>(source, self.panel.add(done * V::LANES), length, &mut tile);
                    done += length;
                }
                for tap in 0..TAPS {
                    for channel in 0..CHANNELS {
                        tile[tap][channel].store(at(tap, channel));
                    }
                }
            }
        }
    }
}

/// Adds the products of a row of `length` pixels. At its ends some taps have no pixel.
#[inline(always)]
unsafe fn row<V: Vector>(
    source: *const f32,
    panel: *const f32,
    length: usize,
    tile: &mut [[V; CHANNELS]; TAPS],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let none = V::zero();
        let first = V::load(panel);
        column::<V, 0, 1>(source, [first, none, none], tile);
        let (mut before, mut last) = (none, first);
        if length > 1 {
            let second = V::load(panel.add(V::LANES));
            column::<V, 0, 2>(source.add(PLANE), [second, first, none], tile);
            (before, last) = (first, second);
        }
        for pixel in 2..length {
            let gradient = V::load(panel.add(pixel * V::LANES));
            column::<V, 0, 3>(source.add(pixel * PLANE), [gradient, last, before], tile);
            (before, last) = (last, gradient);
        }
        let end = source.add(length * PLANE);
        if length > 1 {
            column::<V, 1, 3>(end, [none, last, before], tile);
        } else {
            column::<V, 1, 2>(end, [none, last, none], tile);
        }
        column::<V, 2, 3>(end.add(PLANE), [none, none, last], tile);
    }
}

/// Adds the products of one column of the source with the gradients of the pixels at which taps `FROM..TO` read it.
#[inline(always)]
unsafe fn column<V: Vector, const FROM: usize, const TO: usize>(
    source: *const f32,
    gradients: [V; TAPS],
    tile: &mut [[V; CHANNELS]; TAPS],
) {
    for channel in 0..CHANNELS {
        // SAFETY: the caller's promise.
        unsafe {
            let value = V::splat(*source.add(channel));
            for tap in FROM..TO {
                tile[tap][channel] = value.mul_add(gradients[tap], tile[tap][channel]);
            }
        }
    }
}
