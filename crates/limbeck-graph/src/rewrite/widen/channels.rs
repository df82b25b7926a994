//! Which values have the same channels, and what becomes of them.

use std::collections::BTreeMap;

use crate::ir::{Analysis, Dim, Graph, Node, Op, Shape, ValueType};

/// How an operator treats the channels (axis 1) of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It mixes them and makes new ones.
    Layer,
    /// Its output has the channels of its inputs.
    Tied,
    /// It puts those of its inputs one after the other.
    Concatenated,
    /// It makes each channel a block of as many values.
    Flattened(usize),
    /// It treats different channels differently, or has none.
    Fixed,
}

pub(super) fn role(node: &Node, values: &BTreeMap<String, ValueType>) -> Role {
    let convolution = |inputs: usize, outputs: usize, groups: usize| match groups {
        1 => Role::Layer,
        _ if groups == inputs && groups == outputs => Role::Tied,
        _ => Role::Fixed,
    };
    let shape = |name: &String| &values[name].shape;
    match &node.op {
        Op::Conv1d(conv) => convolution(conv.in_channels, conv.out_channels, conv.groups),
        Op::Conv2d(conv) => convolution(conv.in_channels, conv.out_channels, conv.groups),
        Op::ConvTranspose2d(conv) => convolution(conv.in_channels, conv.out_channels, conv.groups),
        Op::Linear(_) if shape(&node.name).rank() == 2 => Role::Layer,
        Op::Concatenate(concatenate) if concatenate.axis == 1 => Role::Concatenated,
        Op::Flatten => Role::Flattened(shape(&node.inputs[0]).sizes(1)[2..].iter().product()),
        Op::View(_) => viewed(shape(&node.inputs[0]), shape(&node.name)),
        Op::Reduce(reduce) if !reduce.axes.contains(&1) => Role::Tied,
        Op::Slice(slice) if slice.axis != 1 => Role::Tied,
        Op::Take(take) if take.axis != 1 => Role::Tied,
        Op::Pad(pad) if pad.sides.get(1) == Some(&[0, 0]) => Role::Tied,
        Op::BatchNorm(_)
        | Op::Dropout(_)
        | Op::Activation(_)
        | Op::MaxPool1d(_)
        | Op::MaxPool2d(_)
        | Op::AvgPool1d(_)
        | Op::AvgPool2d(_)
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::Add
        | Op::Subtract
        | Op::Multiply
        | Op::Divide
        | Op::Maximum
        | Op::Minimum
        | Op::Compare(_)
        | Op::Where
        | Op::ScaleShift(_)
        | Op::Concatenate(_) => Role::Tied,
        _ => Role::Fixed,
    }
}

/// A view that leaves the batch and the channels alone, or flattens all after the batch.
fn viewed(from: &Shape, to: &Shape) -> Role {
    let (&[rows, Dim::Fixed(channels), ref places @ ..], &[same, Dim::Fixed(size), ref rest @ ..]) =
        (from.dims(), to.dims())
    else {
        return Role::Fixed;
    };
    let fixed = |dims: &[Dim]| dims.iter().all(|dim| dim.batches().is_none());
    if rows != same || !fixed(places) || !fixed(rest) {
        return Role::Fixed;
    }
    match (rest, size == channels) {
        (_, true) => Role::Tied,
        ([], false) => Role::Flattened(places.iter().map(|dim| dim.size(1)).product()),
        _ => Role::Fixed,
    }
}

/// For each value whose channels change, the old channel behind each new one.
#[derive(Debug)]
pub(super) struct Channels {
    classes: BTreeMap<String, usize>,
    maps: BTreeMap<usize, Vec<usize>>,
}

impl Channels {
    /// What follows from widening `value` by `map`.
    ///
    /// # Errors
    /// A sentence if some value cannot follow.
    pub(super) fn new(
        graph: &Graph,
        analysis: &Analysis,
        value: &str,
        map: Vec<usize>,
    ) -> Result<Self, String> {
        let mut channels = Self {
            classes: classes(graph, analysis),
            maps: BTreeMap::new(),
        };
        channels.maps.insert(channels.classes[value], map);
        // A joined value may be added to one that comes before it, so one pass is not always enough.
        while channels.pass_on(graph, analysis)? {}
        channels.check(graph, analysis)?;
        Ok(channels)
    }

