//! The gradient of a training batch norm with its residual and activation.

use rayon::prelude::*;

use crate::activation::{Activation, pass};
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::sharing::Shared;
use crate::sums::{Place, Terms, column_sums};
use crate::vector::Vector;

/// Elements of one task.
const CHUNK: usize = 32 * 1024;

/// What the forward pass of `output = act(gamma (input - mean) / deviation + beta + residual)`
/// leaves behind.
#[derive(Debug, Clone, Copy)]
pub struct BatchNormSaved<'a> {
    /// What was normalized, `[rows, channels]`.
    pub input: &'a [f32],
    /// What came out, `[rows, channels]`; it tells where the activation passed. Not looked at, and
    /// best empty, where there was no activation.
    pub output: &'a [f32],
    /// Mean of each channel, `[channels]`.
    pub mean: &'a [f32],
    /// `1 / sqrt(variance + epsilon)` of each channel, `[channels]`.
    pub inverse_standard_deviation: &'a [f32],
    /// The learnt scale, `[channels]`.
    pub gamma: &'a [f32],
    /// What was applied last.
    pub activation: Activation,
}

/// Where the gradients of a batch norm go.
#[derive(Debug)]
pub struct BatchNormGradients<'a> {
    /// Of the input, `[rows, channels]`.
    pub input: &'a mut [f32],
    /// Of `gamma`, `[channels]`.
    pub gamma: &'a mut [f32],
    /// Of `beta`, `[channels]`.
    pub beta: &'a mut [f32],
    /// Of the residual, `[rows, channels]`, where there was one.
    pub residual: Option<&'a mut [f32]>,
}

/// The gradients of a training batch norm, given that of its output, `[rows, channels]`.
///
/// With `g` the output's gradient where the activation passes and zero elsewhere, and
/// `h = (input - mean) / deviation`:
/// `residual = g`, `beta = sum g`, `gamma = sum g h` and
/// `input = gamma / deviation (g - mean_rows(g) - h mean_rows(g h))`.
///
/// # Panics
///
/// If the lengths disagree.
pub fn backward(saved: BatchNormSaved<'_>, grad_output: &[f32], gradients: BatchNormGradients<'_>) {
    backward_on(Processor::best(), saved, grad_output, gradients);
}

/// [`backward`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`backward`], and if this machine lacks the instructions.
pub fn backward_on(
    processor: Processor,
    saved: BatchNormSaved<'_>,
    grad_output: &[f32],
    mut gradients: BatchNormGradients<'_>,
) {
    let channels = saved.mean.len();
    let rows = super::rows(grad_output.len(), channels);
    check(&saved, grad_output.len(), &gradients);
    let residual = gradients.residual.as_mut().map(|slice| Shared::new(slice));
    // SAFETY: every slice has `rows` rows of `channels` channels.
    let (sum, product) = unsafe {
        match (saved.activation, residual) {
            (Activation::None, None) => {
                sums::<false, false>(processor, rows, &saved, grad_output, None)
            }
            (Activation::None, some) => {
                sums::<false, true>(processor, rows, &saved, grad_output, some)
            }
            (_, None) => sums::<true, false>(processor, rows, &saved, grad_output, None),
            (_, some) => sums::<true, true>(processor, rows, &saved, grad_output, some),
        }
    };
    let mut slopes = vec![0.0f32; 3 * channels];
    for channel in 0..channels {
        let inverse = f64::from(saved.inverse_standard_deviation[channel]);
        let scale = f64::from(saved.gamma[channel]) * inverse;
        gradients.beta[channel] = sum[channel] as f32;
        gradients.gamma[channel] = (product[channel] * inverse) as f32;
        slopes[channel] = scale as f32;
        slopes[channels + channel] = (-scale * sum[channel] / rows as f64) as f32;
        slopes[2 * channels + channel] =
            (-scale * product[channel] * inverse * inverse / rows as f64) as f32;
    }
    let (masked, activation) = match &gradients.residual {
        Some(residual) => (&**residual, Activation::None),
        None => (grad_output, saved.activation),
    };
    input_gradient(
        processor,
        &saved,
        masked,
        activation,
        &slopes,
        gradients.input,
    );
}

fn check(saved: &BatchNormSaved<'_>, length: usize, gradients: &BatchNormGradients<'_>) {
    let channels = saved.mean.len();
    assert_eq!(
        saved.input.len(),
        length,
        "input and gradient differ in length"
    );
    assert_eq!(
        gradients.input.len(),
        length,
        "the input's gradient has another length"
    );
    if saved.activation != Activation::None {
        assert_eq!(
            saved.output.len(),
            length,
            "output and gradient differ in length"
        );
    }
    if let Some(residual) = &gradients.residual {
        assert_eq!(
            residual.len(),
            length,
            "the residual's gradient has another length"
        );
    }
    let inverse = saved.inverse_standard_deviation.len();
    assert_eq!(inverse, channels, "one standard deviation per channel");
    assert_eq!(saved.gamma.len(), channels, "one gamma per channel");
    assert_eq!(
        gradients.gamma.len(),
        channels,
        "one gradient of gamma per channel"
    );
    assert_eq!(
        gradients.beta.len(),
        channels,
        "one gradient of beta per channel"
    );
}

