//! Models as graphs: what is computed, refused and written back.

mod hostile;
mod operators;
mod shapes;
mod weights;

use std::path::Path;

use burn::tensor::Device;
use prost::Message;

use super::messages::{self, AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
use crate::onnx::{Imported, Model};
use crate::{Error, Feature, Inputs, Network, Result, Seed, Taps};

/// The small model with other nodes, initialisers and opset; its input is `x` `[batch, 4]`, its output `y`.
fn model(opset: i64, nodes: Vec<NodeProto>, initialisers: Vec<TensorProto>) -> ModelProto {
    let mut model = messages::model(|graph| {
        graph.node = nodes;
        graph.initializer = initialisers;
        graph.value_info.clear();
    });
    model.opset_import[0].version = opset;
    model
}

fn import(model: &ModelProto) -> Result<Imported> {
    Model::from_bytes(model.encode_to_vec(), Path::new("model.onnx"))?.import()
}

/// The values and the shape of `y` for the rows `x` of four numbers each.
fn answer(model: &ModelProto, x: &[f32]) -> (Vec<usize>, Vec<f32>) {
    let imported = import(model).unwrap();
    let device = Device::flex();
    let network = imported.graph().compile(Seed::new(0), &device).unwrap();
    let network = network.load(&imported.weights().unwrap()).unwrap();
    let rows = Feature::from_vec(x.to_vec(), &[x.len() / 4, 4], &device).unwrap();
    let trace = network
        .forward(&Inputs::float(rows), &Taps::none())
        .unwrap();
    (trace.output.shape(), trace.output.to_vec().unwrap())
}

fn close(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{got:?}");
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() < 1e-5, "{got} instead of {expected}");
    }
}

/// Why the model cannot be trained: the node, and what is in the way.
fn refusal(model: &ModelProto) -> (String, String) {
    match import(model).unwrap_err() {
        Error::Operator { node, problem, .. } => (node, problem),
        other => panic!("expected an operator in the way, got: {other}"),
    }
}

fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: Some(value),
        kind: 2,
        ..Default::default()
    }
}

fn number(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        f: Some(value),
        kind: 1,
        ..Default::default()
    }
}

fn list(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ints: values.to_vec(),
        kind: 7,
        ..Default::default()
    }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        s: Some(value.as_bytes().to_vec()),
        kind: 3,
        ..Default::default()
    }
}

/// A node with attributes.
fn node(op: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        attribute: attributes,
        ..messages::node(op, inputs, output)
    }
}

/// A list of `int64`.
fn integers(name: &str, values: &[i64]) -> TensorProto {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    messages::raw(name, 7, &[values.len() as i64], &bytes)
}

/// One `int64` without axes.
fn index(name: &str, value: i64) -> TensorProto {
    messages::raw(name, 7, &[], &value.to_le_bytes())
}

/// The graph of a model.
fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}
