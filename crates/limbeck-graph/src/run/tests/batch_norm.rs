//! Batch norm and dropout while training, against PyTorch's formulas.

use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::tensor::Device;

use super::reference::Array;
use super::{LAYOUTS, array, feature, graph_of, random, training, weight};
use crate::ir::{BatchNorm, Graph};
use crate::{Inputs, Network, Taps};

/// The values of channel `c`.
fn channel(x: &Array, c: usize) -> Vec<f64> {
    let inner: usize = x.shape[2..].iter().product();
    let rows = x.values.chunks(inner * x.shape[1]);
    rows.flat_map(|row| row[c * inner..(c + 1) * inner].to_vec())
        .collect()
}

/// The mean, and the biased and the unbiased variance.
fn statistics(values: &[f64]) -> (f64, f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    (mean, squares / count, squares / (count - 1.0))
}

fn normalised(graph: &Graph, shape: &[usize]) {
    for layout in LAYOUTS {
        let device = Device::flex().autodiff();
        let mut weights = training(graph, layout).weights();
        weights.get_mut("bn.weight").unwrap().values = vec![1.5, -0.5, 2.0];
        weights.get_mut("bn.bias").unwrap().values = vec![0.1, 0.2, -0.3];
        let network = training(graph, layout).load(&weights).unwrap();
        let (mut running_mean, mut running_variance) = (vec![0.0; 3], vec![1.0; 3]);
        for step in 0..3 {
            let x = random(&format!("step {step}"), shape).map(|x| x * 2.0 + 0.7);
            let trace = network
                .forward(&Inputs::float(feature(&x, &device)), &Taps::none())
                .unwrap();
            let per_channel: Vec<_> = (0..3).map(|c| statistics(&channel(&x, c))).collect();
            let expected = Array::from_fn(shape, |index| {
                let (mean, biased, _) = per_channel[index[1]];
                let (scale, shift) = ([1.5, -0.5, 2.0][index[1]], [0.1, 0.2, -0.3][index[1]]);
                (x.at(index) - mean) / (biased + 1e-3).sqrt() * scale + shift
            });
            expected.assert_close(&array(&trace.output), 1e-5, "output");
            for c in 0..3 {
                running_mean[c] = 0.7 * running_mean[c] + 0.3 * per_channel[c].0;
                running_variance[c] = 0.7 * running_variance[c] + 0.3 * per_channel[c].2;
            }
        }
        let mean = Array::new(&[3], running_mean.clone());
        mean.assert_close(&weight(&network, "bn.running_mean"), 1e-6, "running mean");
        let variance = Array::new(&[3], running_variance.clone());
        variance.assert_close(
            &weight(&network, "bn.running_var"),
            1e-6,
            "running variance",
        );

        let x = random("evaluation", shape);
        let inputs = Inputs::float(feature(&x, &Device::flex()));
        let expected = Array::from_fn(shape, |index| {
            let c = index[1];
            let unit = (x.at(index) - running_mean[c]) / (running_variance[c] + 1e-3).sqrt();
            unit * [1.5, -0.5, 2.0][c] + [0.1, 0.2, -0.3][c]
        });
        for evaluated in [network.valid(), network.clone()] {
            let trace = evaluated.forward(&inputs, &Taps::none()).unwrap();
            expected.assert_close(&array(&trace.output), 1e-5, "evaluation");
        }
    }
}

#[test]
fn training_matches_pytorch_for_every_rank() {
    for shape in [&[5, 3][..], &[4, 3, 6], &[3, 3, 4, 2], &[2, 3, 1, 1]] {
        let norm = BatchNorm::new(3).momentum(0.3).epsilon(1e-3);
        normalised(
            &graph_of(&[shape], |b, v| b.batch_norm_with("bn", v[0], norm.clone())),
            shape,
        );
    }
}

