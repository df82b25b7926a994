//! Nodes that run as one operation against the same nodes one by one.
//!
//! Images that lie channels first are never given to the CPU kernels, so a network compiled in both layouts is computed once by
//! them and once by Burn's own operations.

use burn::tensor::{Device, Distribution, Tensor};

use super::gradients::gradients;
use super::{ImageLayout, LAYOUTS, array, compile, training};
use crate::ir::Graph;
use crate::run::schedule::units;
use crate::{Inputs, Network, Taps, zoo};

/// Networks of every kind: residual, pre-activated, with biases before norms, depthwise, grouped, shuffled, dense.
const NETWORKS: [&str; 9] = [
    "resnet-8",
    "resnet-50",
    "wrn-16-1",
    "vgg-8",
    "mobilenet-v2",
    "shufflenet-v1",
    "shufflenet-v2",
    "lenet5",
    "mlp-20-13",
];

fn network(name: &str) -> Graph {
    zoo::build(name, [3, 32, 32], 7).unwrap()
}

fn images(device: &Device) -> Tensor<4> {
    Device::flex().seed(5);
    let plain = Tensor::random(
        [3, 3, 32, 32],
        Distribution::Normal(0.0, 1.0),
        &Device::flex(),
    );
    match device.is_autodiff() {
        true => plain.autodiff(),
        false => plain,
    }
}

/// The largest difference relative to the largest value.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = a
        .iter()
        .fold(1e-12_f64, |most, value| most.max(value.abs()));
    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    apart.fold(0.0_f64, f64::max) / largest
}

#[test]
fn training_steps_agree_with_the_slow_reference() {
    // Through fifty layers with norms over three images, rounding alone moves gradients by percents.
    for name in NETWORKS.into_iter().filter(|name| *name != "resnet-50") {
        let graph = network(name);
        let device = Device::flex().autodiff();
        let [slow, fast] = LAYOUTS.map(|layout| {
            let network = training(&graph, layout);
            let trace = network.forward(&Inputs::float(images(&device)), &Taps::none());
            let output: Tensor<2> = trace.unwrap().output.try_into().unwrap();
            let logits = output
                .clone()
                .inner()
                .to_data()
                .try_to_vec::<f32>()
                .unwrap();
            let backward = output.powf_scalar(2.0).mean().backward();
            (logits, gradients(&network, &backward), network.weights())
        });
        let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
        let apart = difference(&wide(&slow.0), &wide(&fast.0));
        assert!(apart < 1e-3, "{name}: the logits differ by {apart:e}");
        assert_eq!(slow.1.len(), fast.1.len(), "{name}");
        // A bias before a norm has no gradient; what is left of it is rounding, whose size its weight's gradient tells.
        for (weight, gradient) in &slow.1 {
            let norm = slow.1.get(&weight.replace(".bias", ".weight"));
            let scale = norm
                .unwrap_or(gradient)
                .values
                .iter()
                .fold(0.0_f64, |most, v| most.max(v.abs()));
            let apart = gradient.values.iter().zip(&fast.1[weight].values);
            let apart = apart.fold(0.0_f64, |most, (a, b)| most.max((a - b).abs()));
            assert!(
                apart <= 1e-2 * scale,
                "{name}: {weight} differs by {apart:e} of {scale:e}"
            );
        }
        for (weight, host) in &slow.2 {
            let apart = difference(&wide(&host.values), &wide(&fast.2[weight].values));
            assert!(
                apart < 1e-4,
                "{name}: {weight} differs by {apart:e} after the pass"
            );
        }
    }
}

#[test]
fn evaluations_agree_with_the_slow_reference() {
    for name in NETWORKS {
        let graph = network(name);
        let [slow, fast] = LAYOUTS.map(|layout| {
            let trace = compile(&graph, layout)
                .forward(&Inputs::float(images(&Device::flex())), &Taps::none())
                .unwrap();
            array(&trace.output)
        });
        let apart = difference(&slow.values, &fast.values);
        assert!(apart < 1e-4, "{name}: the logits differ by {apart:e}");
    }
}

/// A tap inside what would run as one operation takes it apart, and everything else stays as it was.
#[test]
fn tapped_values_are_computed() {
    let graph = network("resnet-8");
    let names: Vec<String> = compile(&graph, LAYOUTS[1]).tap_names();
    let [slow, fast] = LAYOUTS.map(|layout| {
        let trace = compile(&graph, layout)
            .forward(
                &Inputs::float(images(&Device::flex())),
                &Taps::new(names.clone()),
            )
            .unwrap();
        assert_eq!(trace.features.len(), names.len());
        trace
    });
    for (name, feature) in &slow.features {
        let apart = difference(&array(feature).values, &array(&fast.features[name]).values);
        assert!(apart < 1e-4, "{name} differs by {apart:e}");
    }
}

#[test]
fn a_residual_block_is_two_operations() {
    let graph = network("resnet-8");
    let network = compile(&graph, ImageLayout::ChannelsLast);
    let (analysis, plan) = (network.analysis(), network.plan());
    let names = |join: bool, tapped: &str| -> Vec<Vec<String>> {
        units(&graph, analysis, plan, join, |value| {
            plan.values()[value] == tapped
        })
        .iter()
        .map(|unit| {
            unit.steps
                .iter()
                .map(|&step| plan.steps()[step].name.clone())
                .collect()
        })
        .collect()
    };
    let joined = names(true, "");
    assert_eq!(joined[0], ["conv1", "bn1", "relu"]);
    assert_eq!(
        joined[1],
        ["layer1.0.conv1", "layer1.0.bn1", "layer1.0.relu1"]
    );
    let second = &joined[2];
    assert_eq!(second.len(), 4, "{second:?}");
    assert_eq!(second[..2], ["layer1.0.conv2", "layer1.0.bn2"]);
    assert_eq!(names(false, "").len(), graph.nodes.len());

    let taken_apart = names(true, "layer1.0.bn2");
    assert!(taken_apart.contains(&vec![
        "layer1.0.conv2".to_owned(),
        "layer1.0.bn2".to_owned()
    ]));
    assert_eq!(taken_apart.concat().len(), graph.nodes.len());
}
