//! Wider layers that compute the same (Net2WiderNet).
//!
//! Chen, Goodfellow and Shlens 2016, "Net2Net: Accelerating Learning via Knowledge Transfer", section 2.2: new unit `j` is a copy of the
//! old unit `g(j)`, where `g(j) = j` for the old ones and random for the others; the weights that leave
//! unit `j` are divided by the number of units that `g` maps to `g(j)`.

mod channels;

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;

use super::gather::gather;
use super::{Weighted, resolve};
use crate::ir::{Dim, Initialiser, Node, Op, ValueType};
use crate::weights::HostTensor;
use crate::{Error, Result, Seed};
use channels::Channels;

/// How a layer is widened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Widening {
    /// The number of channels or units that the layer gets, at least as many as it has.
    pub channels: usize,
    /// The standard deviation of the noise on the weights that enter a copy, as a share of the standard deviation of the layer's weights; it
    /// lets copies learn different things. 0 keeps the function exactly; 0.01 is usual.
    pub noise: f64,
    /// Where the choice of the copied units and the noise come from.
    pub seed: Seed,
}

/// Gives `layer`, a hidden convolution or linear layer, more channels, and keeps the function.
///
/// Additions and products tie channels: all layers whose channels meet `layer`'s there are widened with the same map. Batch norms
/// and depthwise convolutions in between follow; so do concatenations along the channels, flattened images, and summaries, slices, padding
/// and views of other axes.
/// Values in between keep their names and taps but get wider. Without noise the function is kept in evaluation mode and, where no dropout
/// is in between, in training mode.
///
/// # Errors
/// If there is no such layer, it has more channels already, or its channels reach an output, an input or an operator that
/// does not work channel by channel (a grouped convolution, a split, a shuffle, a layer norm, a softmax).
pub fn widen(network: Weighted, layer: &str, widening: &Widening) -> Result<Weighted> {
    let error = |problem: String| Error::Rewrite {
        rewrite: "widen",
        place: layer.to_owned(),
        problem,
    };
    let analysis = network.graph.validate()?;
    let value = resolve(&network.graph, &analysis.values, layer)?;
    let node = network.graph.node(&value);
    let old = match node.map(|node| &node.op) {
        Some(Op::Conv1d(conv)) => conv.out_channels,
        Some(Op::Conv2d(conv)) => conv.out_channels,
        Some(Op::ConvTranspose2d(conv)) => conv.out_channels,
        Some(Op::Linear(linear)) => linear.outputs,
        other => {
            let got = other.map_or("an input or a part of a value", Op::name);
            return Err(error(format!(
                "expected a convolution or a linear layer, got {got}"
            )));
        }
    };
    let new = widening.channels;
    if new < old {
        return Err(error(format!(
            "expected at least its {old} channels, got {new}"
        )));
    }
    if !(widening.noise >= 0.0 && widening.noise.is_finite()) {
        return Err(error(format!(
            "expected a noise of 0 or more, got {}",
            widening.noise
        )));
    }
    let mut random = widening.seed.stream("widen", &[]);
    let copies = (old..new).map(|_| random.random_range(0..old));
    let map: Vec<usize> = (0..old).chain(copies).collect();
    let channels = Channels::new(&network.graph, &analysis, &value, map).map_err(error)?;
    let names = network.graph.weights.keys();
    let shared: BTreeSet<String> = names
        .filter(|name| network.users(name) > 1)
        .cloned()
        .collect();
    let Weighted { mut graph, weights } = network;
    let mut wider = Wider {
        channels: &channels,
        widening,
        old: &weights,
        new: BTreeMap::new(),
    };
    for node in &mut graph.nodes {
        let changed = wider.node(node, &analysis.values);
        if changed && node.weights.values().any(|name| shared.contains(name)) {
            return Err(error(format!(
                "node `{}` shares its weights with another one",
                node.name
            )));
        }
        for needed in node.op.weights() {
            let spec = graph.weights.get_mut(&node.weights[needed.role]);
            if let Some(spec) = spec.filter(|spec| spec.shape != needed.shape) {
                spec.shape.clone_from(&needed.shape);
                if matches!(spec.initialiser, Initialiser::Pytorch { .. }) {
                    spec.initialiser = Initialiser::default_of(&node.op, needed.kind);
                }
            }
        }
    }
    let new = wider.new;
    let mut weights = weights;
    weights.extend(new);
    Weighted::new(graph, weights)
}

/// Widens nodes.
struct Wider<'a> {
    channels: &'a Channels,
    widening: &'a Widening,
    old: &'a BTreeMap<String, HostTensor>,
    new: BTreeMap<String, HostTensor>,
}

