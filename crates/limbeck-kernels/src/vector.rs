//! Vectors of `f32` in the three families of [`Processor`](crate::Processor), behind one trait.
//!
//! A kernel is one `#[inline(always)]` body generic over [`Vector`], called from one thin
//! `#[target_feature]` function per family; everything inlines into that function, and only there
//! do the intrinsics below become instructions. Closures don't inherit the features of the
//! function around them, so bodies use plain loops.

// Every method is an intrinsic or a loop over lanes whose conditions the trait states once.
#![allow(clippy::missing_safety_doc)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// A vector of `f32`.
///
/// # Safety
///
/// Every method requires that the processor has the vector's instructions: AVX-512 F for
/// `__m512`, AVX2 and FMA for `__m256`, nothing for `[f32; 8]`. Those that take a pointer require
/// that the elements which they name are readable (or writable); no alignment is asked for.
pub trait Vector: Copy {
    /// The number of elements.
    const LANES: usize;

    /// All lanes zero.
    unsafe fn zero() -> Self;
    /// All lanes `value`.
    unsafe fn splat(value: f32) -> Self;
    /// Loads [`LANES`](Self::LANES) elements.
    unsafe fn load(from: *const f32) -> Self;
    /// Loads the first `count <= LANES` elements and zeroes the other lanes, reading no further.
    unsafe fn load_partial(from: *const f32, count: usize) -> Self;
    /// Stores every lane.
    unsafe fn store(self, to: *mut f32);
    /// Stores the first `count <= LANES` lanes, writing no further.
    unsafe fn store_partial(self, to: *mut f32, count: usize);
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `self - other`.
    unsafe fn sub(self, other: Self) -> Self;
    /// `self * other`.
    unsafe fn mul(self, other: Self) -> Self;
    /// `self / other`.
    unsafe fn div(self, other: Self) -> Self;
    /// `self * factor + term`; rounded once where the processor can, twice in the portable family.
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self;
    /// The greater of the two; `other` where either is not a number.
    unsafe fn max(self, other: Self) -> Self;
    /// The greater of the two, not a number where either is not; `other` where both are equal.
    unsafe fn max_or_nan(self, other: Self) -> Self;
    /// The smaller of the two; `other` where either is not a number.
    unsafe fn min(self, other: Self) -> Self;
    /// The square root.
    unsafe fn sqrt(self) -> Self;
    /// The nearest whole number, halves to even; exact below 2^22.
    unsafe fn round(self) -> Self;
    /// `self * 2^exponent` for whole exponents from -126 to 127.
    unsafe fn scale(self, exponent: Self) -> Self;
    /// `self` where `left > right`, zero elsewhere.
    unsafe fn where_greater(self, left: Self, right: Self) -> Self;
    /// `self` where `left` is a number other than `right`, zero elsewhere.
    unsafe fn where_other(self, left: Self, right: Self) -> Self;

    /// Writes the transpose of the 8 x 8 block at `from` to `to`; rows are `from_stride` and
    /// `to_stride` elements apart.
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for row in 0..8 {
            for column in 0..8 {
                // SAFETY: the caller promises both blocks.
                unsafe {
                    *to.add(column * to_stride + row) = *from.add(row * from_stride + column)
                };
            }
        }
    }

    /// The sum of all lanes, always in the same order: halves are added until one lane is left.
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let mut lanes = [0.0_f32; 16];
        // SAFETY: no family has more than 16 lanes; the rest is the caller's promise.
        unsafe { self.store(lanes.as_mut_ptr()) };
        let mut width = Self::LANES;
        while width > 1 {
            width /= 2;
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
        }
        lanes[0]
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn mask16(count: usize) -> __mmask16 {
    ((1_u32 << count) - 1) as __mmask16
}

