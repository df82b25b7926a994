//! Batch norms folded into the layers before them.

use std::collections::BTreeMap;

use super::Weighted;
use crate::Result;
use crate::ir::{Analysis, BatchNorm, Initialiser, Node, Op, WeightKind, WeightSpec};
use crate::weights::HostTensor;

/// Puts each batch norm behind a convolution or a linear layer into the layer's weight and bias.
///
/// With `s = scale / sqrt(variance + epsilon)` from the running statistics, the weights of each output channel are multiplied by
/// `s` and its bias becomes `(bias - mean) * s + shift`. The layer goes on under the batch norm's name, so that
/// taps of the norm's value stay as they are; its weights keep their names, and a bias is added where there was none, frozen if the
/// weight is.
///
/// A norm stays where the value before it is an output, stands behind a tap or goes to another node; where the layer
/// shares its weights; and behind a linear layer over values that are not `[batch, features]`. What is folded no longer follows the
/// statistics of a batch: the function is kept in evaluation mode only.
///
/// # Errors
/// None for a network that [`Weighted`] holds; rewriting ends in its checks.
pub fn fold_batch_norms(mut network: Weighted) -> Result<Weighted> {
    let analysis = network.graph.validate()?;
    let nodes = &network.graph.nodes;
    let norms: Vec<String> = analysis
        .order
        .iter()
        .map(|&index| &nodes[index])
        .filter(|node| matches!(node.op, Op::BatchNorm(_)))
        .map(|node| node.name.clone())
        .collect();
    for name in norms {
        if let Some(fold) = Fold::find(&network, &analysis, &name) {
            fold.apply(&mut network);
        }
    }
    let Weighted { graph, weights } = network.without_unused_weights();
    Weighted::new(graph, weights)
}

/// A batch norm that can go into a layer.
struct Fold {
    norm: Node,
    settings: BatchNorm,
    layer: Node,
    bias: String,
}

impl Fold {
    fn find(network: &Weighted, analysis: &Analysis, norm: &str) -> Option<Self> {
        let graph = &network.graph;
        let norm = graph.node(norm)?.clone();
        let Op::BatchNorm(settings) = &norm.op else {
            return None;
        };
        let [value] = &norm.inputs[..] else {
            return None;
        };
        let layer = graph.node(value)?.clone();
        let rank = analysis.values.get(value)?.shape.rank();
        let is_layer = match &layer.op {
            Op::Conv1d(_) | Op::Conv2d(_) | Op::ConvTranspose2d(_) => true,
            Op::Linear(_) => rank == 2,
            _ => false,
        };
        let taken = graph.nodes.iter().flat_map(|node| &node.inputs);
        let goes_elsewhere = taken.filter(|input| *input == value).count() != 1
            || graph.outputs.contains(value)
            || graph.taps.values().any(|tapped| tapped == value);
        let shares = layer.weights.values().any(|name| network.users(name) != 1);
        if !is_layer || goes_elsewhere || shares {
            return None;
        }
        let own = layer.weights.get("bias").cloned();
        let free = |name: &String| !graph.weights.contains_key(name);
        let bias = own.or_else(|| Some(format!("{}.bias", layer.name)).filter(free))?;
        Some(Self {
            settings: settings.clone(),
            norm,
            layer,
            bias,
        })
    }

    fn apply(self, network: &mut Weighted) {
        let (scale, shift) = self.line(&network.weights);
        let weight = &self.layer.weights["weight"];
        if let Some(host) = network.weights.get_mut(weight) {
            scale_outputs(&self.layer.op, host, &scale);
        }
        let op = with_bias(self.layer.op.clone());
        let channels = scale.len();
        let bias = network.weights.entry(self.bias.clone());
        let bias = bias.or_insert_with(|| HostTensor {
            shape: vec![channels],
            values: vec![0.0; channels],
        });
        for ((value, scale), shift) in bias.values.iter_mut().zip(scale).zip(shift) {
            *value = (f64::from(*value) * scale + shift) as f32;
        }
        let frozen = network.graph.weights[weight].frozen;
        let spec = network.graph.weights.entry(self.bias.clone());
        spec.or_insert_with(|| {
            let initialiser = Initialiser::default_of(&op, WeightKind::Bias);
            let mut spec = WeightSpec::new(vec![channels], WeightKind::Bias, initialiser);
            spec.frozen = frozen;
            spec
        });
        let mut weights = self.layer.weights;
        weights.insert("bias".to_owned(), self.bias);
        let folded = Node {
            name: self.norm.name,
            op,
            inputs: self.layer.inputs,
            weights,
        };
        network
            .graph
            .nodes
            .retain(|node| node.name != self.layer.name);
        let nodes = network.graph.nodes.iter_mut();
        for node in nodes.filter(|node| node.name == folded.name) {
            *node = folded.clone();
        }
    }

    /// The norm as `x * scale + shift`.
    fn line(&self, weights: &BTreeMap<String, HostTensor>) -> (Vec<f64>, Vec<f64>) {
        let values = |role: &str, default: f64| {
            let host = self
                .norm
                .weights
                .get(role)
                .and_then(|name| weights.get(name));
            host.map_or_else(
                || vec![default; self.settings.channels],
                |host| host.values.iter().copied().map(f64::from).collect(),
            )
        };
        let variance = values("running_var", 1.0);
        let scale: Vec<f64> = values("weight", 1.0)
            .iter()
            .zip(variance)
            .map(|(weight, variance)| weight / (variance + self.settings.epsilon).sqrt())
            .collect();
        let shift = values("bias", 0.0)
            .iter()
            .zip(values("running_mean", 0.0))
            .zip(&scale)
            .map(|((bias, mean), scale)| bias - mean * scale)
            .collect();
        (scale, shift)
    }
}

/// Multiplies the weights of each output channel by its factor.
fn scale_outputs(op: &Op, weight: &mut HostTensor, scale: &[f64]) {
    let kernel: usize = weight.shape.iter().skip(2).product();
    let inputs_per_group = match op {
        Op::ConvTranspose2d(conv) => Some(conv.in_channels / conv.groups),
        _ => None,
    };
    let columns = weight.shape[1];
    for (index, value) in weight.values.iter_mut().enumerate() {
        let (row, column) = (index / (columns * kernel), index / kernel % columns);
        let output = match inputs_per_group {
            Some(inputs) => row / inputs * columns + column,
            None => row,
        };
        *value = (f64::from(*value) * scale[output]) as f32;
    }
}

fn with_bias(op: Op) -> Op {
    match op {
        Op::Conv1d(conv) => Op::Conv1d(conv.bias(true)),
        Op::Conv2d(conv) => Op::Conv2d(conv.bias(true)),
        Op::ConvTranspose2d(conv) => Op::ConvTranspose2d(conv.bias(true)),
        Op::Linear(linear) => Op::Linear(linear.bias(true)),
        other => other,
    }
}
