//! Second derivatives against differences of the first, in double precision.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Gradients, Tensor, TensorData};

use super::{Mode, NAMES, graph_of, named, network, noise, random, sum, times, tracked, values};
use crate::ir::{Activation, Conv1d, Conv2d, ConvTranspose2d, Graph, Linear, Pool1d, Pool2d};
use crate::run::CompiledGraph;
use crate::run::ops::combine::{Elementwise, elementwise};
use crate::{Feature, Taps, each_rank};

/// The gradient of every parameter by name.
pub(super) fn gradients(
    network: &CompiledGraph,
    gradients: &Gradients,
) -> BTreeMap<String, Vec<f64>> {
    struct Collect<'a> {
        gradients: &'a Gradients,
        path: Vec<String>,
        found: BTreeMap<String, Vec<f64>>,
    }
    impl ModuleVisitor for Collect<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.gradients) {
                let values = gradient.to_data().convert::<f64>();
                self.found
                    .insert(self.path.join("."), values.try_to_vec().unwrap());
            }
        }
    }
    let mut collect = Collect {
        gradients,
        path: Vec::new(),
        found: BTreeMap::new(),
    };
    network.visit(&mut collect);
    collect.found
}

/// Adds `step` times noise to one weight.
struct Move<'a> {
    name: &'a str,
    step: f64,
    path: Vec<String>,
}

impl ModuleMapper for Move<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.path.join(".") != self.name {
            return param;
        }
        param.map(|tensor| {
            let dims = tensor.dims();
            let towards = noise(self.name, dims.iter().product());
            let towards = TensorData::new(towards, dims);
            let towards = Tensor::<D>::from_data(towards, (&tensor.device(), DType::F64));
            let moved = tensor.detach() + towards.mul_scalar(self.step);
            moved.detach().require_grad()
        })
    }
}

/// A scalar of the gradient `g` of the output weighed by a vector that depends on the output: `sum(r g) + sum(g^2) / 2`.
fn scalar(network: &CompiledGraph, inputs: &[Feature]) -> Tensor<1> {
    let (_, gradient) = network
        .input_gradient(&named(inputs), &Taps::none(), "a", |trace| {
            let constant = random("vector", &trace.output.shape(), DType::F64);
            let half = each_rank!(&trace.output, t => t.clone().mul_scalar(0.5).into());
            elementwise(Elementwise::Add, constant, half)
        })
        .unwrap();
    let weights = random("weights of the gradient", &gradient.shape(), DType::F64);
    sum(times(&gradient, &weights)) + sum(times(&gradient, &gradient)).mul_scalar(0.5)
}

pub(super) fn check(graph: &Graph, shapes: &[&[usize]], mode: Mode) {
    check_with(graph, shapes, mode, 1e-5, 1e-6);
}

