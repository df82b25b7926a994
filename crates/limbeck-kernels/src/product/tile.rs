//! The inner loop of all products.

use crate::vector::Vector;

/// The rows of the left matrix that one tile reads: element `k` of row `r` is
/// `pointer[r * row_stride + k * step]`.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// The first element of the first row.
    pub(super) pointer: *const f32,
    /// From a row to the next.
    pub(super) row_stride: usize,
    /// From an element to the next.
    pub(super) step: usize,
    /// How many rows there are, at least one. A tile that has more repeats the last.
    pub(super) count: usize,
}

/// The columns of the right matrix that one tile reads: the vectors of row `k` begin at
/// `pointer[k * stride]`.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    /// The first element of the first row.
    pub(super) pointer: *const f32,
    /// From a row to the next.
    pub(super) stride: usize,
}

/// `sum_k left_rk right_kc` over the first `inner` `k`, for `ROWS` rows and `WIDTH` vectors of
/// columns.
///
/// # Safety
///
/// Those elements are readable and the processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn tile<V: Vector, const ROWS: usize, const WIDTH: usize>(
    left: Rows,
    right: Columns,
    inner: usize,
) -> [[V; WIDTH]; ROWS] {
    let mut rows = [left.pointer; ROWS];
    for row in 0..ROWS {
        rows[row] = left
            .pointer
            .wrapping_add(row.min(left.count - 1) * left.row_stride);
    }
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::zero(); WIDTH]; ROWS];
        let mut columns = right.pointer;
        let mut offset = 0;
        for _ in 0..inner {
            let mut vectors = [V::zero(); WIDTH];
            for vector in 0..WIDTH {
                vectors[vector] = V::load(columns.add(vector * V::LANES));
            }
            for row in 0..ROWS {
                let value = V::splat(*rows[row].add(offset));
                for vector in 0..WIDTH {
                    sums[row][vector] = value.mul_add(vectors[vector], sums[row][vector]);
                }
            }
            columns = columns.wrapping_add(right.stride);
            offset += left.step;
        }
        sums
    }
}
