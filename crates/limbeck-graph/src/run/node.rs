//! One node of a forward pass.

use std::cell::RefCell;
use std::collections::BTreeMap;

use burn::tensor::{Int, Tensor};
use limbeck_kernels::tensor::Shortcut;

use super::execute::Value;
use super::layout::{to_channels_first, to_channels_last};
use super::ops::normalise::Affine;
use super::ops::pool::Keep;
use super::ops::{activation, arrange, convolution, dense, normalise, pool, reduce as summary};
use super::weight::Storage;
use super::{CompiledGraph, ImageLayout, Step};
use crate::ir::{BatchNorm, Op};
use crate::{Error, Feature, Result, each_rank};

/// `[batch, channels, height, width]` to `[batch, height, width, channels]`.
pub(super) const CHANNELS_TO_BACK: &[usize] = &[0, 2, 3, 1];
/// `[batch, height, width, channels]` to `[batch, channels, height, width]`.
pub(super) const CHANNELS_TO_FRONT: &[usize] = &[0, 3, 1, 2];

/// A forward pass under way.
pub(super) struct Run<'a> {
    pub(super) network: &'a CompiledGraph,
    pub(super) trains: bool,
    /// The number of rows.
    pub(super) batch: usize,
    /// Shortcuts whose end has not been reached, by the value at which they begin.
    pub(super) shortcuts: RefCell<BTreeMap<usize, Shortcut>>,
}

