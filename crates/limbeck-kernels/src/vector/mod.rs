//! Vectors of `f32` in the three families of [`Processor`](crate::Processor), behind one trait.
//!
//! A kernel is one `#[inline(always)]` body generic over [`Vector`], called from one thin
//! `#[target_feature]` function per family; everything inlines into that function, and only there
//! do the intrinsics below become instructions. Closures don't inherit the features of the
//! function around them, so bodies use plain loops.

// Every method is an intrinsic or a loop over lanes whose conditions the trait states once.
#![allow(clippy::missing_safety_doc)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

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
                    Processor::Avx2 => check::<std::arch::x86_64::__m256>(),
                    #[cfg(target_arch = "x86_64")]
                    Processor::Avx512 => check::<std::arch::x86_64::__m512>(),
                    #[cfg(not(target_arch = "x86_64"))]
                    _ => {}
                }
            }
        }
    }
}
