//! What a graph costs: parameters, multiply-adds and activation memory per layer, before it runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::ir::{Graph, Node, Op, Shape, ValueType, WeightSpec};

/// The cost of one input row (batch 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Values of weights and biases, frozen ones included. A weight that two nodes share counts once.
    pub parameters: usize,
    /// Those of them that gradients train.
    pub trained: usize,
    /// Values of running statistics and constants.
    pub buffers: usize,
    /// Multiplications with an addition, of the operators with weights and of matrix products. Elementwise work,
    /// pooling and normalisation are not counted, as is usual.
    pub multiply_adds: usize,
    /// The bytes of all activations together: what training keeps, roughly.
    pub activation_bytes: usize,
    /// One entry per node in order of execution.
    pub layers: Vec<LayerCost>,
}

/// The cost of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerCost {
    /// The node's name.
    pub name: String,
    /// The operator's name.
    pub op: String,
    /// The sizes of its first output for one row.
    pub output: Vec<usize>,
    /// Values of weights and biases that no earlier node uses, frozen ones included.
    pub parameters: usize,
    /// Those of them that gradients train.
    pub trained: usize,
    /// Multiplications with an addition.
    pub multiply_adds: usize,
    /// The bytes of its outputs as `f32`.
    pub activation_bytes: usize,
}

impl Cost {
    /// The cost of `graph`.
    ///
    /// ```
    /// use limbeck_graph::build::Builder;
    /// use limbeck_graph::cost::Cost;
    /// use limbeck_graph::ir::Conv2d;
    ///
    /// let mut b = Builder::new("conv");
    /// let x = b.image([3, 32, 32]);
    /// let y = b.conv2d("conv", x, Conv2d::new(3, 16, 3).padding(1));
    /// let cost = Cost::of(&b.finish(y)?)?;
    /// assert_eq!(cost.parameters, 16 * 27 + 16);
    /// assert_eq!(cost.multiply_adds, 32 * 32 * 16 * 27);
    /// assert_eq!(cost.activation_bytes, 4 * 16 * 32 * 32);
    /// # Ok::<(), limbeck_graph::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the graph is not valid.
    pub fn of(graph: &Graph) -> Result<Self> {
        let analysis = graph.validate()?;
        let mut counted = std::collections::BTreeSet::new();
        let layers: Vec<LayerCost> = analysis
            .order
            .iter()
            .map(|&index| {
                let node = &graph.nodes[index];
                let outputs: Vec<&Shape> = node
                    .outputs()
                    .iter()
                    .map(|name| &analysis.values[name].shape)
                    .collect();
                let values = outputs
                    .iter()
                    .map(|shape| shape.len_per_row())
                    .fold(0, usize::saturating_add);
                let new: Vec<&WeightSpec> = node
                    .weights
                    .values()
                    .filter(|name| counted.insert((*name).clone()))
                    .map(|name| &graph.weights[name])
                    .collect();
                let count = |counts: fn(&WeightSpec) -> bool| values_of(&new, counts);
                LayerCost {
                    name: node.name.clone(),
                    op: node.op.name().to_owned(),
                    output: outputs
                        .first()
                        .map(|shape| shape.sizes(1))
                        .unwrap_or_default(),
                    parameters: count(|spec| spec.kind.is_parameter()),
                    trained: count(WeightSpec::is_trained),
                    multiply_adds: multiply_adds(node, |name| &analysis.values[name]),
                    activation_bytes: values.saturating_mul(size_of::<f32>()),
                }
            })
            .collect();
        let total =
            |of: fn(&LayerCost) -> usize| layers.iter().map(of).fold(0, usize::saturating_add);
        let weights: Vec<&WeightSpec> = graph.weights.values().collect();
        Ok(Self {
            parameters: graph.parameter_count(),
            trained: values_of(&weights, WeightSpec::is_trained),
            buffers: values_of(&weights, |spec| spec.kind.is_buffer()),
            multiply_adds: total(|layer| layer.multiply_adds),
            activation_bytes: total(|layer| layer.activation_bytes),
            layers,
        })
    }
}

