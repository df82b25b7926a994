//! Gradients of maxima and averages of windows.

use rayon::prelude::*;

use super::Pool;
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::vector::Vector;

/// The gradient of [`maximum`](super::maximum): each window's goes to its first greatest element,
/// rows first; what is not a number is greater than all numbers. `output` is what the forward pass gave.
///
/// # Panics
///
/// If the sizes do not fit together or the lengths disagree with them.
pub fn maximum_backward(
    pool: Pool,
    input: &[f32],
    output: &[f32],
    grad_output: &[f32],
    grad_input: &mut [f32],
) {
    maximum_backward_on(
        Processor::best(),
        pool,
        input,
        output,
        grad_output,
        grad_input,
    );
}

/// [`maximum_backward`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`maximum_backward`], and if this machine lacks the instructions.
pub fn maximum_backward_on(
    processor: Processor,
    pool: Pool,
    input: &[f32],
    output: &[f32],
    grad_output: &[f32],
    grad_input: &mut [f32],
) {
    assert_eq!(
        input.len(),
        grad_input.len(),
        "input and its gradient differ in length"
    );
    assert_eq!(
        output.len(),
        grad_output.len(),
        "output and its gradient differ in length"
    );
    let saved = Some((input, output));
    run::<true>(processor, pool, false, saved, grad_output, grad_input);
}

/// The gradient of [`average`](super::average): each window's is spread evenly.
///
/// # Panics
///
/// If the sizes do not fit together or the lengths disagree with them.
pub fn average_backward(
    pool: Pool,
    count_padding: bool,
    grad_output: &[f32],
    grad_input: &mut [f32],
) {
    average_backward_on(
        Processor::best(),
        pool,
        count_padding,
        grad_output,
        grad_input,
    );
}

/// [`average_backward`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`average_backward`], and if this machine lacks the instructions.
pub fn average_backward_on(
    processor: Processor,
    pool: Pool,
    count_padding: bool,
    grad_output: &[f32],
    grad_input: &mut [f32],
) {
    run::<false>(
        processor,
        pool,
        count_padding,
        None,
        grad_output,
        grad_input,
    );
}

fn run<const MAXIMUM: bool>(
    processor: Processor,
    pool: Pool,
    count_padding: bool,
    saved: Option<(&[f32], &[f32])>,
    grad_output: &[f32],
    grad_input: &mut [f32],
) {
    pool.check(grad_input.len(), grad_output.len());
    let size = pool.height * pool.width * pool.channels;
    let output_size = grad_output.len() / pool.batch;
    grad_input
        .par_chunks_mut(size)
        .enumerate()
        .for_each(|(image, grad_input)| {
            let kernel = Image::<MAXIMUM> {
                pool,
                count_padding,
                input: saved.map_or(&[], |(input, _)| &input[image * size..][..size]),
                output: saved.map_or(&[], |(_, output)| {
                    &output[image * output_size..][..output_size]
                }),
                grad_output: &grad_output[image * output_size..][..output_size],
                grad_input,
            };
            // SAFETY: the lengths were checked.
            unsafe { dispatch::run(processor, kernel) };
        });
}

struct Image<'a, const MAXIMUM: bool> {
    pool: Pool,
    count_padding: bool,
    input: &'a [f32],
    output: &'a [f32],
    grad_output: &'a [f32],
    grad_input: &'a mut [f32],
}

impl<const MAXIMUM: bool> Kernel for Image<'_, MAXIMUM> {
    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        self.grad_input.fill(0.0);
        let channels = self.pool.channels;
        for row in 0..self.pool.output_height() {
            for column in 0..self.pool.output_width() {
                let mut channel = 0;
                // SAFETY: the channels lie in the pixel.
                unsafe {
                    while channel + V::LANES <= channels {
                        self.window::<V, true>(row, column, channel);
                        channel += V::LANES;
                    }
                    if channel < channels {
                        self.window::<V, false>(row, column, channel);
                    }
                }
            }
        }
    }
}

impl<const MAXIMUM: bool> Image<'_, MAXIMUM> {
    /// Adds the gradients of one vector of channels of one pixel of the output.
    #[inline(always)]
    unsafe fn window<V: Vector, const WHOLE: bool>(
        &mut self,
        row: usize,
        column: usize,
        channel: usize,
    ) {
        let Pool {
            width, channels, ..
        } = self.pool;
        let (rows, columns) = (self.pool.rows(row), self.pool.columns(column));
        let lanes = V::LANES.min(channels - channel);
        let from = (row * self.pool.output_width() + column) * channels + channel;
        // SAFETY: the window lies in the image; partial vectors name their lanes.
        unsafe {
            let mut gradient: V = load::<V, WHOLE>(self.grad_output.as_ptr().add(from), lanes);
            let mut greatest = V::zero();
            if MAXIMUM {
                greatest = load::<V, WHOLE>(self.output.as_ptr().add(from), lanes);
            } else {
                let count = self.pool.count(row, column, self.count_padding);
                gradient = gradient.mul(V::splat(1.0 / count as f32));
            }
            for row in rows {
                for column in columns.clone() {
                    let at = (row * width + column) * channels + channel;
                    let mut share = gradient;
                    if MAXIMUM {
                        // What the greatest element gets is gone for those behind it.
                        let value = load::<V, WHOLE>(self.input.as_ptr().add(at), lanes);
                        let rest = gradient.where_other(value, greatest);
                        share = gradient.sub(rest);
                        gradient = rest;
                    }
                    let to = self.grad_input.as_mut_ptr().add(at);
                    let sum = load::<V, WHOLE>(to, lanes).add(share);
                    if WHOLE {
                        sum.store(to);
                    } else {
                        sum.store_partial(to, lanes);
                    }
                }
            }
        }
    }
}

/// The lanes in use, all of them where `WHOLE` is true.
///
/// # Safety
///
/// That many values can be read at `from`, and the processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn load<V: Vector, const WHOLE: bool>(from: *const f32, lanes: usize) -> V {
    // SAFETY: the caller promises `lanes` elements, all of them where `WHOLE` is true.
    unsafe {
        if WHOLE {
            V::load(from)
        } else {
            V::load_partial(from, lanes)
        }
    }
}
