#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use burn::module::{Param, ParamId};
use burn::optim::{AdamWConfig, Optimizer as _, RecordState, StateSink};
use burn::tensor::TensorData;
use limbeck_graph::weights::HostTensor;
use rand::RngExt;

use super::*;
use crate::Seed;

fn steps(settings: OptimizerSettings, rate: f64, start: f32, gradients: &[f32]) -> Vec<f32> {
    steps_on::<2>(settings, rate, start, gradients)
}

fn steps_on<const D: usize>(
    settings: OptimizerSettings,
    rate: f64,
    start: f32,
    gradients: &[f32],
) -> Vec<f32> {
    let device = Device::default();
    let mut optimizer = Optimizer::new(&settings);
    let mut weight = Tensor::<D>::full([1; D], start, &device);
    gradients
        .iter()
        .map(|&gradient| {
            let gradient = Tensor::full([1; D], gradient, &device);
            weight = optimizer.step("w", rate, weight.clone(), gradient);
            weight.clone().into_scalar::<f32>()
        })
        .collect()
}

fn assert_close(got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        let difference = (f64::from(*got) - expected).abs();
        assert!(difference <= tolerance, "expected {expected}, got {got}");
    }
}

fn sgd(momentum: f64, nesterov: bool, weight_decay: f64) -> OptimizerSettings {
    OptimizerSettings::Sgd {
        momentum,
        nesterov,
        weight_decay,
        decay_norms_and_biases: true,
    }
}

/// v: 1, then 0.9 * 1 + 2 = 2.9, then 0.9 * 2.9 - 1 = 1.61.
#[test]
fn momentum_is_not_dampened() {
    let got = steps(sgd(0.9, false, 0.0), 0.1, 1.0, &[1.0, 2.0, -1.0]);
    assert_close(&got, &[0.9, 0.61, 0.449], 1e-6);
}

/// Steps along g + 0.9 v: 1 + 0.9, then 2 + 0.9 * 2.9.
#[test]
fn nesterov_looks_ahead() {
    let got = steps(sgd(0.9, true, 0.0), 0.1, 1.0, &[1.0, 2.0]);
    assert_close(&got, &[0.81, 0.349], 1e-6);
}

/// g + 0.1 w: 1.1, then 2 + 0.089 = 2.089 with v = 0.9 * 1.1 + 2.089 = 3.079.
#[test]
fn sgd_adds_the_decay_to_the_gradient() {
    let got = steps(sgd(0.9, false, 0.1), 0.1, 1.0, &[1.0, 2.0]);
    assert_close(&got, &[0.89, 0.5821], 1e-6);
}

/// Adam as algorithm 1 of the paper writes it, in double precision.
fn adam_reference(rate: f64, decay: f64, decoupled: bool, gradients: &[f32]) -> Vec<f64> {
    let (mut w, mut m, mut v) = (1.0, 0.0, 0.0);
    let mut weights = Vec::new();
    for (t, &g) in (1..).zip(gradients) {
        let mut g = f64::from(g);
        if decoupled {
            w *= 1.0 - rate * decay;
        } else {
            g += decay * w;
        }
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.999f64.powi(t)));
        w -= rate * m_hat / (v_hat.sqrt() + 1e-8);
        weights.push(w);
    }
    weights
}

const GRADIENTS: [f32; 6] = [1.0, 2.0, -1.0, 0.5, 1e-3, -3.0];

#[test]
fn adam_follows_the_paper() {
    for decay in [0.0, 0.1] {
        let settings = OptimizerSettings::Adam {
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            weight_decay: decay,
            decay_norms_and_biases: true,
        };
        let got = steps(settings, 0.01, 1.0, &GRADIENTS);
        assert_close(&got, &adam_reference(0.01, decay, false, &GRADIENTS), 2e-6);
    }
    // The first step is one learning rate long, whatever the gradient's size.
    let reference = adam_reference(0.01, 0.0, false, &GRADIENTS);
    assert!((reference[0] - 0.99).abs() < 1e-9);
}

