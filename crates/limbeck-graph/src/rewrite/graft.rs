//! Putting one network's nodes into another.

use super::Weighted;
use crate::{Error, Result};

/// A network to be put into another one.
pub(super) struct Graft<'a> {
    /// The rewrite, for errors.
    pub(super) rewrite: &'static str,
    /// The value where it goes, for errors.
    pub(super) place: &'a str,
    /// What the names of its nodes, weights and taps begin with, before a dot.
    pub(super) prefix: &'a str,
    /// The values that its inputs stand for, in order.
    pub(super) inputs: &'a [String],
    /// The name of the value that it computes; the prefixed one if absent.
    pub(super) output: Option<&'a str>,
}

impl Graft<'_> {
    pub(super) fn error(&self, problem: String) -> Error {
        Error::Rewrite {
            rewrite: self.rewrite,
            place: self.place.to_owned(),
            problem,
        }
    }

    /// Checks that `part` takes what the inputs are and computes one value; its name in `part`.
    pub(super) fn check(&self, network: &Weighted, part: &Weighted) -> Result<String> {
        let values = network.graph.validate()?.values;
        let expected = self.inputs.len();
        if part.graph.inputs.len() != expected {
            let got = part.graph.inputs.len();
            return Err(self.error(format!(
                "expected a graph with {expected} inputs, got `{}` with {got}",
                part.graph.name
            )));
        }
        for (input, value) in part.graph.inputs.iter().zip(self.inputs) {
            if input.value != values[value] {
                return Err(self.error(format!(
                    "the input `{}` of `{}` is {}, expected {} as `{value}` is",
                    input.name, part.graph.name, input.value, values[value]
                )));
            }
        }
        let [output] = &part.graph.outputs[..] else {
            return Err(self.error(format!(
                "expected a graph with one output, got `{}` with {}",
                part.graph.name,
                part.graph.outputs.len()
            )));
        };
        if part.graph.node(output).is_none() {
            return Err(self.error(format!(
                "expected the output of `{}` to be the only value of a node, got `{output}`",
                part.graph.name
            )));
        }
        Ok(output.clone())
    }

    /// Adds the nodes, weights and taps of `part` under their new names; the new name of its value `output`.
    pub(super) fn add(
        &self,
        network: &mut Weighted,
        part: Weighted,
        output: &str,
    ) -> Result<String> {
        let Weighted { graph, weights } = part;
        let prefixed = |name: &str| format!("{}.{name}", self.prefix);
        let own = |name: &str| match self.output {
            Some(kept) if name == output => kept.to_owned(),
            _ => prefixed(name),
        };
        let value = |name: &str| {
            let input = graph.inputs.iter().position(|input| input.name == name);
            input.map_or_else(|| own(name), |index| self.inputs[index].clone())
        };
        for mut node in graph.nodes.iter().cloned() {
            node.name = own(&node.name);
            node.inputs = node.inputs.iter().map(|name| value(name)).collect();
            for weight in node.weights.values_mut() {
                *weight = prefixed(weight);
            }
            network.graph.nodes.push(node);
        }
        for (name, spec) in &graph.weights {
            let name = prefixed(name);
            if network
                .graph
                .weights
                .insert(name.clone(), spec.clone())
                .is_some()
            {
                return Err(self.error(format!(
                    "there is a weight `{name}` already; choose another prefix than `{}`",
                    self.prefix
                )));
            }
        }
        for (name, host) in weights {
            network.weights.insert(prefixed(&name), host);
        }
        for (alias, tapped) in &graph.taps {
            let alias = prefixed(alias);
            if network
                .graph
                .taps
                .insert(alias.clone(), value(tapped))
                .is_some()
            {
                return Err(self.error(format!(
                    "there is a tap `{alias}` already; choose another prefix than `{}`",
                    self.prefix
                )));
            }
        }
        Ok(own(output))
    }
}
