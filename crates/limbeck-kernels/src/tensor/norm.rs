//! Batch norm in training, alone and behind a convolution.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::backend::{Forward, Operation, run};
use super::convolution::{Convolution, gradients};
use super::values::{filled, list, sizes, values};
use crate::Activation;
use crate::convolution::{self, ChannelSums, Epilogue};
use crate::norm::{self, BatchNormGradients, BatchNormSaved, ChannelStatistics};

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

/// `activation(gamma (x - mean) / sqrt(variance + epsilon) + beta + residual)` with mean and variance over the batch, where
/// `x = convolution(input, weight)`, or `x = input` without one (Ioffe and Szegedy 2015, algorithm 1).
///
/// `input` is `[batch, height, width, in_channels]`, `residual` like the output. The convolution's statistics are taken while its
/// output is in the registers, and its output is read once more to be normalised.
///
/// # Panics
///
/// If the sizes don't fit together.
#[must_use]
pub fn batch_norm(
    input: Tensor<4>,
    convolution: Option<(Tensor<4>, Convolution)>,
    affine: Affine,
    residual: Option<Tensor<4>>,
    settings: BatchNorm,
) -> Normalized {
    let operation = Normalize {
        convolution: convolution.as_ref().map(|(_, convolution)| *convolution),
        residual: residual.is_some(),
        settings,
    };
    let mut operands = vec![
        input.into_dispatch(),
        affine.gamma.into_dispatch(),
        affine.beta.into_dispatch(),
        affine.shift.into_dispatch(),
    ];
    operands.extend(convolution.map(|(weight, _)| weight.into_dispatch()));
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
    convolution: Option<Convolution>,
    residual: bool,
    settings: BatchNorm,
}

impl Operation for Normalize {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let [input, gamma, beta, shift, rest @ ..] = inputs else {
            unreachable!("a batch norm has an input and three lists")
        };
        let (weight, residual) = match self.convolution {
            Some(_) => (rest.first(), rest.get(1)),
            None => (None, rest.first()),
        };
        let shift = values(shift);
        let (convolved, statistics) = match self.convolution.zip(weight) {
            Some((convolution, weight)) => convolve(&convolution, input, weight, shift),
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
            output.clone(),
            gamma.clone(),
            mean.clone(),
            list(&statistics.inverse_standard_deviation(epsilon)),
        ];
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
        let [convolved, output, gamma, mean, deviation, rest @ ..] = saved else {
            unreachable!("a batch norm saves its input, output and three lists")
        };
        let channels = gamma.layout().num_elements();
        let (mut grad_gamma, mut grad_beta) = (vec![0.0; channels], vec![0.0; channels]);
        let shape = sizes::<4>(convolved);
        let mut grad_residual = None;
        let mut normalise = |residual: Option<&mut [f32]>| {
            filled(&shape, |to| {
                let saved = BatchNormSaved {
                    input: values(convolved),
                    output: values(output),
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
                };
                norm::backward(saved, values(gradient), gradients);
            })
        };
        let grad_convolved = if self.residual && self.settings.activation != Activation::None {
            let mut grad_convolved = None;
            grad_residual = Some(filled(&shape, |to| {
                grad_convolved = Some(normalise(Some(to)));
            }));
            grad_convolved.unwrap_or_else(|| unreachable!("it was just computed"))
        } else {
            normalise(None)
        };
        if self.residual && self.settings.activation == Activation::None {
            grad_residual = Some(gradient.clone());
        }
        let lists = [Some(list(&grad_gamma)), Some(list(&grad_beta)), None];
        let mut results = Vec::with_capacity(wanted.len());
        if let (Some(convolution), [input, weight]) = (&self.convolution, rest) {
            let of = convolution.over(input, weight);
            let wanted = [wanted[0], wanted[4], false];
            let (grad_input, grad_weight, _) =
                gradients(&of, [input, weight], &grad_convolved, wanted);
            results.push(grad_input);
            results.extend(lists);
            results.push(grad_weight);
        } else {
            results.push(Some(grad_convolved));
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
    input: &FlexTensor,
    weight: &FlexTensor,
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
    let output = filled(&shape, |to| {
        let epilogue = Epilogue {
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