// SAFETY of the blocks below: each is one intrinsic under the trait's conditions.
#[cfg(target_arch = "x86_64")]
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each block is one intrinsic under the conditions of the trait's method"
)]
impl Vector for __m512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        unsafe { _mm512_maskz_loadu_ps(mask16(count), from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
        unsafe { _mm512_mask_storeu_ps(to, mask16(count), self) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { _mm512_add_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { _mm512_sub_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { _mm512_mul_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { _mm512_div_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        unsafe { _mm512_fmadd_ps(self, factor, term) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { _mm512_max_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn max_or_nan(self, other: Self) -> Self {
        // The maximum is `other` where that is not a number; where `self` is not, it is kept.
        unsafe {
            let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(self, self);
            _mm512_mask_max_ps(self, number, self, other)
        }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { _mm512_min_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        unsafe { _mm512_sqrt_ps(self) }
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        unsafe { _mm512_roundscale_ps::<0>(self) }
    }
    #[inline(always)]
    unsafe fn scale(self, exponent: Self) -> Self {
        unsafe { _mm512_scalef_ps(self, exponent) }
    }
    #[inline(always)]
    unsafe fn where_greater(self, left: Self, right: Self) -> Self {
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(left, right), self) }
    }
    #[inline(always)]
    unsafe fn where_other(self, left: Self, right: Self) -> Self {
        unsafe {
            let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(left, left);
            let other = _mm512_mask_cmp_ps_mask::<_CMP_NEQ_UQ>(number, left, right);
            _mm512_maskz_mov_ps(other, self)
        }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        unsafe { transpose(from, from_stride, to, to_stride) }
    }
}

/// [`Vector::transpose`] by AVX2: row `r` and row `r + 4` share a register from the start, so that
/// all shuffles stay within halves.
///
/// # Safety
///
/// As [`Vector::transpose`] for `__m256`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    // SAFETY: the caller promises both blocks and the instructions.
    unsafe {
        for half in 0..2 {
            let mut rows = [_mm256_setzero_ps(); 4];
            for row in 0..4 {
                let low = _mm_loadu_ps(from.add(row * from_stride + half * 4));
                let high = _mm_loadu_ps(from.add((row + 4) * from_stride + half * 4));
                rows[row] = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high);
            }
            let first = _mm256_unpacklo_ps(rows[0], rows[1]);
            let second = _mm256_unpackhi_ps(rows[0], rows[1]);
            let third = _mm256_unpacklo_ps(rows[2], rows[3]);
            let fourth = _mm256_unpackhi_ps(rows[2], rows[3]);
            let to = to.add(half * 4 * to_stride);
            _mm256_storeu_ps(to, _mm256_shuffle_ps::<0x44>(first, third));
            _mm256_storeu_ps(to.add(to_stride), _mm256_shuffle_ps::<0xee>(first, third));
            _mm256_storeu_ps(
                to.add(2 * to_stride),
                _mm256_shuffle_ps::<0x44>(second, fourth),
            );
            _mm256_storeu_ps(
                to.add(3 * to_stride),
                _mm256_shuffle_ps::<0xee>(second, fourth),
            );
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn mask8(count: usize) -> __m256i {
    const MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    debug_assert!(count <= 8);
    // SAFETY: `count <= 8` keeps the eight elements inside the table.
    unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - count).cast()) }
}

#[cfg(target_arch = "x86_64")]
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each block is one intrinsic under the conditions of the trait's method"
)]
impl Vector for __m256 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        unsafe { _mm256_maskload_ps(from, mask8(count)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
        unsafe { _mm256_maskstore_ps(to, mask8(count), self) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { _mm256_add_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { _mm256_sub_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { _mm256_mul_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { _mm256_div_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
        unsafe { _mm256_fmadd_ps(self, factor, term) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { _mm256_max_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn max_or_nan(self, other: Self) -> Self {
        // The maximum is `other` where that is not a number; where `self` is not, all its bits are set.
        unsafe {
            let greater = _mm256_max_ps(self, other);
            _mm256_or_ps(greater, _mm256_cmp_ps::<_CMP_UNORD_Q>(self, self))
        }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { _mm256_min_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        unsafe { _mm256_sqrt_ps(self) }
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self) }
    }
    #[inline(always)]
    unsafe fn scale(self, exponent: Self) -> Self {
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(exponent), _mm256_set1_epi32(127));
            _mm256_mul_ps(self, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        }
    }
    #[inline(always)]
    unsafe fn where_greater(self, left: Self, right: Self) -> Self {
        unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(left, right), self) }
    }
    #[inline(always)]
    unsafe fn where_other(self, left: Self, right: Self) -> Self {
        unsafe {
            let number = _mm256_cmp_ps::<_CMP_ORD_Q>(left, left);
            let other = _mm256_cmp_ps::<_CMP_NEQ_UQ>(left, right);
            _mm256_and_ps(_mm256_and_ps(number, other), self)
        }
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        unsafe { transpose(from, from_stride, to, to_stride) }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Processor;

    /// Runs every method on lanes counted up from `-1.5` in steps of one half.
    unsafe fn check<V: Vector>() {
        let left: Vec<f32> = (0..V::LANES).map(|lane| lane as f32 * 0.5 - 1.5).collect();
        let right: Vec<f32> = (0..V::LANES).map(|lane| 3.0 - lane as f32).collect();
        let same = |vector: V, expected: &dyn Fn(f32, f32) -> f32| {
            let mut found = [0.0_f32; 16];
            // SAFETY: 16 is the largest number of lanes.
            unsafe { vector.store(found.as_mut_ptr()) };
            for lane in 0..V::LANES {
                let wanted = expected(left[lane], right[lane]);
                assert!(found[lane] == wanted, "{found:?} has no {wanted} at {lane}");
            }
        };
        // SAFETY: both slices have `LANES` elements; the caller promises the instructions.
        unsafe {
            let (a, b) = (V::load(left.as_ptr()), V::load(right.as_ptr()));
            same(a.add(b), &|x, y| x + y);
            same(a.sub(b), &|x, y| x - y);
            same(a.mul(b), &|x, y| x * y);
            same(a.div(V::splat(2.0)), &|x, _| x / 2.0);
            same(a.mul_add(b, V::splat(1.0)), &|x, y| x * y + 1.0);
            same(a.max(b), &f32::max);
            same(a.min(b), &f32::min);
            same(a.max(V::zero()).sqrt(), &|x, _| x.max(0.0).sqrt());
            same(a.round(), &|x, _| x.round_ties_even());
            same(V::splat(1.5).scale(b), &|_, y| 1.5 * y.exp2());
            same(a.where_greater(a, V::zero()), &|x, _| x.max(0.0));
            same(a.max_or_nan(b), &f32::max);
            let nan = V::splat(f32::NAN);
            for either in [a.max_or_nan(nan), nan.max_or_nan(a), nan.max_or_nan(nan)] {
                let mut found = [0.0_f32; 16];
                either.store(found.as_mut_ptr());
                assert!(
                    found[..V::LANES].iter().all(|value| value.is_nan()),
                    "{found:?}"
                );
            }
            same(a.where_other(a, b), &|x, y| if x == y { 0.0 } else { x });
            same(a.where_other(b, nan), &|x, _| x);
            same(a.where_other(nan, b), &|_, _| 0.0);
            same(a.where_other(nan, nan), &|_, _| 0.0);
            assert_eq!(a.sum(), left.iter().sum::<f32>());
            let block: Vec<f32> = (0..80).map(|index| index as f32).collect();
            let mut transposed = [0.0_f32; 72];
            V::transpose(block.as_ptr(), 10, transposed.as_mut_ptr(), 9);
            for index in 0..64 {
                assert_eq!(
                    transposed[index % 8 * 9 + index / 8],
                    block[index / 8 * 10 + index % 8]
                );
            }
            for count in 0..=V::LANES {
                let mut copy = vec![9.0_f32; V::LANES];
                V::load_partial(left.as_ptr(), count).store(copy.as_mut_ptr());
                assert_eq!(copy[..count], left[..count]);
                assert!(copy[count..].iter().all(|value| *value == 0.0));
                copy.fill(9.0);
                a.store_partial(copy.as_mut_ptr(), count);
                assert_eq!(copy[..count], left[..count]);
                assert!(copy[count..].iter().all(|value| *value == 9.0));
            }
        }
    }

    #[test]
    fn the_families_agree_with_scalar_arithmetic() {
        for processor in Processor::available() {
            // SAFETY: the processor has these instructions.
            unsafe {
                match processor {
                    Processor::Portable => check::<[f32; 8]>(),
                    #[cfg(target_arch = "x86_64")]
                    Processor::Avx2 => check::<__m256>(),
                    #[cfg(target_arch = "x86_64")]
                    Processor::Avx512 => check::<__m512>(),
                    #[cfg(not(target_arch = "x86_64"))]
                    _ => {}
                }
            }
        }
    }
}
