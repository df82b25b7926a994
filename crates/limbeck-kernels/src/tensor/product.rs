//! Products of many matrices.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::backend::{Forward, Operation, run};
use super::values::{filled, sizes, values};
use crate::Activation;
use crate::product::{Linear, linear, linear_backward_input, linear_backward_weight};

/// `left right` of each pair of matrices: `left` `[count, rows, inner]`, `right` `[count, inner, columns]`.
///
/// # Panics
///
/// If the sizes don't fit together, or one of them is zero.
#[must_use]
pub fn mat_mul(left: Tensor<3>, right: Tensor<3>) -> Tensor<3> {
    let ([count, _, inner], [same, rows, _]) = (left.dims(), right.dims());
    assert_eq!(
        (count, inner),
        (same, rows),
        "as many matrices, and columns as rows"
    );
    let operands = vec![left.into_dispatch(), right.into_dispatch()];
    Tensor::from_dispatch(run(operands, Products).swap_remove(0))
}

#[derive(Debug)]
struct Products;

/// One pair of matrices as a linear layer whose weight is the right one and which runs backwards.
fn layer(left: &FlexTensor, right: &FlexTensor) -> Linear {
    let [_, rows, inner] = sizes(left);
    let [.., columns] = sizes::<3>(right);
    Linear {
        batch: rows,
        inputs: columns,
        outputs: inner,
    }
}

impl Operation for Products {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let [left, right] = [&inputs[0], &inputs[1]];
        let layer = layer(left, right);
        let [count, rows, _] = sizes(left);
        let output = filled(&[count, rows, layer.inputs], |to| {
            let product = |left: &[f32], right: &[f32], to: &mut [f32]| {
                linear_backward_input(layer, left, right, to);
            };
            each(count, values(left), values(right), to, product);
        });
        Forward {
            output,
            constants: Vec::new(),
            saved: inputs.to_vec(),
        }
    }

    fn backward(
        &self,
        saved: &[FlexTensor],
        gradient: &FlexTensor,
        wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        let [left, right] = [&saved[0], &saved[1]];
        let layer = layer(left, right);
        let [count, ..] = sizes::<3>(left);
        let of_left = wanted[0].then(|| {
            filled(&sizes::<3>(left), |to| {
                let product = |gradient: &[f32], right: &[f32], to: &mut [f32]| {
                    linear(layer, gradient, right, None, Activation::None, to);
                };
                each(count, values(gradient), values(right), to, product);
            })
        });
        let of_right = wanted[1].then(|| {
            filled(&sizes::<3>(right), |to| {
                let product = |gradient: &[f32], left: &[f32], to: &mut [f32]| {
                    linear_backward_weight(layer, gradient, left, to);
                };
                each(count, values(gradient), values(left), to, product);
            })
        });
        vec![of_left, of_right]
    }
}

/// Runs a product for each of `count` pairs of matrices, on as many threads as there are.
fn each(
    count: usize,
    first: &[f32],
    second: &[f32],
    to: &mut [f32],
    product: impl Fn(&[f32], &[f32], &mut [f32]) + Sync,
) {
    let part = |slice: &[f32]| slice.len() / count;
    first
        .par_chunks_exact(part(first))
        .zip(second.par_chunks_exact(part(second)))
        .zip(to.par_chunks_exact_mut(to.len() / count))
        .for_each(|((first, second), to)| product(first, second, to));
}
