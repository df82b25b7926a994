#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod chains;
mod deepen;
mod fold;
mod graft;
mod values;
mod widen;

use burn::tensor::Device;
use rand::RngExt;

use super::Weighted;
use crate::build::{Builder, Value};
use crate::ir::{Dim, Graph, Op};
use crate::{Feature, InputTensor, Inputs, Network, Seed, Taps, Trace, zoo};

/// Numbers between -1 and 1 that depend on the name alone.
fn random(name: &str, count: usize) -> Vec<f32> {
    let mut generator = Seed::new(5).stream(name, &[]);
    (0..count)
        .map(|_| generator.random::<f32>() * 2.0 - 1.0)
        .collect()
}

/// The graph with weights, and running statistics that are not those of a fresh network.
fn trained(graph: Graph) -> Weighted {
    let (graph, mut weights) = Weighted::fresh(graph, Seed::new(3)).unwrap().into_parts();
    for (name, host) in &mut weights {
        let noise = random(name, host.values.len());
        for (value, noise) in host.values.iter_mut().zip(noise) {
            if name.ends_with("running_var") {
                *value = 1.0 + 0.5 * noise;
            } else if name.ends_with("running_mean") || name.ends_with("bias") {
                *value += 0.2 * noise;
            }
        }
    }
    Weighted::new(graph, weights).unwrap()
}

fn network(name: &str) -> Weighted {
    trained(zoo::build(name, [3, 16, 16], 7).unwrap())
}

/// A trained network over one input of `[batch, sizes...]`.
fn network_of(sizes: &[usize], build: impl FnOnce(&mut Builder, Value) -> Value) -> Weighted {
    use crate::ir::{Shape, ValueType};
    let mut b = Builder::new("test");
    let x = b.input("input", ValueType::float(Shape::batched(sizes)));
    let y = build(&mut b, x);
    trained(b.finish(y).unwrap())
}

/// What the network computes from a batch of 3; in training mode on an autodiff device.
fn answer(network: &Weighted, device: &Device, taps: &[String]) -> Trace {
    let inputs = network
        .graph()
        .inputs
        .iter()
        .fold(Inputs::default(), |inputs, input| {
            let shape = input.value.shape.sizes(3);
            let values = random(&input.name, shape.iter().product());
            let feature = Feature::from_vec(values, &shape, device).unwrap();
            inputs.with(&input.name, InputTensor::Float(feature))
        });
    let compiled = network.compile(device).unwrap();
    compiled
        .forward(&inputs, &Taps::new(taps.to_vec()))
        .unwrap()
}

fn apart(a: &Feature, b: &Feature) -> f32 {
    assert_eq!(a.shape(), b.shape());
    let (a, b) = (a.to_vec().unwrap(), b.to_vec().unwrap());
    let largest = a.iter().fold(1e-12_f32, |most, v| most.max(v.abs()));
    let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, f32::max) / largest
}

/// How far the outputs of two networks are apart, relative to the largest.
fn difference(before: &Weighted, after: &Weighted, device: &Device) -> f32 {
    apart(
        &answer(before, device, &[]).output,
        &answer(after, device, &[]).output,
    )
}

/// Expects the same outputs and the same tapped values of every tap that `before` has, as long as they have the same shape.
fn expect_same(before: &Weighted, after: &Weighted, what: &str) {
    let device = Device::flex();
    let taps: Vec<String> = before.graph().taps.keys().cloned().collect();
    let (expected, got) = (
        answer(before, &device, &taps),
        answer(after, &device, &taps),
    );
    let far = apart(&expected.output, &got.output);
    assert!(far < 1e-5, "{what}: the outputs differ by {far:e}");
    for tap in taps {
        let (expected, got) = (&expected.features[&tap], &got.features[&tap]);
        if expected.shape() == got.shape() {
            let far = apart(expected, got);
            assert!(far < 1e-5, "{what}: {tap} differs by {far:e}");
        }
    }
}

fn norms(network: &Weighted) -> Vec<&str> {
    let nodes = network.graph().nodes.iter();
    nodes
        .filter(|node| matches!(node.op, Op::BatchNorm(_)))
        .map(|node| node.name.as_str())
        .collect()
}

/// The channels of a value.
fn channels(network: &Weighted, value: &str) -> usize {
    let analysis = network.graph().validate().unwrap();
    match analysis.values[value].shape.dims()[1] {
        Dim::Fixed(size) => size,
        Dim::Batch | Dim::Batches(_) => 0,
    }
}

#[test]
fn weights_must_be_those_of_the_graph() {
    let (graph, mut weights) = network("resnet-8").into_parts();
    let host = weights.remove("conv1.weight").unwrap();
    let error = Weighted::new(graph.clone(), weights.clone()).unwrap_err();
    assert!(error.to_string().contains("conv1.weight"), "{error}");
    let mut short = host;
    short.values.pop();
    weights.insert("conv1.weight".to_owned(), short);
    let error = Weighted::new(graph, weights).unwrap_err().to_string();
    assert!(error.contains("does not hold"), "{error}");
}