/// Compares the slope of [`scalar`] along a direction, for each parameter and each input.
fn check_with(graph: &Graph, shapes: &[&[usize]], mode: Mode, step: f64, tolerance: f64) {
    let network = network(graph, mode, DType::F64);
    let inputs: Vec<Feature> = shapes
        .iter()
        .zip(NAMES)
        .map(|(shape, name)| tracked(random(name, shape, DType::F64)))
        .collect();
    let value =
        |network: &CompiledGraph, inputs: &[Feature]| values(&scalar(network, inputs).into())[0];
    let backward = scalar(&network, &inputs).backward();
    let found = gradients(&network, &backward);
    let mut slopes = Vec::new();
    for (name, spec) in &graph.weights {
        if !spec.kind.is_parameter() {
            assert!(!found.contains_key(name), "{name}");
            continue;
        }
        let at = |step: f64| {
            let path = Vec::new();
            let mut mapper = Move { name, step, path };
            value(&network.clone().map(&mut mapper), &inputs)
        };
        let difference = (at(step) - at(-step)) / (2.0 * step);
        let slope = found.get(name).map_or(0.0, |gradient| {
            let direction = noise(name, gradient.len());
            gradient.iter().zip(direction).map(|(g, d)| g * d).sum()
        });
        slopes.push((name.clone(), slope, difference));
    }
    for (position, input) in inputs.iter().enumerate() {
        let direction = random("direction", &input.shape(), DType::F64);
        let at = |step: f64| {
            let mut moved = inputs.clone();
            let towards = each_rank!(direction.clone(), t => t.mul_scalar(step).into());
            moved[position] = elementwise(Elementwise::Add, input.clone(), towards).unwrap();
            value(&network, &moved)
        };
        let difference = (at(step) - at(-step)) / (2.0 * step);
        let gradient: Option<Feature> =
            each_rank!(input, t => t.grad(&backward).map(Feature::from));
        let slope = gradient.map_or(0.0, |gradient| {
            let pairs = values(&gradient).into_iter().zip(values(&direction));
            pairs.map(|(g, d)| g * d).sum()
        });
        slopes.push((format!("input {}", NAMES[position]), slope, difference));
    }
    let wrong: Vec<_> = slopes
        .into_iter()
        .filter(|(_, slope, difference)| {
            (slope - difference).abs() > tolerance * (1.0 + difference.abs())
        })
        .collect();
    let nodes: Vec<&String> = graph.nodes.iter().map(|node| &node.name).collect();
    assert!(
        wrong.is_empty(),
        "second derivatives and differences of {nodes:?}: {wrong:?}"
    );
}

/// Convolution, batch norm, relu, a smooth function, maximum, shortcut and softmax.
fn residual() -> Graph {
    graph_of(&[&[2, 3, 6, 7]], |b, x| {
        let conv = Conv2d::new(3, 4, 3)
            .padding_sides([[1, 1], [2, 0]])
            .stride([1, 2]);
        let h = b.conv2d("conv", x[0], conv);
        let h = b.batch_norm("bn", h);
        let h = b.activation("gelu", h, Activation::Gelu);
        let d = b.conv2d("depthwise", h, Conv2d::depthwise(4, 3).padding(1));
        let d = b.relu("relu", d);
        let d = b.conv2d("pointwise", d, Conv2d::new(4, 4, 1));
        let h = b.add("residual", h, d);
        let h = b.activation("silu", h, Activation::Silu);
        let h = b.max_pool2d("max", h, Pool2d::new(2));
        let h = b.flatten("flat", h);
        let size = b.last_size(h);
        let y = b.linear("fc", h, Linear::new(size, 3));
        b.softmax("softmax", y, 1)
    })
}

#[test]
fn of_a_residual_network() {
    check(&residual(), &[&[2, 3, 6, 7]], Mode::Evaluation);
}

#[test]
fn through_the_statistics_of_the_batch() {
    check(&residual(), &[&[4, 3, 6, 7]], Mode::Training);
}

#[test]
fn of_gates_pools_and_rearranged_channels() {
    let shapes: [&[usize]; 2] = [&[2, 4, 5, 4], &[2, 4, 1, 1]];
    let graph = graph_of(&shapes, |b, x| {
        let up = ConvTranspose2d::new(4, 4, 3)
            .stride(2)
            .padding(1)
            .output_padding(1)
            .groups(2);
        let h = b.conv_transpose2d("up", x[0], up);
        let h = b.activation("softplus", h, Activation::Softplus);
        let h = b.subtract("difference", h, x[1]);
        let h = b.channel_shuffle("shuffle", h, 2);
        let parts = b.split("halves", h, 1, [2, 2]);
        let left = b.activation("tanh", parts[0], Activation::Tanh);
        let right = b.activation("gelu-tanh", parts[1], Activation::GeluTanh);
        let h = b.concatenate("joined", &[left, right], 1);
        let h = b.avg_pool2d("avg", h, Pool2d::new(3).stride(2).padding(1).ceil(true));
        let s = b.global_avg_pool("squeeze", h);
        let s = b.activation("gate", s, Activation::Sigmoid);
        let h = b.multiply("excite", h, s);
        let h = b.scale_shift("line", h, 1.5, -0.2);
        let h = b.activation("swish", h, Activation::Silu);
        let h = b.conv2d(
            "last",
            h,
            Conv2d::new(4, 2, 3).dilation(2).padding(2).groups(2),
        );
        let h = b.multiply("square", h, h);
        b.global_max_pool("most", h)
    });
    check(&graph, &shapes, Mode::Evaluation);
}

