//! From a [`Processor`] to the kernel compiled for it.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m512};

use crate::processor::Processor;
use crate::vector::Vector;

/// A loop over slices written once for every kind of vector.
pub(crate) trait Kernel {
    /// Does the work with vectors of kind `V`. Implementations are `#[inline(always)]`: only then
    /// are they compiled with the instructions that `V` needs.
    ///
    /// # Safety
    ///
    /// The processor must have the instructions of `V`, and the pointers within `self` must be
    /// valid for what the kernel does with them.
    unsafe fn run<V: Vector>(self);
}

/// Runs a kernel with the vectors of `processor`.
///
/// # Safety
///
/// The pointers within the kernel must be valid for what it does with them.
///
/// # Panics
///
/// If this machine lacks the instructions of `processor`.
pub(crate) unsafe fn run<K: Kernel>(processor: Processor, kernel: K) {
    assert!(
        processor.is_available(),
        "this machine lacks the instructions of {processor:?}"
    );
    match processor {
        // SAFETY: every machine has the baseline; the caller vouches for the pointers.
        Processor::Portable => unsafe { kernel.run::<[f32; 8]>() },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the assertion checked AVX2 and FMA; the caller vouches for the pointers.
        Processor::Avx2 => unsafe { avx2(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the assertion checked AVX-512; the caller vouches for the pointers.
        Processor::Avx512 => unsafe { avx512(kernel) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("only x86-64 has more than the portable family"),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<K: Kernel>(kernel: K) {
    // SAFETY: the caller checked the instructions and vouches for the pointers.
    unsafe { kernel.run::<__m256>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512<K: Kernel>(kernel: K) {
    // SAFETY: the caller checked the instructions and vouches for the pointers.
    unsafe { kernel.run::<__m512>() }
}