#[test]
fn adamw_shrinks_apart_from_the_gradient() {
    let settings = OptimizerSettings::AdamW {
        betas: [0.9, 0.999],
        epsilon: 1e-8,
        weight_decay: 0.1,
        decay_norms_and_biases: true,
    };
    let got = steps(settings, 0.01, 1.0, &GRADIENTS);
    assert_close(&got, &adam_reference(0.01, 0.1, true, &GRADIENTS), 2e-6);
}

#[test]
fn vectors_can_be_spared_from_decay() {
    let settings = |decay_norms_and_biases| OptimizerSettings::Sgd {
        momentum: 0.0,
        nesterov: false,
        weight_decay: 0.5,
        decay_norms_and_biases,
    };
    for (spared, vector, matrix) in [(true, 1.0, 0.95), (false, 0.95, 0.95)] {
        let settings = settings(!spared);
        assert_close(&steps_on::<1>(settings, 0.1, 1.0, &[0.0]), &[vector], 1e-7);
        assert_close(&steps_on::<4>(settings, 0.1, 1.0, &[0.0]), &[matrix], 1e-7);
    }
}

fn every_rule() -> Vec<OptimizerSettings> {
    let mut rules = Vec::new();
    for weight_decay in [0.0, 0.05] {
        rules.extend([
            sgd(0.0, false, weight_decay),
            sgd(0.9, false, weight_decay),
            sgd(0.9, true, weight_decay),
            OptimizerSettings::Adam {
                betas: [0.9, 0.999],
                epsilon: 1e-8,
                weight_decay,
                decay_norms_and_biases: true,
            },
            OptimizerSettings::AdamW {
                betas: [0.8, 0.99],
                epsilon: 1e-6,
                weight_decay,
                decay_norms_and_biases: true,
            },
        ]);
    }
    rules
}

/// Values in -1..1 of a shape that fills no vector.
fn noise(step: u64) -> Tensor<2> {
    let mut random = Seed::new(7).stream("optimizer", &[step]);
    let values: Vec<f32> = (0..3 * 37)
        .map(|_| random.random_range(-1.0..1.0))
        .collect();
    Tensor::from_data(TensorData::new(values, [3, 37]), &Device::default())
}

fn values(tensor: &Tensor<2>) -> Vec<f32> {
    tensor.to_data().try_to_vec().unwrap()
}

fn assert_same(got: &Tensor<2>, expected: &Tensor<2>, tolerance: f32) {
    for (got, expected) in values(got).iter().zip(values(expected)) {
        let difference = (got - expected).abs();
        assert!(
            difference <= tolerance * expected.abs().max(1.0),
            "expected {expected}, got {got}"
        );
    }
}

#[test]
fn kernel_and_operations_agree() {
    for settings in every_rule() {
        let (mut fast, mut slow) = (Optimizer::new(&settings), Optimizer::new(&settings));
        let (mut by_kernel, mut by_operations) = (noise(0), noise(0));
        for step in 1..6 {
            by_kernel = fast.step_by(true, "w", 0.05, by_kernel, noise(step));
            by_operations = slow.step_by(false, "w", 0.05, by_operations, noise(step));
            assert_same(&by_kernel, &by_operations, 1e-6);
        }
        let (fast, slow) = (fast.save().unwrap(), slow.save().unwrap());
        assert_eq!(fast.counts, slow.counts);
        assert!(fast.tensors.keys().eq(slow.tensors.keys()));
        for (name, fast) in &fast.tensors {
            let slow = &slow.tensors[name];
            assert_eq!(fast.shape, slow.shape);
            for (fast, slow) in fast.values.iter().zip(&slow.values) {
                assert!((fast - slow).abs() <= 1e-6 * slow.abs().max(1.0), "{name}");
            }
        }
    }
}

#[derive(Module, Debug)]
struct Layer {
    w: Param<Tensor<2>>,
}

fn layer() -> Layer {
    Layer {
        w: Param::initialized(ParamId::new(), noise(0)),
    }
}

