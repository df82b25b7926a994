//! Sums and products of elements.

use super::map::{Map, map};
use crate::processor::Processor;
use crate::vector::Vector;

#[derive(Clone, Copy)]
struct Add;

impl Map for Add {
    #[inline(always)]
    unsafe fn apply<V: Vector>(&self, first: V, second: V) -> V {
        // SAFETY: the caller's promise.
        unsafe { first.add(second) }
    }
}

#[derive(Clone, Copy)]
struct Subtract;

impl Map for Subtract {
    #[inline(always)]
    unsafe fn apply<V: Vector>(&self, first: V, second: V) -> V {
        // SAFETY: the caller's promise.
        unsafe { first.sub(second) }
    }
}

#[derive(Clone, Copy)]
struct Multiply;

impl Map for Multiply {
    #[inline(always)]
    unsafe fn apply<V: Vector>(&self, first: V, second: V) -> V {
        // SAFETY: the caller's promise.
        unsafe { first.mul(second) }
    }
}

#[derive(Clone, Copy)]
struct MultiplyAdd {
    factor: f32,
    term: f32,
}

impl Map for MultiplyAdd {
    #[inline(always)]
    unsafe fn apply<V: Vector>(&self, first: V, _: V) -> V {
        // SAFETY: the caller's promise.
        unsafe { first.mul_add(V::splat(self.factor), V::splat(self.term)) }
    }
}

/// `output = left + right`.
///
/// # Panics
///
/// If the lengths differ.
pub fn add(left: &[f32], right: &[f32], output: &mut [f32]) {
    add_on(Processor::best(), left, right, output);
}

/// [`add`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`add`], and if this machine lacks the instructions.
pub fn add_on(processor: Processor, left: &[f32], right: &[f32], output: &mut [f32]) {
    map(processor, Some(left), right, output, Add);
}

/// `values += more`, as gradients that meet do.
///
/// # Panics
///
/// If the lengths differ.
pub fn accumulate(values: &mut [f32], more: &[f32]) {
    accumulate_on(Processor::best(), values, more);
}

/// [`accumulate`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`accumulate`], and if this machine lacks the instructions.
pub fn accumulate_on(processor: Processor, values: &mut [f32], more: &[f32]) {
    map(processor, None, more, values, Add);
}

/// `output = left - right`.
///
/// # Panics
///
/// If the lengths differ.
pub fn subtract(left: &[f32], right: &[f32], output: &mut [f32]) {
    subtract_on(Processor::best(), left, right, output);
}

/// [`subtract`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`subtract`], and if this machine lacks the instructions.
pub fn subtract_on(processor: Processor, left: &[f32], right: &[f32], output: &mut [f32]) {
    map(processor, Some(left), right, output, Subtract);
}

/// `output = left * right`.
///
/// # Panics
///
/// If the lengths differ.
pub fn multiply(left: &[f32], right: &[f32], output: &mut [f32]) {
    multiply_on(Processor::best(), left, right, output);
}

/// [`multiply`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`multiply`], and if this machine lacks the instructions.
pub fn multiply_on(processor: Processor, left: &[f32], right: &[f32], output: &mut [f32]) {
    map(processor, Some(left), right, output, Multiply);
}

/// `output = input * factor + term`.
///
/// # Panics
///
/// If the lengths differ.
pub fn multiply_add(input: &[f32], factor: f32, term: f32, output: &mut [f32]) {
    multiply_add_on(Processor::best(), input, factor, term, output);
}

/// [`multiply_add`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`multiply_add`], and if this machine lacks the instructions.
pub fn multiply_add_on(
    processor: Processor,
    input: &[f32],
    factor: f32,
    term: f32,
    output: &mut [f32],
) {
    map(
        processor,
        Some(input),
        input,
        output,
        MultiplyAdd { factor, term },
    );
}