/// The number of values of those `weights` that count.
fn values_of(weights: &[&WeightSpec], counts: fn(&WeightSpec) -> bool) -> usize {
    let counted = weights.iter().filter(|spec| counts(spec));
    counted
        .map(|spec| spec.len())
        .fold(0, usize::saturating_add)
}

fn multiply_adds<'a>(node: &Node, value: impl Fn(&str) -> &'a ValueType) -> usize {
    let input = || {
        node.inputs
            .first()
            .map_or(0, |name| value(name).shape.len_per_row())
    };
    let output = || {
        node.outputs()
            .first()
            .map_or(0, |name| value(name).shape.len_per_row())
    };
    // Each value of `spread` takes part in one product per kernel place and channel of its group.
    let products = |spread: usize, kernel: &[usize], channels: usize, groups: usize| {
        let places = kernel.iter().copied().fold(1, usize::saturating_mul);
        spread.saturating_mul(places.saturating_mul(channels / groups))
    };
    match &node.op {
        Op::Conv1d(conv) => products(output(), &[conv.kernel], conv.in_channels, conv.groups),
        Op::Conv2d(conv) => products(output(), &conv.kernel, conv.in_channels, conv.groups),
        Op::ConvTranspose2d(conv) => {
            products(input(), &conv.kernel, conv.out_channels, conv.groups)
        }
        Op::Linear(linear) => output().saturating_mul(linear.inputs),
        Op::MatMul => {
            let inner = node.inputs.first().map(|name| &value(name).shape);
            let inner = inner
                .and_then(|shape| shape.size(shape.rank() - 1))
                .unwrap_or(0);
            output().saturating_mul(inner)
        }
        // The first output holds the hidden state of every step in every direction.
        Op::Recurrent(layer) => output()
            .saturating_mul(layer.cell.gates())
            .saturating_mul(layer.inputs.saturating_add(layer.hidden)),
        _ => 0,
    }
}

