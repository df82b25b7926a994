//! Burn's update rules with their state kept by parameter name.
//!
//! The rules are Burn's own, set to PyTorch's conventions: no dampening of the momentum, and Adam's epsilon
//! outside the bias correction. Whether a parameter decays is decided by its rank: norms and biases
//! are vectors, everything else is not.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    Adam, AdamConfig, AdamW, AdamWConfig, DynState, Optimizer as UpdateRule, RecordState, Sgd,
    SgdConfig, StateSink, StateSource,
};
use burn::tensor::{Device, Tensor, TensorData};
use limbeck_graph::weights::HostTensor;

use super::parameters::{Path, Weights, follow_path};
use super::settings::OptimizerSettings;
use crate::{Error, Result};

/// An update rule and its state for every parameter that it has moved.
pub(super) struct Optimizer {
    rule: Rule,
    decay_norms_and_biases: bool,
    states: BTreeMap<String, DynState>,
}

/// A rule with weight decay and the same rule without.
enum Rule {
    Sgd { decaying: Sgd, plain: Sgd },
    Adam { decaying: Adam, plain: Adam },
    AdamW { decaying: AdamW, plain: AdamW },
}

/// The state of an optimiser on the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SavedState {
    /// Velocities and moments, named `parameter.field`.
    pub tensors: Weights,
    /// Step counts, named `parameter.field`.
    pub counts: BTreeMap<String, u64>,
}

/// Runs the same expression on the rule inside, with or without decay.
macro_rules! with_rule {
    ($optimizer:expr, $decays:expr, $rule:ident => $body:expr) => {
        match (&$optimizer.rule, $decays) {
            (
                Rule::Sgd {
                    decaying: $rule, ..
                },
                true,
            ) => $body,
            (Rule::Sgd { plain: $rule, .. }, false) => $body,
            (
                Rule::Adam {
                    decaying: $rule, ..
                },
                true,
            ) => $body,
            (Rule::Adam { plain: $rule, .. }, false) => $body,
            (
                Rule::AdamW {
                    decaying: $rule, ..
                },
                true,
            ) => $body,
            (Rule::AdamW { plain: $rule, .. }, false) => $body,
        }
    };
}

impl Optimizer {
    pub(super) fn new(settings: &OptimizerSettings) -> Self {
        let decay = |by: f64| (by > 0.0).then(|| WeightDecayConfig::new(by as f32));
        let (rule, decay_norms_and_biases) = match *settings {
            OptimizerSettings::Sgd {
                momentum,
                nesterov,
                weight_decay,
                decay_norms_and_biases,
            } => {
                let momentum = (momentum > 0.0).then(|| {
                    MomentumConfig::new()
                        .with_momentum(momentum)
                        .with_dampening(0.0)
                        .with_nesterov(nesterov)
                });
                let plain = SgdConfig::new().with_momentum(momentum);
                let decaying = plain.clone().with_weight_decay(decay(weight_decay));
                let rule = Rule::Sgd {
                    decaying: decaying.build(),
                    plain: plain.build(),
                };
                (rule, decay_norms_and_biases)
            }
            OptimizerSettings::Adam {
                betas: [first, second],
                epsilon,
                weight_decay,
                decay_norms_and_biases,
            } => {
                let plain = AdamConfig::new()
                    .with_beta_1(first as f32)
                    .with_beta_2(second as f32)
                    .with_epsilon(epsilon as f32);
                let decaying = plain.clone().with_weight_decay(decay(weight_decay));
                let rule = Rule::Adam {
                    decaying: decaying.build(),
                    plain: plain.build(),
                };
                (rule, decay_norms_and_biases)
            }
            OptimizerSettings::AdamW {
                betas: [first, second],
                epsilon,
                weight_decay,
                decay_norms_and_biases,
            } => {
                let plain = AdamWConfig::new()
                    .with_beta_1(first as f32)
                    .with_beta_2(second as f32)
                    .with_epsilon(epsilon as f32)
                    .with_weight_decay(0.0);
                let decaying = plain.clone().with_weight_decay(weight_decay as f32);
                let rule = Rule::AdamW {
                    decaying: decaying.build(),
                    plain: plain.build(),
                };
                (rule, decay_norms_and_biases)
            }
        };
        Self {
            rule,
            decay_norms_and_biases,
            states: BTreeMap::new(),
        }
    }

    /// The parameter `name` after one step along `gradient`; both without autodiff.
    pub(super) fn step<const D: usize>(
        &mut self,
        name: &str,
        learning_rate: f64,
        weight: Tensor<D>,
        gradient: Tensor<D>,
    ) -> Tensor<D> {
        let state = self.states.remove(name);
        let decays = D > 1 || self.decay_norms_and_biases;
        let (weight, state) = with_rule!(self, decays, rule => {
            step_with(rule, learning_rate, weight, gradient, state)
        });
        if let Some(state) = state {
            self.states.insert(name.to_owned(), state);
        }
        weight
    }

