//! A slice whose disjoint parts several tasks write.

use std::marker::PhantomData;

/// A mutable slice that can be handed to many tasks, each of which takes a part of its own. Tiles
/// of a matrix and channels of an image are not contiguous, so `par_chunks_mut` cannot cut them out.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    pointer: *mut f32,
    length: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer comes from a `&mut [f32]` that outlives the value, and whoever takes a part
// promises that nobody else has it.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// The slice to share.
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self {
            pointer: slice.as_mut_ptr(),
            length: slice.len(),
            slice: PhantomData,
        }
    }

    /// A pointer to element `index`.
    pub(crate) fn at(&self, index: usize) -> *mut f32 {
        debug_assert!(index <= self.length);
        self.pointer.wrapping_add(index)
    }

    /// The `length` elements from `start`.
    ///
    /// # Safety
    ///
    /// No other task may read or write them meanwhile.
    pub(crate) unsafe fn part(&self, start: usize, length: usize) -> &'a mut [f32] {
        assert!(
            start + length <= self.length,
            "the part ends behind the slice"
        );
        // SAFETY: in bounds, and the caller promises that the part is not shared.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), length) }
    }
}
