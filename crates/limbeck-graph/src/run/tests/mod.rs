#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod batch_norm;
mod frozen;
mod gradients;
mod joined;
mod kernels;
mod module;
mod operators;
mod plan;
mod prepared;
mod recurrent;
mod reference;
mod shortcuts;
mod values;
mod windows;

use burn::module::Module;
use burn::tensor::Device;
use rand::RngExt;

use super::{CompiledGraph, ImageLayout};
use crate::build::{Builder, Value};
use crate::ir::{Graph, Shape, ValueType};
use crate::{Feature, InputTensor, Inputs, Network, Seed, Taps};
use reference::Array;

const LAYOUTS: [ImageLayout; 2] = [ImageLayout::ChannelsFirst, ImageLayout::ChannelsLast];

/// Numbers between -1 and 1 that depend on the name alone.
fn random(name: &str, shape: &[usize]) -> Array {
    let mut generator = Seed::new(11).stream(name, &[]);
    let values = (0..shape.iter().product()).map(|_| generator.random::<f64>() * 2.0 - 1.0);
    Array::new(shape, values.collect())
}

fn feature(array: &Array, device: &Device) -> Feature {
    let values = array.values.iter().map(|&value| value as f32).collect();
    Feature::from_vec(values, &array.shape, device).unwrap()
}

fn array(feature: &Feature) -> Array {
    let values = feature
        .to_vec()
        .unwrap()
        .into_iter()
        .map(f64::from)
        .collect();
    Array::new(&feature.shape(), values)
}

fn named(inputs: &[(&str, &Array)], device: &Device) -> Inputs {
    inputs.iter().fold(Inputs::default(), |all, (name, input)| {
        all.with(name, InputTensor::Float(feature(input, device)))
    })
}

/// A graph with the inputs `a`, `b`, ... of the given shapes.
fn graph_of(shapes: &[&[usize]], build: impl Fn(&mut Builder, &[Value]) -> Value) -> Graph {
    let mut b = Builder::new("test");
    let inputs: Vec<Value> = shapes
        .iter()
        .zip(["a", "b", "c"])
        .map(|(shape, name)| b.input(name, ValueType::float(Shape::batched(&shape[1..]))))
        .collect();
    let output = build(&mut b, &inputs);
    b.finish(output).unwrap()
}

fn compile(graph: &Graph, layout: ImageLayout) -> CompiledGraph {
    graph
        .compile_with_layout(Seed::new(3), &Device::flex(), layout)
        .unwrap()
}

/// Evaluates the graph in both layouts and expects `expected` of each.
fn expect(graph: &Graph, inputs: &[&Array], expected: &Array) {
    let named_inputs: Vec<(&str, &Array)> = ["a", "b", "c"]
        .into_iter()
        .zip(inputs.iter().copied())
        .collect();
    for layout in LAYOUTS {
        let network = compile(graph, layout);
        let trace = network
            .forward(&named(&named_inputs, &Device::flex()), &Taps::none())
            .unwrap();
        let got = array(&trace.output);
        expected.assert_close(
            &got,
            2e-5,
            &format!("{} with {layout}", graph.nodes[0].op.name()),
        );
        let inferred = &network.analysis().values[&graph.outputs[0]].shape;
        assert_eq!(inferred.sizes(inputs[0].shape[0]), got.shape);
    }
}

/// The weight called `name`, as the network has it.
fn weight(network: &CompiledGraph, name: &str) -> Array {
    let host = &network.weights()[name];
    Array::new(
        &host.shape,
        host.values.iter().map(|&value| f64::from(value)).collect(),
    )
}

/// The same network on an autodiff device.
fn training(graph: &Graph, layout: ImageLayout) -> CompiledGraph {
    let network = graph
        .compile_with_layout(Seed::new(3), &Device::flex().autodiff(), layout)
        .unwrap();
    assert!(network.devices().iter().all(Device::is_autodiff));
    network
}
