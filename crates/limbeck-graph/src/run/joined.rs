//! Units of nodes on the CPU kernels.

use burn::tensor::Tensor;
use limbeck_kernels::Activation as Fused;
use limbeck_kernels::elementwise::Function;
use limbeck_kernels::tensor::{
    self as kernels, Convolution, Reduction, Shortcut, Shortcuts, Window,
};

use super::execute::{Value, lost};
use super::features::combined;
use super::node::Run;
use super::schedule::{Unit, is_symmetric};
use super::{ImageLayout, Step};
use crate::ir::{self, Activation, BatchNorm, Conv2d, LayerNorm, Op, Pool2d};
use crate::{Feature, Result, each_rank};

/// The axis of the channels as graphs count, batch first.
const CHANNELS: usize = 1;

/// The axes of the pixels.
const PIXELS: [usize; 2] = [2, 3];

/// A unit taken apart: what the kernels need to know of it.
struct Parts<'a> {
    norm: Option<(&'a Step, &'a BatchNorm)>,
    activation: Fused,
    shortcuts: Shortcuts,
}

impl Run<'_> {
    /// The value of a unit that the kernels can compute; `None` where they can't, and nothing is taken from `values`.
    pub(super) fn joined(
        &self,
        unit: &Unit,
        values: &mut [Option<Value>],
    ) -> Result<Option<Value>> {
        let plan = &self.network.plan;
        let steps: Vec<&Step> = unit.steps.iter().map(|&step| &plan.steps()[step]).collect();
        let (first, op) = (steps[0], self.op(steps[0]));
        if let Op::Linear(_) = op {
            return self.linear(&steps, values);
        }
        if let Op::LayerNorm(norm) = op {
            return self.layer_norm(first, norm, values);
        }
        if first.layout != ImageLayout::ChannelsLast {
            return self.of_features(first, op, values);
        }
        let mut parts = self.parts(&steps);
        if let Some((step, _)) = parts.norm
            && self.trains
            && !self.is_active(step)
        {
            // A norm that is frozen while others train needs gradients through its running statistics.
            return Ok(None);
        }
        let take = |values: &mut [Option<Value>], number: usize| {
            let value = match unit.releases.contains(&number) {
                true => values[number].take(),
                false => values[number].clone(),
            };
            value
                .ok_or_else(|| lost(first))
                .and_then(Value::channels_last)
        };
        let residual = match unit.residual(&self.network.graph, plan) {
            // The shortcut may be the unit's own input.
            Some(number) => match values[number].clone() {
                Some(value) => Some(value.channels_last()?),
                None => {
                    return Err(lost(first));
                }
            },
            None => None,
        };
        let output = match op {
            Op::Conv2d(convolution) if is_symmetric(convolution) => {
                let x = take(values, first.inputs[0])?;
                parts.shortcuts = self.shortcuts(unit);
                self.convolution(first, convolution, &parts, x, residual)?
            }
            Op::BatchNorm(_) => {
                let x = take(values, first.inputs[0])?;
                parts.shortcuts = self.shortcuts(unit);
                self.normalised(&parts, x, residual)?
            }
            Op::MaxPool2d(pool) | Op::AvgPool2d(pool) => {
                let reduction = match op {
                    Op::MaxPool2d(_) => Reduction::Maximum,
                    _ => Reduction::Average {
                        count_padding: pool.count_include_pad,
                    },
                };
                kernels::pool(take(values, first.inputs[0])?, window(pool), reduction)
            }
            Op::GlobalAvgPool => kernels::global_average_pool(take(values, first.inputs[0])?),
            Op::GlobalMaxPool => kernels::global_max_pool(take(values, first.inputs[0])?),
            Op::Reduce(reduce) if reduce.axes == PIXELS => match reduce.reduction {
                ir::Reduction::Mean => kernels::global_average_pool(take(values, first.inputs[0])?),
                ir::Reduction::Max => kernels::global_max_pool(take(values, first.inputs[0])?),
                _ => return Ok(None),
            },
            Op::Concatenate(concatenate) if concatenate.axis == CHANNELS => {
                // A value may stand in the list twice.
                let image = |&input: &usize| match &values[input] {
                    Some(value) => value.clone().channels_last(),
                    None => Err(lost(first)),
                };
                let images: Result<Vec<_>> = first.inputs.iter().map(image).collect();
                kernels::concatenate(images?)
            }
            Op::Split(split) if split.axis == CHANNELS => {
                let parts = kernels::split(take(values, first.inputs[0])?, &split.sizes);
                let mut parts = parts.into_iter().map(Value::ChannelsLast);
                let part = parts.next();
                for (&output, part) in first.outputs[1..].iter().zip(parts) {
                    values[output] = Some(part);
                }
                return Ok(part);
            }
            Op::ChannelShuffle(shuffle) => {
                kernels::channel_shuffle(take(values, first.inputs[0])?, shuffle.groups)
            }
            Op::Activation(activation) => {
                let Some(function) = function(*activation) else {
                    return Ok(None);
                };
                kernels::apply(function, take(values, first.inputs[0])?)
            }
            Op::ScaleShift(line) => {
                let image = take(values, first.inputs[0])?;
                kernels::multiply_add(image, line.scale as f32, line.shift as f32)
            }
            Op::Add | Op::Subtract | Op::Multiply if first.inputs.len() == 2 => {
                let [left, right] = [0, 1].map(|side| values[first.inputs[side]].clone());
                let (Some(left), Some(right)) = (left, right) else {
                    return Ok(None);
                };
                let (left, right) = (left.channels_last()?, right.channels_last()?);
                if left.dims() != right.dims() {
                    return Ok(None);
                }
                combined(op, left, right)
            }
            _ => return Ok(None),
        };
        Ok(Some(Value::ChannelsLast(output)))
    }

    fn parts<'s>(&'s self, steps: &[&'s Step]) -> Parts<'s> {
        let mut parts = Parts {
            norm: None,
            activation: Fused::None,
            shortcuts: Shortcuts::default(),
        };
        for &step in steps {
            match self.op(step) {
                Op::BatchNorm(norm) => parts.norm = Some((step, norm)),
                Op::Activation(Activation::Relu) => parts.activation = Fused::Relu,
                Op::Activation(Activation::Relu6) => parts.activation = Fused::Relu6,
                _ => {}
            }
        }
        parts
    }

    /// The shortcuts of a unit that is about to run.
    fn shortcuts(&self, unit: &Unit) -> Shortcuts {
        if !self.trains {
            return Shortcuts::default();
        }
        let mut open = self.shortcuts.borrow_mut();
        let begins = unit.begins.map(|value| {
            let way = Shortcut::default();
            open.insert(value, way.clone());
            way
        });
        Shortcuts {
            begins,
            ends: unit.ends.and_then(|value| open.remove(&value)),
        }
    }

    fn convolution(
        &self,
        step: &Step,
        convolution: &Conv2d,
        parts: &Parts<'_>,
        x: Tensor<4>,
        residual: Option<Tensor<4>>,
    ) -> Result<Tensor<4>> {
        let settings = Convolution {
            stride: convolution.stride,
            padding: convolution.padding.map(|[before, _]| before),
            dilation: convolution.dilation,
            groups: convolution.groups,
        };
        let activation = parts.activation;
        if !self.trains
            && let Some(prepared) = &self.network.prepared
        {
            let frozen = prepared.convolution(self, step, parts.norm, settings)?;
            return Ok(frozen.forward(x, residual, activation));
        }
        let (weight, bias) = (self.weight::<4>(step, "weight")?, self.bias(step)?);
        let shortcuts = parts.shortcuts.clone();
        let Some((at, norm)) = parts.norm else {
            return Ok(kernels::convolution(
                x, weight, bias, residual, settings, activation, shortcuts,
            ));
        };
        if self.trains {
            let before = kernels::Before {
                weight,
                bias,
                convolution: settings,
            };
            return self.batch_norm(at, norm, parts, x, Some(before), residual);
        }
        let (scale, offset) = self.scale_and_offset(at, norm)?;
        let folded = weight * scale.clone().reshape([-1, 1, 1, 1]);
        let bias = match bias {
            Some(bias) => offset + bias * scale,
            None => offset,
        };
        let bias = Some(bias);
        Ok(kernels::convolution(
            x, folded, bias, residual, settings, activation, shortcuts,
        ))
    }

    fn normalised(
        &self,
        parts: &Parts<'_>,
        x: Tensor<4>,
        residual: Option<Tensor<4>>,
    ) -> Result<Tensor<4>> {
        let Some((at, norm)) = parts.norm else {
            unreachable!("a unit that starts with a norm has one")
        };
        if self.trains {
            return self.batch_norm(at, norm, parts, x, None, residual);
        }
        let (scale, offset) = self.scale_and_offset(at, norm)?;
        Ok(kernels::scale_and_shift(
            x,
            scale,
            offset,
            residual,
            parts.activation,
        ))
    }

    fn batch_norm(
        &self,
        step: &Step,
        norm: &BatchNorm,
        parts: &Parts<'_>,
        x: Tensor<4>,
        before: Option<kernels::Before>,
        residual: Option<Tensor<4>>,
    ) -> Result<Tensor<4>> {
        let affine = self.affine(step, norm)?;
        let affine = kernels::Affine {
            gamma: affine.weight,
            beta: affine.bias,
            shift: self.weight(step, "running_mean")?,
        };
        let settings = kernels::BatchNorm {
            epsilon: norm.epsilon,
            activation: parts.activation,
        };
        let shortcuts = parts.shortcuts.clone();
        let result = kernels::batch_norm(x, before, affine, residual, settings, shortcuts);
        let [batch, height, width, _] = result.output.dims();
        let count = batch * height * width;
        self.check_batch(step, count)?;
        self.update(step, norm, result.mean, result.variance, count)?;
        Ok(result.output)
    }

    /// The factor and the term that a norm's running statistics come to.
    fn scale_and_offset(&self, step: &Step, norm: &BatchNorm) -> Result<(Tensor<1>, Tensor<1>)> {
        let affine = self.affine(step, norm)?;
        let mean: Tensor<1> = self.weight(step, "running_mean")?;
        let variance: Tensor<1> = self.weight(step, "running_var")?;
        let scale = affine.weight / variance.add_scalar(affine.epsilon).sqrt();
        let offset = affine.bias - mean * scale.clone();
        Ok((scale, offset))
    }

    fn linear(&self, steps: &[&Step], values: &mut [Option<Value>]) -> Result<Option<Value>> {
        let Some(Value::Feature(x)) = values[steps[0].inputs[0]].clone() else {
            return Ok(None);
        };
        let output: Feature = match x {
            Feature::Rank2(x) => self.linear_rows(steps, x)?.into(),
            other => each_rank!(other, x => {
                let mut sizes = x.dims();
                let Some((inputs, rows)) = sizes.split_last_mut() else {
                    return Ok(None);
                };
                let output = self.linear_rows(steps, x.reshape([rows.iter().product(), *inputs]))?;
                [_, *inputs] = output.dims();
                output.reshape(sizes).into()
            }),
        };
        Ok(Some(Value::Feature(output)))
    }

    /// The linear layer, and the activation behind it, of rows `[rows, inputs]`.
    fn linear_rows(&self, steps: &[&Step], x: Tensor<2>) -> Result<Tensor<2>> {
        let first = steps[0];
        let activation = self.parts(steps).activation;
        let prepared = self.network.prepared.as_ref();
        if let Some(prepared) = prepared.filter(|_| !self.trains)
            && let Some(layer) = prepared.linear(self, first)?
        {
            let [rows, inputs] = x.dims();
            let image = layer.forward(x.reshape([rows, 1, 1, inputs]), None, activation);
            let [.., outputs] = image.dims();
            return Ok(image.reshape([rows, outputs]));
        }
        let (weight, bias) = (self.weight(first, "weight")?, self.bias(first)?);
        Ok(kernels::linear(x, weight, bias, activation))
    }

    fn layer_norm(
        &self,
        step: &Step,
        norm: &LayerNorm,
        values: &mut [Option<Value>],
    ) -> Result<Option<Value>> {
        let Some(x) = values[step.inputs[0]].clone() else {
            return Ok(None);
        };
        let x = x.feature()?;
        let (weight, bias) = match norm.affine {
            true => (self.weight(step, "weight")?, self.weight(step, "bias")?),
            false => {
                let size = [x.shape()[x.rank() - 1]];
                (
                    Tensor::ones(size, &x.device()),
                    Tensor::zeros(size, &x.device()),
                )
            }
        };
        let output =
            each_rank!(x, tensor => kernels::layer_norm(tensor, weight, bias, norm.epsilon).into());
        Ok(Some(Value::Feature(output)))
    }

    fn op(&self, step: &Step) -> &Op {
        &self.network.graph.nodes[step.node].op
    }
}

fn window(pool: &Pool2d) -> Window {
    Window {
        kernel: pool.kernel,
        stride: pool.stride,
        padding: pool.padding,
        ceil: pool.ceil,
    }
}

pub(super) fn function(activation: Activation) -> Option<Function> {
    Some(match activation {
        Activation::Relu => Function::Relu,
        Activation::Relu6 => Function::Relu6,
        Activation::LeakyRelu { slope } => Function::LeakyRelu {
            slope: slope as f32,
        },
        Activation::Gelu => Function::Gelu,
        Activation::Sigmoid => Function::Sigmoid,
        Activation::Tanh => Function::Tanh,
        Activation::Silu => Function::Swish,
        Activation::HardSwish => Function::HardSwish,
        Activation::GeluTanh => Function::GeluTanh,
        Activation::HardSigmoid => Function::HardSigmoid,
        Activation::Softplus => Function::Softplus,
        Activation::Elu { alpha } => Function::Elu {
            alpha: alpha as f32,
        },
        Activation::Clip { least, most } => Function::Clip {
            least: least as f32,
            most: most as f32,
        },
        Activation::Erf => Function::Erf,
        Activation::Exponential => Function::Exponential,
        _ => return None,
    })
}
