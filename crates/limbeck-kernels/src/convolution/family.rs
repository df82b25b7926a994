//! Which instructions a correlation is computed with, and in what precision.

use super::bf16;
use super::correlate::Plan;
use super::unit::{Inputs, Unit, run};
use super::window::copy_floats;
use crate::Processor;
use crate::vector::Vector;

/// How source and weights are held and multiplied. Sums are always `f32`.
pub(super) trait Arithmetic<V: Vector> {
    /// Copies `channels` channels of `pixels` pixels, `from_pixel` and `to_pixel` elements apart,
    /// into the form that [`multiply_add`](Self::multiply_add) takes.
    ///
    /// # Safety
    ///
    /// Both sides have these elements and don't overlap.
    unsafe fn copy_pixels(
        from: *const f32,
        from_pixel: usize,
        to: *mut f32,
        to_pixel: usize,
        channels: usize,
        pixels: usize,
    );

    /// `value * weight + sum`.
    ///
    /// # Safety
    ///
    /// The processor has the instructions.
    unsafe fn multiply_add(value: V, weight: V, sum: V) -> V;
}

/// `f32` throughout.
pub(super) struct Single;

impl<V: Vector> Arithmetic<V> for Single {
    #[inline(always)]
    unsafe fn copy_pixels(
        from: *const f32,
        from_pixel: usize,
        to: *mut f32,
        to_pixel: usize,
        channels: usize,
        pixels: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe { copy_floats::<V>(from, from_pixel, to, to_pixel, channels, pixels) }
    }

    #[inline(always)]
    unsafe fn multiply_add(value: V, weight: V, sum: V) -> V {
        // SAFETY: the caller's promise.
        unsafe { value.mul_add(weight, sum) }
    }
}

/// Pixels of the tiles of a family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    /// Of tiles of two vectors, and of ones whose pixels don't follow each other.
    pub(super) narrow: usize,
    /// Of tiles of one vector.
    pub(super) wide: usize,
}

const PORTABLE: Tile = Tile { narrow: 4, wide: 4 };
const AVX2: Tile = Tile {
    narrow: 6,
    wide: 12,
};
pub(super) const AVX512: Tile = Tile {
    narrow: 8,
    wide: 16,
};

/// Instructions and precision of a correlation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `f32` with a processor's vectors.
    Single(Processor),
    /// Products of bfloat16 pairs with 512-bit vectors.
    Brain,
}

impl Family {
    /// Panics unless this machine has the instructions.
    pub(super) fn check(self) {
        match self {
            Self::Single(processor) => {
                assert!(
                    processor.is_available(),
                    "this machine can't run {processor:?} kernels"
                );
            }
            Self::Brain => {
                assert!(
                    bf16::bf16_available(),
                    "this machine has no bfloat16 instructions"
                );
            }
        }
    }

    /// The family of vectors that hold the sums.
    pub(super) fn vectors(self) -> Processor {
        match self {
            Self::Single(processor) => processor,
            Self::Brain => Processor::Avx512,
        }
    }

    /// Most pixels of a tile of two vectors and of one: as many as the registers hold.
    pub(super) fn tile(self) -> Tile {
        match self {
            Self::Single(Processor::Portable) => PORTABLE,
            Self::Single(Processor::Avx2) => AVX2,
            Self::Single(Processor::Avx512) | Self::Brain => AVX512,
        }
    }

    /// Whether the kernels take the source's elements as they are.
    pub(super) fn reads_in_place(self) -> bool {
        matches!(self, Self::Single(_))
    }

    /// Computes a unit of `plan`, in tiles as large as the registers allow.
    ///
    /// # Safety
    ///
    /// The family was checked; see [`run`] for the rest.
    pub(super) unsafe fn run(
        self,
        plan: &Plan,
        inputs: &Inputs<'_>,
        unit: &Unit<'_>,
        sums: *mut f32,
        target: *mut f32,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Single(Processor::Avx2) => run_avx2(plan, inputs, unit, sums, target),
                #[cfg(target_arch = "x86_64")]
                Self::Single(Processor::Avx512) => run_avx512(plan, inputs, unit, sums, target),
                #[cfg(target_arch = "x86_64")]
                Self::Brain => bf16::run_bf16(plan, inputs, unit, sums, target),
                _ => {
                    run::<[f32; 8], Single, { PORTABLE.narrow }, { PORTABLE.wide }>(
                        plan, inputs, unit, sums, target,
                    );
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn run_avx512(
    plan: &Plan,
    inputs: &Inputs<'_>,
    unit: &Unit<'_>,
    sums: *mut f32,
    target: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        run::<std::arch::x86_64::__m512, Single, { AVX512.narrow }, { AVX512.wide }>(
            plan, inputs, unit, sums, target,
        );
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2(
    plan: &Plan,
    inputs: &Inputs<'_>,
    unit: &Unit<'_>,
    sums: *mut f32,
    target: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        run::<std::arch::x86_64::__m256, Single, { AVX2.narrow }, { AVX2.wide }>(
            plan, inputs, unit, sums, target,
        );
    }
}