impl Wider<'_> {
    /// Widens the node's attributes and weights; whether it changed.
    fn node(&mut self, node: &mut Node, values: &BTreeMap<String, ValueType>) -> bool {
        let output = node.outputs().into_iter().next();
        let outputs = output.and_then(|output| self.channels.map(&output));
        let inputs = node.inputs.first().and_then(|name| self.channels.map(name));
        if outputs.is_none() && inputs.is_none() {
            return false;
        }
        if channels::role(node, values) == channels::Role::Layer {
            self.layer(node, inputs, outputs);
            return true;
        }
        let Some(map) = outputs else { return false };
        let size = map.len();
        match &mut node.op {
            Op::BatchNorm(norm) => norm.channels = size,
            Op::View(view) => {
                if let Some(channels) = view.shape.0.get_mut(1) {
                    *channels = Dim::Fixed(size);
                }
            }
            Op::Conv1d(conv) => {
                (conv.in_channels, conv.out_channels, conv.groups) = (size, size, size);
            }
            Op::Conv2d(conv) => {
                (conv.in_channels, conv.out_channels, conv.groups) = (size, size, size);
            }
            Op::ConvTranspose2d(conv) => {
                (conv.in_channels, conv.out_channels, conv.groups) = (size, size, size);
            }
            _ => return false,
        }
        for name in node.weights.values() {
            let host = gather(&self.old[name], 0, map, &vec![1.0; size]);
            self.new.insert(name.clone(), host);
        }
        true
    }

    fn layer(&mut self, node: &mut Node, inputs: Option<&[usize]>, outputs: Option<&[usize]>) {
        let (input_size, output_size) = (inputs.map(<[usize]>::len), outputs.map(<[usize]>::len));
        let (from, to) = match &mut node.op {
            Op::Conv1d(conv) => (&mut conv.in_channels, &mut conv.out_channels),
            Op::Conv2d(conv) => (&mut conv.in_channels, &mut conv.out_channels),
            Op::ConvTranspose2d(conv) => (&mut conv.in_channels, &mut conv.out_channels),
            Op::Linear(linear) => (&mut linear.inputs, &mut linear.outputs),
            _ => return,
        };
        let old_outputs = *to;
        *from = input_size.unwrap_or(*from);
        *to = output_size.unwrap_or(*to);
        let [input_axis, output_axis] = match node.op {
            Op::ConvTranspose2d(_) => [0, 1],
            _ => [1, 0],
        };
        let name = &node.weights["weight"];
        let mut weight = self.old[name].clone();
        let deviation = deviation(&weight.values);
        if let Some(map) = inputs {
            weight = gather(&weight, input_axis, map, &shares(map));
        }
        if let Some(map) = outputs {
            weight = gather(&weight, output_axis, map, &vec![1.0; map.len()]);
            self.disturb(name, &mut weight, output_axis, old_outputs, deviation);
            if let Some(bias) = node.weights.get("bias") {
                let host = gather(&self.old[bias], 0, map, &vec![1.0; map.len()]);
                self.new.insert(bias.clone(), host);
            }
        }
        self.new.insert(name.clone(), weight);
    }

    /// Adds noise to the weights of the outputs from `old` on.
    fn disturb(
        &self,
        name: &str,
        weight: &mut HostTensor,
        axis: usize,
        old: usize,
        deviation: f64,
    ) {
        if self.widening.noise == 0.0 {
            return;
        }
        let mut random = self.widening.seed.stream(&format!("widen/{name}"), &[]);
        let normal = Initialiser::Normal {
            deviation: self.widening.noise * deviation,
        };
        let noise = normal.draw(&weight.shape, &mut random);
        let inner: usize = weight.shape[axis + 1..].iter().product();
        for (index, (value, noise)) in weight.values.iter_mut().zip(noise).enumerate() {
            if index / inner % weight.shape[axis] >= old {
                *value += noise;
            }
        }
    }
}

/// For each new unit, one over the number of new units that are copies of the same old one.
fn shares(map: &[usize]) -> Vec<f64> {
    let mut counts = vec![0_usize; map.iter().max().map_or(0, |last| last + 1)];
    for &from in map {
        counts[from] += 1;
    }
    map.iter().map(|&from| 1.0 / counts[from] as f64).collect()
}

fn deviation(values: &[f32]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().copied().map(f64::from).sum::<f64>() / count;
    let squares = values
        .iter()
        .map(|&value| (f64::from(value) - mean).powi(2));
    (squares.sum::<f64>() / count).sqrt()
}