    /// The state of every parameter of `module`, copied to the host.
    ///
    /// # Errors
    /// If the device cannot hand it over.
    pub(super) fn save<M: Module>(&self, module: &M) -> Result<SavedState> {
        struct Saver<'a> {
            path: Path,
            optimizer: &'a Optimizer,
            sink: StateSink,
        }

        impl ModuleVisitor for Saver<'_> {
            follow_path!();

            fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
                let name = self.path.name();
                if let Some(state) = self.optimizer.states.get(&name) {
                    with_rule!(self.optimizer, true, rule => {
                        flatten::<_, D>(rule, state, &name, &mut self.sink);
                    });
                }
            }
        }

        let mut saver = Saver {
            path: Path::default(),
            optimizer: self,
            sink: StateSink::default(),
        };
        module.visit(&mut saver);
        let mut saved = SavedState::default();
        for (name, data) in saver.sink.tensors {
            saved.tensors.insert(name, to_host(data)?);
        }
        for (name, count) in saver.sink.scalars {
            let count = u64::try_from(count)
                .map_err(|_| Error::Check(format!("optimiser state `{name}` is not a count")))?;
            saved.counts.insert(name, count);
        }
        Ok(saved)
    }

    /// Puts back what [`Optimizer::save`] returned, for the parameters of `module`.
    ///
    /// # Errors
    /// If the state is of another rule or another network.
    pub(super) fn load<M: Module>(
        &mut self,
        module: &M,
        saved: SavedState,
        device: &Device,
    ) -> Result<()> {
        struct Restorer<'a> {
            path: Path,
            optimizer: &'a mut Optimizer,
            tensors: Weights,
            counts: BTreeMap<String, u64>,
            device: &'a Device,
            problem: Option<String>,
        }

        impl ModuleVisitor for Restorer<'_> {
            follow_path!();

            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let name = self.path.name();
                let mut source = StateSource::new(
                    under(&name, &self.counts)
                        .map(|(key, count)| (key.clone(), (*count).into()))
                        .collect(),
                );
                let keys: Vec<String> = under(&name, &self.tensors)
                    .map(|(key, _)| key.clone())
                    .collect();
                if keys.is_empty() {
                    return;
                }
                for key in keys {
                    let Some(host) = self.tensors.remove(&key) else {
                        continue;
                    };
                    if host.shape != param.dims() {
                        let (got, expected) = (&host.shape, param.dims());
                        self.problem =
                            Some(format!("`{key}` has shape {got:?} instead of {expected:?}"));
                        return;
                    }
                    source.insert_tensor(key, TensorData::new(host.values, host.shape));
                }
                let state = with_rule!(self.optimizer, true, rule => {
                    unflatten::<_, D>(rule, &name, &mut source, self.device)
                });
                match state {
                    Some(state) => {
                        self.optimizer.states.insert(name, state);
                    }
                    None => self.problem = Some(format!("the state of `{name}` is incomplete")),
                }
            }
        }

        let mut restorer = Restorer {
            path: Path::default(),
            optimizer: self,
            tensors: saved.tensors,
            counts: saved.counts,
            device,
            problem: None,
        };
        module.visit(&mut restorer);
        let left = restorer.tensors.keys().next();
        let problem = restorer
            .problem
            .or_else(|| left.map(|name| format!("`{name}` belongs to no parameter")));
        match problem {
            None => Ok(()),
            Some(got) => Err(Error::Shape {
                what: "optimiser state".to_owned(),
                expected: "the state of this optimiser for this network".to_owned(),
                got,
            }),
        }
    }
}

/// The entries of `map` whose key lies under `prefix.`.
fn under<'a, T>(
    prefix: &str,
    map: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a String, &'a T)> {
    let prefix = format!("{prefix}.");
    map.range(prefix.clone()..)
        .take_while(move |(key, _)| key.starts_with(&prefix))
}

fn step_with<R: UpdateRule, const D: usize>(
    rule: &R,
    learning_rate: f64,
    weight: Tensor<D>,
    gradient: Tensor<D>,
    state: Option<DynState>,
) -> (Tensor<D>, Option<DynState>) {
    let state = state.map(DynState::downcast::<R::State<D>>);
    let (weight, state) = rule.step(learning_rate, weight, gradient, state);
    (weight, state.map(|state| DynState::create(state, D)))
}

fn flatten<R: UpdateRule, const D: usize>(
    _rule: &R,
    state: &DynState,
    name: &str,
    sink: &mut StateSink,
) {
    state
        .downcast_ref::<R::State<D>>()
        .state_flatten(name, sink);
}

fn unflatten<R: UpdateRule, const D: usize>(
    _rule: &R,
    name: &str,
    source: &mut StateSource,
    device: &Device,
) -> Option<DynState> {
    let state = R::State::<D>::state_unflatten(name, source, device)?;
    Some(DynState::create(state, D))
}

fn to_host(data: TensorData) -> Result<HostTensor> {
    let shape = data.shape().to_vec();
    let values = data
        .convert::<f32>()
        .try_to_vec::<f32>()
        .map_err(|error| limbeck_graph::Error::Device(format!("{error:?}")))?;
    Ok(HostTensor::new(shape, values)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

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
}
