//! Nodes that take several values, or make several.

use burn::tensor::Tensor;

use super::execute::Value;
use super::node::{Run, last_axis};
use super::ops::combine::{self, Elementwise};
use super::ops::recurrent::{self, Weights};
use super::ops::{arrange, combine::concatenate};
use super::{ImageLayout, Step};
use crate::ir::{Op, Recurrent, Split};
use crate::{Feature, Result, each_rank};

/// The elementwise operation of two values that an operator is.
pub(crate) const fn elementwise(op: &Op) -> Option<Elementwise> {
    Some(match op {
        Op::Add => Elementwise::Add,
        Op::Subtract => Elementwise::Subtract,
        Op::Multiply => Elementwise::Multiply,
        Op::Divide => Elementwise::Divide,
        Op::Maximum => Elementwise::Maximum,
        Op::Minimum => Elementwise::Minimum,
        Op::Compare(compare) => Elementwise::Compare(compare.relation),
        _ => return None,
    })
}

impl Run<'_> {
    /// An elementwise operator, a choice or a matrix product.
    pub(super) fn combine(&self, step: &Step, op: &Op, arguments: Vec<Value>) -> Result<Value> {
        let last = step.layout == ImageLayout::ChannelsLast;
        let mut features = arguments.into_iter().map(|value| match last {
            true => value.channels_last().map(Feature::from),
            false => value.feature(),
        });
        let mut next = || features.next().unwrap_or_else(|| Err(self.unplanned(step)));
        let result = if matches!(op, Op::Where) {
            combine::choose(next()?, next()?, next()?)?
        } else {
            let first = next()?;
            features.try_fold(first, |a, b| match elementwise(op) {
                Some(operation) => combine::elementwise(operation, a, b?),
                None => combine::mat_mul(a, b?),
            })?
        };
        Ok(match last {
            true => Value::ChannelsLast(result.try_into()?),
            false => Value::Feature(result),
        })
    }

    pub(super) fn concatenate(
        &self,
        step: &Step,
        arguments: Vec<Value>,
        axis: usize,
    ) -> Result<Value> {
        if step.layout == ImageLayout::ChannelsLast {
            let images: Result<Vec<_>> = arguments.into_iter().map(Value::channels_last).collect();
            return Ok(Value::ChannelsLast(Tensor::cat(images?, last_axis(axis))));
        }
        let features: Result<Vec<_>> = arguments.into_iter().map(Value::feature).collect();
        concatenate(features?, axis).map(Value::Feature)
    }

    pub(super) fn split(&self, step: &Step, x: Value, split: &Split) -> Result<Vec<Value>> {
        if step.layout == ImageLayout::ChannelsLast {
            let parts = arrange::split(&x.channels_last()?, last_axis(split.axis), &split.sizes);
            return Ok(parts.into_iter().map(Value::ChannelsLast).collect());
        }
        each_rank!(x.feature()?, tensor => Ok(
            arrange::split(&tensor, split.axis, &split.sizes)
                .into_iter()
                .map(|part| Value::Feature(part.into()))
                .collect()
        ))
    }

    pub(super) fn recurrent(
        &self,
        step: &Step,
        layer: &Recurrent,
        arguments: Vec<Value>,
    ) -> Result<Vec<Value>> {
        let mut tensors = arguments
            .into_iter()
            .map(|value| Tensor::<3>::try_from(value.feature()?));
        let x = tensors
            .next()
            .unwrap_or_else(|| Err(self.unplanned(step)))?;
        let given: Vec<Tensor<3>> = tensors.collect::<Result<_>>()?;
        let outputs = recurrent::forward(layer, &x, &given, &self.recurrent_weights(step, layer)?)?;
        Ok(outputs.into_iter().map(Value::Feature).collect())
    }

    pub(super) fn recurrent_weights(&self, step: &Step, layer: &Recurrent) -> Result<Weights> {
        Ok(Weights {
            input: self.weight(step, "weight_input")?,
            hidden: self.weight(step, "weight_hidden")?,
            bias: match layer.bias {
                true => Some(self.weight(step, "bias")?),
                false => None,
            },
        })
    }
}
