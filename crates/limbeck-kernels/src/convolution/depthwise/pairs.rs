//! Gradients of the input at stride 2: both phases of the columns in one pass.
//!
//! The columns of the target alternate between the two phases, which read the same few columns of the source. Done one
//! after the other, each would fetch the source again and leave a hole behind every pixel that it writes.

use std::ops::Range;

use super::gather::{Rows, load};
use super::plan::Plan;
use crate::vector::Vector;

/// How the taps of two alternating phases lie to each other.
#[derive(Clone, Copy)]
pub(super) enum Pattern {
    /// One tap, and two from the same place on: kernels of 3 with padding.
    OneTwo,
    /// Two taps, and one from the next place: kernels of 3 without padding.
    TwoOne,
    /// Three taps, and two from the next place: kernels of 5.
    ThreeTwo,
}

impl Pattern {
    /// The pattern of a plan's columns, if it is one of these.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let [even, odd] = &plan.phases[..] else {
            return None;
        };
        let known = [even, odd]
            .iter()
            .all(|phase| phase.neighbours && phase.source_step == 1 && !phase.taps.is_empty());
        if !known {
            return None;
        }
        let after = odd.taps[0].from - even.taps[0].from;
        match (even.taps.len(), odd.taps.len(), after) {
            (1, 2, 0) => Some(Self::OneTwo),
            (2, 1, 1) => Some(Self::TwoOne),
            (3, 2, 1) => Some(Self::ThreeTwo),
            _ => None,
        }
    }
}

impl Rows<'_> {
    /// One vector of channels of a row whose columns follow `pattern`.
    #[inline(always)]
    pub(super) unsafe fn row_of_pairs<V: Vector, const WHOLE: bool>(
        &mut self,
        row: usize,
        pattern: Pattern,
        channel: usize,
    ) {
        let [even, odd] = &self.plan.phases[..] else {
            unreachable!("a pattern is of two phases")
        };
        let start = even.inside.start.max(odd.inside.start);
        let end = even.inside.end.min(odd.inside.end).max(start);
        // SAFETY: from `start` to `end` no tap of either phase leaves the source.
        unsafe {
            for phase in [even, odd] {
                for index in (0..start.min(phase.count)).chain(end..phase.count) {
                    self.border::<V, WHOLE>(row, phase, channel, index);
                }
            }
            let inside = start..end;
            match pattern {
                Pattern::OneTwo => self.tiles::<V, 1, 2, 0, WHOLE>(row, channel, inside),
                Pattern::TwoOne => self.tiles::<V, 2, 1, 1, WHOLE>(row, channel, inside),
                Pattern::ThreeTwo => self.tiles::<V, 3, 2, 1, WHOLE>(row, channel, inside),
            }
        }
    }

    /// The pairs of columns `inside`, several at a time.
    #[inline(always)]
    unsafe fn tiles<
        V: Vector,
        const EVEN: usize,
        const ODD: usize,
        const AFTER: usize,
        const WHOLE: bool,
    >(
        &mut self,
        row: usize,
        channel: usize,
        inside: Range<usize>,
    ) {
        let mut index = inside.start;
        // SAFETY: the tiles lie inside.
        unsafe {
            while index < inside.end {
                // The last tile steps back and does some pairs again. Narrower vectors leave fewer registers for sums.
                if V::LANES == 16 && inside.len() >= 8 {
                    let start = index.min(inside.end - 8);
                    self.pairs::<V, 8, EVEN, ODD, AFTER, WHOLE>(row, channel, start);
                    index += 8;
                } else if inside.len() >= 4 {
                    let start = index.min(inside.end - 4);
                    self.pairs::<V, 4, EVEN, ODD, AFTER, WHOLE>(row, channel, start);
                    index += 4;
                } else {
                    self.pairs::<V, 1, EVEN, ODD, AFTER, WHOLE>(row, channel, index);
                    index += 1;
                }
            }
        }
    }

    /// `PAIRS` pairs of columns from `index` on: the `EVEN` and, `AFTER` places later, `ODD` neighbouring columns of the source
    /// that each pair gathers are loaded once.
    #[inline(always)]
    unsafe fn pairs<
        V: Vector,
        const PAIRS: usize,
        const EVEN: usize,
        const ODD: usize,
        const AFTER: usize,
        const WHOLE: bool,
    >(
        &mut self,
        row: usize,
        channel: usize,
        index: usize,
    ) {
        let plan = self.plan;
        let (channels, lanes) = (plan.channels, V::LANES.min(plan.channels - channel));
        let row_in_batch = self.first + row;
        let (image, row_in_image) = (row_in_batch / plan.target[0], row_in_batch % plan.target[0]);
        let [even, odd] = &plan.phases[..] else {
            unreachable!("a pattern is of two phases")
        };
        let (even_taps, odd_taps) = (&even.taps[..EVEN], &odd.taps[..ODD]);
        let first = (even_taps[0].from + index as isize) as usize;
        // SAFETY: the plan's rows and the caller's columns lie in the source.
        unsafe {
            let (mut evens, mut odds) = ([V::zero(); PAIRS], [V::zero(); PAIRS]);
            for &(tap_row, source_row) in &plan.rows[row_in_image] {
                let source_row = image * plan.source[0] + source_row;
                let from = (source_row * plan.source[1] + first) * channels + channel;
                let from = self.source.as_ptr().add(from);
                let weight = tap_row * plan.kernel[1] * channels + channel;
                let weight = self.taps.as_ptr().add(weight);
                // Eight pairs of three taps gather ten columns.
                let mut columns = [V::zero(); 10];
                for column in 0..columns.len() {
                    if column < PAIRS - 1 + EVEN.max(AFTER + ODD) {
                        columns[column] = load::<V, WHOLE>(from.add(column * channels), lanes);
                    }
                }
                for tap in 0..EVEN {
                    let weight = weight.add(even_taps[tap].tap * channels);
                    let weight = load::<V, WHOLE>(weight, lanes);
                    for pair in 0..PAIRS {
                        evens[pair] = columns[pair + tap].mul_add(weight, evens[pair]);
                    }
                }
                for tap in 0..ODD {
                    let weight = weight.add(odd_taps[tap].tap * channels);
                    let weight = load::<V, WHOLE>(weight, lanes);
                    for pair in 0..PAIRS {
                        odds[pair] = columns[pair + AFTER + tap].mul_add(weight, odds[pair]);
                    }
                }
            }
            for pair in 0..PAIRS {
                let column = 2 * (index + pair);
                self.write::<V, WHOLE>(row, column, channel, evens[pair]);
                self.write::<V, WHOLE>(row, column + 1, channel, odds[pair]);
            }
        }
    }
}
