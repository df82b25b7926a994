//! Memory that will be needed soon.

/// Floats of a cache line.
const LINE: usize = 16;

/// Memory to fetch into the second-level cache bit by bit while something else is computed.
pub(crate) struct Ahead {
    next: *const f32,
    left: usize,
    lines: usize,
}

impl Ahead {
    /// Fetches `length` floats in `steps` steps.
    pub(crate) fn new(from: *const f32, length: usize, steps: usize) -> Self {
        let left = length.div_ceil(LINE);
        Self {
            next: from,
            left,
            lines: left.div_ceil(steps.max(1)),
        }
    }

    /// The next step.
    #[inline(always)]
    pub(crate) fn fetch(&mut self) {
        let lines = self.lines.min(self.left);
        for _ in 0..lines {
            prefetch(self.next);
            self.next = self.next.wrapping_add(LINE);
        }
        self.left -= lines;
    }
}

/// Fetches the cache line of `address` into the second-level cache.
#[inline(always)]
pub(crate) fn prefetch(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is only a hint, for any address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
