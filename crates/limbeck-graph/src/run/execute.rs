//! One forward pass.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor};

use super::layout::{to_channels_first, to_channels_last};
use super::node::Run;
use super::ops::arrange::raise;
use super::prepared::Prepared;
use super::schedule::{self, Unit};
use super::{CompiledGraph, ImageLayout, Step};
use crate::error::nearest;
use crate::ir::Kind;
use crate::{Error, Feature, InputTensor, Inputs, Network, Precision, Result, Taps, Trace};

/// A value during the run.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Tokens(Tensor<2, Int>),
    Feature(Feature),
    /// An image `[batch, height, width, channels]`.
    ChannelsLast(Tensor<4>),
}

impl Value {
    /// As users and losses see it.
    pub(super) fn feature(self) -> Result<Feature> {
        match self {
            Self::Feature(feature) => Ok(feature),
            Self::ChannelsLast(image) => Ok(to_channels_first(image).into()),
            Self::Tokens(tokens) => Err(Error::Rank {
                expected: 2,
                shape: tokens.dims().to_vec(),
            }),
        }
    }

    /// An image with the channels last; axes that a repeated value lacks are put in front before.
    pub(super) fn channels_last(self) -> Result<Tensor<4>> {
        match self {
            Self::ChannelsLast(image) => Ok(image),
            other => Ok(to_channels_last(raise(other.feature()?, 4)?.try_into()?)),
        }
    }

    pub(super) fn tokens(self) -> Result<Tensor<2, Int>> {
        match self {
            Self::Tokens(tokens) => Ok(tokens),
            other => Err(Error::Rank {
                expected: 2,
                shape: other.feature()?.shape(),
            }),
        }
    }
}

impl Network for CompiledGraph {
    fn forward(&self, inputs: &Inputs, taps: &Taps) -> Result<Trace> {
        let wanted = self.wanted(taps)?;
        let plan = &self.plan;
        let mut values: Vec<Option<Value>> = vec![None; plan.values().len()];
        let run = self.take_inputs(inputs, &mut values)?;
        let mut features = BTreeMap::new();
        let mut record = |number: usize, values: &[Option<Value>]| -> Result<()> {
            if let (Some(names), Some(value)) = (wanted.get(&number), &values[number]) {
                let feature = value.clone().feature()?;
                features.extend(names.iter().map(|&name| (name.to_owned(), feature.clone())));
            }
            Ok(())
        };
        (0..self.graph.inputs.len()).try_for_each(|number| record(number, &values))?;
        let kernels = self.weights.first().is_none_or(|weight| {
            limbeck_kernels::tensor::supports(&weight.storage.feature().device())
        }) && plan.layout() == ImageLayout::ChannelsLast;
        let tapped = |value: usize| wanted.contains_key(&value);
        for unit in schedule::units(&self.graph, &self.analysis, plan, kernels, tapped) {
            let last = &plan.steps()[unit.steps[unit.steps.len() - 1]];
            let joined = match kernels {
                true => run.joined(&unit, &mut values)?,
                false => None,
            };
            if let Some(value) = joined {
                values[last.outputs[0]] = Some(value);
            } else {
                run.one_by_one(&unit, &mut values)?;
            }
            last.outputs
                .iter()
                .try_for_each(|&number| record(number, &values))?;
            for &released in &unit.releases {
                values[released] = None;
            }
        }
        let output = features
            .get(&self.graph.outputs[0])
            .cloned()
            .ok_or_else(|| Error::Unknown {
                kind: "output value",
                name: self.graph.outputs[0].clone(),
                nearest: Vec::new(),
            })?;
        let asked =
            |name: &String| taps.names().contains(name) || self.graph.outputs[1..].contains(name);
        features.retain(|name, _| asked(name));
        Ok(Trace { output, features })
    }

    fn tap_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for value in self.plan.values() {
            let tokens = self.analysis.values[value].kind == Kind::Tokens;
            if !tokens {
                names.push(value.clone());
                let aliases = self
                    .graph
                    .taps
                    .iter()
                    .filter(|(alias, of)| *of == value && *alias != value);
                names.extend(aliases.map(|(alias, _)| alias.clone()));
            }
        }
        names
    }

    fn prepared(mut self, precision: Precision) -> Self {
        let nodes = self.graph.nodes.len();
        self.prepared = Some(Arc::new(Prepared::new(nodes, precision)));
        self
    }
}

impl Run<'_> {
    /// Runs the steps of a unit one after the other.
    fn one_by_one(&self, unit: &Unit, values: &mut [Option<Value>]) -> Result<()> {
        for (position, &index) in unit.steps.iter().enumerate() {
            let step = &self.network.plan.steps()[index];
            let later = &unit.steps[position + 1..];
            let needed = |number: usize| {
                let mut later = later.iter().map(|&step| &self.network.plan.steps()[step]);
                later.any(|step| step.inputs.contains(&number))
            };
            let last = |number: usize| unit.releases.contains(&number) && !needed(number);
            let arguments = take_arguments(step, last, values)?;
            let results = self.node(step, arguments)?;
            for (&number, result) in step.outputs.iter().zip(results) {
                values[number] = Some(result);
            }
        }
        Ok(())
    }
}

