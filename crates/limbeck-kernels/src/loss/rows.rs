//! What the losses do with a row of logits.

use crate::functions::exp;
use crate::vector::Vector;

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
