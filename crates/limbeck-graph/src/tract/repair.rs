//! Nodes that tract reads as something else than they are, written as others or refused.
//!
//! Found by comparing every value of many models with onnxruntime's (tract 0.23.9): `Celu` ignores how its slope below zero
//! follows from alpha, recurrent layers ignore their direction where it is `reverse`, their activations and their clip.

use std::collections::BTreeSet;

use tract_onnx::model::ParsingContext;
use tract_onnx::ops::rec::common::CommonRec;
use tract_onnx::ops::rec::rnn::RNN;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};
use tract_onnx::prelude::TractResult;
use tract_onnx::tract_core::ops::nn::leaky_relu;
use tract_onnx::tract_hir::infer::InferenceOp;
use tract_onnx::tract_hir::ops::expandable::expand;

/// `TensorProto.DataType.FLOAT`.
const FLOAT: i32 = 1;
/// `TensorProto.DataType.INT64`.
const INT64: i32 = 7;

/// The operator that stands for an `RNN` with `Relu`, which tract does not read.
const RELU_RNN: &str = "RNN of limbeck with Relu";

/// Rewrites the nodes of `graph`.
///
/// # Errors
/// A sentence that names a node which means what tract cannot be told.
pub(super) fn repair(graph: &mut GraphProto) -> Result<(), String> {
    let mut file = File::new(graph);
    for node in std::mem::take(&mut graph.node) {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            file.nodes.push(node);
            continue;
        }
        match node.op_type.as_str() {
            "Celu" => celu(node, &mut file),
            "LSTM" | "GRU" | "RNN" => recurrent(node, &mut file)?,
            _ => file.nodes.push(node),
        }
    }
    graph.node = file.nodes;
    graph.initializer.extend(file.initialisers);
    Ok(())
}

/// Teaches tract the operators that [`repair`] puts in.
pub(super) fn register(framework: &mut tract_onnx::Onnx) {
    framework.op_register.insert(RELU_RNN, relu_rnn);
}

fn relu_rnn(
    _context: &ParsingContext<'_>,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let cell = RNN {
        fore: Box::new(leaky_relu(0.0)),
        back: Box::new(leaky_relu(0.0)),
    };
    let layer = CommonRec::from_node_and_options(node, 3, 0, Box::new(cell))?;
    Ok((expand(layer), Vec::new()))
}

/// What replaces the nodes so far.
struct File {
    taken: BTreeSet<String>,
    nodes: Vec<NodeProto>,
    initialisers: Vec<TensorProto>,
}

impl File {
    fn new(graph: &GraphProto) -> Self {
        let inputs = graph.input.iter().map(|input| &input.name);
        let initialisers = graph.initializer.iter().map(|tensor| &tensor.name);
        let values = graph
            .node
            .iter()
            .flat_map(|node| node.output.iter().chain([&node.name]));
        Self {
            taken: inputs.chain(initialisers).chain(values).cloned().collect(),
            nodes: Vec::with_capacity(graph.node.len()),
            initialisers: Vec::new(),
        }
    }

    fn fresh(&mut self, name: &str) -> String {
        let mut fresh = name.to_owned();
        while !self.taken.insert(fresh.clone()) {
            fresh.push('_');
        }
        fresh
    }

    fn constant(&mut self, name: &str, dims: Vec<i64>, kind: i32, bytes: Vec<u8>) -> String {
        let name = self.fresh(name);
        self.initialisers.push(TensorProto {
            name: name.clone(),
            dims,
            data_type: kind,
            raw_data: bytes,
            ..TensorProto::default()
        });
        name
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        let dims = vec![values.len() as i64];
        self.constant(name, dims, INT64, bytes.collect())
    }

    fn node(&mut self, name: String, op_type: &str, input: Vec<String>, output: String) {
        self.nodes.push(NodeProto {
            name,
            op_type: op_type.to_owned(),
            input,
            output: vec![output],
            ..NodeProto::default()
        });
    }

    /// The value `from` read backwards along `axis`, as `to`.
    fn reversed(&mut self, axis: i64, from: &str, to: String) {
        let name = self.fresh(&format!("{to}/reversed"));
        let bounds = [
            ("starts", -1),
            ("ends", i64::from(i32::MIN)),
            ("axes", axis),
            ("steps", -1),
        ];
        let mut input = vec![from.to_owned()];
        for (part, value) in bounds {
            input.push(self.integers(&format!("{name}/{part}"), &[value]));
        }
        self.node(name, "Slice", input, to);
    }
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name == name)
}

/// `celu(x) = alpha * elu(x / alpha)` with an elu whose own alpha is 1.
fn celu(node: NodeProto, file: &mut File) {
    let alpha = attribute(&node, "alpha").map_or(1.0, |alpha| alpha.f);
    let ([x], [y]) = (node.input.as_slice(), node.output.as_slice()) else {
        file.nodes.push(node);
        return;
    };
    let (scaled, bent) = (
        file.fresh(&format!("{y}/scaled")),
        file.fresh(&format!("{y}/bent")),
    );
    let alpha = file.constant(
        &format!("{y}/alpha"),
        Vec::new(),
        FLOAT,
        alpha.to_le_bytes().to_vec(),
    );
    file.node(
        scaled.clone(),
        "Div",
        vec![x.clone(), alpha.clone()],
        scaled.clone(),
    );
    file.node(bent.clone(), "Elu", vec![scaled], bent.clone());
    file.node(node.name, "Mul", vec![bent, alpha], y.clone());
}

fn recurrent(mut node: NodeProto, file: &mut File) -> Result<(), String> {
    let refuse = |node: &NodeProto, problem: &str| {
        Err(format!(
            "node `{}` ({}): tract does not have {problem}; export the model with PyTorch's own layers",
            node.name, node.op_type
        ))
    };
    if attribute(&node, "clip").is_some()
        || attribute(&node, "input_forget").is_some_and(|on| on.i != 0)
    {
        return refuse(&node, "clipped or coupled gates");
    }
    let usual: &[&str] = match node.op_type.as_str() {
        "LSTM" => &["Sigmoid", "Tanh", "Tanh"],
        "GRU" => &["Sigmoid", "Tanh"],
        _ => &["Tanh"],
    };
    let are = |functions: &[Vec<u8>], expected: &[&str]| {
        functions.chunks(expected.len()).all(|chunk| {
            chunk
                .iter()
                .map(Vec::as_slice)
                .eq(expected.iter().map(|name| name.as_bytes()))
        })
    };
    let functions = attribute(&node, "activations").map_or(&[][..], |given| &given.strings);
    if !functions.is_empty() && !are(functions, usual) {
        if node.op_type != "RNN" || !are(functions, &["Relu"]) {
            return refuse(&node, "these activations");
        }
        node.op_type = RELU_RNN.to_owned();
    }
    if attribute(&node, "direction").is_none_or(|direction| direction.s != b"reverse") {
        file.nodes.push(node);
        return Ok(());
    }
    let axis = attribute(&node, "layout").map_or(0, |layout| layout.i);
    let (Some(x), Some(states)) = (node.input.first_mut(), node.output.first_mut()) else {
        return refuse(&node, "layers without inputs or outputs");
    };
    let backwards = file.fresh(&format!("{x}/backwards"));
    file.reversed(axis, x, backwards.clone());
    *x = backwards;
    if !states.is_empty() {
        let forwards = std::mem::take(states);
        *states = file.fresh(&format!("{forwards}/backwards"));
        let backwards = states.clone();
        file.reversed(axis, &backwards, forwards);
    }
    file.nodes.push(node);
    Ok(())
}
