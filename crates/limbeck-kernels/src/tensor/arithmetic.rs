//! Sums, differences and products of tensors of one shape, and lines.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::backend::{Forward, Operation, run};
use super::values::{filled, values};
use crate::elementwise;

/// `left + right` of tensors of one shape.
///
/// # Panics
///
/// If the shapes differ.
#[must_use]
pub fn add<const D: usize>(left: Tensor<D>, right: Tensor<D>) -> Tensor<D> {
    combine(Combine::Add, left, right)
}

/// `left - right` of tensors of one shape.
///
/// # Panics
///
/// If the shapes differ.
#[must_use]
pub fn subtract<const D: usize>(left: Tensor<D>, right: Tensor<D>) -> Tensor<D> {
    combine(Combine::Subtract, left, right)
}

/// `left right`, element by element, of tensors of one shape.
///
/// # Panics
///
/// If the shapes differ.
#[must_use]
pub fn multiply<const D: usize>(left: Tensor<D>, right: Tensor<D>) -> Tensor<D> {
    combine(Combine::Multiply, left, right)
}

fn combine<const D: usize>(how: Combine, left: Tensor<D>, right: Tensor<D>) -> Tensor<D> {
    assert_eq!(
        left.dims(),
        right.dims(),
        "elements are combined with those of a tensor of the same shape"
    );
    let operands = vec![left.into_dispatch(), right.into_dispatch()];
    Tensor::from_dispatch(run(operands, how).swap_remove(0))
}

#[derive(Clone, Copy, Debug)]
enum Combine {
    Add,
    Subtract,
    Multiply,
}

impl Operation for Combine {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let [left, right] = [&inputs[0], &inputs[1]].map(values);
        let output = filled(inputs[0].layout().shape(), |to| match self {
            Self::Add => elementwise::add(left, right, to),
            Self::Subtract => elementwise::subtract(left, right, to),
            Self::Multiply => elementwise::multiply(left, right, to),
        });
        let saved = match self {
            Self::Add | Self::Subtract => Vec::new(),
            Self::Multiply => inputs.to_vec(),
        };
        Forward {
            output,
            constants: Vec::new(),
            saved,
        }
    }

    fn backward(
        &self,
        saved: &[FlexTensor],
        gradient: &FlexTensor,
        wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        let times = |factor: &FlexTensor| {
            filled(gradient.layout().shape(), |to| {
                elementwise::multiply(values(gradient), values(factor), to);
            })
        };
        match self {
            Self::Add => vec![Some(gradient.clone()), Some(gradient.clone())],
            Self::Subtract => vec![
                Some(gradient.clone()),
                wanted[1].then(|| line(gradient, -1.0, 0.0)),
            ],
            Self::Multiply => vec![
                wanted[0].then(|| times(&saved[1])),
                wanted[1].then(|| times(&saved[0])),
            ],
        }
    }
}

/// `input factor + term` of each element.
#[must_use]
pub fn multiply_add<const D: usize>(input: Tensor<D>, factor: f32, term: f32) -> Tensor<D> {
    let operation = MultiplyAdd { factor, term };
    Tensor::from_dispatch(run(vec![input.into_dispatch()], operation).swap_remove(0))
}

#[derive(Debug)]
struct MultiplyAdd {
    factor: f32,
    term: f32,
}

impl Operation for MultiplyAdd {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        Forward {
            output: line(&inputs[0], self.factor, self.term),
            constants: Vec::new(),
            saved: Vec::new(),
        }
    }

    fn backward(
        &self,
        _saved: &[FlexTensor],
        gradient: &FlexTensor,
        _wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        vec![Some(line(gradient, self.factor, 0.0))]
    }
}

fn line(input: &FlexTensor, factor: f32, term: f32) -> FlexTensor {
    filled(input.layout().shape(), |to| {
        elementwise::multiply_add(values(input), factor, term, to);
    })
}
