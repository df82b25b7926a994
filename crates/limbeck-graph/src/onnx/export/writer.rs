//! Collects the nodes and initialisers of a file.

use std::collections::{BTreeMap, BTreeSet};

use super::messages::{AttributeProto, NodeProto};
use crate::ir::{Analysis, Graph, Node, Op, Shape};
use crate::weights::HostTensor;

/// The values of an initialiser.
pub(super) enum Numbers<'a> {
    /// Those of a weight.
    Weight(&'a [f32]),
    Floats(Vec<f32>),
    Integers(Vec<i64>),
}

/// A weight or constant of the file.
pub(super) struct Initialiser<'a> {
    pub(super) name: String,
    pub(super) dims: Vec<usize>,
    pub(super) numbers: Numbers<'a>,
}

/// The nodes and initialisers so far.
pub(super) struct Writer<'a> {
    graph: &'a Graph,
    analysis: &'a Analysis,
    pub(super) nodes: Vec<NodeProto>,
    pub(super) initialisers: Vec<Initialiser<'a>>,
    /// The names of the weights in the file.
    weights: BTreeMap<&'a str, String>,
    /// All names of values and initialisers; ONNX has one space for them.
    taken: BTreeSet<String>,
    /// The value that holds the number of rows, once it is needed.
    rows: Option<String>,
}

/// One size of a shape that is computed when the model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// A number; in a reshape 0 is the size that was, and -1 what is left.
    Known(i64),
    /// So many times the number of rows.
    Rows(usize),
}

impl<'a> Writer<'a> {
    /// A file with the weights and no node.
    pub(super) fn new(
        graph: &'a Graph,
        analysis: &'a Analysis,
        weights: &'a BTreeMap<String, HostTensor>,
    ) -> Self {
        let mut writer = Self {
            graph,
            analysis,
            nodes: Vec::new(),
            initialisers: Vec::new(),
            weights: BTreeMap::new(),
            taken: analysis.values.keys().cloned().collect(),
            rows: None,
        };
        for (name, host) in weights {
            let is_value = |node: &Node| {
                node.name == *name && is_value_of(node, name) && !graph.outputs.contains(name)
            };
            let collides = analysis.values.contains_key(name) && !graph.nodes.iter().any(is_value);
            let in_file = if collides {
                writer.fresh(&format!("{name}/value"))
            } else {
                writer.taken.insert(name.clone());
                name.clone()
            };
            writer.initialisers.push(Initialiser {
                name: in_file.clone(),
                dims: host.shape.clone(),
                numbers: Numbers::Weight(&host.values),
            });
            writer.weights.insert(name, in_file);
        }
        writer
    }

    /// The place where `node` is written.
    pub(super) fn step<'w>(&'w mut self, node: &'a Node) -> Step<'w, 'a> {
        Step { writer: self, node }
    }

    /// `name`, or something like it that is not taken yet.
    fn fresh(&mut self, name: &str) -> String {
        let mut fresh = name.to_owned();
        while !self.taken.insert(fresh.clone()) {
            fresh.push('_');
        }
        fresh
    }

    /// The value `[rows]`.
    fn rows(&mut self) -> String {
        if let Some(rows) = &self.rows {
            return rows.clone();
        }
        let name = self.fresh("rows");
        self.nodes.push(NodeProto {
            input: vec![self.graph.inputs[0].name.clone()],
            output: vec![name.clone()],
            name: name.clone(),
            op_type: "Shape".to_owned(),
            attribute: vec![
                AttributeProto::int("start", 0),
                AttributeProto::int("end", 1),
            ],
        });
        self.rows = Some(name.clone());
        name
    }
}

/// Whether `node` hands out the weight called `weight` as it is.
fn is_value_of(node: &Node, weight: &str) -> bool {
    matches!(node.op, Op::Parameter(_) | Op::Constant(_))
        && node.weights.values().any(|name| name == weight)
}

