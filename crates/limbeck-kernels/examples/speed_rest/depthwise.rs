//! Depthwise convolutions.

use limbeck_kernels::Activation;
use limbeck_kernels::convolution::depthwise::{
    Depthwise, backward_input, backward_weight, forward,
};

use crate::{Work, measure, values};

/// Runs them all.
pub(crate) fn run() {
    for (size, channels, kernel, stride) in [
        (32, 96, 3, 1),
        (16, 192, 3, 1),
        (8, 576, 3, 1),
        (32, 96, 3, 2),
        (28, 116, 3, 1),
        (14, 240, 5, 1),
    ] {
        let sizes = Depthwise {
            batch: 16,
            height: size,
            width: size,
            channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
        };
        let (input, weight) = (values(sizes.input_length()), values(sizes.weight_length()));
        let gradient = values(sizes.output_length());
        let mut output = vec![0.0; gradient.len()];
        let mut of_input = vec![0.0; input.len()];
        let mut of_weight = vec![0.0; weight.len()];
        let work = || Work::Operations(2 * sizes.output_length() * kernel * kernel);
        let shape = format!("{kernel}x{kernel} stride {stride} {size}x{size}x{channels}");
        measure(&format!("depthwise {shape}"), work(), || {
            forward(sizes, &input, &weight, None, Activation::Relu6, &mut output);
        });
        measure(&format!("depthwise backward input {shape}"), work(), || {
            backward_input(sizes, &gradient, &weight, &mut of_input);
        });
        measure(
            &format!("depthwise backward weight {shape}"),
            work(),
            || {
                backward_weight(sizes, &input, &gradient, &mut of_weight);
            },
        );
    }
}
