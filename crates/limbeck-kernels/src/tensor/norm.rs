//! Batch norm in training, alone and behind a convolution.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::backend::{Forward, Operation, run};
use super::convolution::{Convolution, depthwise, gradients};
use super::shortcut::Shortcuts;
use super::values::{filled, list, sizes, values};
use crate::Activation;
use crate::convolution::{self, ChannelSums, Epilogue, depthwise};
use crate::norm::{self, BatchNormGradients, BatchNormSaved, ChannelStatistics, NormOutput};

/// What a batch norm does beside its parameters.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// Added to the variance.
    pub epsilon: f64,
    /// Applied last, behind the residual.
    pub activation: Activation,
}

/// The parameters of a batch norm, each `[channels]`.
#[derive(Clone, Debug)]
pub struct Affine {
    /// The factor.
    pub gamma: Tensor<1>,
    /// The offset.
    pub beta: Tensor<1>,
    /// A guess of the means, such as the running means: sums are taken around it, so that they lose no digits. It does not change
    /// the result and has no gradient.
    pub shift: Tensor<1>,
}

/// A normalised batch and the statistics it was normalised by.
#[derive(Clone, Debug)]
pub struct Normalized {
    /// `[batch, height, width, channels]`.
    pub output: Tensor<4>,
    /// Means, `[channels]`, constants.
    pub mean: Tensor<1>,
    /// Biased variances, `[channels]`, constants.
    pub variance: Tensor<1>,
}

/// The convolution whose output is normalised.
#[derive(Clone, Debug)]
pub struct Before {
    /// `[out_channels, in_channels / groups, height, width]`.
    pub weight: Tensor<4>,
    /// `[out_channels]`. The norm takes it away again, but the means count it.
    pub bias: Option<Tensor<1>>,
    /// How it slides.
    pub convolution: Convolution,
}

/// `activation(gamma (x - mean) / sqrt(variance + epsilon) + beta + residual)` with mean and variance over the batch, where
/// `x` is `before` of `input`, or `input` itself (Ioffe and Szegedy 2015, algorithm 1).
///
/// `input` is `[batch, height, width, in_channels]`, `residual` like the output. The convolution's statistics are taken while its
/// output is in the registers, and its output is read once more to be normalised. `shortcuts` says whose gradients pass between
/// this layer and another; one that begins here must not end here too, unless there is a convolution.
///
/// # Panics
///
/// If the sizes don't fit together.
#[must_use]
pub fn batch_norm(
    input: Tensor<4>,
    before: Option<Before>,
    affine: Affine,
    residual: Option<Tensor<4>>,
    settings: BatchNorm,
    shortcuts: Shortcuts,
) -> Normalized {
    let operation = Normalize {
        shortcuts,
        convolution: before.as_ref().map(|before| before.convolution),
        bias: before.as_ref().is_some_and(|before| before.bias.is_some()),
        residual: residual.is_some(),
        settings,
    };
    let mut operands = vec![
        input.into_dispatch(),
        affine.gamma.into_dispatch(),
        affine.beta.into_dispatch(),
        affine.shift.into_dispatch(),
    ];
    if let Some(before) = before {
        operands.push(before.weight.into_dispatch());
        operands.extend(before.bias.map(Tensor::into_dispatch));
    }
    operands.extend(residual.map(Tensor::into_dispatch));
    let mut results = run(operands, operation).into_iter();
    let mut next = || results.next().expect("an output, means and variances");
    Normalized {
        output: Tensor::from_dispatch(next()),
        mean: Tensor::from_dispatch(next()),
        variance: Tensor::from_dispatch(next()),
    }
}

#[derive(Debug)]
struct Normalize {
    shortcuts: Shortcuts,
    convolution: Option<Convolution>,
    bias: bool,
    residual: bool,
    settings: BatchNorm,
}

