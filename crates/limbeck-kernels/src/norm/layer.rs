//! Layer norm over the last axis.

use rayon::prelude::*;

use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::sums::{Place, Terms, column_sums, row_sums};
use crate::vector::Vector;

/// Elements of one task.
const CHUNK: usize = 16 * 1024;

/// Mean and spread of every row, which the backward pass needs.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNormStatistics {
    /// Mean of each row, `[rows]`.
    pub mean: Vec<f32>,
    /// `1 / sqrt(variance + epsilon)` of each row, `[rows]`, with the biased variance.
    pub inverse_standard_deviation: Vec<f32>,
}

/// `output = gamma (input - mean) / sqrt(variance + epsilon) + beta` with the mean and biased
/// variance of each row; `input` and `output` are `[rows, channels]`, `gamma` and `beta`
/// `[channels]`.
///
/// # Panics
///
/// If the lengths disagree.
pub fn layer_norm(
    input: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    output: &mut [f32],
) -> LayerNormStatistics {
    layer_norm_on(Processor::best(), input, gamma, beta, epsilon, output)
}

/// [`layer_norm`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`layer_norm`], and if this machine lacks the instructions.
pub fn layer_norm_on(
    processor: Processor,
    input: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    output: &mut [f32],
) -> LayerNormStatistics {
    let channels = gamma.len();
    let rows = super::rows(input.len(), channels);
    assert_eq!(beta.len(), channels, "one beta per channel");
    assert_eq!(
        output.len(),
        input.len(),
        "input and output differ in length"
    );
    let mut mean = vec![0.0; rows];
    let mut inverse = vec![0.0; rows];
    let chunk = (CHUNK / channels).max(1);
    let outputs = output.par_chunks_mut(chunk * channels);
    let statistics = mean
        .par_chunks_mut(chunk)
        .zip(inverse.par_chunks_mut(chunk));
    let inputs = input.par_chunks(chunk * channels);
    inputs
        .zip(outputs)
        .zip(statistics)
        .for_each(|((input, output), (mean, inverse))| {
            let kernel = Forward {
                input,
                gamma,
                beta,
                epsilon,
                output,
                mean,
                inverse,
            };
            // SAFETY: the slices were cut at the same rows.
            unsafe { dispatch::run(processor, kernel) };
        });
    LayerNormStatistics {
        mean,
        inverse_standard_deviation: inverse,
    }
}

struct Forward<'a> {
    input: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    epsilon: f32,
    output: &'a mut [f32],
    mean: &'a mut [f32],
    inverse: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        let channels = self.gamma.len();
        for row in 0..self.mean.len() {
            // SAFETY: `input` has this row.
            unsafe {
                let values = RowDeviations {
                    input: self.input,
                    mean: 0.0,
                };
                let mean = row_sums::<V, _>(&values, row, channels).0 / channels as f32;
                let deviations = RowDeviations { mean, ..values };
                let (rest, squares) = row_sums::<V, _>(&deviations, row, channels);
                let rest = rest / channels as f32;
                let variance = (squares / channels as f32 - rest * rest).max(0.0);
                self.mean[row] = mean;
                self.inverse[row] = 1.0 / (variance + self.epsilon).sqrt();
                let mut channel = 0;
                while channel + V::LANES <= channels {
                    self.vector::<V, true>(Place::new::<V>(row, channel, channels));
                    channel += V::LANES;
                }
                if channel < channels {
                    self.vector::<V, false>(Place::new::<V>(row, channel, channels));
                }
            }
        }
    }
}

impl Forward<'_> {
    #[inline(always)]
    unsafe fn vector<V: Vector, const WHOLE: bool>(&mut self, place: Place) {
        // SAFETY: the caller keeps `place` within the rows and channels.
        unsafe {
            let input: V = place.load::<V, WHOLE>(self.input.as_ptr().add(place.index));
            let gamma = place.load::<V, WHOLE>(self.gamma.as_ptr().add(place.channel));
            let beta = place.load::<V, WHOLE>(self.beta.as_ptr().add(place.channel));
            let deviation = input.sub(V::splat(self.mean[place.row]));
            let normal = deviation.mul(V::splat(self.inverse[place.row]));
            let to = self.output.as_mut_ptr().add(place.index);
            place.store::<V, WHOLE>(normal.mul_add(gamma, beta), to);
        }
    }
}

struct RowDeviations<'a> {
    input: &'a [f32],
    mean: f32,
}

impl Terms for RowDeviations<'_> {
    #[inline(always)]
    unsafe fn at<V: Vector, const WHOLE: bool>(&self, place: Place) -> (V, V) {
        // SAFETY: the caller keeps `place` within the rows and channels.
        unsafe {
            let value: V = place.load::<V, WHOLE>(self.input.as_ptr().add(place.index));
            let deviation = value.sub(V::splat(self.mean));
            (deviation, deviation)
        }
    }
}

/// Where the gradients of a layer norm go.
#[derive(Debug)]
pub struct LayerNormGradients<'a> {
    /// Of the input, `[rows, channels]`.
    pub input: &'a mut [f32],
    /// Of `gamma`, `[channels]`.
    pub gamma: &'a mut [f32],
    /// Of `beta`, `[channels]`.
    pub beta: &'a mut [f32],
}

