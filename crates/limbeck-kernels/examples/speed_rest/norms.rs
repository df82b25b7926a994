//! Batch norm and layer norm.

use std::hint::black_box;

use limbeck_kernels::Activation;
use limbeck_kernels::norm::{
    BatchNormGradients, BatchNormSaved, NormOutput, backward, layer_norm, normalize, statistics,
};

use crate::{Work, measure, values};

/// Runs them all.
pub(crate) fn run() {
    for (rows, channels) in [
        (64 * 32 * 32, 16),
        (64 * 16 * 16, 32),
        (64 * 8 * 8, 64),
        (3136, 512),
    ] {
        let length = rows * channels;
        let bytes = |passes: usize| Work::Bytes(4 * length * passes);
        let (input, gradient) = (values(length), values(length));
        let (gamma, beta) = (values(channels), values(channels));
        let mut output = vec![0.0; length];
        let shape = format!("{rows}x{channels}");
        measure(&format!("batch norm statistics {shape}"), bytes(1), || {
            black_box(statistics(&input, &beta));
        });
        measure(
            &format!("batch norm normalize relu {shape}"),
            bytes(2),
            || {
                normalize(&input, &gamma, &beta, None, Activation::Relu, &mut output);
            },
        );
        measure(
            &format!("batch norm normalize residual {shape}"),
            bytes(3),
            || {
                let residual = Some(&gradient[..]);
                normalize(
                    &input,
                    &gamma,
                    &beta,
                    residual,
                    Activation::Relu,
                    &mut output,
                );
            },
        );
        let mut of_input = vec![0.0; length];
        let mut of_residual = vec![0.0; length];
        let (mut of_gamma, mut of_beta) = (vec![0.0; channels], vec![0.0; channels]);
        for with_residual in [false, true] {
            let name = if with_residual {
                "backward residual"
            } else {
                "backward relu"
            };
            measure(&format!("batch norm {name} {shape}"), bytes(7), || {
                let saved = BatchNormSaved {
                    input: &input,
                    output: NormOutput::Saved(&output),
                    mean: &beta,
                    inverse_standard_deviation: &gamma,
                    gamma: &gamma,
                    activation: Activation::Relu,
                };
                let gradients = BatchNormGradients {
                    input: &mut of_input,
                    gamma: &mut of_gamma,
                    beta: &mut of_beta,
                    residual: with_residual.then_some(&mut of_residual),
                    add: None,
                };
                backward(saved, &gradient, gradients);
            });
        }
    }
    let (input, gamma, beta) = (values(4096 * 384), values(384), values(384));
    let mut output = vec![0.0; input.len()];
    measure("layer norm 4096x384", Work::Bytes(8 * input.len()), || {
        layer_norm(&input, &gamma, &beta, 1e-5, &mut output);
    });
}
