//! One step of a graph.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Op;

/// A named step: an operator on named values with named weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The node's name, unique in its graph, such as `layer1.0.conv1`.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The values it takes, by name.
    pub inputs: Vec<String>,
    /// The weights it uses: the operator's word for it (`weight`, `bias`, `running_mean`) to the
    /// weight's name in the graph. Two nodes may share a weight.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, String>,
}

impl Node {
    /// The names of the values it computes: its own, or `name:0`, `name:1` and so on.
    pub fn outputs(&self) -> Vec<String> {
        match self.op.output_count() {
            None => vec![self.name.clone()],
            Some(count) => (0..count)
                .map(|index| format!("{}:{index}", self.name))
                .collect(),
        }
    }
}
