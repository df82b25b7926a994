//! What losses and softmaxes do with a row of logits, and their way over all rows.

use rayon::prelude::*;

use super::{TASK, classes};
use crate::dispatch::{self, Kernel};
use crate::functions::exp;
use crate::processor::Processor;
use crate::vector::Vector;

/// A function of one row, or of two rows of the same place, that gives a row.
pub(super) trait RowMap: Copy + Sync {
    /// Writes the result of `first` and `second`, each of `classes` values, to `result`.
    ///
    /// # Safety
    ///
    /// All of them have `classes` elements and the processor has the instructions of `V`.
    unsafe fn row<V: Vector>(
        self,
        classes: usize,
        first: *const f32,
        second: *const f32,
        result: *mut f32,
    );
}

/// Applies `map` to each of `rows` rows of `first` and `second`; a map of one row is given it twice.
pub(super) fn map_rows(
    processor: Processor,
    rows: usize,
    [first, second]: [&[f32]; 2],
    result: &mut [f32],
    map: impl RowMap,
) {
    let length = result.len();
    assert_eq!(first.len(), length, "rows and result differ in length");
    assert_eq!(second.len(), length, "rows and result differ in length");
    let classes = classes(length, rows);
    let task = TASK.div_ceil(classes) * classes;
    let inputs = first.par_chunks(task).zip(second.par_chunks(task));
    let tasks = inputs.zip(result.par_chunks_mut(task));
    tasks.for_each(|((first, second), result)| {
        let kernel = Rows {
            classes,
            first,
            second,
            result,
            map,
        };
        // SAFETY: the chunks have the same rows.
        unsafe { dispatch::run(processor, kernel) };
    });
}

struct Rows<'a, M> {
    classes: usize,
    first: &'a [f32],
    second: &'a [f32],
    result: &'a mut [f32],
    map: M,
}

impl<M: RowMap> Kernel for Rows<'_, M> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let classes = self.classes;
        let inputs = self
            .first
            .chunks_exact(classes)
            .zip(self.second.chunks_exact(classes));
        for ((first, second), result) in inputs.zip(self.result.chunks_exact_mut(classes)) {
            let (first, second) = (first.as_ptr(), second.as_ptr());
            // SAFETY: all of them have `classes` elements.
            unsafe {
                self.map
                    .row::<V>(classes, first, second, result.as_mut_ptr())
            };
        }
    }
}

/// The greatest of `length` values.
///
/// # Safety
///
/// They are readable and the processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn greatest<V: Vector>(values: *const f32, length: usize) -> f32 {
    // SAFETY: the caller's promise; partial vectors name their lanes.
    unsafe {
        let mut greatest = V::splat(f32::NEG_INFINITY);
        let mut index = 0;
        while index + V::LANES <= length {
            greatest = greatest.max(V::load(values.add(index)));
            index += V::LANES;
        }
        let mut lanes = [f32::NEG_INFINITY; 16];
        greatest.store(lanes.as_mut_ptr());
        let mut result = f32::NEG_INFINITY;
        for lane in 0..V::LANES {
            result = result.max(lanes[lane]);
        }
        while index < length {
            result = result.max(*values.add(index));
            index += 1;
        }
        result
    }
}

/// Writes `e^((x - shift) factor)` of `length` values to `powers` and gives their sum.
///
/// # Safety
///
/// `values` are readable, `powers` is writable and the processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn powers<V: Vector>(
    values: *const f32,
    shift: f32,
    factor: f32,
    length: usize,
    powers: *mut f32,
) -> f32 {
    // SAFETY: the caller's promise; partial vectors name their lanes.
    unsafe {
        let (shift, factor) = (V::splat(shift), V::splat(factor));
        let mut sum = V::zero();
        let mut index = 0;
        while index + V::LANES <= length {
            let power = exp(V::load(values.add(index)).sub(shift).mul(factor));
            power.store(powers.add(index));
            sum = sum.add(power);
            index += V::LANES;
        }
        let mut total = sum.sum();
        if index < length {
            let lanes = length - index;
            let power = exp(V::load_partial(values.add(index), lanes)
                .sub(shift)
                .mul(factor));
            power.store_partial(powers.add(index), lanes);
            // The lanes that are not in use hold anything.
            for lane in 0..lanes {
                total += *powers.add(index + lane);
            }
        }
        total
    }
}

/// The sum of `x - shift` over `length` values.
///
/// # Safety
///
/// They are readable and the processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn sum_of_deviations<V: Vector>(
    values: *const f32,
    shift: f32,
    length: usize,
) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = V::zero();
        let mut index = 0;
        while index + V::LANES <= length {
            sum = sum.add(V::load(values.add(index)).sub(V::splat(shift)));
            index += V::LANES;
        }
        let mut total = sum.sum();
        while index < length {
            total += *values.add(index) - shift;
            index += 1;
        }
        total
    }
}

/// The sum of the products of `length` pairs of values.
///
/// # Safety
///
/// Both are readable and the processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn products<V: Vector>(
    left: *const f32,
    right: *const f32,
    length: usize,
) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = V::zero();
        let mut index = 0;
        while index + V::LANES <= length {
            sum = V::load(left.add(index)).mul_add(V::load(right.add(index)), sum);
            index += V::LANES;
        }
        let mut total = sum.sum();
        while index < length {
            total += *left.add(index) * *right.add(index);
            index += 1;
        }
        total
    }
}