/// The inputs of a step. One that no later step needs is handed over rather than shared, so that Burn can
/// reuse its memory.
fn take_arguments(
    step: &Step,
    last: impl Fn(usize) -> bool,
    values: &mut [Option<Value>],
) -> Result<Vec<Value>> {
    let argument = |(position, number): (usize, &usize)| {
        let value = match last(*number) && !step.inputs[position + 1..].contains(number) {
            true => values[*number].take(),
            false => values[*number].clone(),
        };
        // A value is released only after its last use.
        value.ok_or_else(|| lost(step))
    };
    step.inputs.iter().enumerate().map(argument).collect()
}

/// That a value which a step needs was forgotten before, which the plan rules out.
pub(super) fn lost(step: &Step) -> Error {
    Error::Device(format!("`{}` lost an input", step.name))
}

impl CompiledGraph {
    /// The names to record for each value's number: taps and outputs.
    pub(super) fn wanted<'a>(&'a self, taps: &'a Taps) -> Result<BTreeMap<usize, Vec<&'a str>>> {
        let mut wanted: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for name in taps.names().iter().chain(&self.graph.outputs) {
            wanted.entry(self.tapped(name)?).or_default().push(name);
        }
        Ok(wanted)
    }

    /// The number of the float value that a tap, an input or an output of this name stands for.
    pub(super) fn tapped(&self, name: &str) -> Result<usize> {
        let value = self.graph.taps.get(name).map_or(name, String::as_str);
        let number = self.plan.values().iter().position(|known| known == value);
        let float = self
            .analysis
            .values
            .get(value)
            .is_some_and(|value| value.kind == Kind::Float);
        number.filter(|_| float).ok_or_else(|| {
            let known = self.tap_names();
            Error::Unknown {
                kind: "tap",
                name: name.to_owned(),
                nearest: nearest(name, known.iter().map(String::as_str)),
            }
        })
    }

    /// Checks the inputs and puts them in the first places of `values`.
    pub(super) fn take_inputs(
        &self,
        inputs: &Inputs,
        values: &mut [Option<Value>],
    ) -> Result<Run<'_>> {
        let mut batch: Option<usize> = None;
        let mut device: Option<Device> = None;
        for (number, expected) in self.graph.inputs.iter().enumerate() {
            let given = match self.graph.inputs.len() {
                1 => inputs.get(&expected.name)?,
                _ => inputs
                    .iter()
                    .find(|(name, _)| *name == expected.name)
                    .map(|(_, input)| input)
                    .ok_or_else(|| Error::Unknown {
                        kind: "input",
                        name: expected.name.clone(),
                        nearest: inputs.iter().map(|(name, _)| name.to_owned()).collect(),
                    })?,
            };
            let (kind, shape, on, value) = match given {
                InputTensor::Float(feature) => (
                    Kind::Float,
                    feature.shape(),
                    feature.device(),
                    Value::Feature(feature.clone()),
                ),
                InputTensor::Tokens(tokens) => (
                    Kind::Tokens,
                    tokens.dims().to_vec(),
                    tokens.device(),
                    Value::Tokens(tokens.clone()),
                ),
            };
            let wrong = |got: String| Error::Input {
                name: expected.name.clone(),
                expected: expected.value.to_string(),
                got,
            };
            let first = shape.first().copied().unwrap_or(0);
            let multiple = expected
                .value
                .shape
                .dims()
                .first()
                .and_then(|dim| dim.batches());
            let rows = *batch.get_or_insert(first / multiple.unwrap_or(1));
            if kind != expected.value.kind || shape != expected.value.shape.sizes(rows) {
                let kind = if kind == Kind::Tokens {
                    "token ids "
                } else {
                    ""
                };
                let batch = if first == rows {
                    String::new()
                } else {
                    format!(" where batch is {rows}")
                };
                return Err(wrong(format!("{kind}{shape:?}{batch}")));
            }
            if rows == 0 {
                return Err(wrong("an empty batch".to_owned()));
            }
            if let Some(ours) = self
                .weights
                .first()
                .map(|weight| weight.storage.feature().device())
                && ours != on
            {
                return Err(wrong(format!(
                    "a tensor on {on:?}, while the network is on {ours:?}"
                )));
            }
            // Tokens carry no gradient, so with them the weights tell whether this is training.
            let trains = on.is_autodiff() || kind == Kind::Tokens && self.is_autodiff();
            device = Some(match device {
                Some(other) if other.is_autodiff() => other,
                _ if trains => on.autodiff(),
                _ => on,
            });
            values[number] = Some(value);
        }
        let trains = device.is_some_and(|device| device.is_autodiff());
        Ok(Run {
            network: self,
            trains,
            batch: batch.unwrap_or(1),
            shortcuts: RefCell::default(),
        })
    }

    fn is_autodiff(&self) -> bool {
        self.weights
            .first()
            .is_some_and(|weight| weight.storage.feature().device().is_autodiff())
    }
}