#[test]
fn without_affine_it_only_normalises() {
    let graph = graph_of(&[&[4, 2]], |b, v| {
        b.batch_norm_with("bn", v[0], BatchNorm::new(2).affine(false))
    });
    assert_eq!(graph.parameter_count(), 0);
    let x = Array::new(&[4, 2], vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0]);
    let network = training(&graph, LAYOUTS[1]);
    let trace = network
        .forward(
            &Inputs::float(feature(&x, &Device::flex().autodiff())),
            &Taps::none(),
        )
        .unwrap();
    let unit = [-3.0, -1.0, 1.0, 3.0].map(|x: f64| x / 5.0_f64.sqrt());
    let expected = Array::from_fn(&[4, 2], |i| unit[i[0]]);
    expected.assert_close(&array(&trace.output), 1e-4, "output");
}

#[test]
fn one_value_per_channel_cannot_be_normalised() {
    for layout in LAYOUTS {
        let graph = graph_of(&[&[1, 3, 1, 1]], |b, v| b.batch_norm("bn", v[0]));
        let x = feature(&random("one", &[1, 3, 1, 1]), &Device::flex().autodiff());
        let message = training(&graph, layout)
            .forward(&Inputs::float(x), &Taps::none())
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "node `bn` (batch_norm): training needs more than 1 value per channel, got 1: use a larger batch"
        );
    }
}

#[test]
fn a_frozen_batch_norm_keeps_its_statistics() {
    let graph = graph_of(&[&[4, 3, 2, 2]], |b, v| b.batch_norm("bn", v[0]));
    for layout in LAYOUTS {
        let network = training(&graph, layout).freeze();
        let before = network.weights();
        let x = random("frozen", &[4, 3, 2, 2]);
        let inputs = Inputs::float(feature(&x, &Device::flex().autodiff()));
        let trace = network.forward(&inputs, &Taps::none()).unwrap();
        assert_eq!(network.weights(), before);
        x.map(|x| x / (1.0 + 1e-5_f64).sqrt())
            .assert_close(&array(&trace.output), 1e-6, "frozen");
        let thawed = network.unfreeze();
        thawed.forward(&inputs, &Taps::none()).unwrap();
        assert_ne!(thawed.weights(), before);
    }
}

/// Burn's generator on the CPU belongs to the process.
static GENERATOR: Mutex<()> = Mutex::new(());

#[test]
fn dropout_follows_the_device_seed_in_both_layouts() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let graph = graph_of(&[&[8, 16, 5, 5]], |b, v| {
        let x = b.batch_norm("bn", v[0]);
        b.dropout("drop", x, 0.25)
    });
    let device = Device::flex().autodiff();
    let x = random("dropout", &[8, 16, 5, 5]);
    let run = |seed: u64, layout| {
        device.seed(seed);
        let network = training(&graph, layout);
        array(
            &network
                .forward(&Inputs::float(feature(&x, &device)), &Taps::none())
                .unwrap()
                .output,
        )
    };
    let first = run(5, LAYOUTS[0]);
    first.assert_close(&run(5, LAYOUTS[0]), 0.0, "same seed");
    first.assert_close(&run(5, LAYOUTS[1]), 1e-5, "other layout");
    assert_ne!(first, run(6, LAYOUTS[0]));

    let zeros = first.values.iter().filter(|&&value| value == 0.0).count() as f64
        / first.values.len() as f64;
    assert!((zeros - 0.25).abs() < 0.03, "{zeros} zeros");
    let kept = training(&graph, LAYOUTS[0]).map_dropout_off(&x, &device);
    for (dropped, kept) in first.values.iter().zip(&kept.values) {
        assert!(*dropped == 0.0 || (dropped - kept / 0.75).abs() < 1e-5);
    }
}

impl super::CompiledGraph {
    /// The output of the node before the dropout.
    fn map_dropout_off(&self, x: &Array, device: &Device) -> Array {
        let trace = self
            .forward(&Inputs::float(feature(x, device)), &Taps::new(["bn"]))
            .unwrap();
        array(trace.feature("bn").unwrap())
    }
}

#[test]
fn dropout_does_nothing_when_evaluating() {
    let graph = graph_of(&[&[2, 3]], |b, v| b.dropout("drop", v[0], 0.5));
    let x = random("still", &[2, 3]);
    super::expect(&graph, &[&x], &x);
}
