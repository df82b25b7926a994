//! Recurrent layers against PyTorch's: what they compute, and their gradients.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use limbeck_graph::build::Builder;
use limbeck_graph::ir::{Cell, Direction, Graph, Recurrent, Shape, ValueType};
use limbeck_graph::weights::{self, HostTensor};
use limbeck_graph::{Feature, InputTensor, Inputs, Network, Seed, Taps};

const LENGTH: usize = 7;
const BATCH: usize = 4;
const INPUTS: usize = 5;
const HIDDEN: usize = 3;

/// A layer whose inputs have the batch first, as those of a network do, and whose outputs are all that it gives.
fn graph(layer: Recurrent) -> Graph {
    let mut b = Builder::new("layer");
    let sizes = [
        ("x", [LENGTH, INPUTS]),
        ("h", [layer.direction.count(), HIDDEN]),
        ("c", [layer.direction.count(), HIDDEN]),
    ];
    let inputs: Vec<_> = sizes[..layer.cell.outputs()]
        .iter()
        .map(|(name, sizes)| {
            let input = b.input(name, ValueType::float(Shape::batched(sizes)));
            b.transpose(&format!("turned-{name}"), input, &[1, 0, 2])
        })
        .collect();
    let outputs = b.recurrent("layer", inputs[0], &inputs[1..], layer);
    b.finish_with(&outputs).unwrap()
}

fn assert_close(what: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        assert!(
            (got - expected).abs() <= 2e-5 * (1.0 + expected.abs()),
            "{what}: expected {expected}, got {got}"
        );
    }
}

struct Collect<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    found: BTreeMap<String, Vec<f32>>,
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
            let values = gradient.into_data().try_to_vec::<f32>().unwrap();
            self.found.insert(self.path.join("."), values);
        }
    }
}

#[test]
fn layers_and_their_gradients_are_pytorchs() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/recurrent/layers.safetensors"
    );
    let file = weights::read(path).unwrap();
    let device = Device::flex().autodiff();
    for (name, cell) in [
        ("lstm", Cell::Lstm),
        ("gru", Cell::Gru { reset_after: true }),
        ("tanh", Cell::Tanh),
        ("relu", Cell::Relu),
    ] {
        for direction in [Direction::Forward, Direction::Both] {
            let layer = Recurrent {
                cell,
                direction,
                inputs: INPUTS,
                hidden: HIDDEN,
                bias: true,
            };
            let of = |key: &str| &file[&format!("{name}-{}.{key}", direction.count())];
            let roles = ["weight_input", "weight_hidden", "bias"];
            let own: BTreeMap<String, HostTensor> = roles
                .iter()
                .map(|role| (format!("layer.{role}"), of(role).clone()))
                .collect();
            let network = graph(layer)
                .compile(Seed::new(0), &device)
                .unwrap()
                .load(&own)
                .unwrap();
            let tensor = |key: &str| -> Tensor<3> {
                let host = of(key);
                let feature = Feature::from_vec(host.values.clone(), &host.shape, &device);
                feature.unwrap().try_into().unwrap()
            };
            let x = tensor("x").require_grad();
            let mut inputs = Inputs::default();
            for (key, input) in ["x", "h", "c"][..cell.outputs()].iter().zip([
                x.clone(),
                tensor("h"),
                if cell == Cell::Lstm {
                    tensor("c")
                } else {
                    tensor("h")
                },
            ]) {
                let turned = input.swap_dims(0, 1);
                inputs = inputs.with(key, InputTensor::Float(turned.into()));
            }
            let trace = network.forward(&inputs, &Taps::none()).unwrap();
            // [length, directions, batch, hidden] to PyTorch's [length, batch, directions * hidden].
            let all: Tensor<4> = trace.output.clone().try_into().unwrap();
            let all: Tensor<3> =
                all.swap_dims(1, 2)
                    .reshape([LENGTH, BATCH, direction.count() * HIDDEN]);
            let what = format!("{name} {direction:?}");
            let values = all.to_data().try_to_vec::<f32>().unwrap();
            assert_close(&what, &values, &of("all").values);
            let last = trace.feature("layer:1").unwrap().to_vec().unwrap();
            assert_close(&what, &last, &of("last").values);
            if cell == Cell::Lstm {
                let last = trace.feature("layer:2").unwrap().to_vec().unwrap();
                assert_close(&what, &last, &of("cell").values);
            }
            let gradients = (all * tensor("weigh")).sum().backward();
            let of_x = x.grad(&gradients).unwrap();
            let of_x = of_x.into_data().try_to_vec::<f32>().unwrap();
            assert_close(&format!("{what} of x"), &of_x, &of("of_x").values);
            let mut collect = Collect {
                gradients: &gradients,
                path: Vec::new(),
                found: BTreeMap::new(),
            };
            network.visit(&mut collect);
            for role in roles {
                let found = &collect.found[&format!("layer.{role}")];
                let expected = &of(&format!("of_{role}")).values;
                assert_close(&format!("{what} of {role}"), found, expected);
            }
        }
    }
}
