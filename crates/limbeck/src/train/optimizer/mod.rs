//! Update rules with their state kept by parameter name.
//!
//! The rules follow PyTorch's conventions: no dampening of the momentum, and Adam's epsilon outside the bias correction. Whether
//! a parameter decays is decided by its rank: norms and biases are vectors, everything else is not.

mod adam;
mod sgd;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use limbeck_kernels::tensor as kernels;

use self::adam::Adam;
use self::sgd::Sgd;
pub(super) use self::state::SavedState;
use self::state::{State, restore, save};
use super::parameters::{Path, follow_path, from_feature, to_feature};
use super::settings::OptimizerSettings;
use crate::{Error, Result};

/// An update rule and its state for every parameter that it has moved.
pub(super) struct Optimizer {
    rule: Rule,
    weight_decay: f64,
    decay_norms_and_biases: bool,
    states: BTreeMap<String, State>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Sgd(Sgd),
    Adam(Adam),
}

/// What changes from step to step or from parameter to parameter.
#[derive(Clone, Copy, Debug)]
struct Constants {
    learning_rate: f64,
    decay: f64,
    /// Whether `limbeck-kernels` computes it, or Burn's operations do.
    by_kernel: bool,
}

impl Optimizer {
    pub(super) fn new(settings: &OptimizerSettings) -> Self {
        let adam = |betas, epsilon, decoupled| {
            Rule::Adam(Adam {
                betas,
                epsilon,
                decoupled,
            })
        };
        let (rule, weight_decay, decay_norms_and_biases) = match *settings {
            OptimizerSettings::Sgd {
                momentum,
                nesterov,
                weight_decay,
                decay_norms_and_biases,
            } => {
                let rule = Rule::Sgd(Sgd { momentum, nesterov });
                (rule, weight_decay, decay_norms_and_biases)
            }
            OptimizerSettings::Adam {
                betas,
                epsilon,
                weight_decay,
                decay_norms_and_biases,
            } => {
                let rule = adam(betas, epsilon, false);
                (rule, weight_decay, decay_norms_and_biases)
            }
            OptimizerSettings::AdamW {
                betas,
                epsilon,
                weight_decay,
                decay_norms_and_biases,
            } => {
                let rule = adam(betas, epsilon, true);
                (rule, weight_decay, decay_norms_and_biases)
            }
        };
        Self {
            rule,
            weight_decay,
            decay_norms_and_biases,
            states: BTreeMap::new(),
        }
    }

    /// The parameter `name` after one step along `gradient`; both without autodiff.
    ///
    /// # Panics
    /// If the parameter had another shape in an earlier step, or has a rank above 6.
    pub(super) fn step<const D: usize>(
        &mut self,
        name: &str,
        learning_rate: f64,
        weight: Tensor<D>,
        gradient: Tensor<D>,
    ) -> Tensor<D> {
        let by_kernel = kernels::accepts(&weight) && kernels::accepts(&gradient);
        self.step_by(by_kernel, name, learning_rate, weight, gradient)
    }

    fn step_by<const D: usize>(
        &mut self,
        by_kernel: bool,
        name: &str,
        learning_rate: f64,
        weight: Tensor<D>,
        gradient: Tensor<D>,
    ) -> Tensor<D> {
        let decays = D > 1 || self.decay_norms_and_biases;
        let constants = Constants {
            learning_rate,
            decay: if decays { self.weight_decay } else { 0.0 },
            by_kernel,
        };
        let State { steps, tensors } = self.states.remove(name).unwrap_or_default();
        let steps = steps.saturating_add(1);
        let mut tensors = tensors
            .into_iter()
            .map(|tensor| from_feature::<D>(tensor).expect("a parameter keeps its shape"));
        let (weight, tensors) = match self.rule {
            Rule::Sgd(sgd) => {
                let (weight, velocity) = sgd.step(constants, weight, gradient, tensors.next());
                (weight, velocity.into_iter().collect())
            }
            Rule::Adam(adam) => {
                let moments = tensors.next().zip(tensors.next());
                let (weight, (mean, square)) =
                    adam.step(constants, steps, weight, gradient, moments);
                (weight, vec![mean, square])
            }
        };
        if !tensors.is_empty() {
            let tensors = tensors
                .into_iter()
                .map(|tensor| to_feature(tensor).expect("gradients are taken up to rank 6"))
                .collect();
            self.states
                .insert(name.to_owned(), State { steps, tensors });
        }
        weight
    }

    /// The state of every parameter that was moved, copied to the host.
    ///
    /// # Errors
    /// If the device cannot hand it over.
    pub(super) fn save(&self) -> Result<SavedState> {
        save(self.rule, &self.states)
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
        struct Shapes {
            path: Path,
            found: BTreeMap<String, Vec<usize>>,
        }

        impl ModuleVisitor for Shapes {
            follow_path!();

            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.found.insert(self.path.name(), param.dims().to_vec());
            }
        }

        let mut shapes = Shapes {
            path: Path::default(),
            found: BTreeMap::new(),
        };
        module.visit(&mut shapes);
        self.states = restore(self.rule, &shapes.found, saved, device)?;
        Ok(())
    }
}

/// That a saved state is not this optimiser's.
fn foreign(got: String) -> Error {
    Error::Shape {
        what: "optimiser state".to_owned(),
        expected: "the state of this optimiser for this network".to_owned(),
        got,
    }
}
