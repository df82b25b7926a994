//! A builder that names things the way checkpoints do.
//!
//! Every method takes the node's name first and hands back a [`Value`]. Weights are named after their node:
//! `conv1` owns `conv1.weight` and `conv1.bias`. Mistakes do not interrupt the building; the
//! first one is the error of [`Builder::finish`].

mod layers;
mod values;

use std::collections::BTreeMap;

use crate::ir::{
    Graph, GraphInput, Initialiser, Node, Op, Shape, ValueType, WeightKind, WeightSpec,
};
use crate::{Error, Inputs, Result, shape};

/// A value of the graph under construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value(usize);

/// Builds a [`Graph`].
///
/// ```
/// use limbeck_graph::build::Builder;
/// use limbeck_graph::ir::{Conv2d, Linear};
///
/// let mut b = Builder::new("one-block");
/// let x = b.image([1, 28, 28]);
/// let h = b.conv2d("conv1", x, Conv2d::new(1, 8, 3).padding(1).bias(false));
/// let h = b.batch_norm("bn1", h);
/// let h = b.relu("relu1", h);
/// b.tap("stage1", h);
/// let h = b.global_avg_pool("pool", h);
/// let h = b.flatten("flatten", h);
/// let h = b.linear("fc", h, Linear::new(8, 10));
/// let graph = b.finish(h)?;
///
/// assert_eq!(graph.parameter_count(), 8 * 9 + 16 + 8 * 10 + 10);
/// assert!(graph.weights.contains_key("bn1.running_var"));
/// # Ok::<(), limbeck_graph::Error>(())
/// ```
#[derive(Debug)]
pub struct Builder {
    name: String,
    inputs: Vec<GraphInput>,
    nodes: Vec<Node>,
    weights: BTreeMap<String, WeightSpec>,
    taps: BTreeMap<String, String>,
    values: Vec<(String, ValueType)>,
    convolution_weights: Option<Initialiser>,
    linear_weights: Option<Initialiser>,
    mistake: Option<Error>,
}

