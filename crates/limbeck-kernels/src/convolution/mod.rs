//! Two-dimensional convolutions over `[batch, height, width, channels]` and their gradients.
//!
//! Each direction is cut into units of work (bands of pixels times groups of channels) that
//! depend on the shapes alone. A unit copies what it reads to a zero-padded scratch and runs a
//! micro-kernel that keeps a tile of sums in registers; see [`Epilogue`] for what is done to the
//! sums on their way out. Kernels of 1x1 read the input in place.

mod correlate;
mod correlation;
pub mod depthwise;
mod epilogue;
mod geometry;
mod layout;
mod panels;
mod scratch;
mod tile;
mod weight_gradient;
mod window;

#[cfg(test)]
mod tests;

use correlate::{Ending, Plan};
use correlation::Correlation;
use scratch::Shared;

pub use epilogue::{ChannelSums, Epilogue};
pub use geometry::Convolution;

use crate::Processor;

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
    check_maps(of, input, weight, output);
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
    let target = Shared::new(output.as_mut_ptr());
    for group in 0..of.groups {
        let plan = Plan::new(processor, Correlation::forward(of, group));
        let statistics = statistics.as_deref_mut();
        // SAFETY: the lengths were checked against the sizes that the plan was made from.
        unsafe {
            let panels = plan.pack(weight);
            plan.run(
                input,
                &panels,
                Ending {
                    bias,
                    residual,
                    activation,
                    statistics,
                },
                target,
            );
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
    check_maps(of, grad_input, weight, grad_output);
    check_length("addend", add.map(<[f32]>::len), of.input_length());
    if grad_input.is_empty() {
        return;
    }
    let target = Shared::new(grad_input.as_mut_ptr());
    for group in 0..of.groups {
        for phase in Correlation::backward_input(of, group) {
            let plan = Plan::new(processor, phase);
            // SAFETY: the lengths were checked against the sizes that the plan was made from.
            unsafe {
                let panels = plan.pack(weight);
                let ending = Ending {
                    residual: add,
                    ..Ending::default()
                };
                plan.run(grad_output, &panels, ending, target);
            }
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
    check_maps(of, input, grad_weight, grad_output);
    check_length(
        "gradient of the bias",
        grad_bias.as_deref().map(<[f32]>::len),
        of.out_channels,
    );
    for group in 0..of.groups {
        let of = Correlation::forward(of, group);
        let grad_bias = grad_bias.as_deref_mut();
        weight_gradient::run(processor, &of, input, grad_output, grad_weight, grad_bias);
    }
}

fn check_maps(of: &Convolution, input: &[f32], weight: &[f32], output: &[f32]) {
    of.check();
    check_length("input", Some(input.len()), of.input_length());
    check_length("weight", Some(weight.len()), of.weight_length());
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
