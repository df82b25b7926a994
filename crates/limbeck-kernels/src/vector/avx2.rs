//! Vectors of eight: AVX2 with fused multiply-add.

use std::arch::x86_64::*;

use super::Vector;

/// [`Vector::transpose`] by AVX2: row `r` and row `r + 4` share a register from the start, so that
/// all shuffles stay within halves.
///
/// # Safety
///
/// As [`Vector::transpose`] for `__m256`.
#[inline(always)]
pub(super) unsafe fn transpose(
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
) {
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

#[inline(always)]
unsafe fn mask8(count: usize) -> __m256i {
    const MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    debug_assert!(count <= 8);
    // SAFETY: `count <= 8` keeps the eight elements inside the table.
    unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - count).cast()) }
}

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
