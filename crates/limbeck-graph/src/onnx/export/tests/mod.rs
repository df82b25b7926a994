#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod files;
mod networks;
mod operators;
mod recurrent;
mod values;

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::RngExt;

use super::*;
use crate::build::{Builder, Value};
use crate::ir::{Graph, Shape};
use crate::tract::{TractNetwork, parity};
use crate::{Feature, InputTensor, Inputs, Network, Seed, Taps, Trace};

const BATCHES: [usize; 2] = [1, 3];

/// Numbers between -1 and 1 that depend on the name alone.
fn random(name: &str, count: usize) -> Vec<f32> {
    let mut generator = Seed::new(5).stream(name, &[]);
    (0..count)
        .map(|_| generator.random::<f32>() * 2.0 - 1.0)
        .collect()
}

fn feature(values: Vec<f32>, shape: &[usize]) -> Feature {
    Feature::from_vec(values, shape, &Device::flex()).unwrap()
}

/// Random inputs of the graph with `batch` rows; token ids from 0 to 3.
fn inputs(graph: &Graph, batch: usize) -> Inputs {
    graph
        .inputs
        .iter()
        .fold(Inputs::default(), |inputs, input| {
            let shape = input.value.shape.sizes(batch);
            let values = random(&input.name, shape.iter().product());
            let tensor = match input.value.kind {
                Kind::Float => InputTensor::Float(feature(values, &shape)),
                Kind::Tokens => {
                    let ids = values.iter().map(|value| ((value + 1.0) * 2.0) as i64);
                    let data = TensorData::new(ids.collect::<Vec<_>>(), shape);
                    InputTensor::Tokens(Tensor::<2, Int>::from_data(data, &Device::flex()))
                }
            };
            inputs.with(&input.name, tensor)
        })
}

/// Random weights, with variances that are positive.
fn weights(graph: &Graph) -> BTreeMap<String, HostTensor> {
    let weight = |(name, spec): (&String, &ir::WeightSpec)| {
        let mut values = random(name, spec.len());
        if spec.kind == ir::WeightKind::RunningVariance {
            values
                .iter_mut()
                .for_each(|value| *value = value.abs() + 0.5);
        }
        let host = HostTensor::new(spec.shape.clone(), values).unwrap();
        (name.clone(), host)
    };
    graph.weights.iter().map(weight).collect()
}

/// Exports the graph and reads it again.
fn exported(
    graph: &Graph,
    weights: &BTreeMap<String, HostTensor>,
    path: &Path,
) -> super::super::Model {
    export(graph, weights, &BTreeMap::new(), path).unwrap();
    super::super::Model::read(path).unwrap()
}

/// Expects the exported graph to compute elsewhere what it computes here.
fn same(graph: &Graph, weights: &BTreeMap<String, HostTensor>, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    exported(graph, weights, &path);
    let network = graph.compile(Seed::new(3), &Device::flex()).unwrap();
    let network = network.load(weights).unwrap();
    for batch in BATCHES {
        let inputs = inputs(graph, batch);
        let trace = network.forward(&inputs, &Taps::none()).unwrap();
        let parity = parity(&path, &inputs, &trace.output)
            .unwrap_or_else(|error| panic!("{what} with {batch} rows: {error}"));
        assert!(parity.passes(), "{what} with {batch} rows: {parity:?}");
        let other = TractNetwork::read(&path, &Device::flex()).unwrap();
        let others = other.forward(&inputs, &Taps::none()).unwrap().features;
        assert!(others.keys().eq(trace.features.keys()), "{what}");
        for (name, feature) in &trace.features {
            let (got, expected) = (others[name].to_vec().unwrap(), feature.to_vec().unwrap());
            assert_eq!(others[name].shape(), feature.shape(), "{what}: {name}");
            let far = |(got, expected): (&f32, &f32)| (got - expected).abs() > 1e-4;
            assert!(!got.iter().zip(&expected).any(far), "{what}: {name}");
        }
    }
}

/// A graph with the inputs `a`, `b`, ... with these sizes after the batch.
fn graph_of(sizes: &[&[usize]], build: impl Fn(&mut Builder, &[Value]) -> Value) -> Graph {
    let mut b = Builder::new("test");
    let inputs: Vec<Value> = sizes
        .iter()
        .zip(["a", "b", "c"])
        .map(|(sizes, name)| b.input(name, ValueType::float(Shape::batched(sizes))))
        .collect();
    let output = build(&mut b, &inputs);
    b.finish(output).unwrap()
}

/// What tract computes with the exported graph.
fn elsewhere(graph: &Graph, weights: &BTreeMap<String, HostTensor>, inputs: &Inputs) -> Trace {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    exported(graph, weights, &path);
    let network = TractNetwork::read(&path, &Device::flex()).unwrap();
    network.forward(inputs, &Taps::none()).unwrap()
}
