//! Sums over the rows of a matrix, one per column, in an order that the shape alone decides.

use rayon::prelude::*;

use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::vector::Vector;

/// Elements of one block of rows: few enough for the L1 cache, and for sums in `f32` to stay exact
/// to a few units in the last place.
const BLOCK: usize = 16 * 1024;

/// Where in the matrix a vector lies.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Its row.
    pub(crate) row: usize,
    /// The column of its first lane.
    pub(crate) channel: usize,
    /// The element of its first lane.
    pub(crate) index: usize,
    /// How many lanes are in use; all of them where `WHOLE` is true.
    pub(crate) lanes: usize,
}

impl Place {
    /// The vector at `row` and `channel` of `channels`.
    #[inline(always)]
    pub(crate) fn new<V: Vector>(row: usize, channel: usize, channels: usize) -> Self {
        Self {
            row,
            channel,
            index: row * channels + channel,
            lanes: V::LANES.min(channels - channel),
        }
    }

    /// The lanes in use, zeros behind them.
    ///
    /// # Safety
    ///
    /// That many values can be read at `pointer`, and the processor has the instructions of `V`.
    #[inline(always)]
    pub(crate) unsafe fn load<V: Vector, const WHOLE: bool>(self, pointer: *const f32) -> V {
        // SAFETY: the caller's promise.
        unsafe {
            if WHOLE {
                V::load(pointer)
            } else {
                V::load_partial(pointer, self.lanes)
            }
        }
    }

    /// Writes the lanes in use.
    ///
    /// # Safety
    ///
    /// That many values can be written at `pointer`, and the processor has the instructions of `V`.
    #[inline(always)]
    pub(crate) unsafe fn store<V: Vector, const WHOLE: bool>(self, value: V, pointer: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            if WHOLE {
                value.store(pointer);
            } else {
                value.store_partial(pointer, self.lanes);
            }
        }
    }
}

/// What is summed: `(p, q)` at every place, of which the sums are `sum p` and `sum p q`.
pub(crate) trait Terms: Sync {
    /// `p` and `q` at `place`. Called once for each.
    ///
    /// # Safety
    ///
    /// `place` lies in the matrix and the processor has the instructions of `V`.
    unsafe fn at<V: Vector, const WHOLE: bool>(&self, place: Place) -> (V, V);
}

/// `sum_r p_rc` and `sum_r p_rc q_rc` of every column, `[channels]` each. Blocks of rows are summed
/// in vectors and added in order as `f64`.
///
/// # Safety
///
/// `terms` can be asked for every place of a `[rows, channels]` matrix.
pub(crate) unsafe fn column_sums(
    processor: Processor,
    rows: usize,
    channels: usize,
    terms: &impl Terms,
) -> (Vec<f64>, Vec<f64>) {
    let block = (BLOCK / channels).clamp(16, 1024);
    let mut partial = vec![0.0f32; rows.div_ceil(block) * 2 * channels];
    let sum_block = |(index, sums): (usize, &mut [f32])| {
        let start = index * block;
        let kernel = BlockSums {
            terms,
            rows: start..rows.min(start + block),
            channels,
            sums,
        };
        // SAFETY: the rows lie in the matrix and `sums` has two values per channel.
        unsafe { dispatch::run(processor, kernel) };
    };
    let blocks = partial.par_chunks_mut(2 * channels).enumerate();
    blocks.for_each(sum_block);
    let mut total = vec![0.0f64; 2 * channels];
    for sums in partial.chunks_exact(2 * channels) {
        for (total, &sum) in total.iter_mut().zip(sums) {
            *total += f64::from(sum);
        }
    }
    let products = total.split_off(channels);
    (total, products)
}

struct BlockSums<'a, T> {
    terms: &'a T,
    rows: std::ops::Range<usize>,
    channels: usize,
    sums: &'a mut [f32],
}

impl<T: Terms> Kernel for BlockSums<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        // Narrow rows keep their sums in registers; wide ones are read in long runs instead, since
        // the processor fetches ahead along rows only.
        let narrow = self.channels <= 4 * V::LANES;
        let step = if narrow { self.rows.len() } else { 8 };
        let end = self.rows.end;
        while self.rows.start < end {
            self.rows.end = end.min(self.rows.start + step);
            // SAFETY: the rows lie in the matrix.
            unsafe { self.all_columns::<V>() };
            self.rows.start = self.rows.end;
        }
    }
}

