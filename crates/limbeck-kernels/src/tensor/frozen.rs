//! Layers of networks that only answer: norms folded in and weights packed once, not at every call.

use std::sync::Arc;

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::backend::{Forward, Operation, run};
use super::convolution::{Convolution, depthwise};
use super::values::{filled, sizes, values};
use crate::Activation;
use crate::convolution::{self, Epilogue, PackedWeight, bf16_available};
use crate::norm::{ChannelStatistics, scale_and_offset};

/// Fewest input channels of a group for which bfloat16 pays: with fewer, pairs of channels are mostly padding.
const FEWEST: usize = 4;

/// A batch norm in evaluation; every tensor is `[channels]`.
#[derive(Clone, Debug)]
pub struct EvaluatedNorm {
    /// The factor.
    pub gamma: Tensor<1>,
    /// The offset.
    pub beta: Tensor<1>,
    /// The running means.
    pub mean: Tensor<1>,
    /// The running variances.
    pub variance: Tensor<1>,
    /// Added to the variances.
    pub epsilon: f64,
}

/// A convolution, and the batch norm behind it, with weights that stay as they are.
#[derive(Clone, Debug)]
pub struct FrozenConvolution(Arc<Weights>);

#[derive(Debug)]
struct Weights {
    settings: Convolution,
    /// `[out_channels, in_channels / groups, height, width]`.
    sizes: [usize; 4],
    packed: Packed,
    bias: Option<Vec<f32>>,
}

#[derive(Debug)]
enum Packed {
    Dense(PackedWeight),
    /// Each channel has a kernel of its own; these are read as they are.
    Depthwise(Vec<f32>),
}

impl FrozenConvolution {
    /// Folds `norm` into `weight`, `[out_channels, in_channels / groups, height, width]`, and `bias`, `[out_channels]`, and packs
    /// them.
    ///
    /// # Panics
    ///
    /// If the sizes don't fit together.
    #[must_use]
    pub fn new(
        weight: Tensor<4>,
        bias: Option<Tensor<1>>,
        norm: Option<EvaluatedNorm>,
        settings: Convolution,
    ) -> Self {
        Self::with(weight, bias, norm, settings, false)
    }

    /// [`new`](Self::new), with weights and inputs rounded to bfloat16 and summed in `f32`. Depthwise convolutions, ones with
    /// fewer than four input channels per group, and all on processors without bfloat16 stay in `f32`.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    #[must_use]
    pub fn bf16(
        weight: Tensor<4>,
        bias: Option<Tensor<1>>,
        norm: Option<EvaluatedNorm>,
        settings: Convolution,
    ) -> Self {
        let wide = weight.dims()[1] >= FEWEST;
        Self::with(weight, bias, norm, settings, wide && bf16_available())
    }

    fn with(
        weight: Tensor<4>,
        bias: Option<Tensor<1>>,
        norm: Option<EvaluatedNorm>,
        settings: Convolution,
        bf16: bool,
    ) -> Self {
        let sizes @ [out_channels, slice, down, right] = weight.dims();
        let mut weight = host(weight);
        let mut bias = bias.map(host);
        if let Some(norm) = norm {
            let (scale, offset) = norm.scale_and_offset();
            for (kernel, scale) in weight.chunks_exact_mut(slice * down * right).zip(&scale) {
                kernel.iter_mut().for_each(|value| *value *= scale);
            }
            bias = Some(match bias {
                None => offset,
                Some(bias) => {
                    let parts = bias.iter().zip(&scale).zip(&offset);
                    parts
                        .map(|((bias, scale), offset)| bias.mul_add(*scale, *offset))
                        .collect()
                }
            });
        }
        // Packed weights depend on channels and kernel alone, so the smallest image stands for all.
        let of = settings.with_sizes(
            [
                1,
                settings.dilation[0] * (down - 1) + 1,
                settings.dilation[1] * (right - 1) + 1,
                slice * settings.groups,
            ],
            sizes,
        );
        assert_eq!(
            bias.as_ref().map_or(out_channels, Vec::len),
            out_channels,
            "one bias per output channel"
        );
        let packed = match depthwise(&of) {
            Some(_) => Packed::Depthwise(weight),
            None if bf16 => Packed::Dense(PackedWeight::bf16(&of, &weight)),
            None => Packed::Dense(PackedWeight::new(&of, &weight)),
        };
        Self(Arc::new(Weights {
            settings,
            sizes,
            packed,
            bias,
        }))
    }

    /// `activation(norm(convolution(input, weight) + bias) + residual)`, without gradients.
    ///
    /// `input` is `[batch, height, width, in_channels]`, `residual` like the output, `[batch, height, width, out_channels]`.
    ///
    /// # Panics
    ///
    /// If the sizes don't fit together, or on the backward pass through it.
    #[must_use]
    pub fn forward(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activation: Activation,
    ) -> Tensor<4> {
        let mut operands = vec![input.into_dispatch()];
        operands.extend(residual.map(Tensor::into_dispatch));
        let operation = Evaluate {
            weights: Arc::clone(&self.0),
            activation,
        };
        Tensor::from_dispatch(run(operands, operation).swap_remove(0))
    }
}

impl EvaluatedNorm {
    fn scale_and_offset(self) -> (Vec<f32>, Vec<f32>) {
        let statistics = ChannelStatistics {
            mean: host(self.mean),
            variance: host(self.variance),
            rows: 1,
        };
        let (gamma, beta) = (host(self.gamma), host(self.beta));
        scale_and_offset(&statistics, &gamma, &beta, self.epsilon as f32)
    }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let values = tensor.into_data().try_to_vec();
    values.expect("the kernels are for tensors of 32-bit floats in memory")
}

#[derive(Debug)]
struct Evaluate {
    weights: Arc<Weights>,
    activation: Activation,
}

impl Operation for Evaluate {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let [input, residual @ ..] = inputs else {
            unreachable!("a convolution has an input")
        };
        let Weights {
            settings,
            sizes: weight_sizes,
            packed,
            bias,
        } = &*self.weights;
        let of = settings.with_sizes(sizes(input), *weight_sizes);
        let shape = [
            of.batch,
            of.output_height(),
            of.output_width(),
            of.out_channels,
        ];
        let residual = residual.first().map(values);
        let (bias, activation) = (bias.as_deref(), self.activation);
        let epilogue = Epilogue {
            bias,
            residual,
            activation,
            statistics: None,
        };
        let input = values(input);
        let output = filled(&shape, |to| match (packed, depthwise(&of)) {
            (Packed::Dense(weight), _) => {
                convolution::forward_packed(&of, input, weight, epilogue, to);
            }
            (Packed::Depthwise(weight), Some(sizes)) if residual.is_none() => {
                convolution::depthwise::forward(sizes, input, weight, bias, activation, to);
            }
            (Packed::Depthwise(weight), _) => {
                convolution::forward(&of, input, weight, epilogue, to);
            }
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
        panic!("a frozen convolution has no gradient")
    }
}
