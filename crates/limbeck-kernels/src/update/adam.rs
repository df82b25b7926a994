//! Adam and `AdamW`.

use rayon::prelude::*;

use super::CHUNK;
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::vector::Vector;

/// The settings of a step, as of `torch.optim.Adam` and `AdamW`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// The factor of the direction.
    pub learning_rate: f32,
    /// How much of the two running means stays. What is taken instead is one less these, which
    /// `f32` would round.
    pub betas: [f64; 2],
    /// Added to the divisor.
    pub epsilon: f32,
    /// What draws parameters to zero.
    pub weight_decay: WeightDecay,
}

/// How weight decay enters an [`adam`] step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WeightDecay {
    /// `gradient += factor parameter`, as in PyTorch's `Adam`.
    Gradient(f32),
    /// `parameter -= learning_rate factor parameter`, as in PyTorch's `AdamW`.
    Decoupled(f32),
}

/// One step of Adam, in place. `step` counts from one.
///
/// After weight decay, `mean = beta_0 mean + (1 - beta_0) g`,
/// `square = beta_1 square + (1 - beta_1) g^2` and `parameter -= learning_rate / (1 - beta_0^step)
/// mean / (sqrt(square / (1 - beta_1^step)) + epsilon)`.
///
/// # Panics
///
/// If the lengths differ or `step` is zero.
pub fn adam(
    settings: Adam,
    step: u32,
    parameter: &mut [f32],
    gradient: &[f32],
    mean: &mut [f32],
    square: &mut [f32],
) {
    adam_on(
        Processor::best(),
        settings,
        step,
        parameter,
        gradient,
        mean,
        square,
    );
}

/// [`adam`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`adam`], and if this machine lacks the instructions.
pub fn adam_on(
    processor: Processor,
    settings: Adam,
    step: u32,
    parameter: &mut [f32],
    gradient: &[f32],
    mean: &mut [f32],
    square: &mut [f32],
) {
    assert!(step > 0, "steps count from one");
    assert_eq!(
        parameter.len(),
        gradient.len(),
        "parameter and gradient differ in length"
    );
    assert_eq!(
        mean.len(),
        gradient.len(),
        "mean and gradient differ in length"
    );
    assert_eq!(
        square.len(),
        gradient.len(),
        "square and gradient differ in length"
    );
    let correction = |beta: f64| 1.0 - beta.powf(f64::from(step));
    let size = f64::from(settings.learning_rate) / correction(settings.betas[0]);
    let spread = correction(settings.betas[1]).sqrt();
    let chunks = parameter
        .par_chunks_mut(CHUNK)
        .zip(gradient.par_chunks(CHUNK));
    let state = mean.par_chunks_mut(CHUNK).zip(square.par_chunks_mut(CHUNK));
    chunks
        .zip(state)
        .for_each(|((parameter, gradient), (mean, square))| {
            let kernel = Step {
                settings,
                size: size as f32,
                spread: spread as f32,
                parameter,
                gradient,
                mean,
                square,
            };
            // SAFETY: the chunks are equally long.
            unsafe { dispatch::run(processor, kernel) };
        });
}

struct Step<'a> {
    settings: Adam,
    /// The learning rate over the correction of the mean.
    size: f32,
    /// The square root of the correction of the square.
    spread: f32,
    parameter: &'a mut [f32],
    gradient: &'a [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
}

impl Kernel for Step<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Adam {
            learning_rate,
            betas,
            epsilon,
            weight_decay,
        } = self.settings;
        let (into_gradient, shrink) = match weight_decay {
            WeightDecay::Gradient(factor) => (factor, 1.0),
            WeightDecay::Decoupled(factor) => (0.0, 1.0 - learning_rate * factor),
        };
        let taken = betas.map(|beta| (1.0 - beta) as f32);
        let kept = betas[1] as f32;
        let length = self.parameter.len();
        let (parameter, gradient) = (self.parameter.as_mut_ptr(), self.gradient.as_ptr());
        let (mean, square) = (self.mean.as_mut_ptr(), self.square.as_mut_ptr());
        for index in (0..length).step_by(V::LANES) {
            let lanes = V::LANES.min(length - index);
            // SAFETY: all slices are as long as the parameter.
            unsafe {
                let old = V::load_partial(parameter.add(index), lanes);
                let gradient = V::load_partial(gradient.add(index), lanes);
                let gradient = old.mul_add(V::splat(into_gradient), gradient);
                let last = V::load_partial(mean.add(index), lanes);
                let new_mean = gradient.sub(last).mul_add(V::splat(taken[0]), last);
                let last = V::load_partial(square.add(index), lanes);
                let share = gradient.mul(gradient).mul(V::splat(taken[1]));
                let new_square = last.mul_add(V::splat(kept), share);
                let spread = V::splat(self.spread);
                let divisor = new_square.sqrt().div(spread).add(V::splat(epsilon));
                let direction = new_mean.div(divisor);
                let shrunk = old.mul(V::splat(shrink));
                let new = direction.mul_add(V::splat(-self.size), shrunk);
                new_mean.store_partial(mean.add(index), lanes);
                new_square.store_partial(square.add(index), lanes);
                new.store_partial(parameter.add(index), lanes);
            }
        }
    }
}
