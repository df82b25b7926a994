//! Graphs as fresh ONNX files.
//!
//! One file per family of operators says what each is in ONNX's words: one node where there is one, else a few primitive
//! ones whose names start with that of the graph's node.

mod activation;
mod arrange;
mod combine;
mod dense;
mod file;
mod messages;
mod normalise;
mod recurrent;
mod window;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;

use super::MAX_BYTES;
use crate::Result;
use crate::ir::{self, Dim, Kind, Op, ValueType};
use crate::weights::{self, HostTensor};
use file::Contents;
use messages::{
    DimensionProto, FLOAT, GraphProto, INT64, ModelProto, OperatorSetIdProto,
    StringStringEntryProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use writer::{Step, Writer};

/// The operator set of exported files: the oldest with layer norms.
const OPSET: i64 = 17;

/// The version of the file format that came with it.
const IR_VERSION: i64 = 8;

/// The name of the number of rows in exported files.
const BATCH: &str = "batch";

/// Writes `graph` with `weights` as an ONNX file at `path`: the form that evaluates, for any batch, in operator set 17.
///
/// Nodes, values, inputs and outputs have the graph's names, initialisers those of the weights (`name/value` in the
/// rare case that a value is called so). Batch norms use their running statistics; dropouts pass everything on. The
/// texts of `metadata` are kept in the file. A model too large for one file (2 GiB) has its weights in a second one
/// beside it, called as the first with `.data` after it. Files are replaced in one step, the model last.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use burn::tensor::Device;
/// use limbeck_graph::{Seed, onnx, zoo};
///
/// let graph = zoo::build("resnet-8", [3, 32, 32], 10)?;
/// let network = graph.compile(Seed::new(0), &Device::flex())?;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("student.onnx");
/// onnx::export(&graph, &network.weights(), &BTreeMap::new(), &path)?;
///
/// let model = onnx::Model::read(&path)?;
/// assert_eq!(model.graph().outputs[0].name, graph.outputs[0]);
/// assert!(model.graph().initialisers.contains_key("conv1.weight"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the graph is not valid, the weights are not its own, or a file cannot be written.
pub fn export(
    graph: &ir::Graph,
    weights: &BTreeMap<String, HostTensor>,
    metadata: &BTreeMap<String, String>,
    path: impl AsRef<Path>,
) -> Result<()> {
    let analysis = graph.validate()?;
    weights::check(graph, weights)?;
    contents(graph, &analysis, weights, metadata).write(path.as_ref(), MAX_BYTES)
}

fn contents<'a>(
    graph: &'a ir::Graph,
    analysis: &'a ir::Analysis,
    weights: &'a BTreeMap<String, HostTensor>,
    metadata: &BTreeMap<String, String>,
) -> Contents<'a> {
    let mut writer = Writer::new(graph, analysis, weights);
    for &place in &analysis.order {
        node(&mut writer.step(&graph.nodes[place]));
    }
    let described = |name: &String, value: &ValueType| ValueInfoProto {
        name: name.clone(),
        kind: Some(described(value)),
    };
    let input = graph
        .inputs
        .iter()
        .map(|input| described(&input.name, &input.value));
    let output = graph
        .outputs
        .iter()
        .map(|name| described(name, &analysis.values[name]));
    let graph_proto = GraphProto {
        name: graph.name.clone(),
        input: input.collect(),
        output: output.collect(),
        node: writer.nodes,
    };
    let metadata = metadata.iter().map(|(key, value)| StringStringEntryProto {
        key: key.clone(),
        value: value.clone(),
    });
    Contents {
        model: ModelProto {
            ir_version: IR_VERSION,
            producer_name: "limbeck".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: OPSET,
            }],
            metadata_props: metadata.collect(),
        },
        graph: graph_proto,
        initialisers: writer.initialisers,
    }
}

/// Writes one node of the graph.
fn node(step: &mut Step<'_, '_>) {
    match &step.node.op {
        Op::Conv1d(conv) => window::conv1d(step, conv),
        Op::Conv2d(conv) => window::conv2d(step, conv),
        Op::ConvTranspose2d(conv) => window::conv_transpose2d(step, conv),
        Op::MaxPool1d(pool) => window::pool1d(step, "MaxPool", pool),
        Op::MaxPool2d(pool) => window::pool2d(step, "MaxPool", pool),
        Op::AvgPool1d(pool) => window::pool1d(step, "AveragePool", pool),
        Op::AvgPool2d(pool) => window::pool2d(step, "AveragePool", pool),
        Op::GlobalAvgPool => step.plain("GlobalAveragePool", vec![]),
        Op::GlobalMaxPool => step.plain("GlobalMaxPool", vec![]),
        Op::Linear(linear) => dense::linear(step, linear),
        Op::MatMul => step.plain("MatMul", vec![]),
        Op::Embedding(_) => dense::embedding(step),
        Op::TokensAsFloats => combine::tokens_as_floats(step),
        Op::Parameter(_) | Op::Constant(_) => dense::value(step),
        Op::BatchNorm(norm) => normalise::batch_norm(step, norm),
        Op::LayerNorm(norm) => normalise::layer_norm(step, norm),
        Op::Dropout(dropout) => normalise::dropout(step, dropout),
        Op::Softmax(softmax) => normalise::softmax(step, "Softmax", softmax),
        Op::LogSoftmax(softmax) => normalise::softmax(step, "LogSoftmax", softmax),
        Op::Activation(function) => activation::activation(step, *function),
        Op::ScaleShift(line) => activation::scale_shift(step, line),
        Op::Add => combine::several(step, "Add"),
        Op::Multiply => combine::several(step, "Mul"),
        Op::Subtract => step.plain("Sub", vec![]),
        Op::Divide => step.plain("Div", vec![]),
        Op::Maximum => step.plain("Max", vec![]),
        Op::Minimum => step.plain("Min", vec![]),
        Op::Compare(compare) => combine::compare(step, compare.relation),
        Op::Where => combine::choose(step),
        Op::Reduce(reduce) => combine::reduce(step, reduce),
        Op::Concatenate(concatenate) => arrange::concatenate(step, concatenate),
        Op::Split(split) => arrange::split(step, split),
        Op::Reshape(reshape) => arrange::reshape(step, reshape),
        Op::View(view) => arrange::view(step, view),
        Op::Expand(_) => arrange::expand(step),
        Op::Slice(slice) => arrange::slice(step, slice),
        Op::Take(take) => arrange::take(step, take),
        Op::Pad(pad) => arrange::pad(step, pad),
        Op::Transpose(transpose) => arrange::transpose(step, &transpose.axes),
        Op::ChannelShuffle(shuffle) => arrange::channel_shuffle(step, shuffle),
        Op::Flatten => arrange::flatten(step),
        Op::Recurrent(layer) => recurrent::recurrent(step, layer),
    }
}

fn described(value: &ValueType) -> TypeProto {
    let dim = value.shape.dims().iter().map(|dim| match dim {
        Dim::Batch => DimensionProto {
            dim_param: Some(BATCH.to_owned()),
            ..DimensionProto::default()
        },
        Dim::Batches(_) => DimensionProto::default(),
        Dim::Fixed(size) => DimensionProto {
            dim_value: Some(*size as i64),
            ..DimensionProto::default()
        },
    });
    TypeProto {
        tensor_type: Some(TensorTypeProto {
            elem_type: match value.kind {
                Kind::Float => FLOAT,
                Kind::Tokens => INT64,
            },
            shape: Some(TensorShapeProto { dim: dim.collect() }),
        }),
    }
}

#[cfg(test)]
mod tests;
