//! Nodes that run as one operation against the same nodes one by one.
//!
//! Images that lie channels first are never given to the CPU kernels, so a network compiled in both layouts is computed once by
//! them and once by Burn's own operations.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};

use super::gradients::gradients;
use super::{ImageLayout, LAYOUTS, array, compile, feature, random, training};
use crate::ir::Graph;
use crate::run::schedule::units;
use crate::weights::HostTensor;
use crate::{Feature, Inputs, Network, Taps, zoo};

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

/// The same images for everyone, with `noise` in them.
fn images(noise: f64, device: &Device) -> Feature {
    let shape = [3, 3, 32, 32];
    let mut images = random("images", &shape);
    let grain = random("grain", &shape);
    for (pixel, grain) in images.values.iter_mut().zip(grain.values) {
        *pixel += noise * grain;
    }
    feature(&images, device)
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

/// What a training step gives: logits, gradients and weights, running statistics among them.
type Outcome = (
    Vec<f64>,
    BTreeMap<String, Vec<f64>>,
    BTreeMap<String, Vec<f64>>,
);

/// A step on the images with `noise` added.
fn step(graph: &Graph, layout: ImageLayout, noise: f64) -> Outcome {
    let network = training(graph, layout);
    let images = images(noise, &Device::flex().autodiff());
    let trace = network.forward(&Inputs::float(images), &Taps::none());
    let output: Tensor<2> = trace.unwrap().output.try_into().unwrap();
    let logits = array(&Feature::from(output.clone().inner())).values;
    let backward = output.powf_scalar(2.0).mean().backward();
    let gradients = gradients(&network, &backward);
    let wide = |host: HostTensor| host.values.into_iter().map(f64::from).collect();
    (
        logits,
        gradients
            .into_iter()
            .map(|(name, gradient)| (name, gradient.values))
            .collect(),
        network
            .weights()
            .into_iter()
            .map(|(name, host)| (name, wide(host)))
            .collect(),
    )
}

/// Rounding makes a unit here and there positive that was negative, and a norm over few images multiplies that: how far apart
/// two correct computations may be is told by how far noise in the last digits moves the reference itself.
#[test]
fn training_steps_agree_with_the_slow_reference() {
    for name in NETWORKS {
        let graph = network(name);
        let [slow, fast] = LAYOUTS.map(|layout| step(&graph, layout, 0.0));
        let moved = step(&graph, LAYOUTS[0], 3e-6);
        let apart = difference(&slow.0, &fast.0);
        let rounding = difference(&slow.0, &moved.0);
        assert!(
            apart < 1e-5 + 10.0 * rounding,
            "{name}: the logits differ by {apart:e}, moved {rounding:e}"
        );
        assert_eq!(slow.1.len(), fast.1.len(), "{name}");
        let all = |outcome: &Outcome| outcome.1.values().flatten().copied().collect::<Vec<f64>>();
        let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let distance = |a: &[f64], b: &[f64]| {
            let apart: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
            norm(&apart)
        };
        let rounding = distance(&all(&slow), &all(&moved)) / norm(&all(&slow));
        for (weight, gradient) in &slow.1 {
            let scale = norm(gradient).max(1e-3 * norm(&all(&slow)));
            let apart = distance(gradient, &fast.1[weight]) / scale;
            let own = distance(gradient, &moved.1[weight]) / scale;
            assert!(
                apart < 1e-4 + 10.0 * own.max(rounding),
                "{name}: {weight} differs by {apart:e}, moved {own:e}"
            );
        }
        for (weight, values) in &slow.2 {
            // Behind a norm the mean of a linear convolution is zero but for rounding, which has no digits to compare.
            let scale = values
                .iter()
                .fold(1e-2_f64, |most, value| most.max(value.abs()));
            let apart = distance(values, &fast.2[weight]) / scale;
            let own = distance(values, &moved.2[weight]) / scale;
            assert!(
                apart < 1e-4 + 10.0 * own,
                "{name}: {weight} differs by {apart:e} after the pass, moved {own:e}"
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
                .forward(&Inputs::float(images(0.0, &Device::flex())), &Taps::none())
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
                &Inputs::float(images(0.0, &Device::flex())),
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
