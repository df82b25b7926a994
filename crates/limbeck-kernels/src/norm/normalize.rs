//! `act(x a + b + residual)` in one pass.

use rayon::prelude::*;

use super::statistics::ChannelStatistics;
use crate::activation::{Activation, apply};
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::sums::Place;
use crate::vector::Vector;

/// Elements of one task.
const CHUNK: usize = 32 * 1024;

/// The `a` and `b` for which `x a + b = gamma (x - mean) / sqrt(variance + epsilon) + beta`, all
/// `[channels]`.
///
/// # Panics
///
/// If the lengths differ.
#[must_use]
pub fn scale_and_offset(
    statistics: &ChannelStatistics,
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
) -> (Vec<f32>, Vec<f32>) {
    let channels = statistics.mean.len();
    assert_eq!(gamma.len(), channels, "one gamma per channel");
    assert_eq!(beta.len(), channels, "one beta per channel");
    let one = |channel: usize| {
        let deviation = (f64::from(statistics.variance[channel]) + f64::from(epsilon)).sqrt();
        let scale = f64::from(gamma[channel]) / deviation;
        let offset = f64::from(beta[channel]) - f64::from(statistics.mean[channel]) * scale;
        (scale as f32, offset as f32)
    };
    (0..channels).map(one).unzip()
}

/// `output = act(input * scale + offset (+ residual))`: `input`, `residual` and `output` are
/// `[rows, channels]`, `scale` and `offset` are `[channels]`.
///
/// # Panics
///
/// If the lengths disagree.
pub fn normalize(
    input: &[f32],
    scale: &[f32],
    offset: &[f32],
    residual: Option<&[f32]>,
    activation: Activation,
    output: &mut [f32],
) {
    let processor = Processor::best();
    normalize_on(
        processor, input, scale, offset, residual, activation, output,
    );
}

/// [`normalize`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`normalize`], and if this machine lacks the instructions.
pub fn normalize_on(
    processor: Processor,
    input: &[f32],
    scale: &[f32],
    offset: &[f32],
    residual: Option<&[f32]>,
    activation: Activation,
    output: &mut [f32],
) {
    assert_eq!(
        input.len(),
        output.len(),
        "input and output differ in length"
    );
    run(
        processor,
        Some(input),
        scale,
        offset,
        residual,
        activation,
        output,
    );
}

/// [`normalize`] that overwrites its input.
///
/// # Panics
///
/// As [`normalize`].
pub fn normalize_in_place(
    values: &mut [f32],
    scale: &[f32],
    offset: &[f32],
    residual: Option<&[f32]>,
    activation: Activation,
) {
    let processor = Processor::best();
    normalize_in_place_on(processor, values, scale, offset, residual, activation);
}

/// [`normalize_in_place`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`normalize_on`].
pub fn normalize_in_place_on(
    processor: Processor,
    values: &mut [f32],
    scale: &[f32],
    offset: &[f32],
    residual: Option<&[f32]>,
    activation: Activation,
) {
    run(processor, None, scale, offset, residual, activation, values);
}

fn run(
    processor: Processor,
    input: Option<&[f32]>,
    scale: &[f32],
    offset: &[f32],
    residual: Option<&[f32]>,
    activation: Activation,
    output: &mut [f32],
) {
    let channels = scale.len();
    super::rows(output.len(), channels);
    assert_eq!(offset.len(), channels, "one offset per channel");
    if let Some(residual) = residual {
        assert_eq!(
            residual.len(),
            output.len(),
            "residual and output differ in length"
        );
    }
    let chunk = (CHUNK / channels).max(1) * channels;
    let normalize_chunk = |(index, output): (usize, &mut [f32])| {
        let part = |slice: &[f32]| slice[index * chunk..][..output.len()].as_ptr();
        let kernel = Normalize {
            input: input.map_or(output.as_ptr(), part),
            residual: residual.map(part),
            scale,
            offset,
            activation,
            length: output.len(),
            output: output.as_mut_ptr(),
        };
        // SAFETY: the pointers are valid for as many elements as `output` has.
        unsafe { dispatch::run(processor, kernel) };
    };
    output
        .par_chunks_mut(chunk)
        .enumerate()
        .for_each(normalize_chunk);
}

struct Normalize<'a> {
    /// As long as `output`, which it may be.
    input: *const f32,
    residual: Option<*const f32>,
    scale: &'a [f32],
    offset: &'a [f32],
    activation: Activation,
    output: *mut f32,
    length: usize,
}

impl Kernel for Normalize<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.residual {
                Some(residual) => self.rows::<V, true>(residual),
                None => self.rows::<V, false>(self.input),
            }
        }
    }
}

impl Normalize<'_> {
    #[inline(always)]
    unsafe fn rows<V: Vector, const RESIDUAL: bool>(&self, residual: *const f32) {
        let channels = self.scale.len();
        for row in 0..self.length / channels {
            let mut channel = 0;
            // SAFETY: the places lie in the row.
            unsafe {
                while channel + V::LANES <= channels {
                    let place = Place::new::<V>(row, channel, channels);
                    self.vector::<V, RESIDUAL, true>(residual, place);
                    channel += V::LANES;
                }
                if channel < channels {
                    let place = Place::new::<V>(row, channel, channels);
                    self.vector::<V, RESIDUAL, false>(residual, place);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn vector<V: Vector, const RESIDUAL: bool, const WHOLE: bool>(
        &self,
        residual: *const f32,
        place: Place,
    ) {
        // SAFETY: the caller keeps `place` within the rows and channels.
        unsafe {
            let scale: V = place.load::<V, WHOLE>(self.scale.as_ptr().add(place.channel));
            let offset = place.load::<V, WHOLE>(self.offset.as_ptr().add(place.channel));
            let input: V = place.load::<V, WHOLE>(self.input.add(place.index));
            let mut value = input.mul_add(scale, offset);
            if RESIDUAL {
                value = value.add(place.load::<V, WHOLE>(residual.add(place.index)));
            }
            let value = apply(self.activation, value);
            place.store::<V, WHOLE>(value, self.output.add(place.index));
        }
    }
}
