//! Memory for results, reused from step to step.
//!
//! A training step makes the same few dozen tensors as the one before it. Fresh memory for each would be zeroed by the system
//! page by page (a fifth of a step's time with glibc's allocator); a buffer that is let go waits here for the next tensor of about
//! its size instead. Live and waiting buffers together never exceed the most that was live at once, so reuse costs no memory.

use std::alloc::{self, Layout};
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};

/// Bytes that a buffer begins at a multiple of: a cache line, and the widest vector.
const ALIGNMENT: usize = 64;
/// Buffers below this many bytes are left to the allocator, which is good at small ones.
const SMALLEST: usize = 16 * 1024;
const TAKEN: &str = "the memory is taken out on drop only";
/// A waiting buffer serves a tensor of at least this share (in eighths) of its size.
const FIT: usize = 7;

/// Memory of a tensor in the making. All of it is initialised, with whatever it held before.
pub struct Buffer {
    memory: Pooled,
    length: usize,
}

impl Buffer {
    /// Memory for `length` values, which are arbitrary until they are written.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let bytes = length * size_of::<f32>();
        // The lock is let go before memory is made, which takes it too.
        let waiting = pool().take(bytes);
        let memory = Pooled(Some(waiting.unwrap_or_else(|| Memory::zeroed(bytes))));
        Self { memory, length }
    }

    /// The values.
    pub fn values(&mut self) -> &mut [f32] {
        // SAFETY: the memory is aligned, initialised, owned by `self` and at least this long.
        unsafe {
            std::slice::from_raw_parts_mut(self.memory.get().start.as_ptr().cast(), self.length)
        }
    }

    /// The memory in the form that tensors keep it in.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        let length = self.length * size_of::<f32>();
        // SAFETY: all of the memory is initialised, and the controller hands out nothing else.
        unsafe { Bytes::from_controller(Box::new(self.memory), length) }
    }
}

/// An allocation; where it is let go decides what becomes of it.
struct Memory {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: the memory has one owner and is reached through it alone.
unsafe impl Send for Memory {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for Memory {}

impl Memory {
    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, ALIGNMENT)
            .expect("a tensor's size fits the address space")
    }

    fn zeroed(bytes: usize) -> Self {
        let capacity = bytes.next_multiple_of(ALIGNMENT).max(ALIGNMENT);
        let layout = Self::layout(capacity);
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc::alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else {
            alloc::handle_alloc_error(layout)
        };
        pool().note_live(capacity);
        Self { start, capacity }
    }

    fn free(self) {
        // SAFETY: allocated with this layout in `zeroed`, and nobody else has the pointer.
        unsafe { alloc::dealloc(self.start.as_ptr(), Self::layout(self.capacity)) };
    }

    fn slice(&self) -> &[MaybeUninit<u8>] {
        // SAFETY: `capacity` bytes belong to this allocation.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.capacity) }
    }

    fn slice_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: `capacity` bytes belong to this allocation, borrowed for as long.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.capacity) }
    }
}

/// Memory inside a tensor: back to the pool when the last tensor that shows it is dropped.
struct Pooled(Option<Memory>);

impl Pooled {
    fn get(&self) -> &Memory {
        self.0.as_ref().expect(TAKEN)
    }
}

impl AllocationController for Pooled {
    fn alloc_align(&self) -> usize {
        // What Burn's own memory has at most; copies are made with it. The memory here satisfies it too.
        align_of::<u128>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(
        &mut self,
        _policy: AccessPolicy,
    ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let memory = self.0.as_mut().expect(TAKEN);
        Ok(memory.slice_mut())
    }

    fn memory(&self, _policy: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        Ok(self.get().slice())
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(memory) = self.0.take() {
            pool().give(memory);
        }
    }
}

/// Buffers that wait for their next tensor.
struct Pool {
    waiting: BTreeMap<usize, Vec<Memory>>,
    waiting_bytes: usize,
    live_bytes: usize,
    /// The most bytes that were live at once.
    peak_bytes: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    waiting: BTreeMap::new(),
    waiting_bytes: 0,
    live_bytes: 0,
    peak_bytes: 0,
});

// Every change of the pool is complete before the lock is let go, so a panic elsewhere leaves it usable.
fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    fn take(&mut self, bytes: usize) -> Option<Memory> {
        if bytes < SMALLEST {
            return None;
        }
        let (&capacity, list) = self.waiting.range_mut(bytes..).next()?;
        if capacity / 8 * FIT > bytes {
            return None;
        }
        let memory = list.pop();
        if list.is_empty() {
            self.waiting.remove(&capacity);
        }
        self.waiting_bytes -= capacity;
        self.note_live(capacity);
        memory
    }

    /// Counts memory that came to life, and frees what then exceeds the most that was ever needed at once.
    fn note_live(&mut self, capacity: usize) {
        self.live_bytes += capacity;
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
        while self.live_bytes + self.waiting_bytes > self.peak_bytes {
            let Some(mut largest) = self.waiting.last_entry() else {
                return;
            };
            let memory = largest.get_mut().pop();
            if largest.get().is_empty() {
                largest.remove();
            }
            if let Some(memory) = memory {
                self.waiting_bytes -= memory.capacity;
                memory.free();
            }
        }
    }

    fn give(&mut self, memory: Memory) {
        self.live_bytes -= memory.capacity;
        if memory.capacity < SMALLEST {
            memory.free();
            return;
        }
        self.waiting_bytes += memory.capacity;
        self.waiting
            .entry(memory.capacity)
            .or_default()
            .push(memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pool is one for the process and other tests use it too: sizes that no other test asks for.
    #[test]
    fn a_buffer_is_reused_by_the_next_tensor_of_its_size() {
        let length = 1_234_567;
        let mut first = Buffer::new(length);
        first.values().fill(1.0);
        let place = first.values().as_ptr();
        let bytes = first.into_bytes();
        assert_eq!(bytes.len(), length * 4);
        drop(bytes);
        let mut second = Buffer::new(length - 1000);
        assert_eq!(second.values().as_ptr(), place);
        assert_eq!(second.values().len(), length - 1000);
        let mut third = Buffer::new(length);
        assert_ne!(third.values().as_ptr(), place);
        assert!(third.values().iter().all(|value| *value == 0.0));
    }

    #[test]
    fn a_small_tensor_does_not_take_a_large_buffer() {
        let mut large = Buffer::new(7_654_321);
        let place = large.values().as_ptr();
        drop(large);
        assert_ne!(Buffer::new(1_765_432).values().as_ptr(), place);
    }

    #[test]
    fn bytes_are_shared_and_copied_on_write_as_others() {
        let mut buffer = Buffer::new(8);
        buffer
            .values()
            .copy_from_slice(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        let bytes = buffer.into_bytes();
        let mut copy = bytes.clone();
        copy[0] = 255;
        assert_ne!(bytes[0], 255);
        assert_eq!(bytes[28..], 7.0_f32.to_ne_bytes());
    }
}
