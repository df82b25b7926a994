//! Two-dimensional convolutions over `[batch, height, width, channels]` and their gradients.
//!
//! Each direction is cut into units of work (bands of pixels times groups of channels) that
//! depend on the shapes alone. A unit copies what it reads to a zero-padded scratch and runs a
//! micro-kernel that keeps a tile of sums in registers; see [`Epilogue`] for what is done to the
//! sums on their way out. Kernels of 1x1 read the input in place. Groups are computed one after
//! another, each as a dense convolution between slices of the channels.

mod bf16;
mod correlate;
mod correlation;
pub mod depthwise;
mod epilogue;
mod family;
mod geometry;
mod layout;
mod packed;
mod panels;
mod rows;
mod tile;
mod unit;
mod weight_gradient;
mod window;

#[cfg(test)]
mod tests;

use correlate::{Ending, Plan};
use correlation::Correlation;
use family::Family;
use rayon::prelude::*;

pub use bf16::bf16_available;
pub use epilogue::{ChannelSums, Epilogue};
pub use geometry::Convolution;
pub use packed::PackedWeight;

use crate::Processor;
use crate::sharing::Shared;

/// `output = activation(convolution(input, weight) + bias + residual)`.
///
/// `input` is `[batch, height, width, in_channels]`, `weight` `[out_channels, in_channels /
/// groups, kernel, kernel]`, `output` `[batch, output_height, output_width, out_channels]`; every
/// element of `output` is written.
///
/// # Panics
///
/// If a slice or the epilogue's arrays don't have the length that `of` asks for.
pub fn forward(
    of: &Convolution,
    input: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    forward_on(Processor::best(), of, input, weight, epilogue, output);
}

/// [`forward`] with the instructions of `processor`, which this machine must have.
///
/// # Panics
///
/// As [`forward`].
pub fn forward_on(
    processor: Processor,
    of: &Convolution,
    input: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    let weight = Weight::Plain(Family::Single(processor), weight);
    forward_with(of, input, weight, epilogue, output);
}

/// [`forward`] with a weight that was packed before, in the precision that it was packed in.
///
/// # Panics
///
/// As [`forward`], or if the weight was packed for another kernel or other channels.
pub fn forward_packed(
    of: &Convolution,
    input: &[f32],
    weight: &PackedWeight,
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    forward_with(of, input, Weight::Packed(weight), epilogue, output);
}