impl<T: Terms> BlockSums<'_, T> {
    #[inline(always)]
    unsafe fn all_columns<V: Vector>(&mut self) {
        let mut channel = 0;
        // SAFETY: every group of columns lies within the channels.
        unsafe {
            while channel + 4 * V::LANES <= self.channels {
                self.columns::<V, 4, 1, true>(channel);
                channel += 4 * V::LANES;
            }
            while channel + V::LANES <= self.channels {
                self.columns::<V, 1, 4, true>(channel);
                channel += V::LANES;
            }
            if channel < self.channels {
                self.columns::<V, 1, 4, false>(channel);
            }
        }
    }

    /// Adds the sums of `WIDTH` vectors of columns. `ROWS` rows at a time keep enough additions under
    /// way to hide their latency.
    #[inline(always)]
    unsafe fn columns<V: Vector, const WIDTH: usize, const ROWS: usize, const WHOLE: bool>(
        &mut self,
        channel: usize,
    ) {
        let channels = self.channels;
        let mut row = self.rows.start;
        // SAFETY: the rows and columns lie in the matrix.
        unsafe {
            let zero = V::splat(0.0);
            let mut sums = [[zero; WIDTH]; ROWS];
            let mut products = [[zero; WIDTH]; ROWS];
            while row + ROWS <= self.rows.end {
                for unrolled in 0..ROWS {
                    for vector in 0..WIDTH {
                        let column = channel + vector * V::LANES;
                        let place = Place::new::<V>(row + unrolled, column, channels);
                        let (p, q) = self.terms.at::<V, WHOLE>(place);
                        sums[unrolled][vector] = sums[unrolled][vector].add(p);
                        products[unrolled][vector] = p.mul_add(q, products[unrolled][vector]);
                    }
                }
                row += ROWS;
            }
            while row < self.rows.end {
                for vector in 0..WIDTH {
                    let place = Place::new::<V>(row, channel + vector * V::LANES, channels);
                    let (p, q) = self.terms.at::<V, WHOLE>(place);
                    sums[0][vector] = sums[0][vector].add(p);
                    products[0][vector] = p.mul_add(q, products[0][vector]);
                }
                row += 1;
            }
            for vector in 0..WIDTH {
                let place = Place::new::<V>(0, channel + vector * V::LANES, channels);
                let (mut sum, mut product) = (sums[0][vector], products[0][vector]);
                for unrolled in 1..ROWS {
                    sum = sum.add(sums[unrolled][vector]);
                    product = product.add(products[unrolled][vector]);
                }
                let (to_sums, to_products) = self.sums.split_at_mut(self.channels);
                let to_sum = to_sums.as_mut_ptr().add(place.channel);
                let to_product = to_products.as_mut_ptr().add(place.channel);
                place.store::<V, WHOLE>(place.load::<V, WHOLE>(to_sum).add(sum), to_sum);
                let product = place.load::<V, WHOLE>(to_product).add(product);
                place.store::<V, WHOLE>(product, to_product);
            }
        }
    }
}

/// `sum_c p_rc` and `sum_c p_rc q_rc` of one row.
///
/// # Safety
///
/// The row lies in the matrix that `terms` knows, and the processor has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn row_sums<V: Vector, T: Terms>(
    terms: &T,
    row: usize,
    channels: usize,
) -> (f32, f32) {
    let mut channel = 0;
    // SAFETY: the places lie in the row.
    unsafe {
        let mut sums = [V::zero(); 4];
        let mut products = [V::zero(); 4];
        while channel + 4 * V::LANES <= channels {
            for unrolled in 0..4 {
                let place = Place::new::<V>(row, channel + unrolled * V::LANES, channels);
                let (p, q) = terms.at::<V, true>(place);
                sums[unrolled] = sums[unrolled].add(p);
                products[unrolled] = p.mul_add(q, products[unrolled]);
            }
            channel += 4 * V::LANES;
        }
        while channel + V::LANES <= channels {
            let (p, q) = terms.at::<V, true>(Place::new::<V>(row, channel, channels));
            sums[0] = sums[0].add(p);
            products[0] = p.mul_add(q, products[0]);
            channel += V::LANES;
        }
        let mut sum = sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum();
        let mut product = products[0]
            .add(products[1])
            .add(products[2].add(products[3]))
            .sum();
        if channel < channels {
            // Lanes behind the row hold anything, so these are added one by one.
            let place = Place::new::<V>(row, channel, channels);
            let (p, q) = terms.at::<V, false>(place);
            let (mut left, mut right) = ([0.0f32; 16], [0.0f32; 16]);
            p.store_partial(left.as_mut_ptr(), place.lanes);
            q.store_partial(right.as_mut_ptr(), place.lanes);
            for lane in 0..place.lanes {
                sum += left[lane];
                product += left[lane] * right[lane];
            }
        }
        (sum, product)
    }
}
