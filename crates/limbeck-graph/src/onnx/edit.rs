//! Changes to the nodes of a file that is written back.
//!
//! A node is written anew field by field from its old bytes, so that what is not known here stays.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::node::{Attribute, Node};
use super::wire::Fields;
use super::{Graph, Model, Outcome};
use crate::Result;
use crate::weights::HostTensor;

/// The numbers of the fields of `NodeProto` that change.
const INPUT: u64 = 1;
const OUTPUT: u64 = 2;
const ATTRIBUTE: u64 = 5;

/// Other bytes for a range of the file.
#[derive(Debug)]
pub(super) struct Splice {
    pub(super) range: Range<usize>,
    pub(super) bytes: Vec<u8>,
}

/// What changes in a graph beside the values of its initialisers.
#[derive(Debug, Default)]
pub(super) struct Edits {
    /// Inputs that nodes take instead of others, by the node's position.
    pub(super) renamed: BTreeMap<usize, Vec<Renamed>>,
    /// The positions of identities whose outputs become initialisers.
    pub(super) replaced: BTreeSet<usize>,
    /// Initialisers that the file does not have.
    pub(super) initialisers: BTreeMap<String, HostTensor>,
}

/// An input that a node takes instead of another.
#[derive(Debug)]
pub(super) struct Renamed {
    /// Which input; every one of the old name without.
    pub(super) input: Option<usize>,
    pub(super) from: String,
    pub(super) to: String,
}

/// What changes in a node.
#[derive(Debug, Default)]
struct NodeEdit<'a> {
    renamed: &'a [Renamed],
    /// How many inputs and outputs stay.
    inputs: Option<usize>,
    outputs: Option<usize>,
    attribute: Option<&'static str>,
}

impl Model {
    /// The changes of the file that make it evaluate, with those of `edits`.
    pub(super) fn splices(&self, edits: &Edits) -> Result<Vec<Splice>> {
        let graph = &self.graph;
        let mut splices = Vec::new();
        for (position, node) in graph.nodes.iter().enumerate() {
            if edits.replaced.contains(&position) {
                splices.push(Splice {
                    range: node.place.field.clone(),
                    bytes: Vec::new(),
                });
                continue;
            }
            let mut edit = evaluating(graph, node);
            edit.renamed = edits.renamed.get(&position).map_or(&[], Vec::as_slice);
            if edit.is_empty() {
                continue;
            }
            let bytes = self.source.part(node.place.message.clone());
            let bytes = bytes.map_err(|error| self.source.unreadable(error))?;
            let message = edited(&bytes, &edit).map_err(|problem| self.source.error(&problem))?;
            splices.push(Splice {
                range: node.place.field.clone(),
                bytes: field(1, &message),
            });
        }
        let mut added = Vec::new();
        for (name, host) in &edits.initialisers {
            added.extend(field(5, &tensor(name, host)));
        }
        if !added.is_empty() {
            let end = graph.place.message.end;
            splices.push(Splice {
                range: end..end,
                bytes: added,
            });
        }
        if splices.is_empty() {
            return Ok(splices);
        }
        splices.sort_by_key(|splice| splice.range.start);
        let change = splices.iter().fold(0_i64, |change, splice| {
            change + splice.bytes.len() as i64 - splice.range.len() as i64
        });
        let length = graph.place.message.len() as i64 + change;
        let mut head = varint(7 << 3 | 2);
        head.extend(varint(length.unsigned_abs()));
        splices.insert(
            0,
            Splice {
                range: graph.place.field.start..graph.place.message.start,
                bytes: head,
            },
        );
        Ok(splices)
    }
}

impl NodeEdit<'_> {
    const fn is_empty(&self) -> bool {
        self.renamed.is_empty()
            && self.inputs.is_none()
            && self.outputs.is_none()
            && self.attribute.is_none()
    }
}

/// What makes a node evaluate: batch norms use their running statistics, dropouts pass everything.
fn evaluating<'a>(graph: &Graph, node: &Node) -> NodeEdit<'a> {
    let own = matches!(node.domain.as_str(), "" | "ai.onnx");
    let mut edit = NodeEdit::default();
    match node.op_type.as_str() {
        "BatchNormalization" if own => {
            if matches!(node.attributes.get("training_mode"), Some(Attribute::Int(mode)) if *mode != 0)
            {
                edit.attribute = Some("training_mode");
            }
            edit.outputs = unused_outputs(graph, node);
        }
        "Dropout" if own && node.inputs.get(2).is_some_and(|input| !input.is_empty()) => {
            edit.inputs = Some(2);
            edit.outputs = unused_outputs(graph, node);
        }
        _ => {}
    }
    edit
}

/// The first output alone, if the others are there and nobody takes them.
fn unused_outputs(graph: &Graph, node: &Node) -> Option<usize> {
    let others = node.outputs.get(1..).unwrap_or(&[]);
    let used = others.iter().any(|output| {
        let mut inputs = graph.nodes.iter().flat_map(|node| &node.inputs);
        !output.is_empty()
            && (inputs.any(|input| input == output)
                || graph.outputs.iter().any(|info| info.name == *output))
    });
    (!others.is_empty() && !used).then_some(1)
}

/// The message of a node with the changes.
fn edited(node: &[u8], edit: &NodeEdit<'_>) -> Outcome<Vec<u8>> {
    let mut fields = Fields::new(node, 0..node.len());
    let mut message = Vec::with_capacity(node.len());
    let (mut inputs, mut outputs) = (0, 0);
    loop {
        let start = fields.position();
        let Some(found) = fields.next().transpose()? else {
            return Ok(message);
        };
        let bytes = &node[start..fields.position()];
        match found.number {
            INPUT => {
                inputs += 1;
                if edit.inputs.is_some_and(|kept| inputs > kept) {
                    continue;
                }
                let name = found.text()?;
                let is_this = |renamed: &&Renamed| {
                    renamed.from == name && renamed.input.is_none_or(|input| input + 1 == inputs)
                };
                match edit.renamed.iter().find(is_this) {
                    Some(renamed) => message.extend(field(INPUT, renamed.to.as_bytes())),
                    None => message.extend_from_slice(bytes),
                }
            }
            OUTPUT => {
                outputs += 1;
                if edit.outputs.is_none_or(|kept| outputs <= kept) {
                    message.extend_from_slice(bytes);
                }
            }
            ATTRIBUTE if edit.attribute.is_some() => {
                let mut name = None;
                for part in found.message()? {
                    let part = part?;
                    if part.number == 1 {
                        name = Some(part.text()?);
                    }
                }
                if name != edit.attribute {
                    message.extend_from_slice(bytes);
                }
            }
            _ => message.extend_from_slice(bytes),
        }
    }
}

/// A `TensorProto` of raw `float32`.
fn tensor(name: &str, host: &HostTensor) -> Vec<u8> {
    let mut message = Vec::new();
    for &size in &host.shape {
        message.extend(varint(1 << 3));
        message.extend(varint(size as u64));
    }
    message.extend(varint(2 << 3));
    message.extend(varint(1));
    message.extend(field(8, name.as_bytes()));
    let raw: Vec<u8> = host
        .values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    message.extend(field(9, &raw));
    message
}

/// A field of bytes.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut field = varint(number << 3 | 2);
    field.extend(varint(bytes.len() as u64));
    field.extend_from_slice(bytes);
    field
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
