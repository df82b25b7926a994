//! What is kept but never trained: frozen parameters and constants, through all that a module goes through.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor};

use super::gradients::gradients;
use super::{LAYOUTS, feature, random};
use crate::build::Builder;
use crate::ir::{Cell, Conv2d, Direction, Graph, Linear, Recurrent};
use crate::run::{CompiledGraph, ImageLayout};
use crate::{Inputs, Network, Seed, Taps};

/// Weights of every rank from 1 to 6, of which some are frozen, and constants.
fn graph() -> Graph {
    let mut b = Builder::new("partly frozen");
    let x = b.image([2, 4, 4]);
    let h = b.conv2d("conv1", x, Conv2d::new(2, 3, 3).padding(1).bias(false));
    let h = b.batch_norm("bn", h);
    let h = b.relu("relu", h);
    let h = b.conv2d("conv2", h, Conv2d::new(3, 3, 1));
    let scale = b.parameter("scale", &[3, 1, 1]);
    let h = b.multiply("scaled", h, scale);
    let mask = b.constant("mask", &[1, 3, 4, 4]);
    let h = b.add("masked", h, mask);
    let high = b.parameter("high", &[1, 1, 1, 3, 1, 1]);
    let low = b.parameter("low", &[1, 1, 3, 1, 1]);
    let h = b.add("raised", h, low);
    let h = b.add("raised-again", h, high);
    let h = b.view("pixels", h, crate::ir::Shape::batched(&[3, 16]));
    let h = b.transpose("steps", h, &[2, 0, 1]);
    let layer = Recurrent {
        cell: Cell::Lstm,
        direction: Direction::Forward,
        inputs: 3,
        hidden: 2,
        bias: true,
    };
    let last = b.recurrent("lstm", h, &[], layer)[1];
    let h = b.view("row", last, crate::ir::Shape::batched(&[2]));
    let y = b.linear("fc", h, Linear::new(2, 3));
    let mut graph = b.finish(y).unwrap();
    for name in FROZEN {
        graph.weights.get_mut(name).unwrap().frozen = true;
    }
    graph
}

const FROZEN: [&str; 7] = [
    "conv2.weight",
    "bn.bias",
    "scale.value",
    "high.value",
    "lstm.weight_hidden",
    "lstm.bias",
    "fc.bias",
];

fn trained(graph: &Graph) -> BTreeSet<String> {
    let weights = graph.weights.iter();
    weights
        .filter(|(_, spec)| spec.is_trained())
        .map(|(name, _)| name.clone())
        .collect()
}

fn compile(layout: ImageLayout) -> CompiledGraph {
    graph()
        .compile_with_layout(Seed::new(7), &Device::flex().autodiff(), layout)
        .unwrap()
}

fn loss(network: &CompiledGraph) -> Tensor<1> {
    let device = Device::flex().autodiff();
    let x = feature(&random("image", &[5, 2, 4, 4]), &device);
    let trace = network.forward(&Inputs::float(x), &Taps::none()).unwrap();
    let output: Tensor<2> = trace.output.try_into().unwrap();
    (output.clone() * output).sum()
}

fn with_gradients(network: &CompiledGraph) -> BTreeSet<String> {
    let found = gradients(network, &loss(network).backward());
    found.into_keys().collect()
}

#[test]
fn only_what_trains_has_a_gradient() {
    let expected = trained(&graph());
    assert!(expected.contains("low.value") && !expected.contains("mask.value"));
    for layout in LAYOUTS {
        let network = compile(layout);
        assert_eq!(with_gradients(&network), expected, "{layout}");
        assert_eq!(with_gradients(&network.valid().train()), expected);
        assert_eq!(with_gradients(&network.clone().train()), expected);
        let weights = network.weights();
        assert_eq!(
            with_gradients(&network.clone().load(&weights).unwrap()),
            expected
        );
        let there = network.valid().to_device(&Device::flex());
        assert!(there.devices().iter().all(|device| !device.is_autodiff()));
        assert_eq!(with_gradients(&there.train()), expected);
        let forked = network.clone().fork(&Device::flex().autodiff());
        assert_eq!(with_gradients(&forked.load(&weights).unwrap()), expected);
        let unfrozen = network.freeze().unfreeze();
        assert_eq!(with_gradients(&unfrozen), expected);
    }
}

#[test]
fn training_moves_only_what_trains() {
    let network = compile(ImageLayout::ChannelsLast);
    let before = network.weights();
    let mut optimiser = SgdConfig::new().init();
    let gradients = GradientsParams::from_grads(loss(&network).backward(), &network);
    let after = optimiser.step(0.1, network, gradients).weights();
    let expected = trained(&graph());
    for (name, weight) in &after {
        let statistics = name.contains("running");
        // The first step moves the hidden state's weights last: every trained weight has some gradient here.
        let moves = statistics || expected.contains(name);
        assert_eq!(weight != &before[name], moves, "{name}");
    }
}

#[test]
fn records_and_visitors_have_all_of_them() {
    struct Names(Vec<String>, BTreeSet<String>);
    impl ModuleVisitor for Names {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
            self.1.insert(self.0.join("."));
        }
    }
    let network = compile(ImageLayout::ChannelsFirst);
    let mut names = Names(Vec::new(), BTreeSet::new());
    network.visit(&mut names);
    assert!(names.1.iter().eq(graph().weights.keys()));

    let mut weights = network.weights();
    for (name, host) in &mut weights {
        if FROZEN.contains(&name.as_str()) || name == "mask.value" {
            host.values.fill(0.25);
        }
    }
    let changed = network.load(&weights).unwrap();
    let bytes = changed.into_record().into_bytes().unwrap();
    let record = burn::store::ModuleRecord::from_bytes(bytes).unwrap();
    let restored = compile(ImageLayout::ChannelsFirst)
        .try_load_record(record)
        .unwrap();
    assert_eq!(restored.weights(), weights);
    assert_eq!(with_gradients(&restored), trained(&graph()));
}

#[test]
fn a_clone_of_a_constant_is_independent() {
    let network = compile(ImageLayout::ChannelsFirst);
    let copy = network.clone();
    let mut weights = network.weights();
    weights.get_mut("mask.value").unwrap().values.fill(1.0);
    let changed = network.load(&weights).unwrap();
    assert_eq!(copy.weights()["mask.value"].values, [0.0; 48]);
    assert_eq!(changed.weights()["mask.value"].values, [1.0; 48]);
}
