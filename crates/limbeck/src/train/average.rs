//! The moving average of the weights.

use burn::module::Module;
use burn::tensor::Device;

use super::gradient::{add, scale};
use super::parameters::{self, Named, Weights};
use crate::Result;

/// An exponential moving average of a network's parameters and running statistics (Polyak and Juditsky
/// 1992 for the idea; Tan and Le 2019, section 5, for the recipe).
///
/// After step `t` (from 1) the average moves by `1 - min(decay, (1 + t) / (10 + t))` of its distance to
/// the weights, so that it forgets the initial weights quickly.
#[derive(Debug)]
pub(super) struct Average {
    decay: f64,
    values: Named,
}

impl Average {
    /// Starts at the module's weights.
    pub(super) fn new<M: Module>(decay: f64, module: &M) -> Self {
        Self {
            decay,
            values: parameters::tensors(module),
        }
    }

    /// Continues from saved values.
    ///
    /// # Errors
    /// If a value has no rank from 1 to 6.
    pub(super) fn restore(decay: f64, values: Weights, device: &Device) -> Result<Self> {
        let values = parameters::to_device(values, device)?;
        Ok(Self { decay, values })
    }

    /// Moves towards the module's weights after `step`, counted from 1.
    pub(super) fn update<M: Module>(&mut self, module: &M, step: u64) {
        let weights = parameters::tensors(module);
        let step = step as f64;
        let decay = self.decay.min((1.0 + step) / (10.0 + step));
        for (name, average) in &mut self.values {
            if let Some(value) = weights.get(name) {
                let share = scale(value.clone(), 1.0 - decay);
                *average = add(scale(average.clone(), decay), share);
            }
        }
    }

    /// The averages, copied to the host.
    ///
    /// # Errors
    /// If the device cannot hand them over.
    pub(super) fn weights(&self) -> Result<Weights> {
        parameters::to_host(&self.values)
    }
}
