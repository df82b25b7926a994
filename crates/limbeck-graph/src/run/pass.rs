//! A forward pass that keeps every value, for derivatives.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::execute::Value;
use super::node::Run;
use super::ops::activation::dropout_mask;
use super::ops::combine::{Elementwise, elementwise};
use super::ops::normalise::Affine;
use super::ops::recurrent::Weights;
use super::{CompiledGraph, ImageLayout, Plan, Step};
use crate::ir::{BatchNorm, Op, Recurrent};
use crate::{Error, Feature, Inputs, Result, Taps, Trace, each_rank};

/// A forward pass with channels first and through Burn's own operations, node by node, whose values are all there.
pub(crate) struct Pass<'a> {
    run: Run<'a>,
    plan: Plan,
    values: Vec<Value>,
    /// What an active dropout multiplied with, by node.
    masks: BTreeMap<usize, Feature>,
}

impl CompiledGraph {
    /// Runs the graph on `inputs` and keeps everything.
    pub(crate) fn pass(&self, inputs: &Inputs) -> Result<Pass<'_>> {
        // Values have the same numbers in every layout.
        let plan = Plan::new(&self.graph, &self.analysis, ImageLayout::ChannelsFirst);
        let mut values: Vec<Option<Value>> = vec![None; plan.values().len()];
        let run = self.take_inputs(inputs, &mut values)?;
        let lost = |step: &Step| Error::Device(format!("`{}` lost an input", step.name));
        let mut masks = BTreeMap::new();
        for step in plan.steps() {
            let arguments = step.inputs.iter().map(|&input| values[input].clone());
            let mut arguments = arguments
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| lost(step))?;
            let results = match &self.graph.nodes[step.node].op {
                Op::Dropout(dropout) if run.is_active(step) && dropout.rate > 0.0 => {
                    let x = arguments.swap_remove(0).feature()?;
                    let mask: Feature = each_rank!(&x, tensor => {
                        dropout_mask(&tensor.clone().detach(), dropout.rate).into()
                    });
                    masks.insert(step.node, mask.clone());
                    vec![Value::Feature(elementwise(Elementwise::Multiply, x, mask)?)]
                }
                _ => run.node(step, arguments)?,
            };
            for (&number, result) in step.outputs.iter().zip(results) {
                values[number] = Some(result);
            }
        }
        let values = values
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::Device("a node made too few values".to_owned()))?;
        Ok(Pass {
            run,
            plan,
            values,
            masks,
        })
    }

    /// The number of the value that a tap, an input or an output of this name stands for.
    pub(crate) fn value_number(&self, name: &str) -> Result<usize> {
        self.tapped(name)
    }
}

impl Pass<'_> {
    pub(crate) fn steps(&self) -> &[Step] {
        self.plan.steps()
    }

    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the values know where they came from.
    pub(crate) const fn is_tracked(&self) -> bool {
        self.run.trains
    }

    pub(crate) fn op(&self, step: &Step) -> &Op {
        &self.run.network.graph.nodes[step.node].op
    }

    /// What [`Network::forward`](crate::Network::forward) would have returned.
    pub(crate) fn trace(&self, taps: &Taps) -> Result<Trace> {
        let network = self.run.network;
        let (first, others) = network
            .graph
            .outputs
            .split_first()
            .ok_or_else(|| Error::Device("the graph has no output".to_owned()))?;
        let names = taps.names().iter().chain(others);
        let features: Result<BTreeMap<_, _>> = names
            .map(|name| Ok((name.clone(), self.value(network.tapped(name)?)?)))
            .collect();
        Ok(Trace {
            output: self.value(network.tapped(first)?)?,
            features: features?,
        })
    }

    pub(crate) fn value(&self, number: usize) -> Result<Feature> {
        self.values[number].clone().feature()
    }

    /// What dropout multiplied with at `step`; `None` where it passed everything.
    pub(crate) fn mask(&self, step: &Step) -> Option<&Feature> {
        self.masks.get(&step.node)
    }

    /// Whether a batch norm used the statistics of the batch.
    pub(crate) fn is_active(&self, step: &Step) -> bool {
        self.run.is_active(step)
    }

    /// A weight of a node, connected to its parameter.
    pub(crate) fn weight<const D: usize>(&self, step: &Step, role: &str) -> Result<Tensor<D>>
    where
        Tensor<D>: TryFrom<Feature, Error = Error>,
    {
        self.run.weight(step, role)
    }

    pub(crate) fn recurrent_weights(&self, step: &Step, layer: &Recurrent) -> Result<Weights> {
        self.run.recurrent_weights(step, layer)
    }

    pub(crate) fn affine(&self, step: &Step, norm: &BatchNorm) -> Result<Affine> {
        self.run.affine(step, norm)
    }
}
