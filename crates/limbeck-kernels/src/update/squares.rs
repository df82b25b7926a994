//! The square of a gradient's norm.

use rayon::prelude::*;

use super::CHUNK;
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::sums::{Place, Terms, row_sums};
use crate::vector::Vector;

/// Elements that are summed in `f32`: few enough to be exact to a few units in the last place.
const BLOCK: usize = 4 * 1024;

/// `sum_i values_i^2`. Blocks are summed in vectors of `f32` and added in order as `f64`.
#[must_use]
pub fn sum_of_squares(values: &[f32]) -> f64 {
    sum_of_squares_on(Processor::best(), values)
}

/// [`sum_of_squares`] with the instructions of `processor`.
///
/// # Panics
///
/// If this machine lacks the instructions.
#[must_use]
pub fn sum_of_squares_on(processor: Processor, values: &[f32]) -> f64 {
    let of_chunk = |values: &[f32]| {
        let mut sum = 0.0;
        let kernel = SumOfSquares {
            values,
            sum: &mut sum,
        };
        // SAFETY: the kernel reads its slice alone.
        unsafe { dispatch::run(processor, kernel) };
        sum
    };
    let sums: Vec<f64> = values.par_chunks(CHUNK).map(of_chunk).collect();
    sums.into_iter().sum()
}

struct SumOfSquares<'a> {
    values: &'a [f32],
    sum: &'a mut f64,
}

impl Kernel for SumOfSquares<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for block in self.values.chunks(BLOCK) {
            // SAFETY: the block is the one row of its matrix.
            let (_, sum) = unsafe { row_sums::<V, _>(&Squares(block), 0, block.len()) };
            *self.sum += f64::from(sum);
        }
    }
}

/// Every value as both factors.
struct Squares<'a>(&'a [f32]);

impl Terms for Squares<'_> {
    #[inline(always)]
    unsafe fn at<V: Vector, const WHOLE: bool>(&self, place: Place) -> (V, V) {
        // SAFETY: the caller's promise that `place` lies in the slice.
        let value = unsafe { place.load::<V, WHOLE>(self.0.as_ptr().add(place.index)) };
        (value, value)
    }
}
