//! The compiled graph as a Burn module and as a network.

use std::collections::BTreeMap;

use burn::module::{Module, ParamGroup};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor};

use super::{LAYOUTS, array, feature, graph_of, random, training};
use crate::build::Builder;
use crate::ir::{Conv2d, Graph, Linear};
use crate::run::{CompiledGraph, ImageLayout};
use crate::weights::HostTensor;
use crate::{Error, InputTensor, Inputs, Network, Result, Seed, Taps, Trace};

fn small() -> Graph {
    let mut b = Builder::new("small");
    let x = b.image([2, 6, 6]);
    let h = b.conv2d(
        "layer1.0.conv1",
        x,
        Conv2d::new(2, 4, 3).padding(1).bias(false),
    );
    let h = b.batch_norm("layer1.0.bn1", h);
    let h = b.relu("layer1.0.relu", h);
    b.tap("stage1", h);
    let h = b.global_avg_pool("pool", h);
    let h = b.flatten("flatten", h);
    let y = b.linear("fc", h, Linear::new(4, 3));
    b.finish(y).unwrap()
}

fn inputs(batch: usize, device: &Device) -> Inputs {
    Inputs::float(feature(&random("input", &[batch, 2, 6, 6]), device))
}

fn evaluate(network: &CompiledGraph) -> Trace {
    network
        .forward(&inputs(5, &Device::flex()), &Taps::none())
        .unwrap()
}

fn loss(network: &CompiledGraph, device: &Device) -> Tensor<1> {
    let logits: Tensor<2> = network
        .forward(&inputs(12, device), &Taps::none())
        .unwrap()
        .output
        .try_into()
        .unwrap();
    let labels: Vec<i32> = (0..12).map(|row| row % 3).collect();
    let labels: Tensor<2, Int> =
        Tensor::<1, Int>::from_ints(labels.as_slice(), device).reshape([12, 1]);
    burn::tensor::activation::log_softmax(logits, 1)
        .gather(1, labels)
        .mean()
        .neg()
}

fn steps(mut network: CompiledGraph, count: usize) -> (CompiledGraph, Vec<f32>) {
    let device = Device::flex().autodiff();
    let mut optimiser = SgdConfig::new().init();
    let mut losses = Vec::new();
    for _ in 0..count {
        let loss = loss(&network, &device);
        losses.push(loss.to_data().try_to_vec::<f32>().unwrap()[0]);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimiser.step(0.5, network, gradients);
    }
    (network, losses)
}

#[test]
fn sgd_learns_twelve_rows_in_either_layout() {
    let runs = LAYOUTS.map(|layout| steps(training(&small(), layout), 150).1);
    for losses in &runs {
        assert!(
            losses[0] > 0.9 && losses[149] < 0.15,
            "{} -> {}",
            losses[0],
            losses[149]
        );
    }
    for (first, last) in runs[0].iter().zip(&runs[1]).take(5) {
        assert!((first - last).abs() < 1e-5);
    }
}

#[test]
fn training_is_bit_identical_when_repeated() {
    let [a, b] = [(); 2].map(|()| {
        steps(training(&small(), ImageLayout::ChannelsLast), 10)
            .0
            .weights()
    });
    assert_eq!(a, b);
}

#[test]
fn the_seed_alone_decides_the_weights() {
    let device = Device::flex();
    let weights = |seed| small().compile(Seed::new(seed), &device).unwrap().weights();
    assert_eq!(weights(1), weights(1));
    assert_ne!(weights(1), weights(2));
    assert_eq!(
        weights(1),
        small()
            .compile(Seed::new(1), &device.autodiff())
            .unwrap()
            .weights()
    );
}

#[test]
fn a_record_keeps_every_bit() {
    let (trained, _) = steps(training(&small(), ImageLayout::ChannelsLast), 3);
    let expected = trained.weights();
    let bytes = trained.into_record().into_bytes().unwrap();
    let record = burn::store::ModuleRecord::from_bytes(bytes).unwrap();
    let other = small().compile(Seed::new(99), &Device::flex()).unwrap();
    assert_ne!(other.weights(), expected);
    assert_eq!(other.try_load_record(record).unwrap().weights(), expected);
}

