//! The weights that a training begins with.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Flag, Module, ModuleMapper, Param};
use burn::tensor::Device;
use limbeck_graph::Seed;
use limbeck_graph::ir::{Graph, Op};
use limbeck_graph::run::CompiledGraph;
use limbeck_graph::weights::HostTensor;
use serde::Serialize;

use crate::Result;

/// Which statistics batch norms use while they train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchNormMode {
    /// Those of the batch; the running ones follow.
    #[default]
    Train,
    /// The running ones, which stay as they are.
    Frozen,
}

impl BatchNormMode {
    /// The words of a recipe.
    pub const CHOICES: [(&'static str, Self); 2] =
        [("train", Self::Train), ("frozen", Self::Frozen)];
}

/// How a network begins.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    /// Given values of all weights; none for a network of the zoo without a checkpoint.
    pub given: Option<BTreeMap<String, HostTensor>>,
    /// Whether trained weights are drawn anew although values are given. Running statistics start anew with the scale of
    /// their norm, unless they are frozen.
    pub fresh: bool,
    /// What batch norms do.
    pub batch_norm: BatchNormMode,
}

impl Beginning {
    /// `graph` on `device` as the training of `seed` begins.
    ///
    /// # Errors
    /// If the graph is not valid or the values do not fit it.
    pub fn compile(self, graph: &Graph, seed: Seed, device: &Device) -> Result<CompiledGraph> {
        let mut network = graph.compile(seed, device)?;
        if let Some(mut values) = self.given {
            if self.fresh {
                let anew = drawn_anew(graph, self.batch_norm);
                let drawn = network.weights();
                values.extend(drawn.into_iter().filter(|(name, _)| anew.contains(name)));
            }
            network = network.load(&values)?;
        }
        Ok(match self.batch_norm {
            BatchNormMode::Train => network,
            BatchNormMode::Frozen => freeze_batch_norms(network),
        })
    }
}

/// The weights that a fresh start draws: the trained ones, and the statistics of norms whose scale is one of them.
fn drawn_anew(graph: &Graph, batch_norm: BatchNormMode) -> BTreeSet<String> {
    let weights = graph.weights.iter();
    let mut anew: BTreeSet<String> = weights
        .filter(|(_, spec)| spec.is_trained())
        .map(|(name, _)| name.clone())
        .collect();
    if batch_norm == BatchNormMode::Train {
        for node in &graph.nodes {
            let scale = node.weights.get("weight");
            let trains = scale.is_none_or(|name| anew.contains(name));
            if matches!(node.op, Op::BatchNorm(_)) && trains {
                let statistics = ["running_mean", "running_var"];
                anew.extend(
                    statistics
                        .iter()
                        .filter_map(|role| node.weights.get(*role))
                        .cloned(),
                );
            }
        }
    }
    anew
}

/// The same network, whose batch norms use their running statistics while it trains, and keep them.
pub fn freeze_batch_norms(network: CompiledGraph) -> CompiledGraph {
    struct Freezer {
        path: Vec<String>,
        norms: BTreeSet<String>,
    }

    impl ModuleMapper for Freezer {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }

        fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
            // The last part of the path is the flag's own name, the others are the node's.
            let parts = self.path.len().saturating_sub(1);
            match self.norms.contains(&self.path[..parts].join(".")) {
                true => flag.with_value(false),
                false => flag,
            }
        }
    }

    let nodes = network.graph().nodes.iter();
    let norms = nodes
        .filter(|node| matches!(node.op, Op::BatchNorm(_)))
        .map(|node| node.name.clone())
        .collect();
    let mut freezer = Freezer {
        path: Vec::new(),
        norms,
    };
    network.map(&mut freezer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use burn::tensor::Tensor;
    use limbeck_graph::{Inputs, Network, Taps, zoo};

    use super::*;

    fn graph() -> Graph {
        zoo::build("resnet-8", [3, 8, 8], 4).unwrap()
    }

    fn images(device: &Device) -> Inputs {
        let values = (0..2 * 3 * 8 * 8)
            .map(|n| (n as f32 * 0.37).sin())
            .collect();
        let images = limbeck_graph::Feature::from_vec(values, &[2, 3, 8, 8], device).unwrap();
        Inputs::float(Tensor::<4>::try_from(images).unwrap())
    }

    #[test]
    fn frozen_batch_norms_keep_their_statistics_and_train_everything_else() {
        let device = Device::default().autodiff();
        let beginning = |batch_norm| Beginning {
            batch_norm,
            ..Beginning::default()
        };
        for (mode, keeps) in [(BatchNormMode::Train, false), (BatchNormMode::Frozen, true)] {
            // The trainer switches networks to training and back; the choice survives that.
            let network = beginning(mode)
                .compile(&graph(), Seed::new(1), &device)
                .unwrap();
            let network = network.valid().train();
            let before = network.weights();
            let trace = network.forward(&images(&device), &Taps::none()).unwrap();
            assert_eq!(network.weights() == before, keeps, "{mode:?}");
            let evaluated = network.valid();
            let plain = images(&Device::default());
            let expected = evaluated.forward(&plain, &Taps::none()).unwrap().output;
            let (got, expected) = (trace.output.to_vec().unwrap(), expected.to_vec().unwrap());
            // Evaluated norms are computed in another order of operations.
            let same = got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4);
            assert_eq!(same, keeps, "{mode:?}: {got:?} and {expected:?}");
        }
    }

    #[test]
    fn a_fresh_start_draws_what_is_trained_and_keeps_the_rest() {
        let device = Device::default();
        let mut graph = graph();
        let given: BTreeMap<String, HostTensor> = graph
            .weights
            .iter()
            .map(|(name, spec)| {
                let values = vec![0.5; spec.len()];
                (
                    name.clone(),
                    HostTensor::new(spec.shape.clone(), values).unwrap(),
                )
            })
            .collect();
        for (name, spec) in &mut graph.weights {
            spec.frozen = spec.kind.is_parameter() && name.starts_with("layer1.");
        }
        let start = |fresh, batch_norm| {
            let beginning = Beginning {
                given: Some(given.clone()),
                fresh,
                batch_norm,
            };
            let network = beginning.compile(&graph, Seed::new(3), &device).unwrap();
            network.weights()
        };
        assert_eq!(start(false, BatchNormMode::Train), given);
        let drawn = graph.compile(Seed::new(3), &device).unwrap().weights();
        for (name, value) in start(true, BatchNormMode::Train) {
            let kept = name.starts_with("layer1.");
            let expected = if kept { &given[&name] } else { &drawn[&name] };
            assert_eq!(&value, expected, "{name}");
        }
        for (name, value) in start(true, BatchNormMode::Frozen) {
            let kept = name.starts_with("layer1.") || name.contains("running_");
            let expected = if kept { &given[&name] } else { &drawn[&name] };
            assert_eq!(&value, expected, "{name}");
        }
    }
}
