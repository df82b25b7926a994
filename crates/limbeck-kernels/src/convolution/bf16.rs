//! Convolutions with weights and inputs rounded to bfloat16 on the way into the kernel, summed in
//! `f32`: twice the products per instruction, for networks that are only evaluated.
//!
//! A lane holds a pair of source channels, so these kernels are those of `f32` with half as many
//! steps.

use super::correlate::Plan;
use super::unit::{Inputs, Unit};

/// Whether this machine multiplies bfloat16 (AVX512-BF16: Zen 4, Cooper Lake, Sapphire Rapids and
/// later) and [`Processor::best`](crate::Processor::best) hasn't been lowered.
#[must_use]
pub fn bf16_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        crate::Processor::best() == crate::Processor::Avx512
            && is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Two numbers rounded to bfloat16, in the bits of one `f32`.
pub(super) fn pair(low: f32, high: f32) -> f32 {
    f32::from_bits(u32::from(round(low)) | u32::from(round(high)) << 16)
}

/// The nearest bfloat16, ties to even.
fn round(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        // Rounding could carry a NaN over into the sign.
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

#[cfg(target_arch = "x86_64")]
pub(super) use kernels::run_bf16;

#[cfg(target_arch = "x86_64")]
mod kernels {
    use std::arch::x86_64::{
        __m256bh, __m256i, __m512, __m512bh, _mm256_storeu_si256, _mm512_cvtneps_pbh,
        _mm512_dpbf16_ps, _mm512_loadu_ps,
    };

    use super::super::family::{AVX512, Arithmetic};
    use super::super::unit::run;
    use super::{Inputs, Plan, Unit, pair};

    /// Pairs of bfloat16.
    struct Pairs;

    impl Arithmetic<__m512> for Pairs {
        unsafe fn copy_pixels(
            from: *const f32,
            from_pixel: usize,
            to: *mut f32,
            to_pixel: usize,
            channels: usize,
            pixels: usize,
        ) {
            // SAFETY: the caller's promise.
            unsafe { round_pixels(from, from_pixel, to, to_pixel, channels, pixels) }
        }

        #[inline(always)]
        unsafe fn multiply_add(value: __m512, weight: __m512, sum: __m512) -> __m512 {
            // SAFETY: the types differ in the meaning of their bits only; the caller has the
            // instructions.
            unsafe {
                let value = std::mem::transmute::<__m512, __m512bh>(value);
                let weight = std::mem::transmute::<__m512, __m512bh>(weight);
                _mm512_dpbf16_ps(sum, value, weight)
            }
        }
    }

    #[target_feature(enable = "avx512bf16,avx512f")]
    unsafe fn round_pixels(
        from: *const f32,
        from_pixel: usize,
        to: *mut f32,
        to_pixel: usize,
        channels: usize,
        pixels: usize,
    ) {
        for pixel in 0..pixels {
            // SAFETY: the caller's promise.
            unsafe {
                let from = from.add(pixel * from_pixel);
                let to = to.add(pixel * to_pixel);
                let mut channel = 0;
                while channel + 16 <= channels {
                    let rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(from.add(channel)));
                    let to = to.add(channel / 2).cast::<__m256i>();
                    _mm256_storeu_si256(to, std::mem::transmute::<__m256bh, __m256i>(rounded));
                    channel += 16;
                }
                while channel < channels {
                    let next = if channel + 1 < channels {
                        *from.add(channel + 1)
                    } else {
                        0.0
                    };
                    *to.add(channel / 2) = pair(*from.add(channel), next);
                    channel += 2;
                }
            }
        }
    }

    #[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(in super::super) unsafe fn run_bf16(
        plan: &Plan,
        inputs: &Inputs<'_>,
        unit: &Unit<'_>,
        sums: *mut f32,
        target: *mut f32,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            run::<__m512, Pairs, { AVX512.narrow }, { AVX512.wide }>(
                plan, inputs, unit, sums, target,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        assert_eq!(round(1.0), 0x3f80);
        assert_eq!(round(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(round(f32::from_bits(0x3f81_8000)), 0x3f82);
        assert_eq!(round(f32::from_bits(0x3f80_8001)), 0x3f81);
        assert_eq!(round(f32::INFINITY), 0x7f80);
        assert!(f32::from_bits(u32::from(round(f32::NAN)) << 16).is_nan());
    }
}