/// The gradients of [`layer_norm`], given its input, its statistics and the gradient of its output.
///
/// With `h` the normalized input and `g = grad_output gamma`: `beta = sum_r grad_output`,
/// `gamma = sum_r grad_output h` and `input = (g - mean_c(g) - h mean_c(g h)) / deviation`.
///
/// # Panics
///
/// If the lengths disagree.
pub fn layer_norm_backward(
    input: &[f32],
    statistics: &LayerNormStatistics,
    gamma: &[f32],
    grad_output: &[f32],
    gradients: LayerNormGradients<'_>,
) {
    let processor = Processor::best();
    layer_norm_backward_on(processor, input, statistics, gamma, grad_output, gradients);
}

/// [`layer_norm_backward`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`layer_norm_backward`], and if this machine lacks the instructions.
pub fn layer_norm_backward_on(
    processor: Processor,
    input: &[f32],
    statistics: &LayerNormStatistics,
    gamma: &[f32],
    grad_output: &[f32],
    gradients: LayerNormGradients<'_>,
) {
    let channels = gamma.len();
    let rows = super::rows(input.len(), channels);
    assert_eq!(
        grad_output.len(),
        input.len(),
        "input and gradient differ in length"
    );
    assert_eq!(
        gradients.input.len(),
        input.len(),
        "the input's gradient has another length"
    );
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
    assert_eq!(statistics.mean.len(), rows, "one mean per row");
    let inverse = &statistics.inverse_standard_deviation;
    assert_eq!(inverse.len(), rows, "one standard deviation per row");
    let ones = vec![1.0; channels];
    let terms = Slopes {
        input,
        grad_output,
        gamma: &ones,
        statistics,
    };
    // SAFETY: `input` and `grad_output` have `rows` rows, and so have the statistics.
    let (beta, products) = unsafe { column_sums(processor, rows, channels, &terms) };
    for channel in 0..channels {
        gradients.beta[channel] = beta[channel] as f32;
        gradients.gamma[channel] = products[channel] as f32;
    }
    let chunk = (CHUNK / channels).max(1);
    let chunks = gradients.input.par_chunks_mut(chunk * channels).enumerate();
    chunks.for_each(|(index, result)| {
        let kernel = Backward {
            slopes: Slopes { gamma, ..terms },
            first_row: index * chunk,
            result,
        };
        // SAFETY: the chunks have the rows from `first_row`.
        unsafe { dispatch::run(processor, kernel) };
    });
}

/// `p = grad_output gamma` and `q` the normalized input.
#[derive(Clone, Copy)]
struct Slopes<'a> {
    input: &'a [f32],
    grad_output: &'a [f32],
    gamma: &'a [f32],
    statistics: &'a LayerNormStatistics,
}

impl Terms for Slopes<'_> {
    #[inline(always)]
    unsafe fn at<V: Vector, const WHOLE: bool>(&self, place: Place) -> (V, V) {
        // SAFETY: the caller keeps `place` within the rows and channels.
        unsafe {
            let value: V = place.load::<V, WHOLE>(self.input.as_ptr().add(place.index));
            let gradient: V = place.load::<V, WHOLE>(self.grad_output.as_ptr().add(place.index));
            let gamma = place.load::<V, WHOLE>(self.gamma.as_ptr().add(place.channel));
            let deviation = value.sub(V::splat(self.statistics.mean[place.row]));
            let inverse = self.statistics.inverse_standard_deviation[place.row];
            (gradient.mul(gamma), deviation.mul(V::splat(inverse)))
        }
    }
}

struct Backward<'a> {
    slopes: Slopes<'a>,
    first_row: usize,
    result: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        let channels = self.slopes.gamma.len();
        let size = channels as f32;
        for row in self.first_row..self.first_row + self.result.len() / channels {
            // SAFETY: the places lie in the row.
            unsafe {
                let (sum, product) = row_sums::<V, _>(&self.slopes, row, channels);
                let means = (V::splat(sum / size), V::splat(product / size));
                let mut channel = 0;
                while channel + V::LANES <= channels {
                    self.vector::<V, true>(Place::new::<V>(row, channel, channels), means);
                    channel += V::LANES;
                }
                if channel < channels {
                    self.vector::<V, false>(Place::new::<V>(row, channel, channels), means);
                }
            }
        }
    }
}

impl Backward<'_> {
    #[inline(always)]
    unsafe fn vector<V: Vector, const WHOLE: bool>(&mut self, place: Place, means: (V, V)) {
        let first = self.first_row * self.slopes.gamma.len();
        // SAFETY: the caller keeps `place` within the rows and channels.
        unsafe {
            let (gradient, normal) = self.slopes.at::<V, WHOLE>(place);
            let inverse = self.slopes.statistics.inverse_standard_deviation[place.row];
            let along = normal.mul(means.1);
            let result = gradient.sub(means.0).sub(along).mul(V::splat(inverse));
            let to = self.result.as_mut_ptr().add(place.index - first);
            place.store::<V, WHOLE>(result, to);
        }
    }
}
