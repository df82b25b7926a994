//! The graph: a feed-forward network as a value.
//!
//! Every [`Node`] has a name, an operator, the names of the values it takes and the names of the weights it
//! owns. A node's output is a value of the same name; an operator with several outputs names
//! them `node:0`, `node:1` and so on. Nodes may be listed in any order. Shapes are those of PyTorch:
//! images are `[batch, channels, height, width]`.

mod activation;
mod arrange;
mod convolution;
mod node;
mod number;
mod op;
mod pool;
mod recurrent;
mod reduce;
mod shape;
mod validate;
mod weight;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use activation::Activation;
pub use arrange::{
    ChannelShuffle, Concatenate, Expand, Fill, Pad, Reshape, Slice, Split, Take, Transpose, View,
};
pub use convolution::{Conv1d, Conv2d, ConvTranspose2d, IntoPair};
pub use node::Node;
pub use op::{
    BatchNorm, Constant, Dropout, Embedding, LayerNorm, Linear, Op, OpWeight, Parameter,
    ScaleShift, Softmax,
};
pub use pool::{Pool1d, Pool2d};
pub use recurrent::{Cell, Direction, Recurrent};
pub use reduce::{Compare, Reduce, Reduction, Relation};
pub use shape::{Dim, Kind, Shape, ValueType};
pub use validate::Analysis;
pub(crate) use validate::at as node_error;
pub use weight::{WeightKind, WeightSpec};

pub use crate::initialise::Initialiser;

/// A feed-forward network as data.
///
/// ```
/// use limbeck_graph::build::Builder;
/// use limbeck_graph::ir::{Conv2d, Graph, Linear};
///
/// let mut b = Builder::new("tiny");
/// let x = b.image([3, 8, 8]);
/// let x = b.conv2d("conv", x, Conv2d::new(3, 4, 3).padding(1));
/// let x = b.relu("relu", x);
/// let x = b.global_avg_pool("pool", x);
/// let x = b.flatten("flat", x);
/// let x = b.linear("fc", x, Linear::new(4, 10));
/// let graph = b.finish(x)?;
///
/// let text = serde_json::to_string(&graph)?;
/// assert_eq!(serde_json::from_str::<Graph>(&text)?, graph);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// What the network is called, such as `resnet-20`.
    pub name: String,
    /// What it takes.
    pub inputs: Vec<GraphInput>,
    /// What it computes, in any order.
    pub nodes: Vec<Node>,
    /// What it owns: parameters and buffers by name.
    pub weights: BTreeMap<String, WeightSpec>,
    /// The values it hands out. The first is the network's output; the others are recorded under
    /// their own names on every run.
    pub outputs: Vec<String>,
    /// Other names for values, such as `stage1` for the end of a stage.
    #[serde(default)]
    pub taps: BTreeMap<String, String>,
}

/// One named input of a [`Graph`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphInput {
    /// The input's name; most networks have one, called [`Inputs::DEFAULT`](crate::Inputs::DEFAULT).
    pub name: String,
    /// What it holds: floats, or token ids `[batch, length]`.
    #[serde(flatten)]
    pub value: ValueType,
}

impl Graph {
    /// Checks the whole graph and infers the shape of every value.
    ///
    /// # Errors
    /// The first thing that is wrong: a name used twice, an input or weight that does not exist, a wrong
    /// number of inputs, shapes that do not fit, a cycle, a weight without a use.
    pub fn validate(&self) -> crate::Result<Analysis> {
        validate::validate(self)
    }

    /// The node called `name`.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The number of values of weights and biases, frozen ones included, without running statistics and constants.
    pub fn parameter_count(&self) -> usize {
        self.weights
            .values()
            .filter(|spec| spec.kind.is_parameter())
            .map(WeightSpec::len)
            .sum()
    }
}

#[cfg(test)]
mod tests;
