//! Rewrites: a network with weights becomes another one.
//!
//! Each takes a [`Weighted`] graph and returns it anew, or says in one sentence why it does not apply.
//!
//! | rewrite | what it does | the function |
//! |---|---|---|
//! | [`fold_batch_norms`] | batch norms go into the layers before them | kept in evaluation mode |
//! | [`widen`] | a layer gets more channels, copies of those it has | kept |
//! | [`deepen`] | an identity layer follows an activation | kept (with a batch norm: in evaluation mode) |
//! | [`insert`] | a chain of nodes follows a value | that of the chain is put in between |
//! | [`replace_block`] | another graph stands between two values | the other graph's |
//!
//! "Kept" means up to the rounding of sums in another order.

mod deepen;
mod fold;
mod gather;
mod graft;
mod insert;
mod replace;
mod widen;

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;

pub use deepen::{Deepening, Statistics, deepen};
pub use fold::fold_batch_norms;
pub use insert::insert;
pub use replace::replace_block;
pub use widen::{Widening, widen};

use crate::error::nearest;
use crate::ir::{Graph, ValueType};
use crate::run::CompiledGraph;
use crate::weights::{self, HostTensor};
use crate::{Error, Result, Seed, initialise};

/// A valid graph and the values of all its weights, on the host.
///
/// ```
/// use limbeck_graph::rewrite::{Weighted, fold_batch_norms};
/// use limbeck_graph::{Seed, zoo};
///
/// let network = Weighted::fresh(zoo::build("resnet-8", [3, 32, 32], 10)?, Seed::new(0))?;
/// let folded = fold_batch_norms(network)?;
/// assert!(folded.weights().contains_key("conv1.bias"));
/// assert!(!folded.weights().contains_key("bn1.weight"));
/// # Ok::<(), limbeck_graph::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Weighted {
    graph: Graph,
    weights: BTreeMap<String, HostTensor>,
}

impl Weighted {
    /// `graph` with `weights`.
    ///
    /// # Errors
    /// If the graph is not valid, or a weight is missing, unknown or of another shape.
    pub fn new(graph: Graph, weights: BTreeMap<String, HostTensor>) -> Result<Self> {
        graph.validate()?;
        weights::check(&graph, &weights)?;
        Ok(Self { graph, weights })
    }

    /// `graph` with the weights that it starts from.
    ///
    /// # Errors
    /// If the graph is not valid.
    pub fn fresh(graph: Graph, seed: Seed) -> Result<Self> {
        graph.validate()?;
        let start = |(name, spec): (&String, &crate::ir::WeightSpec)| {
            let shape = spec.shape.clone();
            let values = initialise::values(name, spec, seed);
            (name.clone(), HostTensor { shape, values })
        };
        let weights = graph.weights.iter().map(start).collect();
        Ok(Self { graph, weights })
    }

    /// The graph.
    pub const fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The weights by name, running statistics included.
    pub const fn weights(&self) -> &BTreeMap<String, HostTensor> {
        &self.weights
    }

    /// The graph and its weights.
    pub fn into_parts(self) -> (Graph, BTreeMap<String, HostTensor>) {
        (self.graph, self.weights)
    }

    /// The network on `device`.
    ///
    /// # Errors
    /// If the device cannot take the weights.
    pub fn compile(&self, device: &Device) -> Result<CompiledGraph> {
        let network = self.graph.compile(Seed::new(0), device)?;
        network.load(&self.weights)
    }

    /// The same network without the weights that no node uses.
    fn without_unused_weights(mut self) -> Self {
        let nodes = self.graph.nodes.iter();
        let used: BTreeSet<&String> = nodes.flat_map(|node| node.weights.values()).collect();
        self.graph.weights.retain(|name, _| used.contains(name));
        self.weights.retain(|name, _| used.contains(name));
        self
    }

    /// How many nodes use the weight called `name`.
    fn users(&self, name: &str) -> usize {
        let nodes = self.graph.nodes.iter();
        nodes
            .flat_map(|node| node.weights.values())
            .filter(|weight| *weight == name)
            .count()
    }
}

impl From<&CompiledGraph> for Weighted {
    fn from(network: &CompiledGraph) -> Self {
        Self {
            graph: network.graph().clone(),
            weights: network.weights(),
        }
    }
}

/// The name of the value that `name`, a value or a tap, stands for.
fn resolve(graph: &Graph, values: &BTreeMap<String, ValueType>, name: &str) -> Result<String> {
    let resolved = graph.taps.get(name).map_or(name, String::as_str);
    if values.contains_key(resolved) {
        return Ok(resolved.to_owned());
    }
    let known = values.keys().chain(graph.taps.keys());
    Err(Error::Unknown {
        kind: "value",
        name: name.to_owned(),
        nearest: nearest(name, known.map(String::as_str)),
    })
}

#[cfg(test)]
mod tests;