impl Run<'_> {
    pub(super) fn node(&self, step: &Step, mut arguments: Vec<Value>) -> Result<Vec<Value>> {
        let op = &self.network.graph.nodes[step.node].op;
        match op {
            Op::Parameter(_) | Op::Constant(_) => {
                return Ok(vec![Value::Feature(self.feature(step, "value")?)]);
            }
            Op::Concatenate(concatenate) => {
                let value = self.concatenate(step, arguments, concatenate.axis)?;
                return Ok(vec![value]);
            }
            Op::Add
            | Op::Subtract
            | Op::Multiply
            | Op::Divide
            | Op::Maximum
            | Op::Minimum
            | Op::Compare(_)
            | Op::Where
            | Op::MatMul => return Ok(vec![self.combine(step, op, arguments)?]),
            Op::Recurrent(layer) => return self.recurrent(step, layer, arguments),
            _ => {}
        }
        let x = arguments.swap_remove(0);
        match op {
            Op::Embedding(table) => {
                let tokens = x.tokens()?;
                self.check_tokens(step, &tokens, table.tokens)?;
                let rows = dense::embedding(tokens, self.weight(step, "weight")?);
                return Ok(vec![Value::Feature(rows.into())]);
            }
            Op::TokensAsFloats => {
                let numbers = self.in_this_run(x.tokens()?.float().into());
                return Ok(vec![Value::Feature(numbers)]);
            }
            Op::Split(split) => return self.split(step, x, split),
            // The memory of an image stays as it is; only its meaning changes.
            Op::Transpose(transpose) => match (&transpose.axes[..], step.layout) {
                (CHANNELS_TO_BACK, _) if matches!(x, Value::ChannelsLast(_)) => {
                    return Ok(vec![Value::Feature(x.channels_last()?.into())]);
                }
                (CHANNELS_TO_FRONT, ImageLayout::ChannelsLast) => {
                    return Ok(vec![Value::ChannelsLast(x.feature()?.try_into()?)]);
                }
                _ => {}
            },
            _ => {}
        }
        let value = match step.layout {
            ImageLayout::ChannelsLast => {
                Value::ChannelsLast(self.channels_last(step, op, x.channels_last()?)?)
            }
            ImageLayout::ChannelsFirst => {
                Value::Feature(self.channels_first(step, op, x.feature()?)?)
            }
        };
        Ok(vec![value])
    }

    fn channels_last(&self, step: &Step, op: &Op, x: Tensor<4>) -> Result<Tensor<4>> {
        Ok(match op {
            Op::Conv2d(conv) => {
                convolution::channels_last(x, self.weight(step, "weight")?, self.bias(step)?, conv)
            }
            Op::ConvTranspose2d(conv) => {
                let (weight, bias) = (self.weight(step, "weight")?, self.bias(step)?);
                to_channels_last(convolution::transposed(
                    to_channels_first(x),
                    weight,
                    bias,
                    conv,
                ))
            }
            Op::BatchNorm(norm) => self.batch_norm_last(step, norm, x)?,
            Op::MaxPool2d(window) => pool::image_channels_last(x, window, Keep::Largest),
            Op::AvgPool2d(window) => pool::image_channels_last(x, window, Keep::Mean),
            Op::GlobalAvgPool => pool::global(x, 1, 2, Keep::Mean),
            Op::GlobalMaxPool => pool::global(x, 1, 2, Keep::Largest),
            Op::ChannelShuffle(shuffle) => arrange::shuffle(x, 3, shuffle.groups),
            Op::Activation(function) => activation::apply(*function, x),
            Op::ScaleShift(line) => x.mul_scalar(line.scale).add_scalar(line.shift),
            Op::Slice(slice) => {
                let axis = last_axis(slice.axis);
                arrange::slice(x, &crate::ir::Slice { axis, ..*slice })
            }
            Op::Take(take) => arrange::take(x, last_axis(take.axis), &take.indices),
            Op::Pad(pad) => {
                let [rows, channels, height, width] = pad.sides[..] else {
                    return Err(self.unplanned(step));
                };
                arrange::pad(x, &[rows, height, width, channels], pad.fill)
            }
            Op::Reduce(reduce) => {
                let mut axes: Vec<usize> = reduce.axes.iter().copied().map(last_axis).collect();
                axes.sort_unstable();
                summary::reduce(x, &axes, reduce.reduction)
            }
            Op::Dropout(dropout) if self.is_active(step) && dropout.rate > 0.0 => {
                let [batch, height, width, channels] = x.dims();
                let like = x.clone().detach().reshape([batch, channels, height, width]);
                x * to_channels_last(activation::dropout_mask(&like, dropout.rate))
            }
            Op::Dropout(_) => x,
            _ => return Err(self.unplanned(step)),
        })
    }

    fn channels_first(&self, step: &Step, op: &Op, x: Feature) -> Result<Feature> {
        Ok(match op {
            Op::Conv1d(conv) => convolution::sequence(
                x.try_into()?,
                self.weight(step, "weight")?,
                self.bias(step)?,
                conv,
            )
            .into(),
            Op::Conv2d(conv) => convolution::channels_first(
                x.try_into()?,
                self.weight(step, "weight")?,
                self.bias(step)?,
                conv,
            )
            .into(),
            Op::ConvTranspose2d(conv) => convolution::transposed(
                x.try_into()?,
                self.weight(step, "weight")?,
                self.bias(step)?,
                conv,
            )
            .into(),
            Op::Linear(_) => {
                let (weight, bias) = (self.weight(step, "weight")?, self.bias(step)?);
                each_rank!(x, tensor => dense::linear(tensor, weight, bias).into())
            }
            Op::BatchNorm(norm) => {
                each_rank!(x, tensor => self.batch_norm_first(step, norm, tensor)?.into())
            }
            Op::LayerNorm(norm) => {
                let affine = match norm.affine {
                    true => Some((self.weight(step, "weight")?, self.weight(step, "bias")?)),
                    false => None,
                };
                each_rank!(x, tensor => dense::layer_norm(tensor, affine, norm.epsilon).into())
            }
            Op::Dropout(dropout) if self.is_active(step) && dropout.rate > 0.0 => {
                each_rank!(x, tensor => {
                    let mask = activation::dropout_mask(&tensor.clone().detach(), dropout.rate);
                    (tensor * mask).into()
                })
            }
            Op::Dropout(_) => x,
            Op::Activation(function) => {
                each_rank!(x, tensor => activation::apply(*function, tensor).into())
            }
            Op::ScaleShift(line) => {
                each_rank!(x, tensor => tensor.mul_scalar(line.scale).add_scalar(line.shift).into())
            }
            Op::MaxPool1d(window) => pool::sequence(x.try_into()?, window, Keep::Largest).into(),
            Op::AvgPool1d(window) => pool::sequence(x.try_into()?, window, Keep::Mean).into(),
            Op::MaxPool2d(window) => pool::image(x.try_into()?, window, Keep::Largest).into(),
            Op::AvgPool2d(window) => pool::image(x.try_into()?, window, Keep::Mean).into(),
            Op::GlobalAvgPool | Op::GlobalMaxPool => {
                let keep = if matches!(op, Op::GlobalAvgPool) {
                    Keep::Mean
                } else {
                    Keep::Largest
                };
                let last = x.rank() - 1;
                each_rank!(x, tensor => pool::global(tensor, 2, last, keep).into())
            }
            Op::ChannelShuffle(shuffle) => {
                each_rank!(x, tensor => arrange::shuffle(tensor, 1, shuffle.groups).into())
            }
            Op::Reshape(reshape) => {
                let mut sizes = vec![x.shape()[0]];
                sizes.extend(&reshape.sizes);
                arrange::reshape(x, &sizes)?
            }
            Op::Flatten => {
                let shape = x.shape();
                arrange::reshape(x, &[shape[0], shape[1..].iter().product()])?
            }
            Op::View(view) => arrange::reshape(x, &view.shape.sizes(self.batch))?,
            Op::Expand(expand) => arrange::expand(x, &expand.shape.sizes(self.batch))?,
            Op::Slice(slice) => each_rank!(x, tensor => arrange::slice(tensor, slice).into()),
            Op::Take(take) => {
                each_rank!(x, tensor => arrange::take(tensor, take.axis, &take.indices).into())
            }
            Op::Pad(pad) => {
                each_rank!(x, tensor => arrange::pad(tensor, &pad.sides, pad.fill).into())
            }
            Op::Reduce(reduce) => {
                each_rank!(x, tensor => summary::reduce(tensor, &reduce.axes, reduce.reduction).into())
            }
            Op::Transpose(transpose) => arrange::permute(x, &transpose.axes)?,
            Op::Softmax(softmax) => {
                each_rank!(x, tensor => burn::tensor::activation::softmax(tensor, softmax.axis).into())
            }
            Op::LogSoftmax(softmax) => {
                each_rank!(x, tensor => burn::tensor::activation::log_softmax(tensor, softmax.axis).into())
            }
            _ => return Err(self.unplanned(step)),
        })
    }

    fn batch_norm_last(&self, step: &Step, norm: &BatchNorm, x: Tensor<4>) -> Result<Tensor<4>> {
        let [batch, height, width, channels] = x.dims();
        let rows: Tensor<2> = x.reshape([batch * height * width, channels]);
        let rows = match self.is_active(step) {
            true => {
                let count = batch * height * width;
                self.check_batch(step, count)?;
                let normalised = normalise::by_batch_rows(rows, self.affine(step, norm)?);
                self.update(step, norm, normalised.mean, normalised.variance, count)?;
                normalised.output
            }
            false => {
                let (mean, variance) = (
                    self.weight(step, "running_mean")?,
                    self.weight(step, "running_var")?,
                );
                normalise::by_statistics(rows, 1, self.affine(step, norm)?, mean, variance)
            }
        };
        Ok(rows.reshape([batch, height, width, channels]))
    }

    fn batch_norm_first<const D: usize>(
        &self,
        step: &Step,
        norm: &BatchNorm,
        x: Tensor<D>,
    ) -> Result<Tensor<D>> {
        if !self.is_active(step) {
            let (mean, variance) = (
                self.weight(step, "running_mean")?,
                self.weight(step, "running_var")?,
            );
            return Ok(normalise::by_statistics(
                x,
                1,
                self.affine(step, norm)?,
                mean,
                variance,
            ));
        }
        let count = x.dims().iter().product::<usize>() / norm.channels;
        self.check_batch(step, count)?;
        let normalised = normalise::by_batch(x, self.affine(step, norm)?);
        self.update(step, norm, normalised.mean, normalised.variance, count)?;
        Ok(normalised.output)
    }

    pub(super) fn check_batch(&self, step: &Step, count: usize) -> Result<()> {
        if count > 1 {
            return Ok(());
        }
        Err(self.wrong(
            step,
            "training needs more than 1 value per channel, got 1: use a larger batch".to_owned(),
        ))
    }

    /// Moves the running statistics towards those of a batch with `count` values per channel.
    pub(super) fn update(
        &self,
        step: &Step,
        norm: &BatchNorm,
        mean: Tensor<1>,
        variance: Tensor<1>,
        count: usize,
    ) -> Result<()> {
        let unbiased = variance.mul_scalar(count as f64 / (count as f64 - 1.0));
        for (role, new) in [("running_mean", mean), ("running_var", unbiased)] {
            let Storage::Buffer(buffer) = self.storage(step, role)? else {
                return Err(self.unplanned(step));
            };
            let old: Tensor<1> = buffer.value().try_into()?;
            let new = if old.device().is_autodiff() {
                new
            } else {
                new.without_autodiff()
            };
            let moved = old.mul_scalar(1.0 - norm.momentum) + new.mul_scalar(norm.momentum);
            buffer.set(moved.detach().into());
        }
        Ok(())
    }

    pub(super) fn affine(&self, step: &Step, norm: &BatchNorm) -> Result<Affine> {
        let (weight, bias) = match norm.affine {
            true => (self.weight(step, "weight")?, self.weight(step, "bias")?),
            false => {
                let like: Tensor<1> = self.weight(step, "running_mean")?;
                (like.ones_like(), like.zeros_like())
            }
        };
        Ok(Affine {
            weight,
            bias,
            epsilon: norm.epsilon,
        })
    }

    /// Whether a batch norm or dropout shows its training behaviour.
    pub(super) fn is_active(&self, step: &Step) -> bool {
        let flag = self.network.wiring.flags[step.node];
        self.trains && flag.is_some_and(|flag| self.network.flags[flag].flag.is_enabled())
    }

    fn storage(&self, step: &Step, role: &str) -> Result<&Storage> {
        let position = self.network.wiring.weights[step.node].get(role);
        let position =
            position.ok_or_else(|| self.wrong(step, format!("it has no weight `{role}`")))?;
        Ok(&self.network.weights[*position].storage)
    }

    /// A weight as it takes part in this run: without gradients when evaluating.
    fn feature(&self, step: &Step, role: &str) -> Result<Feature> {
        Ok(self.in_this_run(self.storage(step, role)?.feature()))
    }

    /// A tensor that can take part in this run.
    fn in_this_run(&self, feature: Feature) -> Feature {
        each_rank!(feature, tensor => match self.trains {
            true => tensor.autodiff().into(),
            false => tensor.without_autodiff().into(),
        })
    }

    pub(super) fn weight<const D: usize>(&self, step: &Step, role: &str) -> Result<Tensor<D>>
    where
        Tensor<D>: TryFrom<Feature, Error = Error>,
    {
        self.feature(step, role)?.try_into()
    }

    pub(super) fn bias(&self, step: &Step) -> Result<Option<Tensor<1>>> {
        match self.network.wiring.weights[step.node].contains_key("bias") {
            true => self.weight(step, "bias").map(Some),
            false => Ok(None),
        }
    }

    fn check_tokens(&self, step: &Step, tokens: &Tensor<2, Int>, known: usize) -> Result<()> {
        let range = [tokens.clone().min(), tokens.clone().max()]
            .map(|end| end.into_data().iter::<i64>().next());
        match range {
            [Some(low), Some(high)] if low < 0 || high >= known as i64 => Err(self.wrong(
                step,
                format!(
                    "expected token ids from 0 to {}, got {low} to {high}",
                    known.saturating_sub(1)
                ),
            )),
            _ => Ok(()),
        }
    }

    fn wrong(&self, step: &Step, problem: String) -> Error {
        crate::ir::node_error(&self.network.graph.nodes[step.node], problem)
    }

    pub(super) fn unplanned(&self, step: &Step) -> Error {
        self.wrong(step, format!("it cannot run with {}", step.layout))
    }
}

/// The place of a channels-first axis when the channels are last.
pub(super) const fn last_axis(axis: usize) -> usize {
    match axis {
        0 => 0,
        1 => 3,
        axis => axis - 1,
    }
}
