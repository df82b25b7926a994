//! What makes a graph valid.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Graph, Node, ValueType, WeightKind};
use crate::error::nearest;
use crate::{Error, Result, shape};

/// What [`Graph::validate`] found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// Positions in [`Graph::nodes`], each after all it depends on.
    pub order: Vec<usize>,
    /// The type of every value by name, inputs included.
    pub values: BTreeMap<String, ValueType>,
}

impl Analysis {
    /// The type of the value `name`, or of the value that the tap `name` stands for.
    ///
    /// # Errors
    /// If there is neither.
    pub fn value(&self, graph: &Graph, name: &str) -> Result<&ValueType> {
        let resolved = graph.taps.get(name).map_or(name, String::as_str);
        self.values.get(resolved).ok_or_else(|| Error::Unknown {
            kind: "value",
            name: name.to_owned(),
            nearest: nearest(
                name,
                self.values
                    .keys()
                    .chain(graph.taps.keys())
                    .map(String::as_str),
            ),
        })
    }
}

pub(super) fn validate(graph: &Graph) -> Result<Analysis> {
    let mut values = input_types(graph)?;
    let producers = producers(graph, &values)?;
    check_weights(graph)?;
    let order = order(graph, &producers)?;
    for &index in &order {
        let node = &graph.nodes[index];
        let inputs: Vec<&ValueType> = node.inputs.iter().map(|input| &values[input]).collect();
        let outputs = shape::infer(&node.op, &inputs).map_err(|problem| at(node, problem))?;
        values.extend(node.outputs().into_iter().zip(outputs));
    }
    check_ends(graph, &values)?;
    Ok(Analysis { order, values })
}

/// The error for a `problem` at `node`.
pub(crate) fn at(node: &Node, problem: String) -> Error {
    Error::Node {
        node: node.name.clone(),
        op: node.op.name(),
        problem,
    }
}

fn graph_error(graph: &Graph, problem: String) -> Error {
    Error::Graph {
        graph: graph.name.clone(),
        problem,
    }
}

fn input_types(graph: &Graph) -> Result<BTreeMap<String, ValueType>> {
    if graph.inputs.is_empty() {
        return Err(graph_error(
            graph,
            "expected at least one input, got none".to_owned(),
        ));
    }
    let mut values = BTreeMap::new();
    for input in &graph.inputs {
        let shape = &input.value.shape;
        let sizes = shape.dims().get(1..).unwrap_or(&[]);
        let tokens_fit = input.value.kind == super::Kind::Float || shape.rank() == 2;
        let fixed = sizes
            .iter()
            .all(|dim| matches!(dim, super::Dim::Fixed(size) if *size > 0));
        if !shape.is_batched() || !fixed || !tokens_fit || !(2..=6).contains(&shape.rank()) {
            return Err(Error::Input {
                name: input.name.clone(),
                expected:
                    "[\"batch\", sizes...] with positive sizes, of rank 2 to 6 (2 for token ids)"
                        .to_owned(),
                got: input.value.to_string(),
            });
        }
        if values
            .insert(input.name.clone(), input.value.clone())
            .is_some()
        {
            return Err(graph_error(
                graph,
                format!("two inputs are called `{}`", input.name),
            ));
        }
    }
    Ok(values)
}

/// The node that computes each value.
fn producers(
    graph: &Graph,
    inputs: &BTreeMap<String, ValueType>,
) -> Result<BTreeMap<String, usize>> {
    let mut producers = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        if node.name.is_empty() || node.name.split('.').any(str::is_empty) {
            return Err(graph_error(
                graph,
                format!(
                    "`{}` cannot be a node's name: expected words joined by dots",
                    node.name
                ),
            ));
        }
        if !names.insert(node.name.as_str()) {
            return Err(graph_error(
                graph,
                format!("two nodes are called `{}`", node.name),
            ));
        }
        for output in node.outputs() {
            if inputs.contains_key(&output) || producers.contains_key(&output) {
                return Err(at(
                    node,
                    format!("its output `{output}` has the name of another value"),
                ));
            }
            producers.insert(output, index);
        }
    }
    for node in &graph.nodes {
        for input in &node.inputs {
            if !inputs.contains_key(input) && !producers.contains_key(input) {
                let known = inputs.keys().chain(producers.keys()).map(String::as_str);
                let hint = crate::error::did_you_mean(&nearest(input, known));
                return Err(at(node, format!("there is no value `{input}`{hint}")));
            }
        }
    }
    Ok(producers)
}