#[test]
fn loading_keeps_every_bit_and_trains_on() {
    let (trained, _) = steps(training(&small(), ImageLayout::ChannelsLast), 3);
    let weights = trained.weights();
    let loaded = training(&small(), ImageLayout::ChannelsLast)
        .load(&weights)
        .unwrap();
    assert_eq!(loaded.weights(), weights);
    assert_eq!(
        evaluate(&loaded).output.to_vec().unwrap(),
        evaluate(&trained).output.to_vec().unwrap()
    );
    assert_eq!(steps(loaded, 3).0.weights(), steps(trained, 3).0.weights());
}

fn refused(change: impl Fn(&mut BTreeMap<String, HostTensor>)) -> String {
    let network = small().compile(Seed::new(0), &Device::flex()).unwrap();
    let mut weights = network.weights();
    change(&mut weights);
    network.load(&weights).unwrap_err().to_string()
}

#[test]
fn weights_that_do_not_fit_are_listed() {
    let message = refused(|weights| {
        let weight = weights.remove("fc.weight").unwrap();
        weights.insert("fc.wieght".to_owned(), weight);
    });
    assert!(
        message.contains("missing: `fc.weight` [3, 4] (nearest: `fc.wieght`)"),
        "{message}"
    );
    assert!(message.contains("unexpected: `fc.wieght`"), "{message}");
    let message = refused(|weights| weights.get_mut("fc.bias").unwrap().shape = vec![1, 3]);
    assert!(
        message.contains("`fc.bias` expected [3], got [1, 3]"),
        "{message}"
    );
    let message = refused(|weights| weights.get_mut("fc.bias").unwrap().values.truncate(2));
    assert_eq!(message, "shape [3] does not hold 2 values");
}

#[test]
fn evaluation_mode_has_no_gradients_and_comes_back() {
    let network = training(&small(), ImageLayout::ChannelsLast);
    let valid = network.valid();
    assert!(valid.devices().iter().all(|device| !device.is_autodiff()));
    assert_eq!(valid.weights(), network.weights());
    let again = valid.train();
    let gradients =
        GradientsParams::from_grads(loss(&again, &Device::flex().autodiff()).backward(), &again);
    assert_eq!(gradients.len(), 5);
    assert_ne!(
        again.weights()["layer1.0.bn1.running_mean"],
        network.weights()["layer1.0.bn1.running_mean"]
    );
}

#[test]
fn a_group_can_be_frozen_by_its_path() {
    let layer = ParamGroup::from_predicate("layer1");
    let network = training(&small(), ImageLayout::ChannelsLast).freeze_group(layer);
    let before = network.weights();
    let (after, _) = steps(network, 3);
    for (name, weight) in after.weights() {
        assert_eq!(
            weight == before[&name],
            name.starts_with("layer1."),
            "{name}"
        );
    }
}

#[test]
fn a_clone_is_independent() {
    let network = training(&small(), ImageLayout::ChannelsLast);
    let copy = network.clone();
    let before = copy.weights();
    let (trained, _) = steps(network, 2);
    assert_eq!(copy.weights(), before);
    assert_ne!(
        trained.weights()["layer1.0.bn1.running_var"],
        before["layer1.0.bn1.running_var"]
    );
    let fork = trained.clone().fork(&Device::flex().autodiff());
    assert_eq!(fork.weights(), trained.weights());
    assert_eq!(
        trained.clone().to_device(&Device::flex()).weights(),
        trained.weights()
    );
}

