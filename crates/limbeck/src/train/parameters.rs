//! The parameters of a Burn module by name.
//!
//! Burn identifies a parameter by a number drawn at random in every process. What is written to disk needs a name
//! that stays: the path of the module's fields, joined by dots, which for a compiled graph is the
//! weight's own name (`layer1.0.conv1.weight`).

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use limbeck_graph::weights::HostTensor;
use limbeck_graph::{Feature, each_rank};

use super::optimizer::Optimizer;
use crate::{Error, Result};

/// Weights on the host by name.
pub type Weights = BTreeMap<String, HostTensor>;

/// Tensors on a device by name.
pub(super) type Named = BTreeMap<String, Feature>;

/// The path of a visitor inside a module.
#[derive(Debug, Default)]
pub(super) struct Path(Vec<String>);

impl Path {
    pub(super) fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    pub(super) fn exit(&mut self) {
        self.0.pop();
    }

    pub(super) fn name(&self) -> String {
        self.0.join(".")
    }
}

/// The two methods of a visitor or mapper that keep its field `path` up to date.
macro_rules! follow_path {
    () => {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.enter(name);
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }
    };
}

pub(super) use follow_path;

/// A tensor of generic rank as a [`Feature`]; `None` above rank 6.
pub(super) fn to_feature<const D: usize>(tensor: Tensor<D>) -> Option<Feature> {
    let dims = tensor.dims();
    macro_rules! ranks {
        ($($rank:literal $variant:ident),*) => {
            match D {
                $($rank => {
                    let mut shape = [0; $rank];
                    shape.copy_from_slice(&dims);
                    Some(Feature::$variant(tensor.reshape(shape)))
                })*
                _ => None,
            }
        };
    }
    ranks!(1 Rank1, 2 Rank2, 3 Rank3, 4 Rank4, 5 Rank5, 6 Rank6)
}

/// The tensor inside `feature` at generic rank; `None` if the rank is another.
pub(super) fn from_feature<const D: usize>(feature: Feature) -> Option<Tensor<D>> {
    let shape = <[usize; D]>::try_from(feature.shape()).ok()?;
    Some(each_rank!(feature, tensor => tensor.reshape(shape)))
}

/// All float parameters and running statistics, with pending updates of the statistics taken in.
pub(super) fn tensors<M: Module>(module: &M) -> Named {
    struct Reader {
        path: Path,
        tensors: Named,
    }

    impl ModuleVisitor for Reader {
        follow_path!();

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(feature) = to_feature(param.val()) {
                self.tensors.insert(self.path.name(), feature);
            }
        }
    }

    let mut reader = Reader {
        path: Path::default(),
        tensors: Named::new(),
    };
    // Burn's running statistics lag by one update until the module is read for validation.
    module.valid().visit(&mut reader);
    reader.tensors
}

/// Tensors copied to the host.
///
/// # Errors
/// If the device cannot hand one over.
pub(super) fn to_host(tensors: &Named) -> Result<Weights> {
    tensors
        .iter()
        .map(|(name, tensor)| {
            let host = HostTensor::new(tensor.shape(), tensor.to_vec()?)?;
            Ok((name.clone(), host))
        })
        .collect()
}

/// All float parameters and running statistics, copied to the host.
///
/// # Errors
/// If the device cannot hand one over.
pub fn weights<M: Module>(module: &M) -> Result<Weights> {
    to_host(&tensors(module))
}

/// Puts `weights` in place of the module's parameters and running statistics.
///
/// # Errors
/// If names are missing or unexpected, or a shape differs; all of them are listed.
pub fn load<M: Module>(module: M, weights: &Weights) -> Result<M> {
    struct Loader<'a> {
        path: Path,
        weights: &'a Weights,
        used: BTreeSet<String>,
        problems: Vec<String>,
    }

    impl ModuleMapper for Loader<'_> {
        follow_path!();

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = self.path.name();
            let Some(host) = self.weights.get(&name) else {
                self.problems.push(format!("`{name}` is missing"));
                return param;
            };
            let shape = param.dims().to_vec();
            if host.shape != shape {
                let got = &host.shape;
                self.problems
                    .push(format!("`{name}` has shape {got:?} instead of {shape:?}"));
                return param;
            }
            self.used.insert(name);
            let data = TensorData::new(host.values.clone(), shape);
            param.map(|old| {
                Tensor::from_data(data, (&old.device(), old.dtype()))
                    .set_require_grad(old.is_require_grad())
            })
        }
    }

    let mut loader = Loader {
        path: Path::default(),
        weights,
        used: BTreeSet::new(),
        problems: Vec::new(),
    };
    let module = module.map(&mut loader);
    let unexpected = weights.keys().filter(|name| !loader.used.contains(*name));
    let mut problems = loader.problems.clone();
    if problems.is_empty() {
        problems.extend(unexpected.map(|name| format!("`{name}` is unexpected")));
    }
    if problems.is_empty() {
        return Ok(module);
    }
    Err(Error::Shape {
        what: "weights".to_owned(),
        expected: "the parameters of the network".to_owned(),
        got: problems.join(", "),
    })
}

/// Takes the gradients of the module's parameters out of `gradients`, without history. Parameters that
/// the loss did not reach are absent.
pub(super) fn gradients<M: Module>(module: &M, gradients: &mut burn::tensor::Gradients) -> Named {
    struct Collector<'a> {
        path: Path,
        from: &'a mut burn::tensor::Gradients,
        found: Named,
    }

    impl ModuleVisitor for Collector<'_> {
        follow_path!();

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if !param.is_require_grad() {
                return;
            }
            let gradient = param.val().grad_remove(self.from).and_then(to_feature);
            if let Some(gradient) = gradient {
                self.found.insert(self.path.name(), gradient);
            }
        }
    }

    let mut collector = Collector {
        path: Path::default(),
        from: gradients,
        found: Named::new(),
    };
    module.visit(&mut collector);
    collector.found
}

/// One optimiser step on every parameter that has a gradient; everything else is left alone.
pub(super) fn update<M: Module>(
    module: M,
    optimizer: &mut Optimizer,
    learning_rate: f64,
    gradients: Named,
) -> M {
    struct Updater<'a> {
        path: Path,
        optimizer: &'a mut Optimizer,
        learning_rate: f64,
        gradients: Named,
    }

    impl ModuleMapper for Updater<'_> {
        follow_path!();

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let name = self.path.name();
            let gradient = self.gradients.remove(&name).and_then(from_feature::<D>);
            let Some(gradient) = gradient else {
                return param;
            };
            param.map(|weight| {
                self.optimizer
                    .step(&name, self.learning_rate, weight.inner(), gradient)
                    .autodiff()
                    .require_grad()
            })
        }
    }

    module.map(&mut Updater {
        path: Path::default(),
        optimizer,
        learning_rate,
        gradients,
    })
}

/// Host weights on a device.
///
/// # Errors
/// If a tensor has no rank from 1 to 6.
pub(super) fn to_device(weights: Weights, device: &Device) -> Result<Named> {
    weights
        .into_iter()
        .map(|(name, host)| {
            let tensor = Feature::from_vec(host.values, &host.shape, device)?;
            Ok((name, tensor))
        })
        .collect()
}
