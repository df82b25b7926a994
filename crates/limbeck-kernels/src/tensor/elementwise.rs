//! Functions of each element, and the copies between layouts.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::backend::{Forward, Operation, run};
use super::values::{filled, sizes, values};
use crate::elementwise::{self, Function};

/// `function` of each element.
#[must_use]
pub fn apply<const D: usize>(function: Function, input: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(run(vec![input.into_dispatch()], Apply(function)).swap_remove(0))
}

#[derive(Debug)]
struct Apply(Function);

impl Operation for Apply {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let output = filled(inputs[0].layout().shape(), |to| {
            elementwise::apply(self.0, values(&inputs[0]), to);
        });
        // Where the output tells the slope as well as the input, it is the one that later layers keep anyway.
        let saved = match self.0 {
            Function::Relu | Function::Relu6 => output.clone(),
            _ => inputs[0].clone(),
        };
        Forward {
            output,
            constants: Vec::new(),
            saved: vec![saved],
        }
    }

    fn backward(
        &self,
        saved: &[FlexTensor],
        gradient: &FlexTensor,
        _wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        vec![Some(filled(gradient.layout().shape(), |to| {
            elementwise::backward(self.0, values(&saved[0]), values(gradient), to);
        }))]
    }
}

/// `[batch, channels, height, width]` to `[batch, height, width, channels]`.
#[must_use]
pub fn to_channels_last(image: Tensor<4>) -> Tensor<4> {
    permute(image, true)
}

/// `[batch, height, width, channels]` to `[batch, channels, height, width]`.
#[must_use]
pub fn to_channels_first(image: Tensor<4>) -> Tensor<4> {
    permute(image, false)
}

fn permute(image: Tensor<4>, channels_last: bool) -> Tensor<4> {
    let operation = Permute { channels_last };
    Tensor::from_dispatch(run(vec![image.into_dispatch()], operation).swap_remove(0))
}

#[derive(Debug)]
struct Permute {
    channels_last: bool,
}

impl Operation for Permute {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        Forward {
            output: permuted(&inputs[0], self.channels_last),
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
        vec![Some(permuted(gradient, !self.channels_last))]
    }
}

fn permuted(image: &FlexTensor, channels_last: bool) -> FlexTensor {
    if channels_last {
        let [batch, channels, height, width] = sizes(image);
        filled(&[batch, height, width, channels], |to| {
            elementwise::nchw_to_nhwc(height * width, channels, values(image), to);
        })
    } else {
        let [batch, height, width, channels] = sizes(image);
        filled(&[batch, channels, height, width], |to| {
            elementwise::nhwc_to_nchw(height * width, channels, values(image), to);
        })
    }
}

/// The channels of `image`, `[batch, height, width, channels]`, dealt out in turn from `groups` groups.
///
/// # Panics
///
/// If the groups don't divide the channels.
#[must_use]
pub fn channel_shuffle(image: Tensor<4>, groups: usize) -> Tensor<4> {
    Tensor::from_dispatch(run(vec![image.into_dispatch()], Shuffle { groups }).swap_remove(0))
}

#[derive(Debug)]
struct Shuffle {
    groups: usize,
}

impl Operation for Shuffle {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        Forward {
            output: shuffled(&inputs[0], |_| self.groups),
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
        // Dealing out from as many groups as each had channels puts them back.
        vec![Some(shuffled(gradient, |channels| channels / self.groups))]
    }
}

fn shuffled(image: &FlexTensor, groups: impl Fn(usize) -> usize) -> FlexTensor {
    let shape @ [.., channels] = sizes::<4>(image);
    filled(&shape, |to| {
        elementwise::shuffle(channels, groups(channels), values(image), to);
    })
}
