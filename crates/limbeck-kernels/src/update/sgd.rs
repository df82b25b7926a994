//! Stochastic gradient descent.

use rayon::prelude::*;

use super::CHUNK;
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::vector::Vector;

/// The settings of a step, as of `torch.optim.SGD`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// The factor of the direction.
    pub learning_rate: f32,
    /// How much of the last direction stays; zero needs no state.
    pub momentum: f32,
    /// How much of the gradient does not enter the momentum.
    pub dampening: f32,
    /// The factor of the parameter that is added to its gradient.
    pub weight_decay: f32,
    /// Whether to look ahead along the momentum.
    pub nesterov: bool,
}

/// One step of gradient descent, in place.
///
/// `g = gradient + weight_decay parameter`; with momentum,
/// `velocity = momentum velocity + (1 - dampening) g` (on the first step: `velocity = g`, whatever
/// was in it) and `g = velocity`, or `g = g + momentum velocity` for Nesterov; at last
/// `parameter -= learning_rate g`. Without momentum `velocity` may be empty.
///
/// # Panics
///
/// If the lengths differ.
pub fn sgd(
    settings: Sgd,
    first_step: bool,
    parameter: &mut [f32],
    gradient: &[f32],
    velocity: &mut [f32],
) {
    sgd_on(
        Processor::best(),
        settings,
        first_step,
        parameter,
        gradient,
        velocity,
    );
}

/// [`sgd`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`sgd`], and if this machine lacks the instructions.
pub fn sgd_on(
    processor: Processor,
    settings: Sgd,
    first_step: bool,
    parameter: &mut [f32],
    gradient: &[f32],
    velocity: &mut [f32],
) {
    assert_eq!(
        parameter.len(),
        gradient.len(),
        "parameter and gradient differ in length"
    );
    let step = |parameter: &mut [f32], gradient: &[f32], velocity: Option<&mut [f32]>| {
        let kernel = Step {
            settings,
            first_step,
            parameter,
            gradient,
            velocity,
        };
        // SAFETY: the chunks are equally long.
        unsafe { dispatch::run(processor, kernel) };
    };
    let chunks = parameter
        .par_chunks_mut(CHUNK)
        .zip(gradient.par_chunks(CHUNK));
    if settings.momentum == 0.0 {
        chunks.for_each(|(parameter, gradient)| step(parameter, gradient, None));
    } else {
        assert_eq!(
            velocity.len(),
            gradient.len(),
            "velocity and gradient differ in length"
        );
        chunks
            .zip(velocity.par_chunks_mut(CHUNK))
            .for_each(|((parameter, gradient), velocity)| {
                step(parameter, gradient, Some(velocity))
            });
    }
}

struct Step<'a> {
    settings: Sgd,
    first_step: bool,
    parameter: &'a mut [f32],
    gradient: &'a [f32],
    velocity: Option<&'a mut [f32]>,
}

impl Kernel for Step<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Sgd {
            learning_rate,
            momentum,
            dampening,
            weight_decay,
            nesterov,
        } = self.settings;
        // The first velocity is the gradient itself, undamped.
        let (kept, taken) = if self.first_step {
            (0.0, 1.0)
        } else {
            (momentum, 1.0 - dampening)
        };
        let length = self.parameter.len();
        let (parameter, gradient) = (self.parameter.as_mut_ptr(), self.gradient.as_ptr());
        let velocity = self.velocity.map(<[f32]>::as_mut_ptr);
        for index in (0..length).step_by(V::LANES) {
            let lanes = V::LANES.min(length - index);
            // SAFETY: all slices are as long as the parameter.
            unsafe {
                let old = V::load_partial(parameter.add(index), lanes);
                let gradient = V::load_partial(gradient.add(index), lanes);
                let mut direction = old.mul_add(V::splat(weight_decay), gradient);
                if let Some(velocity) = velocity {
                    let mut moving = direction.mul(V::splat(taken));
                    if !self.first_step {
                        let last = V::load_partial(velocity.add(index), lanes);
                        moving = last.mul_add(V::splat(kept), moving);
                    }
                    moving.store_partial(velocity.add(index), lanes);
                    direction = if nesterov {
                        moving.mul_add(V::splat(momentum), direction)
                    } else {
                        moving
                    };
                }
                let new = direction.mul_add(V::splat(-learning_rate), old);
                new.store_partial(parameter.add(index), lanes);
            }
        }
    }
}
