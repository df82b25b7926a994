#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod first;
mod interface;
mod recurrent;
mod second;
mod values;

use burn::module::{Flag, Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::RngExt;

use crate::build::{Builder, Value};
use crate::ir::{Graph, Shape, ValueType};
use crate::run::{CompiledGraph, ImageLayout};
use crate::{Feature, InputTensor, Inputs, Seed, each_rank};

fn device() -> Device {
    Device::flex().autodiff()
}

/// Numbers between -1 and 1 that depend on the name alone.
fn noise(name: &str, count: usize) -> Vec<f64> {
    let mut generator = Seed::new(19).stream(name, &[]);
    (0..count)
        .map(|_| generator.random::<f64>() * 2.0 - 1.0)
        .collect()
}

/// Noise of one kind of number on the autodiff device.
fn random(name: &str, shape: &[usize], kind: DType) -> Feature {
    let shape = shape.to_vec();
    let data = TensorData::new(noise(name, shape.iter().product()), shape.clone());
    let data = data.convert_dtype(kind);
    let options = (&device(), kind);
    match shape.len() {
        1 => Tensor::<1>::from_data(data, options).into(),
        2 => Tensor::<2>::from_data(data, options).into(),
        3 => Tensor::<3>::from_data(data, options).into(),
        4 => Tensor::<4>::from_data(data, options).into(),
        5 => Tensor::<5>::from_data(data, options).into(),
        _ => Tensor::<6>::from_data(data, options).into(),
    }
}

fn tracked(feature: Feature) -> Feature {
    each_rank!(feature, tensor => tensor.detach().require_grad().into())
}

fn values(feature: &Feature) -> Vec<f64> {
    each_rank!(feature, tensor => tensor.to_data().convert::<f64>().try_to_vec::<f64>()).unwrap()
}

fn sum(feature: Feature) -> Tensor<1> {
    each_rank!(feature, tensor => tensor.sum())
}

fn times(a: &Feature, b: &Feature) -> Feature {
    use crate::run::ops::combine::{Elementwise, elementwise};
    elementwise(Elementwise::Multiply, a.clone(), b.clone()).unwrap()
}

fn assert_close(expected: &[f64], got: &[f64], tolerance: f64, what: &str) {
    assert_eq!(expected.len(), got.len(), "{what}");
    let scale = expected.iter().fold(1e-3_f64, |most, v| most.max(v.abs()));
    for (place, (expected, got)) in expected.iter().zip(got).enumerate() {
        assert!(
            (expected - got).abs() <= tolerance * scale,
            "{what}: at {place} expected {expected}, got {got} (largest {scale})"
        );
    }
}

/// A graph with the inputs `a`, `b`, ... of the given shapes.
fn graph_of(shapes: &[&[usize]], build: impl Fn(&mut Builder, &[Value]) -> Value) -> Graph {
    let mut b = Builder::new("test");
    let inputs: Vec<Value> = shapes
        .iter()
        .zip(NAMES)
        .map(|(shape, name)| b.input(name, ValueType::float(Shape::batched(&shape[1..]))))
        .collect();
    let output = build(&mut b, &inputs);
    b.finish(output).unwrap()
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn named(inputs: &[Feature]) -> Inputs {
    let pairs = NAMES.into_iter().zip(inputs);
    pairs.fold(Inputs::default(), |all, (name, input)| {
        all.with(name, InputTensor::Float(input.clone()))
    })
}

/// Whether batch norm and dropout show what they do in training.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Training,
    Evaluation,
}

/// A network with noise in every weight, all of which can be trained, of one kind of number.
fn network(graph: &Graph, mode: Mode, kind: DType) -> CompiledGraph {
    let layout = match kind {
        DType::F64 => ImageLayout::ChannelsFirst,
        _ => ImageLayout::preferred(&device()),
    };
    let network = graph
        .compile_with_layout(Seed::new(3), &device(), layout)
        .unwrap();
    let mut weights = network.weights();
    for (name, host) in &mut weights {
        let noise = noise(name, host.values.len());
        let share = if name.ends_with("running_var") {
            0.5
        } else {
            0.2
        };
        for (value, noise) in host.values.iter_mut().zip(noise) {
            *value += (share * noise) as f32;
        }
    }
    let loaded = network.load(&weights).unwrap();
    loaded.map(&mut Prepare { mode, kind })
}

struct Prepare {
    mode: Mode,
    kind: DType,
}

impl ModuleMapper for Prepare {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let kind = self.kind;
        param.map(|tensor| {
            let trainable = tensor.is_require_grad();
            tensor
                .detach()
                .cast(kind)
                .detach()
                .set_require_grad(trainable)
        })
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        flag.with_value(self.mode == Mode::Training)
    }
}
