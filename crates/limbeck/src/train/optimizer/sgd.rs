//! Gradient descent with momentum.

use burn::tensor::Tensor;
use limbeck_kernels::{tensor as kernels, update};

use super::Constants;

/// The constants of [`OptimizerSettings::Sgd`](super::OptimizerSettings::Sgd).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sgd {
    pub(super) momentum: f64,
    pub(super) nesterov: bool,
}

impl Sgd {
    /// The weight and its velocity after a step; none before the first, nor without momentum.
    pub(super) fn step<const D: usize>(
        self,
        constants: Constants,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Option<Tensor<D>>,
    ) -> (Tensor<D>, Option<Tensor<D>>) {
        if constants.by_kernel {
            self.by_kernel(constants, weight, gradient, velocity)
        } else {
            self.by_operations(constants, weight, gradient, velocity)
        }
    }

    fn by_kernel<const D: usize>(
        self,
        constants: Constants,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Option<Tensor<D>>,
    ) -> (Tensor<D>, Option<Tensor<D>>) {
        let settings = update::Sgd {
            learning_rate: constants.learning_rate as f32,
            momentum: self.momentum as f32,
            dampening: 0.0,
            weight_decay: constants.decay as f32,
            nesterov: self.nesterov,
        };
        kernels::sgd(settings, weight, gradient, velocity)
    }

    fn by_operations<const D: usize>(
        self,
        constants: Constants,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Option<Tensor<D>>,
    ) -> (Tensor<D>, Option<Tensor<D>>) {
        let gradient = if constants.decay == 0.0 {
            gradient
        } else {
            gradient + weight.clone().mul_scalar(constants.decay)
        };
        if self.momentum == 0.0 {
            return (weight - gradient.mul_scalar(constants.learning_rate), None);
        }
        let velocity = match velocity {
            Some(velocity) => velocity.mul_scalar(self.momentum) + gradient.clone(),
            None => gradient.clone(),
        };
        let direction = if self.nesterov {
            gradient + velocity.clone().mul_scalar(self.momentum)
        } else {
            velocity.clone()
        };
        (
            weight - direction.mul_scalar(constants.learning_rate),
            Some(velocity),
        )
    }
}
