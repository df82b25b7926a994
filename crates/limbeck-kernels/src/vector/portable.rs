//! Vectors of eight in plain Rust, for any processor.

use super::Vector;

/// Applies an expression to each lane of the portable vector.
macro_rules! lanes {
    ($lane:ident => $value:expr) => {{
        let mut result = [0.0_f32; 8];
        for $lane in 0..8 {
            result[$lane] = $value;
        }
        result
    }};
}

impl Vector for [f32; 8] {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; 8]
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; 8]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises eight readable elements.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        let mut result = [0.0; 8];
        // SAFETY: the caller promises `count <= 8` readable elements.
        unsafe { std::ptr::copy_nonoverlapping(from, result.as_mut_ptr(), count) };
        result
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises eight writable elements.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
        // SAFETY: the caller promises `count <= 8` writable elements.
        unsafe { std::ptr::copy_nonoverlapping(self.as_ptr(), to, count) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        lanes!(lane => self[lane] + other[lane])
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        lanes!(lane => self[lane] - other[lane])
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        lanes!(lane => self[lane] * other[lane])
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        lanes!(lane => self[lane] / other[lane])
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        // `f32::mul_add` would call a library function where the baseline has no such instruction.
        lanes!(lane => self[lane] * factor[lane] + term[lane])
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        lanes!(lane => if self[lane] > other[lane] { self[lane] } else { other[lane] })
    }
    #[inline(always)]
    unsafe fn max_or_nan(self, other: Self) -> Self {
        lanes!(lane => if self[lane] > other[lane] || self[lane].is_nan() { self[lane] } else { other[lane] })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        lanes!(lane => if self[lane] < other[lane] { self[lane] } else { other[lane] })
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        lanes!(lane => self[lane].sqrt())
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        // Adding and taking away 1.5 * 2^23 leaves the mantissa no room for a fraction.
        const SHIFT: f32 = 12_582_912.0;
        lanes!(lane => (self[lane] + SHIFT) - SHIFT)
    }
    #[inline(always)]
    unsafe fn scale(self, exponent: Self) -> Self {
        lanes!(lane => self[lane] * f32::from_bits(((exponent[lane] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn where_greater(self, left: Self, right: Self) -> Self {
        lanes!(lane => if left[lane] > right[lane] { self[lane] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn where_other(self, left: Self, right: Self) -> Self {
        lanes!(lane => if left[lane] != right[lane] && !left[lane].is_nan() { self[lane] } else { 0.0 })
    }
}
