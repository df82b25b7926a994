//! Convolution with bias, residual and activation.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::backend::{Forward, Operation, run};
use super::shortcut::Shortcuts;
use super::values::{filled, list, sizes, values};
use crate::Activation;
use crate::convolution::depthwise::{self, Depthwise};
use crate::convolution::{self, Epilogue};
use crate::product::linear_backward_bias;

/// How a convolution slides, without the sizes of its tensors. Pairs are `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Distance between two applications of the kernel.
    pub stride: [usize; 2],
    /// Zeros on each of two opposite sides.
    pub padding: [usize; 2],
    /// Distance between two taps of the kernel.
    pub dilation: [usize; 2],
    /// Independent slices of the channels.
    pub groups: usize,
}

impl Convolution {
    /// Over an input `[batch, height, width, in_channels]` with a weight
    /// `[out_channels, in_channels / groups, height, width]`.
    pub(super) fn over(&self, input: &FlexTensor, weight: &FlexTensor) -> convolution::Convolution {
        self.with_sizes(sizes(input), sizes(weight))
    }

    /// With the sizes of an input and a weight, as in [`over`](Self::over).
    pub(super) fn with_sizes(
        &self,
        [batch, height, width, in_channels]: [usize; 4],
        [out_channels, _, down, right]: [usize; 4],
    ) -> convolution::Convolution {
        convolution::Convolution {
            batch,
            height,
            width,
            in_channels,
            out_channels,
            kernel: [down, right],
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
        }
    }
}

/// `activation(convolution(input, weight) + bias + residual)`.
///
/// `input` is `[batch, height, width, in_channels]`, `weight` `[out_channels, in_channels / groups, height, width]`, `bias`
/// `[out_channels]`, `residual` like the output `[batch, height, width, out_channels]`. `shortcuts` says whose gradients pass
/// between this layer and another.
///
/// # Panics
///
/// If the sizes don't fit together.
#[must_use]
pub fn convolution(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    residual: Option<Tensor<4>>,
    settings: Convolution,
    activation: Activation,
    shortcuts: Shortcuts,
) -> Tensor<4> {
    let operation = Convolve {
        settings,
        activation,
        shortcuts,
        bias: bias.is_some(),
        residual: residual.is_some(),
    };
    let mut operands = vec![input.into_dispatch(), weight.into_dispatch()];
    operands.extend(bias.map(Tensor::into_dispatch));
    operands.extend(residual.map(Tensor::into_dispatch));
    let mut results = run(operands, operation);
    Tensor::from_dispatch(results.swap_remove(0))
}

#[derive(Debug)]
struct Convolve {
    settings: Convolution,
    activation: Activation,
    shortcuts: Shortcuts,
    bias: bool,
    residual: bool,
}

impl Operation for Convolve {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let [input, weight, rest @ ..] = inputs else {
            unreachable!("a convolution has an input and a weight")
        };
        let of = self.settings.over(input, weight);
        let mut rest = rest.iter().map(values);
        let epilogue = Epilogue {
            bias: if self.bias { rest.next() } else { None },
            residual: if self.residual { rest.next() } else { None },
            activation: self.activation,
            statistics: None,
        };
        let shape = [
            of.batch,
            of.output_height(),
            of.output_width(),
            of.out_channels,
        ];
        let output = filled(&shape, |to| match depthwise(&of) {
            Some(sizes) if epilogue.residual.is_none() => {
                let (bias, activation) = (epilogue.bias, epilogue.activation);
                depthwise::forward(sizes, values(input), values(weight), bias, activation, to);
            }
            _ => convolution::forward(&of, values(input), values(weight), epilogue, to),
        });
        let mut saved = vec![input.clone(), weight.clone()];
        if self.activation != Activation::None {
            saved.push(output.clone());
        }
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
        let [input, weight, output @ ..] = saved else {
            unreachable!("a convolution saves its input and weight")
        };
        let of = self.settings.over(input, weight);
        let passed = output
            .first()
            .map(|output| activation_gradient(self.activation, output, gradient));
        let gradient = passed.as_ref().unwrap_or(gradient);
        let grad_residual = (self.residual && wanted.last() == Some(&true))
            .then(|| gradient.clone())
            .and_then(|gradient| self.shortcuts.hand_over(gradient));
        let (grad_input, grad_weight, grad_bias) = gradients(
            &of,
            [input, weight],
            gradient,
            self.shortcuts.arrived().as_ref(),
            [wanted[0], wanted[1], self.bias && wanted[2]],
        );
        let mut results = vec![grad_input, grad_weight];
        if self.bias {
            results.push(grad_bias);
        }
        if self.residual {
            results.push(grad_residual);
        }
        results
    }
}

/// The gradients of input, weight and bias as far as they are wanted; that of the input plus `add`.
pub(super) fn gradients(
    of: &convolution::Convolution,
    [input, weight]: [&FlexTensor; 2],
    gradient: &FlexTensor,
    add: Option<&FlexTensor>,
    [wants_input, wants_weight, wants_bias]: [bool; 3],
) -> (Option<FlexTensor>, Option<FlexTensor>, Option<FlexTensor>) {
    let slices = [input, weight, gradient].map(values);
    let depthwise = depthwise(of);
    let grad_input = wants_input.then(|| {
        let [_, weight, gradient] = slices;
        let add = add.map(values);
        filled(&sizes::<4>(input), |to| match (depthwise, add) {
            (Some(sizes), None) => depthwise::backward_input(sizes, gradient, weight, to),
            _ => convolution::backward_input(of, gradient, weight, add, to),
        })
    });
    let mut grad_bias = wants_bias.then(|| vec![0.0; of.out_channels]);
    let grad_weight = (wants_weight || wants_bias).then(|| {
        let [input, _, gradient] = slices;
        filled(&sizes::<4>(weight), |to| match depthwise {
            Some(sizes) => {
                depthwise::backward_weight(sizes, input, gradient, to);
                if let Some(bias) = &mut grad_bias {
                    linear_backward_bias(gradient, bias);
                }
            }
            None => {
                let bias = grad_bias.as_deref_mut();
                convolution::backward_weight(of, input, gradient, to, bias);
            }
        })
    });
    (grad_input, grad_weight, grad_bias.as_deref().map(list))
}

/// The sizes of a convolution in which each channel has a kernel of its own and no other input.
pub(super) fn depthwise(of: &convolution::Convolution) -> Option<Depthwise> {
    (of.is_depthwise() && of.out_channels == of.in_channels).then_some(Depthwise {
        batch: of.batch,
        height: of.height,
        width: of.width,
        channels: of.in_channels,
        kernel: of.kernel,
        stride: of.stride,
        padding: of.padding,
        dilation: of.dilation,
    })
}

/// The gradient before an activation with the given output.
pub(super) fn activation_gradient(
    activation: Activation,
    output: &FlexTensor,
    gradient: &FlexTensor,
) -> FlexTensor {
    filled(gradient.layout().shape(), |to| {
        crate::activation::backward(activation, values(output), values(gradient), to);
    })
}