impl Operation for Normalize {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let [input, gamma, beta, shift, rest @ ..] = inputs else {
            unreachable!("a batch norm has an input and three lists")
        };
        let mut rest = rest.iter();
        let weight = self.convolution.and_then(|_| rest.next());
        let bias = if self.bias { rest.next() } else { None };
        let residual = rest.next();
        let shift = values(shift);
        let (convolved, statistics) = match self.convolution.zip(weight) {
            Some((convolution, weight)) => convolve(&convolution, [input, weight], bias, shift),
            None => (input.clone(), norm::statistics(values(input), shift)),
        };
        let epsilon = self.settings.epsilon as f32;
        let (scale, offset) =
            norm::scale_and_offset(&statistics, values(gamma), values(beta), epsilon);
        let output = filled(&sizes::<4>(&convolved), |to| {
            norm::normalize(
                values(&convolved),
                &scale,
                &offset,
                residual.map(values),
                self.settings.activation,
                to,
            );
        });
        let mean = list(&statistics.mean);
        let variance = list(&statistics.variance);
        let mut saved = vec![
            convolved,
            gamma.clone(),
            mean.clone(),
            list(&statistics.inverse_standard_deviation(epsilon)),
        ];
        if self.residual {
            saved.push(output.clone());
        } else {
            saved.extend([list(&scale), list(&offset)]);
        }
        if let Some(weight) = weight {
            saved.extend([input.clone(), weight.clone()]);
        }
        Forward {
            output,
            constants: vec![mean, variance],
            saved,
        }
    }

    fn backward(
        &self,
        saved: &[FlexTensor],
        gradient: &FlexTensor,
        wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        let [convolved, gamma, mean, deviation, rest @ ..] = saved else {
            unreachable!("a batch norm saves its input and three lists")
        };
        let (output, rest) = match (self.residual, rest) {
            (true, [output, rest @ ..]) => (NormOutput::Saved(values(output)), rest),
            (false, [scale, offset, rest @ ..]) => {
                let (scale, offset) = (values(scale), values(offset));
                (NormOutput::Recomputed { scale, offset }, rest)
            }
            _ => unreachable!("a batch norm saves its output, or what it follows from"),
        };
        let channels = gamma.layout().num_elements();
        let (mut grad_gamma, mut grad_beta) = (vec![0.0; channels], vec![0.0; channels]);
        let shape = sizes::<4>(convolved);
        // With a convolution before it, the norm's input is not the layer's.
        let arrived = match self.convolution {
            None => self.shortcuts.arrived(),
            Some(_) => None,
        };
        let mut normalise = |residual: Option<&mut [f32]>, add: Option<&FlexTensor>| {
            filled(&shape, |to| {
                let saved = BatchNormSaved {
                    input: values(convolved),
                    output,
                    gamma: values(gamma),
                    mean: values(mean),
                    inverse_standard_deviation: values(deviation),
                    activation: self.settings.activation,
                };
                let gradients = BatchNormGradients {
                    input: to,
                    gamma: &mut grad_gamma,
                    beta: &mut grad_beta,
                    residual,
                    add: add.map(values),
                };
                norm::backward(saved, values(gradient), gradients);
            })
        };
        let (grad_normalized, grad_residual) = match (self.residual, self.settings.activation) {
            (false, _) => (normalise(None, arrived.as_ref()), None),
            (true, Activation::None) => (normalise(None, arrived.as_ref()), Some(gradient.clone())),
            (true, _) => {
                let mut grad_normalized = None;
                let grad_residual = filled(&shape, |to| {
                    grad_normalized = Some(normalise(Some(to), arrived.as_ref()));
                });
                let grad_normalized =
                    grad_normalized.unwrap_or_else(|| unreachable!("it was just computed"));
                (grad_normalized, Some(grad_residual))
            }
        };
        let grad_residual = grad_residual
            .filter(|_| wanted.last() == Some(&true))
            .and_then(|gradient| self.shortcuts.hand_over(gradient));
        let lists = [Some(list(&grad_gamma)), Some(list(&grad_beta)), None];
        let mut results = Vec::with_capacity(wanted.len());
        if let (Some(convolution), [input, weight]) = (&self.convolution, rest) {
            let of = convolution.over(input, weight);
            let wanted = [wanted[0], wanted[4], self.bias && wanted[5]];
            let arrived = self.shortcuts.arrived();
            let (grad_input, grad_weight, grad_bias) = gradients(
                &of,
                [input, weight],
                &grad_normalized,
                arrived.as_ref(),
                wanted,
            );
            results.push(grad_input);
            results.extend(lists);
            results.push(grad_weight);
            if self.bias {
                results.push(grad_bias);
            }
        } else {
            results.push(Some(grad_normalized));
            results.extend(lists);
        }
        if self.residual {
            results.push(grad_residual);
        }
        results
    }
}

/// The convolution's output and its statistics.
fn convolve(
    convolution: &Convolution,
    [input, weight]: [&FlexTensor; 2],
    bias: Option<&FlexTensor>,
    shift: &[f32],
) -> (FlexTensor, ChannelStatistics) {
    let of = convolution.over(input, weight);
    let mut sums = ChannelSums::new(shift.to_vec());
    let shape = [
        of.batch,
        of.output_height(),
        of.output_width(),
        of.out_channels,
    ];
    if let Some(sizes) = depthwise(&of) {
        let output = filled(&shape, |to| {
            let (input, weight) = (values(input), values(weight));
            depthwise::forward(sizes, input, weight, bias.map(values), Activation::None, to);
        });
        let statistics = norm::statistics(values(&output), shift);
        return (output, statistics);
    }
    let output = filled(&shape, |to| {
        let epilogue = Epilogue {
            bias: bias.map(values),
            statistics: Some(&mut sums),
            ..Epilogue::default()
        };
        convolution::forward(&of, values(input), values(weight), epilogue, to);
    });
    let rows = shape[0] * shape[1] * shape[2];
    let statistics =
        ChannelStatistics::from_sums(&sums.sum, &sums.sum_of_squares, &sums.shift, rows);
    (output, statistics)
}

/// `activation(input scale + offset + residual)`, without gradients: a batch norm in evaluation, where scale and offset follow from
/// the running statistics.
///
/// `input` and `residual` are `[batch, height, width, channels]`, `scale` and `offset` `[channels]`.
///
/// # Panics
///
/// If the sizes don't fit together, or on the backward pass through it.
#[must_use]
pub fn scale_and_shift(
    input: Tensor<4>,
    scale: Tensor<1>,
    offset: Tensor<1>,
    residual: Option<Tensor<4>>,
    activation: Activation,
) -> Tensor<4> {
    let mut operands = vec![
        input.into_dispatch(),
        scale.into_dispatch(),
        offset.into_dispatch(),
    ];
    operands.extend(residual.map(Tensor::into_dispatch));
    Tensor::from_dispatch(run(operands, ScaleAndShift(activation)).swap_remove(0))
}

#[derive(Debug)]
struct ScaleAndShift(Activation);

impl Operation for ScaleAndShift {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let [input, scale, offset, residual @ ..] = inputs else {
            unreachable!("an input and two lists")
        };
        let output = filled(&sizes::<4>(input), |to| {
            let residual = residual.first().map(values);
            norm::normalize(
                values(input),
                values(scale),
                values(offset),
                residual,
                self.0,
                to,
            );
        });
        Forward {
            output,
            constants: Vec::new(),
            saved: Vec::new(),
        }
    }

    fn backward(
        &self,
        _saved: &[FlexTensor],
        _gradient: &FlexTensor,
        _wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        panic!("a batch norm in evaluation has no gradient here: run it step by step")
    }
}