/// `sum g` and `sum g (input - mean)` of every channel; `g` is also written to `masked` if `KEEP`.
///
/// # Safety
///
/// All slices have `rows` rows.
unsafe fn sums<const MASK: bool, const KEEP: bool>(
    processor: Processor,
    rows: usize,
    saved: &BatchNormSaved<'_>,
    grad_output: &[f32],
    masked: Option<Shared<'_>>,
) -> (Vec<f64>, Vec<f64>) {
    let terms = MaskedGradient::<MASK, KEEP> {
        saved,
        grad_output,
        masked,
    };
    // SAFETY: the caller's promise.
    unsafe { column_sums(processor, rows, saved.mean.len(), &terms) }
}

struct MaskedGradient<'a, const MASK: bool, const KEEP: bool> {
    saved: &'a BatchNormSaved<'a>,
    grad_output: &'a [f32],
    masked: Option<Shared<'a>>,
}

impl<const MASK: bool, const KEEP: bool> Terms for MaskedGradient<'_, MASK, KEEP> {
    #[inline(always)]
    unsafe fn at<V: Vector, const WHOLE: bool>(&self, place: Place) -> (V, V) {
        // SAFETY: the caller keeps `place` within the rows and channels.
        unsafe {
            let mut gradient: V =
                place.load::<V, WHOLE>(self.grad_output.as_ptr().add(place.index));
            if MASK {
                let output = place.load::<V, WHOLE>(self.saved.output.as_ptr().add(place.index));
                gradient = pass(self.saved.activation, gradient, output);
            }
            if let (true, Some(masked)) = (KEEP, self.masked) {
                place.store::<V, WHOLE>(gradient, masked.at(place.index));
            }
            let input = place.load::<V, WHOLE>(self.saved.input.as_ptr().add(place.index));
            let mean = place.load::<V, WHOLE>(self.saved.mean.as_ptr().add(place.channel));
            (gradient, input.sub(mean))
        }
    }
}

/// Writes `g a + b + (input - mean) c` with `slopes` the `[3, channels]` values `a`, `b`, `c` and
/// `g` the `gradient` where `activation` passes.
fn input_gradient(
    processor: Processor,
    saved: &BatchNormSaved<'_>,
    gradient: &[f32],
    activation: Activation,
    slopes: &[f32],
    output: &mut [f32],
) {
    let channels = saved.mean.len();
    let chunk = (CHUNK / channels).max(1) * channels;
    let chunks = output.par_chunks_mut(chunk).enumerate();
    chunks.for_each(|(index, result)| {
        let part = |slice: &[f32]| slice[index * chunk..][..result.len()].as_ptr();
        let masked = activation != Activation::None;
        let kernel = InputGradient {
            input: part(saved.input),
            output: if masked {
                part(saved.output)
            } else {
                part(saved.input)
            },
            gradient: part(gradient),
            mean: saved.mean,
            slopes,
            activation,
            length: result.len(),
            result: result.as_mut_ptr(),
        };
        // SAFETY: the pointers are valid for as many elements as `result` has.
        unsafe { dispatch::run(processor, kernel) };
    });
}

struct InputGradient<'a> {
    input: *const f32,
    output: *const f32,
    gradient: *const f32,
    mean: &'a [f32],
    slopes: &'a [f32],
    activation: Activation,
    result: *mut f32,
    length: usize,
}

impl Kernel for InputGradient<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: every vector lies within its row; partial ones name the lanes that do.
        unsafe {
            if self.activation == Activation::None {
                self.rows::<V, false>();
            } else {
                self.rows::<V, true>();
            }
        }
    }
}

impl InputGradient<'_> {
    #[inline(always)]
    unsafe fn rows<V: Vector, const MASK: bool>(self) {
        let channels = self.mean.len();
        for row in 0..self.length / channels {
            let mut channel = 0;
            // SAFETY: the places lie in the row.
            unsafe {
                while channel + V::LANES <= channels {
                    self.vector::<V, MASK, true>(Place::new::<V>(row, channel, channels));
                    channel += V::LANES;
                }
                if channel < channels {
                    self.vector::<V, MASK, false>(Place::new::<V>(row, channel, channels));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn vector<V: Vector, const MASK: bool, const WHOLE: bool>(&self, place: Place) {
        let channels = self.mean.len();
        // SAFETY: the caller keeps `place` within the rows and channels.
        unsafe {
            let mut gradient: V = place.load::<V, WHOLE>(self.gradient.add(place.index));
            if MASK {
                let output = place.load::<V, WHOLE>(self.output.add(place.index));
                gradient = pass(self.activation, gradient, output);
            }
            let slopes = self.slopes.as_ptr().add(place.channel);
            let mean = place.load::<V, WHOLE>(self.mean.as_ptr().add(place.channel));
            let deviation = place
                .load::<V, WHOLE>(self.input.add(place.index))
                .sub(mean);
            let constant = place.load::<V, WHOLE>(slopes.add(channels));
            let factor = place.load::<V, WHOLE>(slopes.add(2 * channels));
            let sum = deviation.mul_add(factor, constant);
            let result = gradient.mul_add(place.load::<V, WHOLE>(slopes), sum);
            place.store::<V, WHOLE>(result, self.result.add(place.index));
        }
    }
}