impl Builder {
    /// Starts a graph called `name`.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            inputs: Vec::new(),
            nodes: Vec::new(),
            weights: BTreeMap::new(),
            taps: BTreeMap::new(),
            values: Vec::new(),
            convolution_weights: None,
            linear_weights: None,
            mistake: None,
        }
    }

    /// Adds the input `input` of images `[batch, channels, height, width]`.
    pub fn image(&mut self, [channels, height, width]: [usize; 3]) -> Value {
        self.input(
            Inputs::DEFAULT,
            ValueType::float(Shape::batched(&[channels, height, width])),
        )
    }

    /// Adds the input `input` of rows `[batch, features]`.
    pub fn rows(&mut self, features: usize) -> Value {
        self.input(
            Inputs::DEFAULT,
            ValueType::float(Shape::batched(&[features])),
        )
    }

    /// Adds the input `input` of token ids `[batch, length]`.
    pub fn tokens(&mut self, length: usize) -> Value {
        self.input(Inputs::DEFAULT, ValueType::tokens(length))
    }

    /// Adds an input.
    pub fn input(&mut self, name: &str, value: ValueType) -> Value {
        self.inputs.push(GraphInput {
            name: name.to_owned(),
            value: value.clone(),
        });
        self.value(name.to_owned(), value)
    }

    /// Adds a node with one output.
    pub fn node(&mut self, name: &str, op: Op, inputs: &[Value]) -> Value {
        self.nodes_values(name, op, inputs)[0]
    }

    /// Adds a node and returns all its outputs, at least one.
    fn nodes_values(&mut self, name: &str, op: Op, inputs: &[Value]) -> Vec<Value> {
        let weights = op
            .weights()
            .into_iter()
            .map(|needed| {
                let weight_name = format!("{name}.{}", needed.role);
                let initialiser = self.initialiser(&op, needed.kind);
                self.weights.insert(
                    weight_name.clone(),
                    WeightSpec::new(needed.shape, needed.kind, initialiser),
                );
                (needed.role.to_owned(), weight_name)
            })
            .collect();
        let types = self.infer(name, &op, inputs);
        let node = Node {
            name: name.to_owned(),
            op,
            inputs: inputs
                .iter()
                .map(|input| self.values[input.0].0.clone())
                .collect(),
            weights,
        };
        let mut outputs = node.outputs();
        if outputs.is_empty() {
            outputs.push(name.to_owned());
        }
        self.nodes.push(node);
        let missing = || ValueType::float(Shape::default());
        outputs
            .into_iter()
            .enumerate()
            .map(|(index, output)| {
                self.value(output, types.get(index).cloned().unwrap_or_else(missing))
            })
            .collect()
    }

    fn infer(&mut self, name: &str, op: &Op, inputs: &[Value]) -> Vec<ValueType> {
        if self.mistake.is_some() {
            return Vec::new();
        }
        let types: Vec<&ValueType> = inputs.iter().map(|input| &self.values[input.0].1).collect();
        shape::infer(op, &types).unwrap_or_else(|problem| {
            self.mistake = Some(Error::Node {
                node: name.to_owned(),
                op: op.name(),
                problem,
            });
            Vec::new()
        })
    }

    fn initialiser(&self, op: &Op, kind: WeightKind) -> Initialiser {
        let chosen = match (kind, op) {
            (WeightKind::Weight, Op::Conv1d(_) | Op::Conv2d(_) | Op::ConvTranspose2d(_)) => {
                self.convolution_weights
            }
            (WeightKind::Weight, Op::Linear(_)) => self.linear_weights,
            _ => None,
        };
        chosen.unwrap_or_else(|| Initialiser::default_of(op, kind))
    }

    fn value(&mut self, name: String, value: ValueType) -> Value {
        self.values.push((name, value));
        Value(self.values.len() - 1)
    }

    /// Sets how the weights of the convolutions added from now on start; PyTorch's default
    /// otherwise.
    pub fn convolutions_start(&mut self, initialiser: Initialiser) {
        self.convolution_weights = Some(initialiser);
    }

    /// Sets how the weights of the linear layers added from now on start; PyTorch's default
    /// otherwise.
    pub fn linears_start(&mut self, initialiser: Initialiser) {
        self.linear_weights = Some(initialiser);
    }

    /// Sets how the weight called `name` starts, such as `bn2.weight` with zeros.
    pub fn weight_starts(&mut self, name: &str, initialiser: Initialiser) {
        match self.weights.get_mut(name) {
            Some(spec) => spec.initialiser = initialiser,
            None => {
                let nearest = crate::error::nearest(name, self.weights.keys().map(String::as_str));
                self.mistake.get_or_insert(Error::Unknown {
                    kind: "weight",
                    name: name.to_owned(),
                    nearest,
                });
            }
        }
    }

    /// Gives a value another name, such as `stage1`, under which it can be recorded.
    pub fn tap(&mut self, alias: &str, value: Value) {
        let name = self.values[value.0].0.clone();
        if self.taps.insert(alias.to_owned(), name).is_some() {
            self.mistake.get_or_insert(Error::Graph {
                graph: self.name.clone(),
                problem: format!("two taps are called `{alias}`"),
            });
        }
    }

    /// The name of a value.
    pub fn name_of(&self, value: Value) -> &str {
        &self.values[value.0].0
    }

    /// The shape of a value; empty after a mistake.
    pub fn shape(&self, value: Value) -> &Shape {
        &self.values[value.0].1.shape
    }

    /// The channels of a value (axis 1); 0 after a mistake.
    pub fn channels(&self, value: Value) -> usize {
        self.shape(value).size(1).unwrap_or(0)
    }

    /// The size of a value's last axis; 0 after a mistake.
    pub fn last_size(&self, value: Value) -> usize {
        let shape = self.shape(value);
        shape
            .rank()
            .checked_sub(1)
            .and_then(|axis| shape.size(axis))
            .unwrap_or(0)
    }

    /// The finished and validated graph with one output.
    ///
    /// # Errors
    /// The first mistake that was made, with the node's name.
    pub fn finish(self, output: Value) -> Result<Graph> {
        self.finish_with(&[output])
    }

    /// The finished and validated graph; the first of `outputs` is the network's output.
    ///
    /// # Errors
    /// The first mistake that was made, with the node's name.
    pub fn finish_with(self, outputs: &[Value]) -> Result<Graph> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let graph = Graph {
            outputs: outputs
                .iter()
                .map(|output| self.values[output.0].0.clone())
                .collect(),
            name: self.name,
            inputs: self.inputs,
            nodes: self.nodes,
            weights: self.weights,
            taps: self.taps,
        };
        graph.validate()?;
        Ok(graph)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::initialise::Fan;
    use crate::ir::{Conv2d, Linear};

    #[test]
    fn the_first_mistake_is_reported_and_building_goes_on() {
        let mut b = Builder::new("wrong");
        let x = b.image([3, 8, 8]);
        let x = b.conv2d("first", x, Conv2d::new(4, 8, 3));
        assert_eq!(b.channels(x), 0);
        let x = b.batch_norm("second", x);
        let [x, _] = b.split("third", x, 1, [4, 4]);
        let x = b.linear("fourth", x, Linear::new(9, 2));
        assert_eq!(
            b.finish(x).unwrap_err().to_string(),
            "node `first` (conv2d): expected 4 input channels, got 3 in [batch, 3, 8, 8]"
        );
    }

    #[test]
    fn a_tap_or_weight_used_wrongly_is_a_mistake() {
        let mut b = Builder::new("taps");
        let x = b.rows(3);
        b.tap("stage1", x);
        b.tap("stage1", x);
        assert_eq!(
            b.finish(x).unwrap_err().to_string(),
            "graph `taps`: two taps are called `stage1`"
        );
        let mut b = Builder::new("weights");
        let x = b.rows(3);
        let y = b.linear("fc", x, Linear::new(3, 2));
        b.weight_starts("fc.wait", Initialiser::ZEROS);
        let message = b.finish(y).unwrap_err().to_string();
        assert_eq!(
            message,
            "there is no weight `fc.wait`; did you mean one of `fc.weight`, `fc.bias`?"
        );
    }

    #[test]
    fn weights_start_as_told() {
        let mut b = Builder::new("start");
        let relu = Initialiser::kaiming_normal_relu(Fan::Out);
        b.convolutions_start(relu);
        let x = b.image([2, 4, 4]);
        let x = b.conv2d("conv", x, Conv2d::new(2, 4, 3));
        let x = b.batch_norm("bn", x);
        b.weight_starts("bn.weight", Initialiser::ZEROS);
        let x = b.flatten("flat", x);
        let x = b.linear("fc", x, Linear::new(16, 3));
        let graph = b.finish(x).unwrap();
        let start = |name: &str| graph.weights[name].initialiser;
        assert_eq!(start("conv.weight"), relu);
        assert_eq!(start("conv.bias"), Initialiser::Pytorch { fan_in: 18 });
        assert_eq!(start("bn.weight"), Initialiser::ZEROS);
        assert_eq!(start("bn.running_var"), Initialiser::ONES);
        assert_eq!(start("fc.weight"), Initialiser::Pytorch { fan_in: 16 });
        assert_eq!(start("fc.bias"), Initialiser::Pytorch { fan_in: 16 });
    }
}
