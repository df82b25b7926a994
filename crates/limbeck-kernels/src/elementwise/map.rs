//! A function of the elements of one or two slices, over fixed chunks on many threads.

use rayon::prelude::*;

use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::vector::Vector;

/// Elements of one task.
const CHUNK: usize = 32 * 1024;

/// A function of one or two elements.
pub(super) trait Map: Copy + Sync {
    /// The result for vectors of elements of the first and second slice.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `V`.
    unsafe fn apply<V: Vector>(&self, first: V, second: V) -> V;
}

/// Writes `function` of the elements of both slices to `output`; without a first slice, of
/// `output` itself and the second.
pub(super) fn map(
    processor: Processor,
    first: Option<&[f32]>,
    second: &[f32],
    output: &mut [f32],
    function: impl Map,
) {
    let length = output.len();
    assert!(
        first.is_none_or(|first| first.len() == length),
        "the slices differ in length"
    );
    assert_eq!(second.len(), length, "the slices differ in length");
    output
        .par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(index, output)| {
            let part = |slice: &[f32]| slice[index * CHUNK..][..output.len()].as_ptr();
            let kernel = Chunk {
                first: first.map_or(output.as_ptr(), part),
                second: part(second),
                length: output.len(),
                output: output.as_mut_ptr(),
                function,
            };
            // SAFETY: the pointers are valid for `length` elements.
            unsafe { dispatch::run(processor, kernel) };
        });
}

struct Chunk<M> {
    first: *const f32,
    second: *const f32,
    output: *mut f32,
    length: usize,
    function: M,
}

impl<M: Map> Kernel for Chunk<M> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let mut index = 0;
        // SAFETY: every vector lies within the length; the partial one names its lanes.
        unsafe {
            while index + V::LANES <= self.length {
                let first = V::load(self.first.add(index));
                let second = V::load(self.second.add(index));
                self.function
                    .apply(first, second)
                    .store(self.output.add(index));
                index += V::LANES;
            }
            if index < self.length {
                let lanes = self.length - index;
                let first = V::load_partial(self.first.add(index), lanes);
                let second = V::load_partial(self.second.add(index), lanes);
                let result = self.function.apply(first, second);
                result.store_partial(self.output.add(index), lanes);
            }
        }
    }
}
