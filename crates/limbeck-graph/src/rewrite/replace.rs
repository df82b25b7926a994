//! Another graph in the place of a block.

use std::collections::BTreeSet;

use super::graft::Graft;
use super::{Weighted, resolve};
use crate::ir::Graph;

/// Replaces the nodes between the values `inputs` and the value `output` (values' names or taps) by those of `replacement`, whose
/// inputs stand for `inputs` in the same order.
///
/// The value at the end keeps its name, so everything behind it, and its taps, stay as they are. The other names of the replacement's
/// nodes, and those of its weights and taps, get `prefix` and a dot before them. Weights that only
/// the old nodes used are gone.
///
/// # Errors
/// If there is no such value, the block takes other values than `inputs` or hands some inside it to nodes, outputs or taps
/// outside, a shape of the replacement's inputs or output differs, or a name is taken.
pub fn replace_block(
    mut network: Weighted,
    inputs: &[&str],
    output: &str,
    replacement: Weighted,
    prefix: &str,
) -> crate::Result<Weighted> {
    let values = network.graph.validate()?.values;
    let end = resolve(&network.graph, &values, output)?;
    let begins: Vec<String> = inputs
        .iter()
        .map(|name| resolve(&network.graph, &values, name))
        .collect::<crate::Result<_>>()?;
    let graft = Graft {
        rewrite: "replace the block before",
        place: output,
        prefix,
        inputs: &begins,
        output: Some(&end),
    };
    let inner = graft.check(&network, &replacement)?;
    let (expected, got) = (&values[&end], &replacement.graph.validate()?.values[&inner]);
    if expected != got {
        return Err(graft.error(format!(
            "the output of `{}` is {got}, expected {expected}",
            replacement.graph.name
        )));
    }
    let block = between(&network.graph, &begins, &end).map_err(|problem| graft.error(problem))?;
    check_inside(&network.graph, &block, &end).map_err(|problem| graft.error(problem))?;
    network
        .graph
        .nodes
        .retain(|node| !block.contains(&node.name));
    // The old weights go first, so that the replacement may have their names.
    network = network.without_unused_weights();
    graft.add(&mut network, replacement, &inner)?;
    Weighted::new(network.graph, network.weights)
}

/// The names of the nodes between `begins` and `end`.
fn between(graph: &Graph, begins: &[String], end: &str) -> Result<BTreeSet<String>, String> {
    let mut block = BTreeSet::new();
    let mut waiting = vec![end.to_owned()];
    while let Some(value) = waiting.pop() {
        if begins.contains(&value) {
            if value == end {
                return Err("expected an output behind the inputs, got one of them".to_owned());
            }
            continue;
        }
        let producer = graph
            .nodes
            .iter()
            .find(|node| node.outputs().contains(&value));
        let Some(node) = producer else {
            return Err(format!(
                "it also takes the network's input `{value}`; name it among the inputs"
            ));
        };
        if value == end && node.name != end {
            return Err(format!(
                "expected the only value of a node, got one of `{}`",
                node.name
            ));
        }
        if block.insert(node.name.clone()) {
            waiting.extend(node.inputs.iter().cloned());
        }
    }
    Ok(block)
}

/// Checks that no value inside the block is needed outside.
fn check_inside(graph: &Graph, block: &BTreeSet<String>, end: &str) -> Result<(), String> {
    let (old, rest): (Vec<_>, Vec<_>) = graph
        .nodes
        .iter()
        .partition(|node| block.contains(&node.name));
    let inside = old
        .iter()
        .flat_map(|node| node.outputs())
        .filter(|value| value != end);
    for value in inside {
        if let Some(node) = rest.iter().find(|node| node.inputs.contains(&value)) {
            return Err(format!(
                "its value `{value}` also goes to node `{}`; choose a block that holds both, or name \
                 `{value}` among the inputs",
                node.name
            ));
        }
        if graph.outputs.contains(&value) {
            return Err(format!("its value `{value}` is an output of the network"));
        }
        if let Some((alias, _)) = graph.taps.iter().find(|(_, tapped)| **tapped == value) {
            return Err(format!(
                "its value `{value}` stands behind the tap `{alias}`; remove the tap first"
            ));
        }
    }
    Ok(())
}
