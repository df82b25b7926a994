//! A chain of nodes behind a value.

use super::graft::Graft;
use super::{Weighted, resolve};
use crate::Result;

/// Puts `chain`, a graph with one input and one output, behind `value` (a value's name or a tap): all that took `value` takes the
/// chain's output, the network's outputs included. Taps go on naming the values that they named.
///
/// The names of the chain's nodes, weights and taps get `prefix` and a dot before them.
///
/// # Errors
/// If there is no such value, the chain takes another shape, its output does not fit where `value` went, or a name is
/// taken.
pub fn insert(
    mut network: Weighted,
    value: &str,
    chain: Weighted,
    prefix: &str,
) -> Result<Weighted> {
    let values = network.graph.validate()?.values;
    let place = resolve(&network.graph, &values, value)?;
    let before = network.graph.nodes.len();
    let inputs = [place.clone()];
    let graft = Graft {
        rewrite: "insert behind",
        place: value,
        prefix,
        inputs: &inputs,
        output: None,
    };
    let output = graft.check(&network, &chain)?;
    let after = graft.add(&mut network, chain, &output)?;
    let nodes = network.graph.nodes[..before].iter_mut();
    let taken = nodes.flat_map(|node| &mut node.inputs);
    for name in taken.chain(&mut network.graph.outputs) {
        if *name == place {
            name.clone_from(&after);
        }
    }
    Weighted::new(network.graph, network.weights)
}
