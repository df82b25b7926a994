//! Softmaxes and their logarithms over the last axis.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::backend::{Forward, Operation, run};
use super::values::{filled, values};
use crate::loss;

/// `softmax(logits)` over the last axis.
///
/// # Panics
///
/// If an axis is empty.
#[must_use]
pub fn softmax<const D: usize>(logits: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(run(vec![logits.into_dispatch()], Softmax).swap_remove(0))
}

/// `log softmax(logits / temperature)` over the last axis.
///
/// # Panics
///
/// If an axis is empty, or the temperature is not positive.
#[must_use]
pub fn log_softmax<const D: usize>(temperature: f32, logits: Tensor<D>) -> Tensor<D> {
    let operation = LogSoftmax { temperature };
    Tensor::from_dispatch(run(vec![logits.into_dispatch()], operation).swap_remove(0))
}

#[derive(Debug)]
struct Softmax;

impl Operation for Softmax {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        by_rows(&inputs[0], |rows, to| {
            loss::softmax(rows, values(&inputs[0]), to);
        })
    }

    fn backward(
        &self,
        saved: &[FlexTensor],
        gradient: &FlexTensor,
        _wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        let (result, slopes) = (values(&saved[0]), values(gradient));
        let back = by_rows(gradient, |rows, to| {
            loss::softmax_backward(rows, result, slopes, to);
        });
        vec![Some(back.output)]
    }
}

#[derive(Debug)]
struct LogSoftmax {
    temperature: f32,
}

impl Operation for LogSoftmax {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        by_rows(&inputs[0], |rows, to| {
            loss::log_softmax(rows, self.temperature, values(&inputs[0]), to);
        })
    }

    fn backward(
        &self,
        saved: &[FlexTensor],
        gradient: &FlexTensor,
        _wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        let (result, slopes) = (values(&saved[0]), values(gradient));
        let back = by_rows(gradient, |rows, to| {
            loss::log_softmax_backward(rows, self.temperature, result, slopes, to);
        });
        vec![Some(back.output)]
    }
}

/// What `fill` writes, in the shape of `like`, knowing its number of rows; it is saved too.
fn by_rows(like: &FlexTensor, fill: impl FnOnce(usize, &mut [f32])) -> Forward {
    let shape: &[usize] = like.layout().shape();
    let rows = shape
        .split_last()
        .map_or(1, |(_, rows)| rows.iter().product());
    let output = filled(shape, |to| fill(rows, to));
    Forward {
        saved: vec![output.clone()],
        output,
        constants: Vec::new(),
    }
}