#[test]
fn of_attention_over_a_sequence() {
    let shapes: [&[usize]; 1] = [&[2, 4, 6]];
    let graph = graph_of(&shapes, |b, x| {
        let position = b.parameter("position", &[4, 6]);
        let h = b.add("placed", x[0], position);
        let h = b.layer_norm("ln", h);
        let keys = b.linear("keys", h, Linear::new(6, 6));
        let turned = b.transpose("turned", keys, &[0, 2, 1]);
        let scores = b.mat_mul("scores", h, turned);
        let scores = b.softmax("attention", scores, 2);
        let h = b.mat_mul("mixed", scores, h);
        let conv = Conv1d {
            stride: 2,
            padding: [2, 1],
            ..Conv1d::new(4, 4, 3)
        };
        let h = b.conv1d("conv1d", h, conv);
        let h = b.activation("elu", h, Activation::Elu { alpha: 0.8 });
        let h = b.avg_pool1d("pool", h, Pool1d::new(2));
        let h = b.flatten("flat", h);
        let size = b.last_size(h);
        let y = b.linear("fc", h, Linear::new(size, 3));
        b.log_softmax("log", y, 1)
    });
    check(&graph, &shapes, Mode::Evaluation);
}

#[test]
fn piecewise_linear_networks_have_none_with_respect_to_the_input() {
    let graph = graph_of(&[&[2, 3, 6, 6]], |b, x| {
        let h = b.conv2d("conv", x[0], Conv2d::new(3, 4, 3));
        let h = b.batch_norm("bn", h);
        let h = b.relu("relu", h);
        let h = b.max_pool2d("max", h, Pool2d::new(2));
        let h = b.flatten("flat", h);
        b.linear("fc", h, Linear::new(16, 3))
    });
    let network = network(&graph, Mode::Evaluation, DType::F64);
    let input = tracked(random("a", &[2, 3, 6, 6], DType::F64));
    let (_, gradient) = network
        .input_gradient(
            &named(std::slice::from_ref(&input)),
            &Taps::none(),
            "a",
            |trace| Ok(random("vector", &trace.output.shape(), DType::F64)),
        )
        .unwrap();
    assert!(values(&gradient).iter().any(|value| *value != 0.0));
    let backward = sum(times(&gradient, &gradient)).backward();
    let second: Option<Feature> = each_rank!(&input, t => t.grad(&backward).map(Feature::from));
    assert!(second.is_none_or(|second| values(&second).iter().all(|value| *value == 0.0)));
    let weights = gradients(&network, &backward);
    for name in ["conv.weight", "bn.weight", "fc.weight"] {
        assert!(weights[name].iter().any(|value| *value != 0.0), "{name}");
    }
}

#[test]
fn of_every_elementwise_function() {
    for function in [
        Activation::LeakyRelu { slope: 0.2 },
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Silu,
        Activation::HardSwish,
        Activation::Softplus,
        Activation::Elu { alpha: 0.7 },
    ] {
        let graph = graph_of(&[&[2, 4]], |b, x| {
            let h = b.linear("in", x[0], Linear::new(4, 6));
            let h = b.activation(function.name(), h, function);
            b.linear("out", h, Linear::new(6, 3))
        });
        // Burn computes a hard sigmoid in single precision, which drowns small steps.
        let (step, tolerance) = match function {
            Activation::HardSwish => (1e-3, 1e-4),
            _ => (1e-5, 1e-6),
        };
        check_with(&graph, &[&[2, 4]], Mode::Evaluation, step, tolerance);
    }
}
