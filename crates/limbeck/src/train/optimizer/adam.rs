//! Adam, and Adam with weights that shrink apart from the gradient.

use burn::tensor::Tensor;
use limbeck_kernels::{tensor as kernels, update};

use super::Constants;

/// The constants of [`OptimizerSettings::Adam`](super::OptimizerSettings::Adam) and, where the decay is `decoupled`,
/// [`OptimizerSettings::AdamW`](super::OptimizerSettings::AdamW).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Adam {
    pub(super) betas: [f64; 2],
    pub(super) epsilon: f64,
    pub(super) decoupled: bool,
}

/// The running means of the gradient and of its square.
type Moments<const D: usize> = (Tensor<D>, Tensor<D>);

impl Adam {
    /// The weight and its moments after a step; none before the first. Steps count from one.
    pub(super) fn step<const D: usize>(
        self,
        constants: Constants,
        step: u32,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        moments: Option<Moments<D>>,
    ) -> (Tensor<D>, Moments<D>) {
        if constants.by_kernel {
            self.by_kernel(constants, step, weight, gradient, moments)
        } else {
            self.by_operations(constants, step, weight, gradient, moments)
        }
    }

    fn by_kernel<const D: usize>(
        self,
        constants: Constants,
        step: u32,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        moments: Option<Moments<D>>,
    ) -> (Tensor<D>, Moments<D>) {
        let settings = update::Adam {
            learning_rate: constants.learning_rate as f32,
            betas: self.betas,
            epsilon: self.epsilon as f32,
            weight_decay: if self.decoupled {
                update::WeightDecay::Decoupled(constants.decay as f32)
            } else {
                update::WeightDecay::Gradient(constants.decay as f32)
            },
        };
        let moments = moments.map(|(mean, square)| kernels::Moments { mean, square });
        let (weight, moments) = kernels::adam(settings, step, weight, gradient, moments);
        (weight, (moments.mean, moments.square))
    }

    fn by_operations<const D: usize>(
        self,
        constants: Constants,
        step: u32,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        moments: Option<Moments<D>>,
    ) -> (Tensor<D>, Moments<D>) {
        let Constants {
            learning_rate,
            decay,
            ..
        } = constants;
        let (weight, gradient) = match (decay, self.decoupled) {
            (0.0, _) => (weight, gradient),
            (_, true) => (weight.mul_scalar(1.0 - learning_rate * decay), gradient),
            (_, false) => {
                let gradient = gradient + weight.clone().mul_scalar(decay);
                (weight, gradient)
            }
        };
        let [first, second] = self.betas;
        let share = gradient.clone().mul_scalar(1.0 - first);
        let share_of_square = gradient.square().mul_scalar(1.0 - second);
        let (mean, square) = match moments {
            Some((mean, square)) => (
                mean.mul_scalar(first) + share,
                square.mul_scalar(second) + share_of_square,
            ),
            None => (share, share_of_square),
        };
        let correction = |beta: f64| 1.0 - beta.powf(f64::from(step));
        let root = square.clone().sqrt().div_scalar(correction(second).sqrt());
        let direction = mean.clone() / root.add_scalar(self.epsilon);
        let rate = learning_rate / correction(first);
        (weight - direction.mul_scalar(rate), (mean, square))
    }
}