#[test]
fn checkpoints_cross_over() {
    let device = Device::default();
    for settings in every_rule() {
        for first_by_kernel in [true, false] {
            let mut through = Optimizer::new(&settings);
            let mut expected = noise(0);
            for step in 1..7 {
                expected = through.step_by(!first_by_kernel, "w", 0.05, expected, noise(step));
            }
            let mut before = Optimizer::new(&settings);
            let mut weight = noise(0);
            for step in 1..4 {
                weight = before.step_by(first_by_kernel, "w", 0.05, weight, noise(step));
            }
            let mut after = Optimizer::new(&settings);
            after
                .load(&layer(), before.save().unwrap(), &device)
                .unwrap();
            for step in 4..7 {
                weight = after.step_by(!first_by_kernel, "w", 0.05, weight, noise(step));
            }
            assert_same(&weight, &expected, 1e-6);
        }
    }
}

#[test]
fn other_holders_of_a_weight_keep_their_values() {
    for settings in every_rule() {
        let mut optimizer = Optimizer::new(&settings);
        let mut weight = noise(0);
        let (held, gradient) = (weight.clone(), noise(1));
        for _ in 0..2 {
            weight = optimizer.step("w", 0.05, weight, gradient.clone());
        }
        assert_eq!(values(&held), values(&noise(0)));
        assert_eq!(values(&gradient), values(&noise(1)));
        assert_ne!(values(&weight), values(&held));
    }
}

/// Checkpoints were first written from the states of Burn's optimisers.
#[test]
fn states_are_named_as_burn_names_them() {
    let rule = AdamWConfig::new().build();
    let (_, state) = rule.step(0.05, noise(0), noise(1), None);
    let mut sink = StateSink::default();
    state.unwrap().state_flatten("w", &mut sink);
    let mut optimizer = Optimizer::new(&every_rule()[4]);
    let _ = optimizer.step("w", 0.05, noise(0), noise(1));
    let saved = optimizer.save().unwrap();
    let mut names: Vec<String> = sink.tensors.into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert!(saved.tensors.keys().eq(&names), "{names:?}");
    let counts: Vec<String> = sink.scalars.into_iter().map(|(name, _)| name).collect();
    assert!(saved.counts.keys().eq(&counts), "{counts:?}");

    let mut optimizer = Optimizer::new(&sgd(0.9, false, 0.0));
    let _ = optimizer.step("w", 0.05, noise(0), noise(1));
    let saved = optimizer.save().unwrap();
    assert!(saved.tensors.keys().eq(["w.momentum.velocity"]));
}

#[test]
fn a_foreign_state_is_an_error() {
    let device = Device::default();
    let rules = every_rule();
    let (sgd, adam) = (rules[1], rules[3]);
    let saved = |settings| {
        let mut optimizer = Optimizer::new(&settings);
        let _ = optimizer.step("w", 0.05, noise(0), noise(1));
        optimizer.save().unwrap()
    };
    let load = |settings, saved| {
        let mut optimizer = Optimizer::new(&settings);
        optimizer
            .load(&layer(), saved, &device)
            .map_err(|error| error.to_string())
    };
    assert!(load(adam, saved(adam)).is_ok());
    let message = load(adam, saved(sgd)).unwrap_err();
    assert!(
        message.contains("`w.momentum.velocity` belongs to no parameter"),
        "{message}"
    );
    let mut incomplete = saved(adam);
    incomplete.tensors.remove("w.momentum.moment_2");
    let message = load(adam, incomplete).unwrap_err();
    assert!(
        message.contains("the state of `w` is incomplete"),
        "{message}"
    );
    let mut uncounted = saved(adam);
    uncounted.counts.clear();
    assert!(load(adam, uncounted).is_err());
    let mut transposed = saved(sgd);
    let velocity = HostTensor::new(vec![37, 3], vec![0.0; 3 * 37]).unwrap();
    transposed
        .tensors
        .insert("w.momentum.velocity".to_owned(), velocity);
    let message = load(sgd, transposed).unwrap_err();
    assert!(
        message.contains("has shape [37, 3] instead of [3, 37]"),
        "{message}"
    );
}
