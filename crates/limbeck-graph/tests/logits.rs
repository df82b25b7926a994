//! Networks of the zoo against PyTorch's outputs.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::PathBuf;

use burn::tensor::Device;
use limbeck_graph::{Feature, Inputs, Network, Seed, Taps, weights, zoo};

/// Logits on a pair of checkpoint and example file; the largest difference from the expected ones.
fn difference(name: &str, classes: usize, checkpoint: PathBuf, examples: PathBuf) -> f32 {
    let graph = zoo::build(name, [3, 32, 32], classes).unwrap();
    let device = Device::default();
    let fitted = weights::fit(&graph, weights::read(checkpoint).unwrap()).unwrap();
    let network = graph
        .compile(Seed::new(0), &device)
        .unwrap()
        .load(&fitted)
        .unwrap();
    let examples = weights::read(examples).unwrap();
    let (input, expected) = (&examples["input"], &examples["logits"]);
    let input = Feature::from_vec(input.values.clone(), &input.shape, &device).unwrap();
    let trace = network
        .forward(&Inputs::float(input), &Taps::none())
        .unwrap();
    assert_eq!(trace.output.shape(), expected.shape);
    let output = trace.output.to_vec().unwrap();
    output
        .iter()
        .zip(&expected.values)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

#[test]
fn a_trained_resnet_20_answers_as_in_pytorch() {
    let Some(shared) = std::env::var_os("LIMBECK_SHARED") else {
        println!("skipped: LIMBECK_SHARED is not set");
        return;
    };
    let models = PathBuf::from(shared).join("models");
    let difference = difference(
        "resnet-20",
        10,
        models.join("resnet20-cifar10.pth"),
        models.join("resnet20-cifar10-expected.safetensors"),
    );
    println!("largest difference {difference:e}");
    assert!(difference < 1e-4, "{difference}");
}
