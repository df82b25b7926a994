//! Linear layers.

use limbeck_kernels::Activation;
use limbeck_kernels::product::{
    Linear, linear, linear_backward_bias, linear_backward_input, linear_backward_weight,
};

use crate::{Work, measure, values};

/// Runs them all.
pub(crate) fn run() {
    for (batch, inputs, outputs) in [
        (1, 784, 1200),
        (1, 1200, 1200),
        (16, 1200, 1200),
        (64, 1200, 1200),
        (128, 784, 1200),
        (128, 1200, 1200),
        (128, 1200, 10),
        (128, 512, 100),
        (1024, 768, 768),
    ] {
        let sizes = Linear {
            batch,
            inputs,
            outputs,
        };
        let work = || Work::Operations(2 * batch * inputs * outputs);
        let (input, weight, bias) = (
            values(batch * inputs),
            values(inputs * outputs),
            values(outputs),
        );
        let gradient = values(batch * outputs);
        let mut output = vec![0.0; batch * outputs];
        let mut of_input = vec![0.0; batch * inputs];
        let mut of_weight = vec![0.0; inputs * outputs];
        let mut of_bias = vec![0.0; outputs];
        let shape = format!("{batch}x{inputs}x{outputs}");
        measure(&format!("linear {shape}"), work(), || {
            linear(
                sizes,
                &input,
                &weight,
                Some(&bias),
                Activation::Relu,
                &mut output,
            );
        });
        measure(&format!("linear backward input {shape}"), work(), || {
            linear_backward_input(sizes, &gradient, &weight, &mut of_input);
        });
        measure(&format!("linear backward weight {shape}"), work(), || {
            linear_backward_weight(sizes, &input, &gradient, &mut of_weight);
        });
        measure(
            &format!("linear backward bias {shape}"),
            Work::Bytes(4 * gradient.len()),
            || {
                linear_backward_bias(&gradient, &mut of_bias);
            },
        );
    }
}