/// The writing of one node of the graph.
pub(super) struct Step<'w, 'a> {
    writer: &'w mut Writer<'a>,
    pub(super) node: &'a Node,
}

impl<'a> Step<'_, 'a> {
    /// The name of an input.
    pub(super) fn input(&self, place: usize) -> &'a str {
        &self.node.inputs[place]
    }

    /// The shape of an input.
    pub(super) fn input_shape(&self, place: usize) -> &'a Shape {
        &self.writer.analysis.values[self.input(place)].shape
    }

    /// The shape of the first output.
    pub(super) fn output_shape(&self) -> &'a Shape {
        &self.writer.analysis.values[&self.node.outputs()[0]].shape
    }

    /// The initialiser that holds the weight in a role; none where the operator goes without.
    pub(super) fn weight(&self, role: &str) -> Option<String> {
        let name = self.node.weights.get(role)?;
        self.writer.weights.get(name.as_str()).cloned()
    }

    /// The node itself with all its inputs.
    pub(super) fn plain(&mut self, op_type: &str, attributes: Vec<AttributeProto>) {
        let inputs: Vec<&str> = self.node.inputs.iter().map(String::as_str).collect();
        self.finish(op_type, &inputs, attributes);
    }

    /// The node that makes what the graph's node makes.
    pub(super) fn finish(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) {
        let outputs = self.node.outputs();
        self.push(self.node.name.clone(), outputs, op_type, inputs, attributes);
    }

    /// A node on the way; gives the name of its output, which is its own.
    pub(super) fn inner(
        &mut self,
        part: &str,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let name = self.fresh(part);
        self.push(
            name.clone(),
            vec![name.clone()],
            op_type,
            inputs,
            attributes,
        );
        name
    }

    /// A constant of real numbers; gives its name.
    pub(super) fn floats(&mut self, part: &str, dims: &[usize], values: Vec<f32>) -> String {
        self.initialiser(part, dims, Numbers::Floats(values))
    }

    /// A constant real number; gives its name.
    pub(super) fn float(&mut self, part: &str, value: f64) -> String {
        self.floats(part, &[], vec![value as f32])
    }

    /// A constant list of integers; gives its name.
    pub(super) fn integers(&mut self, part: &str, values: Vec<i64>) -> String {
        self.initialiser(part, &[values.len()], Numbers::Integers(values))
    }

    /// A list of sizes; gives its name.
    pub(super) fn sizes(&mut self, part: &str, sizes: &[Size]) -> String {
        let known = sizes.iter().map(|size| match size {
            Size::Known(number) => Some(*number),
            Size::Rows(_) => None,
        });
        if let Some(numbers) = known.collect::<Option<Vec<_>>>() {
            return self.integers(part, numbers);
        }
        let rows = self.writer.rows();
        let mut parts = Vec::with_capacity(sizes.len());
        for (axis, size) in sizes.iter().enumerate() {
            let name = format!("{part}_{axis}");
            parts.push(match size {
                Size::Known(number) => self.integers(&name, vec![*number]),
                Size::Rows(1) => rows.clone(),
                Size::Rows(count) => {
                    let count = self.integers(&format!("{name}_count"), vec![*count as i64]);
                    self.inner(&name, "Mul", &[&rows, &count], vec![])
                }
            });
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.inner(part, "Concat", &parts, vec![AttributeProto::int("axis", 0)])
    }

    fn fresh(&mut self, part: &str) -> String {
        self.writer.fresh(&format!("{}/{part}", self.node.name))
    }

    fn initialiser(&mut self, part: &str, dims: &[usize], numbers: Numbers<'a>) -> String {
        let name = self.fresh(part);
        self.writer.initialisers.push(Initialiser {
            name: name.clone(),
            dims: dims.to_vec(),
            numbers,
        });
        name
    }

    fn push(
        &mut self,
        name: String,
        output: Vec<String>,
        op_type: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) {
        self.writer.nodes.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output,
            name,
            op_type: op_type.to_owned(),
            attribute,
        });
    }
}
