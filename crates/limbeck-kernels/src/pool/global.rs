//! The mean of each channel over all pixels.

use rayon::prelude::*;

use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::vector::Vector;

/// `output = mean over the pixels of input`: `input` is `[batch, pixels, channels]`, `output`
/// `[batch, channels]`.
///
/// # Panics
///
/// If a size is zero or the lengths disagree.
pub fn global_average(pixels: usize, channels: usize, input: &[f32], output: &mut [f32]) {
    global_average_on(Processor::best(), pixels, channels, input, output);
}

/// [`global_average`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`global_average`], and if this machine lacks the instructions.
pub fn global_average_on(
    processor: Processor,
    pixels: usize,
    channels: usize,
    input: &[f32],
    output: &mut [f32],
) {
    check(pixels, channels, input, output);
    let images = input
        .par_chunks(pixels * channels)
        .zip(output.par_chunks_mut(channels));
    images.for_each(|(input, output)| {
        // SAFETY: the lengths were checked.
        unsafe { dispatch::run(processor, Mean { input, output }) };
    });
}

/// The gradient of [`global_average`]: that of each mean, divided by the number of pixels, for each
/// of them.
///
/// # Panics
///
/// If a size is zero or the lengths disagree.
pub fn global_average_backward(
    pixels: usize,
    channels: usize,
    grad_output: &[f32],
    grad_input: &mut [f32],
) {
    global_average_backward_on(Processor::best(), pixels, channels, grad_output, grad_input);
}

/// [`global_average_backward`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`global_average_backward`], and if this machine lacks the instructions.
pub fn global_average_backward_on(
    processor: Processor,
    pixels: usize,
    channels: usize,
    grad_output: &[f32],
    grad_input: &mut [f32],
) {
    check(pixels, channels, grad_input, grad_output);
    let images = grad_input.par_chunks_mut(pixels * channels);
    images
        .zip(grad_output.par_chunks(channels))
        .for_each(|(grad_input, grad_output)| {
            let kernel = Spread {
                grad_output,
                grad_input,
            };
            // SAFETY: the lengths were checked.
            unsafe { dispatch::run(processor, kernel) };
        });
}

fn check(pixels: usize, channels: usize, images: &[f32], means: &[f32]) {
    assert!(
        pixels > 0 && channels > 0,
        "images have pixels and channels"
    );
    assert_eq!(means.len() % channels, 0, "one mean per image and channel");
    let batch = means.len() / channels;
    assert_eq!(
        images.len(),
        batch * pixels * channels,
        "images are [batch, pixels, channels]"
    );
}

struct Mean<'a> {
    input: &'a [f32],
    output: &'a mut [f32],
}

impl Kernel for Mean<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let channels = self.output.len();
        let pixels = self.input.len() / channels;
        let mut channel = 0;
        while channel < channels {
            let lanes = V::LANES.min(channels - channel);
            // SAFETY: every pixel has all channels; partial vectors name their lanes.
            unsafe {
                let input = self.input.as_ptr().add(channel);
                let load = |pixel: usize| -> V {
                    let from = input.add(pixel * channels);
                    if lanes == V::LANES {
                        V::load(from)
                    } else {
                        V::load_partial(from, lanes)
                    }
                };
                // Four sums at once hide the latency of the additions.
                let mut sums = [V::zero(); 4];
                let mut pixel = 0;
                while pixel + 4 <= pixels {
                    for unrolled in 0..4 {
                        sums[unrolled] = sums[unrolled].add(load(pixel + unrolled));
                    }
                    pixel += 4;
                }
                while pixel < pixels {
                    sums[0] = sums[0].add(load(pixel));
                    pixel += 1;
                }
                let sum = sums[0].add(sums[1]).add(sums[2].add(sums[3]));
                let mean = sum.mul(V::splat(1.0 / pixels as f32));
                mean.store_partial(self.output.as_mut_ptr().add(channel), lanes);
            }
            channel += V::LANES;
        }
    }
}

struct Spread<'a> {
    grad_output: &'a [f32],
    grad_input: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let channels = self.grad_output.len();
        let share = channels as f32 / self.grad_input.len() as f32;
        for pixel in self.grad_input.chunks_exact_mut(channels) {
            for (gradient, &of_mean) in pixel.iter_mut().zip(self.grad_output) {
                *gradient = of_mean * share;
            }
        }
    }
}
