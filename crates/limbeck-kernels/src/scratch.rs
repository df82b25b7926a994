//! Buffers that each thread keeps from call to call, since fresh ones cost a page fault every 4 KiB.

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
    // Buffers are taken out while in use: a thread that waits for others runs their tasks, which may
    // want one too.
    static POOL: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Memory for floats on cache-line boundaries, with whatever an earlier user left in it.
pub(crate) struct Scratch {
    lines: Vec<Line>,
    length: usize,
    /// Whether the thread that drops it keeps the memory.
    pooled: bool,
}

impl Scratch {
    /// A buffer of `length` floats.
    pub(crate) fn new(length: usize) -> Self {
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
        Self {
            lines,
            length,
            pooled: true,
        }
    }

    /// A buffer of `length` zeros that is to be kept for long: the thread's buffers stay
    /// with it, and its memory is freed with it.
    pub(crate) fn own(length: usize) -> Self {
        Self {
            lines: vec![Line([0.0; Line::FLOATS]); length.div_ceil(Line::FLOATS)],
            length,
            pooled: false,
        }
    }

    /// All floats.
    pub(crate) fn values(&mut self) -> &mut [f32] {
        // SAFETY: the lines hold at least `length` floats, one after the other.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.length) }
    }

    /// The first float.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.lines.as_mut_ptr().cast()
    }

    /// The first float.
    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.lines.as_ptr().cast()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.pooled {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_in_use_are_apart() {
        let mut outer = Scratch::new(10);
        outer.values().fill(1.0);
        for length in [5, 20, 10] {
            let mut inner = Scratch::new(length);
            assert_eq!(inner.values().len(), length);
            inner.values().fill(2.0);
        }
        assert_eq!(outer.values(), [1.0; 10]);
    }

    #[test]
    fn buffers_start_at_cache_lines() {
        for length in [1, 16, 100] {
            assert_eq!(Scratch::new(length).as_ptr().addr() % 64, 0);
            assert!(
                Scratch::own(length)
                    .values()
                    .iter()
                    .all(|value| *value == 0.0)
            );
        }
    }
}