fn check_weights(graph: &Graph) -> Result<()> {
    let mut used = BTreeSet::new();
    for node in &graph.nodes {
        let expected = node.op.weights();
        for needed in &expected {
            let name = node.weights.get(needed.role).ok_or_else(|| {
                let given: Vec<&str> = node.weights.keys().map(String::as_str).collect();
                at(
                    node,
                    format!(
                        "expected a weight as `{}`, got only [{}]",
                        needed.role,
                        given.join(", ")
                    ),
                )
            })?;
            let spec = graph.weights.get(name).ok_or_else(|| {
                let hint = crate::error::did_you_mean(&nearest(
                    name,
                    graph.weights.keys().map(String::as_str),
                ));
                at(node, format!("there is no weight `{name}`{hint}"))
            })?;
            if spec.shape != needed.shape {
                return Err(at(
                    node,
                    format!(
                        "expected the weight `{name}` to be {:?}, got {:?}",
                        needed.shape, spec.shape
                    ),
                ));
            }
            if spec.kind.is_buffer() != needed.kind.is_buffer()
                || (spec.kind == WeightKind::Constant) != (needed.kind == WeightKind::Constant)
            {
                return Err(at(
                    node,
                    format!(
                        "expected `{name}` to be a {}, got a {}",
                        needed.kind.words(),
                        spec.kind.words()
                    ),
                ));
            }
            used.insert(name.as_str());
        }
        if let Some(role) = node
            .weights
            .keys()
            .find(|role| expected.iter().all(|needed| needed.role != **role))
        {
            return Err(at(node, format!("it takes no weight as `{role}`")));
        }
    }
    for (name, spec) in &graph.weights {
        if !used.contains(name.as_str()) {
            return Err(graph_error(
                graph,
                format!("no node uses the weight `{name}`"),
            ));
        }
        if !(1..=6).contains(&spec.shape.len()) || spec.is_empty() || spec.len() > shape::MAX_VALUES
        {
            return Err(graph_error(
                graph,
                format!(
                    "expected the weight `{name}` to have 1 to 6 positive sizes and at most {} values, got {:?}",
                    shape::MAX_VALUES,
                    spec.shape
                ),
            ));
        }
        if name.split('.').any(str::is_empty) {
            return Err(graph_error(
                graph,
                format!("`{name}` cannot be a weight's name: expected words joined by dots"),
            ));
        }
    }
    Ok(())
}

/// Kahn's algorithm; ready nodes run in the order they are listed.
fn order(graph: &Graph, producers: &BTreeMap<String, usize>) -> Result<Vec<usize>> {
    let mut waiting = vec![0_usize; graph.nodes.len()];
    let mut consumers = vec![Vec::new(); graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for producer in node.inputs.iter().filter_map(|input| producers.get(input)) {
            waiting[index] += 1;
            consumers[*producer].push(index);
        }
    }
    let mut ready: VecDeque<usize> = (0..graph.nodes.len())
        .filter(|&index| waiting[index] == 0)
        .collect();
    let mut order = Vec::with_capacity(graph.nodes.len());
    while let Some(index) = ready.pop_front() {
        order.push(index);
        for &consumer in &consumers[index] {
            waiting[consumer] -= 1;
            if waiting[consumer] == 0 {
                ready.push_back(consumer);
            }
        }
    }
    if order.len() == graph.nodes.len() {
        return Ok(order);
    }
    let stuck: Vec<&str> = (0..graph.nodes.len())
        .filter(|&index| waiting[index] > 0)
        .take(5)
        .map(|index| graph.nodes[index].name.as_str())
        .collect();
    Err(graph_error(
        graph,
        format!(
            "nodes wait for each other in a circle: `{}`",
            stuck.join("`, `")
        ),
    ))
}

fn check_ends(graph: &Graph, values: &BTreeMap<String, ValueType>) -> Result<()> {
    if graph.outputs.is_empty() {
        return Err(graph_error(
            graph,
            "expected at least one output, got none".to_owned(),
        ));
    }
    let exists = |kind: &'static str, name: &String| match values.get(name) {
        Some(_) => Ok(()),
        None => Err(Error::Unknown {
            kind,
            name: name.clone(),
            nearest: nearest(name, values.keys().map(String::as_str)),
        }),
    };
    for output in &graph.outputs {
        exists("output value", output)?;
        if values[output].kind == super::Kind::Tokens {
            return Err(graph_error(
                graph,
                format!("expected floats as output, got the token ids `{output}`"),
            ));
        }
    }
    for (alias, value) in &graph.taps {
        exists("tapped value", value)?;
        if values.contains_key(alias) && alias != value {
            return Err(graph_error(
                graph,
                format!(
                    "the tap `{alias}` stands for `{value}`, but a value has that name already"
                ),
            ));
        }
    }
    Ok(())
}