    /// The old channel behind each new one of `value`, if they change.
    pub(super) fn map(&self, value: &str) -> Option<&[usize]> {
        let class = self.classes.get(value)?;
        self.maps.get(class).map(Vec::as_slice)
    }

    /// Carries maps over concatenations and flattened images; whether there is a new one.
    fn pass_on(&mut self, graph: &Graph, analysis: &Analysis) -> Result<bool, String> {
        let mut changed = false;
        for &index in &analysis.order {
            let node = &graph.nodes[index];
            let Some(joined) = self.joined(node, analysis) else {
                continue;
            };
            let class = self.classes[&node.name];
            match self.maps.get(&class) {
                None => {
                    self.maps.insert(class, joined);
                    changed = true;
                }
                Some(map) if *map == joined => {}
                Some(_) => return Err(differs(node)),
            }
        }
        Ok(changed)
    }

    /// The map of a node's output that follows from its inputs', if one of them changes.
    fn joined(&self, node: &Node, analysis: &Analysis) -> Option<Vec<usize>> {
        let role = role(node, &analysis.values);
        let block = match role {
            Role::Concatenated => 1,
            Role::Flattened(area) => area,
            _ => return None,
        };
        node.inputs.iter().find_map(|input| self.map(input))?;
        let mut joined = Vec::new();
        let mut offset = 0;
        for input in &node.inputs {
            let size = analysis.values[input].shape.size(1).unwrap_or(0);
            let own: Vec<usize> = self
                .map(input)
                .map_or_else(|| (0..size).collect(), <[usize]>::to_vec);
            let blocks = own.iter().map(|channel| (offset + channel) * block);
            joined.extend(blocks.flat_map(|start| start..start + block));
            offset += size;
        }
        Some(joined)
    }

    /// Checks that every node can follow.
    fn check(&self, graph: &Graph, analysis: &Analysis) -> Result<(), String> {
        for input in &graph.inputs {
            if self.map(&input.name).is_some() {
                return Err(format!(
                    "its channels are added to those of the network's input `{}`",
                    input.name
                ));
            }
        }
        if let Some(output) = graph.outputs.iter().find(|name| self.map(name).is_some()) {
            return Err(format!(
                "its channels reach the network's output `{output}`; only hidden layers can be widened"
            ));
        }
        for node in &graph.nodes {
            let outputs = node.outputs();
            let changes = outputs.iter().any(|name| self.map(name).is_some());
            match role(node, &analysis.values) {
                Role::Layer | Role::Tied => {}
                Role::Concatenated | Role::Flattened(_) => {
                    if changes && self.joined(node, analysis).is_none() {
                        return Err(differs(node));
                    }
                }
                Role::Fixed => {
                    if changes || node.inputs.iter().any(|name| self.map(name).is_some()) {
                        return Err(format!(
                            "its channels reach node `{}` ({}), which does not treat all of them alike; choose a \
                             layer whose channels end in a convolution or linear layer before",
                            node.name,
                            node.op.name()
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

fn differs(node: &Node) -> String {
    format!(
        "its channels are added to those of node `{}` ({}), whose parts would have to be widened alike",
        node.name,
        node.op.name()
    )
}

/// A number for each value, the same for values with the same channels.
fn classes(graph: &Graph, analysis: &Analysis) -> BTreeMap<String, usize> {
    let names = analysis.values.keys().cloned();
    let mut classes: BTreeMap<String, usize> = names.zip(0..).collect();
    for &index in &analysis.order {
        let node = &graph.nodes[index];
        if role(node, &analysis.values) != Role::Tied {
            continue;
        }
        let rank = analysis.values[&node.name].shape.rank();
        for input in &node.inputs {
            let shape = &analysis.values[input].shape;
            // Axes are aligned at the last one; a size of 1 is repeated for any number of channels.
            let axis = match node.op {
                Op::View(_) => Some(1),
                _ => (1 + shape.rank()).checked_sub(rank),
            };
            let size = axis.and_then(|axis| shape.size(axis));
            if size.is_none_or(|size| size == 1 && repeats(node, analysis)) {
                continue;
            }
            let (from, to) = (classes[input], classes[&node.name]);
            for class in classes.values_mut().filter(|class| **class == from) {
                *class = to;
            }
        }
    }
    classes
}

/// Whether inputs with one channel are repeated for the channels of the node's output.
fn repeats(node: &Node, analysis: &Analysis) -> bool {
    node.inputs.len() > 1 && analysis.values[&node.name].shape.size(1) != Some(1)
}