impl fmt::Display for Cost {
    /// A table with one line per node and the totals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = |of: fn(&LayerCost) -> usize, least: usize| {
            self.layers.iter().map(of).max().unwrap_or(0).max(least)
        };
        let name = wide(|layer| layer.name.len(), "total".len());
        let op = wide(|layer| layer.op.len(), "operator".len());
        let shape = wide(|layer| format!("{:?}", layer.output).len(), "output".len());
        writeln!(
            f,
            "{:name$}  {:op$}  {:shape$}  {:>12}  {:>14}  {:>12}",
            "node", "operator", "output", "parameters", "multiply-adds", "bytes"
        )?;
        for layer in &self.layers {
            let output = format!("{:?}", layer.output);
            writeln!(
                f,
                "{:name$}  {:op$}  {output:shape$}  {:>12}  {:>14}  {:>12}",
                layer.name, layer.op, layer.parameters, layer.multiply_adds, layer.activation_bytes
            )?;
        }
        writeln!(
            f,
            "{:name$}  {:op$}  {:shape$}  {:>12}  {:>14}  {:>12}",
            "total", "", "", self.parameters, self.multiply_adds, self.activation_bytes
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::build::Builder;
    use crate::ir::{
        Cell, Conv1d, Conv2d, ConvTranspose2d, Dim, Direction, Embedding, Linear, Recurrent, Shape,
    };

    #[test]
    fn every_kind_of_layer_is_counted() {
        let mut b = Builder::new("cost");
        let x = b.image([4, 8, 8]);
        let x = b.conv2d(
            "grouped",
            x,
            Conv2d::new(4, 6, 3)
                .groups(2)
                .stride(2)
                .padding(1)
                .bias(false),
        );
        let x = b.batch_norm("bn", x);
        let x = b.conv_transpose2d("up", x, ConvTranspose2d::new(6, 2, 2).stride(2));
        let x = b.reshape("rows", x, &[2, 64]);
        let x = b.conv1d("sequence", x, Conv1d::new(2, 3, 5));
        let t = b.transpose("turned", x, &[0, 2, 1]);
        let x = b.mat_mul("product", x, t);
        let [x, _] = b.split("cut", x, 1, [1, 2]);
        let x = b.linear("fc", x, Linear::new(3, 7));
        let cost = Cost::of(&b.finish(x).unwrap()).unwrap();
        let layer = |name: &str| cost.layers.iter().find(|layer| layer.name == name).unwrap();
        // 6 * 4 * 4 outputs of 2 * 9 products each.
        assert_eq!(
            (layer("grouped").multiply_adds, layer("grouped").parameters),
            (96 * 18, 108)
        );
        assert_eq!((layer("bn").multiply_adds, layer("bn").parameters), (0, 12));
        // 6 * 4 * 4 inputs, each spread over 2 * 4 outputs.
        assert_eq!(
            (layer("up").multiply_adds, layer("up").parameters),
            (96 * 8, 50)
        );
        assert_eq!(layer("sequence").multiply_adds, 3 * 60 * 10);
        assert_eq!(layer("product").multiply_adds, 9 * 60);
        assert_eq!(layer("fc").multiply_adds, 21);
        assert_eq!(layer("cut").activation_bytes, 4 * 9);
        assert_eq!(layer("cut").output, [1, 1, 3]);
        assert_eq!(cost.buffers, 12);
        assert_eq!(cost.parameters, 108 + 12 + 50 + 33 + 28);
        assert_eq!(cost.multiply_adds, 96 * 18 + 96 * 8 + 1800 + 540 + 21);
        let text = cost.to_string();
        assert!(text.lines().next().unwrap().starts_with("node"), "{text}");
        assert!(text.lines().last().unwrap().starts_with("total"), "{text}");
        assert_eq!(text.lines().count(), cost.layers.len() + 2);
    }

    #[test]
    fn an_embedding_looks_up_and_does_not_multiply() {
        let mut b = Builder::new("text");
        let x = b.tokens(5);
        let x = b.embedding(
            "words",
            x,
            Embedding {
                tokens: 10,
                size: 3,
            },
        );
        let cost = Cost::of(&b.finish(x).unwrap()).unwrap();
        assert_eq!(
            (cost.parameters, cost.multiply_adds, cost.activation_bytes),
            (30, 0, 60)
        );
    }

    #[test]
    fn recurrent_layers_and_merged_batches_are_counted_per_row() {
        let mut b = Builder::new("sequence");
        let x = b.input("input", ValueType::float(Shape::batched(&[6, 5])));
        let x = b.transpose("steps", x, &[1, 0, 2]);
        let layer = Recurrent {
            cell: Cell::Lstm,
            direction: Direction::Both,
            inputs: 5,
            hidden: 4,
            bias: true,
        };
        let x = b.recurrent("lstm", x, &[], layer)[0];
        let x = b.transpose("rows", x, &[2, 0, 1, 3]);
        let fixed = Dim::Fixed;
        let heads = Shape(vec![Dim::Batches(2), fixed(6), fixed(4)]);
        let x = b.view("heads", x, heads);
        let t = b.transpose("turned", x, &[0, 2, 1]);
        let y = b.mat_mul("product", x, t);
        let constant = b.constant("mask", &[6, 6]);
        let y = b.add("masked", y, constant);
        let mut graph = b.finish(y).unwrap();
        let Some(frozen) = graph.weights.get_mut("lstm.weight_hidden") else {
            panic!("the layer has weights");
        };
        frozen.frozen = true;
        let cost = Cost::of(&graph).unwrap();
        let layer = |name: &str| cost.layers.iter().find(|layer| layer.name == name).unwrap();
        // Six steps, two directions, four gates of four units.
        assert_eq!(layer("lstm").multiply_adds, 6 * 2 * 16 * (5 + 4));
        assert_eq!(layer("product").multiply_adds, 2 * 6 * 6 * 4);
        assert_eq!(layer("product").activation_bytes, 4 * 2 * 36);
        let weights = 2 * 16 * (5 + 4 + 2);
        assert_eq!(
            (layer("lstm").parameters, cost.parameters),
            (weights, weights)
        );
        let trained = weights - 2 * 16 * 4;
        assert_eq!((layer("lstm").trained, cost.trained), (trained, trained));
        assert_eq!((cost.buffers, layer("mask").parameters), (36, 0));
    }
}