/// The two kinds of weights that a forward pass takes.
enum Weight<'a> {
    Plain(Family, &'a [f32]),
    Packed(&'a PackedWeight),
}

fn forward_with(
    of: &Convolution,
    input: &[f32],
    weight: Weight<'_>,
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    let family = match weight {
        Weight::Plain(family, weight) => {
            check_maps(of, input, weight.len(), output);
            family
        }
        Weight::Packed(packed) => {
            packed.check(of);
            check_maps(of, input, of.weight_length(), output);
            packed.family
        }
    };
    let Epilogue {
        bias,
        residual,
        activation,
        mut statistics,
    } = epilogue;
    check_length("bias", bias.map(<[f32]>::len), of.out_channels);
    check_length("residual", residual.map(<[f32]>::len), of.output_length());
    if let Some(sums) = statistics.as_deref_mut() {
        check_length("shift", Some(sums.shift.len()), of.out_channels);
        sums.sum.resize(of.out_channels, 0.0);
        sums.sum_of_squares.resize(of.out_channels, 0.0);
    }
    if output.is_empty() {
        return;
    }
    let target = Shared::new(output);
    for group in 0..of.groups {
        let plan = Plan::new(family, packed::correlation(family, of, group));
        let statistics = statistics.as_deref_mut();
        let ending = Ending {
            bias,
            residual,
            activation,
            statistics,
            accumulates: false,
        };
        // SAFETY: the lengths were checked against the sizes that the plan was made from.
        unsafe {
            match weight {
                Weight::Plain(_, weight) => {
                    plan.run(input, &plan.pack(weight, false), ending, target);
                }
                Weight::Packed(packed) => plan.run(input, &packed.panels[group], ending, target),
            }
        }
    }
}

/// The gradient of a loss with respect to the input, from that with respect to the output, plus
/// `add` (laid out like the input): with a residual connection the gradient that came around it.
///
/// # Panics
///
/// If a slice doesn't have the length that `of` asks for.
pub fn backward_input(
    of: &Convolution,
    grad_output: &[f32],
    weight: &[f32],
    add: Option<&[f32]>,
    grad_input: &mut [f32],
) {
    backward_input_on(Processor::best(), of, grad_output, weight, add, grad_input);
}

/// [`backward_input`] with the instructions of `processor`, which this machine must have.
///
/// # Panics
///
/// As [`backward_input`].
pub fn backward_input_on(
    processor: Processor,
    of: &Convolution,
    grad_output: &[f32],
    weight: &[f32],
    add: Option<&[f32]>,
    grad_input: &mut [f32],
) {
    check_maps(of, grad_input, weight.len(), grad_output);
    check_length("addend", add.map(<[f32]>::len), of.input_length());
    if grad_input.is_empty() {
        return;
    }
    let phases = |group| Correlation::backward_input(of, group);
    // Pixels that no tap reaches are written in one sequential pass over the map.
    let accumulates = phases(0).iter().any(|phase| phase.taps.is_empty());
    if accumulates {
        start_from(add, grad_input);
    }
    let residual = if accumulates { None } else { add };
    let target = Shared::new(grad_input);
    for group in 0..of.groups {
        for phase in phases(group) {
            if phase.taps.is_empty() {
                continue;
            }
            let plan = Plan::new(Family::Single(processor), phase);
            let ending = Ending {
                residual,
                accumulates,
                ..Ending::default()
            };
            // SAFETY: the lengths were checked against the sizes that the plan was made from.
            unsafe { plan.run(grad_output, &plan.pack(weight, false), ending, target) };
        }
    }
}

/// Fills `target` with `add`, or with zeros.
fn start_from(add: Option<&[f32]>, target: &mut [f32]) {
    /// Elements of one task.
    const CHUNK: usize = 32 * 1024;
    match add {
        None => target
            .par_chunks_mut(CHUNK)
            .for_each(|target| target.fill(0.0)),
        Some(add) => {
            let parts = add.par_chunks(CHUNK).zip(target.par_chunks_mut(CHUNK));
            parts.for_each(|(add, target)| target.copy_from_slice(add));
        }
    }
}

/// The gradients of a loss with respect to the weight (OIHW) and the bias (one number per output
/// channel), from that with respect to the output. Both are overwritten.
///
/// # Panics
///
/// If a slice doesn't have the length that `of` asks for.
pub fn backward_weight(
    of: &Convolution,
    input: &[f32],
    grad_output: &[f32],
    grad_weight: &mut [f32],
    grad_bias: Option<&mut [f32]>,
) {
    backward_weight_on(
        Processor::best(),
        of,
        input,
        grad_output,
        grad_weight,
        grad_bias,
    );
}

/// [`backward_weight`] with the instructions of `processor`, which this machine must have.
///
/// # Panics
///
/// As [`backward_weight`].
pub fn backward_weight_on(
    processor: Processor,
    of: &Convolution,
    input: &[f32],
    grad_output: &[f32],
    grad_weight: &mut [f32],
    mut grad_bias: Option<&mut [f32]>,
) {
    check_maps(of, input, grad_weight.len(), grad_output);
    check_length(
        "gradient of the bias",
        grad_bias.as_deref().map(<[f32]>::len),
        of.out_channels,
    );
    for group in 0..of.groups {
        let of = Correlation::forward(of, group).flattened();
        let grad_bias = grad_bias.as_deref_mut();
        weight_gradient::run(processor, &of, input, grad_output, grad_weight, grad_bias);
    }
}

fn check_maps(of: &Convolution, input: &[f32], weight: usize, output: &[f32]) {
    of.check();
    check_length("input", Some(input.len()), of.input_length());
    check_length("weight", Some(weight), of.weight_length());
    check_length("output", Some(output.len()), of.output_length());
}

fn check_length(name: &str, found: Option<usize>, wanted: usize) {
    if let Some(found) = found {
        assert_eq!(
            found, wanted,
            "the {name} has {found} elements where {wanted} are needed"
        );
    }
}
