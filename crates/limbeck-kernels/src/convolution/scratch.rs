//! Buffers that each thread keeps between calls.

use std::cell::RefCell;

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; Line::FLOATS]);

impl Line {
    const FLOATS: usize = 16;
}

/// How many buffers a thread keeps.
const KEPT: usize = 8;

thread_local! {
    // Buffers are taken out while in use: a thread that waits for its part of a convolution may
    // start another one in the meantime.
    static POOL: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Memory for floats on cache-line boundaries, with whatever an earlier user left in it.
pub(super) struct Scratch {
    lines: Vec<Line>,
}

impl Scratch {
    /// A buffer of at least `length` floats.
    pub(super) fn new(length: usize) -> Self {
        let needed = length.div_ceil(Line::FLOATS);
        let mut lines = POOL.with_borrow_mut(|pool| {
            let fits = (0..pool.len())
                .filter(|index| pool[*index].len() >= needed)
                .min_by_key(|index| pool[*index].len());
            match fits {
                Some(index) => pool.swap_remove(index),
                None => pool.pop().unwrap_or_default(),
            }
        });
        if lines.len() < needed {
            lines.resize(needed, Line([0.0; Line::FLOATS]));
        }
        Self { lines }
    }

    /// A buffer of at least `length` zeros that is to be kept for long: the thread's buffers stay
    /// with it.
    pub(super) fn own(length: usize) -> Self {
        Self {
            lines: vec![Line([0.0; Line::FLOATS]); length.div_ceil(Line::FLOATS)],
        }
    }

    /// The first float.
    pub(super) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.lines.as_mut_ptr().cast()
    }

    /// The first float.
    pub(super) fn as_ptr(&self) -> *const f32 {
        self.lines.as_ptr().cast()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // A thread that is shutting down has no pool any more; the memory is simply freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(lines);
            }
        });
    }
}

/// A pointer that several threads write through, each to elements of its own.
#[derive(Clone, Copy)]
pub(super) struct Shared(*mut f32);

// SAFETY: users promise that no two threads touch the same element.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn new(pointer: *mut f32) -> Self {
        Self(pointer)
    }

    pub(super) fn get(self) -> *mut f32 {
        self.0
    }
}

/// Memory to fetch into the second-level cache bit by bit while something else is computed.
pub(super) struct Ahead {
    next: *const f32,
    left: usize,
    lines: usize,
}

impl Ahead {
    /// Fetches `length` floats in `steps` steps.
    pub(super) fn new(from: *const f32, length: usize, steps: usize) -> Self {
        let left = length.div_ceil(Line::FLOATS);
        Self {
            next: from,
            left,
            lines: left.div_ceil(steps.max(1)),
        }
    }

    /// The next step.
    #[inline(always)]
    pub(super) fn fetch(&mut self) {
        let lines = self.lines.min(self.left);
        for _ in 0..lines {
            prefetch(self.next);
            self.next = self.next.wrapping_add(Line::FLOATS);
        }
        self.left -= lines;
    }
}

/// Fetches the cache line of `address` into the second-level cache.
#[inline(always)]
pub(super) fn prefetch(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is only a hint, for any address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