#[test]
fn features_are_recorded_by_node_and_by_stage() {
    let graph = small();
    for layout in LAYOUTS {
        let network = graph
            .compile_with_layout(Seed::new(0), &Device::flex(), layout)
            .unwrap();
        let taps = Taps::new(["stage1", "layer1.0.bn1", "input", "fc"]);
        let trace = network.forward(&inputs(5, &Device::flex()), &taps).unwrap();
        assert_eq!(trace.features.len(), 4);
        assert_eq!(trace.feature("stage1").unwrap().shape(), [5, 4, 6, 6]);
        let relu = array(trace.feature("layer1.0.bn1").unwrap()).map(|x| x.max(0.0));
        relu.assert_close(&array(trace.feature("stage1").unwrap()), 0.0, "stage");
        array(trace.feature("input").unwrap()).assert_close(
            &random("input", &[5, 2, 6, 6]),
            1e-7,
            "input",
        );
        assert_eq!(
            trace.feature("fc").unwrap().to_vec().unwrap(),
            trace.output.to_vec().unwrap()
        );
        let expected = [
            "input",
            "layer1.0.conv1",
            "layer1.0.bn1",
            "layer1.0.relu",
            "stage1",
            "pool",
            "flatten",
            "fc",
        ];
        assert_eq!(network.tap_names(), expected);
    }
    let network = graph.compile(Seed::new(0), &Device::flex()).unwrap();
    let unknown = network
        .forward(&inputs(5, &Device::flex()), &Taps::new(["stage2"]))
        .unwrap_err();
    assert!(matches!(unknown, Error::Unknown { kind: "tap", .. }));
    assert!(
        unknown
            .to_string()
            .starts_with("there is no tap `stage2`; did you mean"),
        "{unknown}"
    );
}

#[test]
fn further_outputs_are_always_recorded() {
    let mut b = Builder::new("two-heads");
    let x = b.rows(4);
    let a = b.linear("a", x, Linear::new(4, 2));
    let c = b.linear("c", x, Linear::new(4, 3));
    let network = b
        .finish_with(&[a, c])
        .unwrap()
        .compile(Seed::new(0), &Device::flex())
        .unwrap();
    let rows = Tensor::<2>::ones([2, 4], &Device::flex());
    let trace = network
        .forward(&Inputs::float(rows), &Taps::none())
        .unwrap();
    assert_eq!(trace.output.shape(), [2, 2]);
    assert_eq!(trace.features.keys().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn wrong_inputs_are_named() {
    let network = small().compile(Seed::new(0), &Device::flex()).unwrap();
    let run = |inputs: &Inputs| -> Result<Trace> { network.forward(inputs, &Taps::none()) };
    let device = Device::flex();
    let message = |inputs: &Inputs| run(inputs).unwrap_err().to_string();
    let image = Tensor::<4>::ones([5, 3, 6, 6], &device);
    assert_eq!(
        message(&Inputs::float(image)),
        "input `input`: expected [batch, 2, 6, 6], got [5, 3, 6, 6]"
    );
    let empty = Tensor::<4>::ones([0, 2, 6, 6], &device);
    assert_eq!(
        message(&Inputs::float(empty)),
        "input `input`: expected [batch, 2, 6, 6], got an empty batch"
    );
    let tokens = Tensor::<2, Int>::zeros([5, 2], &device);
    assert_eq!(
        message(&Inputs::default().with("input", InputTensor::Tokens(tokens))),
        "input `input`: expected [batch, 2, 6, 6], got token ids [5, 2]"
    );
    assert!(run(&Inputs::default()).is_err());

    let pair = graph_of(&[&[1, 2], &[1, 2]], |b, v| b.add("sum", v[0], v[1]));
    let network = pair.compile(Seed::new(0), &device).unwrap();
    let uneven = Inputs::default()
        .with(
            "a",
            InputTensor::Float(Tensor::<2>::ones([3, 2], &device).into()),
        )
        .with(
            "b",
            InputTensor::Float(Tensor::<2>::ones([1, 2], &device).into()),
        );
    assert_eq!(
        network
            .forward(&uneven, &Taps::none())
            .unwrap_err()
            .to_string(),
        "input `b`: expected [batch, 2], got [1, 2] where batch is 3"
    );
}
