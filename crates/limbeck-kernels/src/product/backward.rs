//! The gradients of a linear layer.

use super::Linear;
use super::engine::{Product, Target};
use super::pack::Right;
use crate::processor::Processor;
use crate::sums::{Place, Terms, column_sums};
use crate::vector::Vector;

/// `grad_input = grad_output weight`: `grad_output` `[batch, outputs]`, `weight`
/// `[outputs, inputs]`, `grad_input` `[batch, inputs]`.
///
/// # Panics
///
/// If the lengths disagree with `sizes`.
pub fn linear_backward_input(
    sizes: Linear,
    grad_output: &[f32],
    weight: &[f32],
    grad_input: &mut [f32],
) {
    linear_backward_input_on(Processor::best(), sizes, grad_output, weight, grad_input);
}

/// [`linear_backward_input`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`linear_backward_input`], and if this machine lacks the instructions.
pub fn linear_backward_input_on(
    processor: Processor,
    sizes: Linear,
    grad_output: &[f32],
    weight: &[f32],
    grad_input: &mut [f32],
) {
    sizes.check(grad_input, weight, grad_output);
    let product = Product {
        left: grad_output,
        row_stride: sizes.outputs,
        step: 1,
        rows: sizes.batch,
        right: Right {
            matrix: weight,
            transposed: false,
            inner: sizes.outputs,
            columns: sizes.inputs,
        },
        target: Target::plain(grad_input),
    };
    product.run(processor);
}

/// `grad_weight = grad_output^T input`: `grad_output` `[batch, outputs]`, `input`
/// `[batch, inputs]`, `grad_weight` `[outputs, inputs]`.
///
/// # Panics
///
/// If the lengths disagree with `sizes`.
pub fn linear_backward_weight(
    sizes: Linear,
    input: &[f32],
    grad_output: &[f32],
    grad_weight: &mut [f32],
) {
    linear_backward_weight_on(Processor::best(), sizes, input, grad_output, grad_weight);
}

/// [`linear_backward_weight`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`linear_backward_weight`], and if this machine lacks the instructions.
pub fn linear_backward_weight_on(
    processor: Processor,
    sizes: Linear,
    input: &[f32],
    grad_output: &[f32],
    grad_weight: &mut [f32],
) {
    sizes.check(input, grad_weight, grad_output);
    let product = Product {
        left: grad_output,
        row_stride: 1,
        step: sizes.outputs,
        rows: sizes.outputs,
        right: Right {
            matrix: input,
            transposed: false,
            inner: sizes.batch,
            columns: sizes.inputs,
        },
        target: Target::plain(grad_weight),
    };
    product.run(processor);
}

/// `grad_bias = sum over the batch of grad_output`, `[outputs]`.
///
/// # Panics
///
/// If `grad_output` is not a whole number of rows of as many elements as `grad_bias`.
pub fn linear_backward_bias(grad_output: &[f32], grad_bias: &mut [f32]) {
    linear_backward_bias_on(Processor::best(), grad_output, grad_bias);
}

/// [`linear_backward_bias`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`linear_backward_bias`], and if this machine lacks the instructions.
pub fn linear_backward_bias_on(processor: Processor, grad_output: &[f32], grad_bias: &mut [f32]) {
    let outputs = grad_bias.len();
    if outputs == 0 {
        return;
    }
    assert_eq!(
        grad_output.len() % outputs,
        0,
        "the gradient is not a whole number of rows"
    );
    let rows = grad_output.len() / outputs;
    // SAFETY: `grad_output` has `rows` rows.
    let (sums, _) = unsafe { column_sums(processor, rows, outputs, &Values(grad_output)) };
    for (bias, sum) in grad_bias.iter_mut().zip(sums) {
        *bias = sum as f32;
    }
}

struct Values<'a>(&'a [f32]);

impl Terms for Values<'_> {
    #[inline(always)]
    unsafe fn at<V: Vector, const WHOLE: bool>(&self, place: Place) -> (V, V) {
        // SAFETY: the caller keeps `place` within the matrix.
        let value = unsafe { place.load::<V, WHOLE>(self.0.as_ptr().add(place.index)) };
        (value, value)
    }
}
