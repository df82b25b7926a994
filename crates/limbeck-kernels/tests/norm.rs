//! Batch norm and layer norm against plain loops in `f64`.

mod reference;

use limbeck_kernels::norm::{
    BatchNormGradients, BatchNormSaved, ChannelStatistics, LayerNormGradients, NormOutput,
    backward_on, layer_norm_backward_on, layer_norm_on, normalize_in_place_on, normalize_on,
    scale_and_offset, statistics_on,
};
use limbeck_kernels::{Activation, Processor};
use proptest::prelude::*;
use reference::{assert_close, assert_same_for_any_threads, random, wide};

const EPSILON: f32 = 1e-5;

fn column_means(values: &[f64], channels: usize) -> Vec<f64> {
    let rows = values.len() / channels;
    let mean = |c: usize| (0..rows).map(|r| values[r * channels + c]).sum::<f64>() / rows as f64;
    (0..channels).map(mean).collect()
}

fn activations() -> impl Strategy<Value = Activation> {
    prop::sample::select(vec![Activation::None, Activation::Relu, Activation::Relu6])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn batch_norm_forward_and_backward(
        rows in prop_oneof![1usize..70, 1000usize..1300],
        channels in 1usize..150,
        activation in activations(),
        with_residual: bool,
        seed in 0u64..1 << 40,
    ) {
        let length = rows * channels;
        let input: Vec<f32> = random(seed, length).iter().map(|x| 2.0 * x + 5.0).collect();
        let residual = with_residual.then(|| random(seed + 1, length));
        let gamma: Vec<f32> = random(seed + 2, channels).iter().map(|x| 3.0 * x).collect();
        let beta = random(seed + 3, channels);
        let grad_output = random(seed + 4, length);

        let x = wide(&input);
        let mean = column_means(&x, channels);
        let squares: Vec<f64> =
            (0..length).map(|i| (x[i] - mean[i % channels]).powi(2)).collect();
        let variance = column_means(&squares, channels);
        let inverse: Vec<f64> =
            variance.iter().map(|v| 1.0 / (v + f64::from(EPSILON)).sqrt()).collect();
        let normal: Vec<f64> =
            (0..length).map(|i| (x[i] - mean[i % channels]) * inverse[i % channels]).collect();
        let before: Vec<f64> = (0..length)
            .map(|i| {
                let added = residual.as_ref().map_or(0.0, |r| f64::from(r[i]));
                normal[i] * f64::from(gamma[i % channels]) + f64::from(beta[i % channels]) + added
            })
            .collect();

        for processor in Processor::available() {
            let shift = &input[..channels];
            let found = statistics_on(processor, &input, shift);
            assert_close("mean", &found.mean, &mean, 1e-6);
            if rows > 1 {
                assert_close("variance", &found.variance, &variance, 2e-5);
            }
            let (scale, offset) = scale_and_offset(&found, &gamma, &beta, EPSILON);
            let mut output = vec![0.0; length];
            let residual = residual.as_deref();
            normalize_on(processor, &input, &scale, &offset, residual, activation, &mut output);
            if rows > 1 {
                let expected: Vec<f64> = before
                    .iter()
                    .map(|&y| match activation {
                        Activation::None => y,
                        Activation::Relu => y.max(0.0),
                        Activation::Relu6 => y.clamp(0.0, 6.0),
                    })
                    .collect();
                assert_close("output", &output, &expected, 1e-4);
            }
            let mut in_place = input.clone();
            normalize_in_place_on(processor, &mut in_place, &scale, &offset, residual, activation);
            prop_assert_eq!(&in_place, &output);

            let masked: Vec<f64> = (0..length)
                .map(|i| if activation.passes(output[i]) { f64::from(grad_output[i]) } else { 0.0 })
                .collect();
            let products: Vec<f64> = (0..length).map(|i| masked[i] * normal[i]).collect();
            let (sum, product) = (column_means(&masked, channels), column_means(&products, channels));
            let expected: Vec<f64> = (0..length)
                .map(|i| {
                    let c = i % channels;
                    let rest = masked[i] - sum[c] - normal[i] * product[c];
                    f64::from(gamma[c]) * inverse[c] * rest
                })
                .collect();
            let total = |means: &[f64]| means.iter().map(|m| m * rows as f64).collect::<Vec<_>>();
            let inverse = found.inverse_standard_deviation(EPSILON);
            let saved = BatchNormSaved {
                input: &input,
                output: NormOutput::Saved(if activation == Activation::None { &[] } else { &output }),
                mean: &found.mean,
                inverse_standard_deviation: &inverse,
                gamma: &gamma,
                activation,
            };
            let mut of_input = vec![f32::NAN; length];
            let mut of_residual = vec![f32::NAN; length];
            let (mut of_gamma, mut of_beta) = (vec![0.0; channels], vec![0.0; channels]);
            let gradients = BatchNormGradients {
                input: &mut of_input,
                gamma: &mut of_gamma,
                beta: &mut of_beta,
                residual: residual.is_some().then_some(&mut of_residual),
                add: None,
            };
            backward_on(processor, saved, &grad_output, gradients);
            assert_close("gradient of beta", &of_beta, &total(&sum), 1e-4);
            if rows > 1 {
                assert_close("gradient of gamma", &of_gamma, &total(&product), 1e-4);
                if rows > 3 {
                    assert_close("gradient of input", &of_input, &expected, 1e-4);
                }
            }
            if residual.is_some() {
                assert_close("gradient of residual", &of_residual, &masked, 0.0);
            }
        }
    }

    #[test]
    fn layer_norm_forward_and_backward(
        rows in 1usize..40,
        channels in 2usize..300,
        seed in 0u64..1 << 40,
    ) {
        let length = rows * channels;
        let input: Vec<f32> = random(seed, length).iter().map(|x| 2.0 * x + 3.0).collect();
        let gamma = random(seed + 2, channels);
        let beta = random(seed + 3, channels);
        let grad_output = random(seed + 4, length);
        let mut output = vec![0.0f64; length];
        let mut of_input = vec![0.0f64; length];
        let (mut of_gamma, mut of_beta) = (vec![0.0f64; channels], vec![0.0f64; channels]);
        for row in 0..rows {
            let x = wide(&input[row * channels..][..channels]);
            let g = wide(&grad_output[row * channels..][..channels]);
            let size = channels as f64;
            let mean = x.iter().sum::<f64>() / size;
            let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / size;
            let inverse = 1.0 / (variance + f64::from(EPSILON)).sqrt();
            let normal: Vec<f64> = x.iter().map(|v| (v - mean) * inverse).collect();
            let scaled: Vec<f64> = (0..channels).map(|c| g[c] * f64::from(gamma[c])).collect();
            let sum = scaled.iter().sum::<f64>() / size;
            let product = (0..channels).map(|c| scaled[c] * normal[c]).sum::<f64>() / size;
            for c in 0..channels {
                let index = row * channels + c;
                output[index] = normal[c] * f64::from(gamma[c]) + f64::from(beta[c]);
                of_input[index] = inverse * (scaled[c] - sum - normal[c] * product);
                of_gamma[c] += g[c] * normal[c];
                of_beta[c] += g[c];
            }
        }
        for processor in Processor::available() {
            let mut found = vec![0.0; length];
            let statistics =
                layer_norm_on(processor, &input, &gamma, &beta, EPSILON, &mut found);
            assert_close("output", &found, &output, 1e-4);
            let (mut input_found, mut gamma_found, mut beta_found) =
                (vec![0.0; length], vec![0.0; channels], vec![0.0; channels]);
            let gradients = LayerNormGradients {
                input: &mut input_found,
                gamma: &mut gamma_found,
                beta: &mut beta_found,
            };
            layer_norm_backward_on(processor, &input, &statistics, &gamma, &grad_output, gradients);
            if channels > 4 {
                assert_close("gradient of input", &input_found, &of_input, 1e-4);
                assert_close("gradient of gamma", &gamma_found, &of_gamma, 1e-4);
            }
            assert_close("gradient of beta", &beta_found, &of_beta, 1e-4);
        }
    }
}

#[test]
fn running_statistics_move_as_those_of_pytorch() {
    // BatchNorm2d(1), defaults, on [1, 2, 3, 6]: running_mean 0.3, running_var 1.366667.
    let input = [1.0, 2.0, 3.0, 6.0];
    let statistics = statistics_on(Processor::best(), &input, &[0.0]);
    let (mut mean, mut variance) = ([0.0], [1.0]);
    statistics.update_running(&mut mean, &mut variance, 0.1);
    assert_close("running mean", &mean, &[0.3], 1e-6);
    assert_close(
        "running variance",
        &variance,
        &[0.9 + 0.1 * 14.0 / 3.0],
        1e-6,
    );
}

#[test]
fn sums_of_a_convolution_give_the_same_statistics() {
    let statistics = ChannelStatistics::from_sums(&[-4.0], &[30.0], &[4.0], 4);
    assert_close("mean", &statistics.mean, &[3.0], 1e-6);
    assert_close("variance", &statistics.variance, &[6.5], 1e-6);
}

#[test]
fn what_is_not_a_number_is_passed_on() {
    for processor in Processor::available() {
        let mut output = [0.0; 3];
        let input = [f32::NAN, 1.0, -1.0];
        normalize_on(
            processor,
            &input,
            &[1.0],
            &[0.0],
            None,
            Activation::Relu6,
            &mut output,
        );
        assert!(output[0].is_nan() && output[1] == 1.0 && output[2] == 0.0);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let (rows, channels) = (5000, 24);
    let input = random(1, rows * channels);
    let grad_output = random(2, rows * channels);
    let gamma = random(3, channels);
    assert_same_for_any_threads(|| {
        let found = statistics_on(Processor::best(), &input, &gamma);
        let saved = BatchNormSaved {
            input: &input,
            output: NormOutput::Saved(&input),
            mean: &found.mean,
            inverse_standard_deviation: &found.inverse_standard_deviation(EPSILON),
            gamma: &gamma,
            activation: Activation::Relu,
        };
        let mut of_input = vec![0.0; rows * channels];
        let (mut of_gamma, mut of_beta) = (vec![0.0; channels], vec![0.0; channels]);
        let gradients = BatchNormGradients {
            input: &mut of_input,
            gamma: &mut of_gamma,
            beta: &mut of_beta,
            residual: None,
            add: None,
        };
        backward_on(Processor::best(), saved, &grad_output, gradients);
        [found.mean, found.variance, of_gamma, of_beta, of_input].concat()
    });
}

#[test]
fn the_output_can_be_recomputed_and_a_gradient_added() {
    for (rows, channels) in [(1, 1), (37, 5), (900, 16), (700, 50)] {
        let input = random(1, rows * channels);
        let grad_output = random(2, rows * channels);
        let add = random(3, rows * channels);
        let (gamma, beta) = (random(4, channels), random(5, channels));
        for processor in Processor::available() {
            let found = statistics_on(processor, &input, &gamma);
            let (scale, offset) = scale_and_offset(&found, &gamma, &beta, EPSILON);
            let mut output = vec![0.0; rows * channels];
            for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
                normalize_on(
                    processor,
                    &input,
                    &scale,
                    &offset,
                    None,
                    activation,
                    &mut output,
                );
                let gradients = |from: NormOutput<'_>, add: Option<&[f32]>| {
                    let saved = BatchNormSaved {
                        input: &input,
                        output: from,
                        mean: &found.mean,
                        inverse_standard_deviation: &found.inverse_standard_deviation(EPSILON),
                        gamma: &gamma,
                        activation,
                    };
                    let mut of_input = vec![f32::NAN; rows * channels];
                    let (mut of_gamma, mut of_beta) = (vec![0.0; channels], vec![0.0; channels]);
                    let gradients = BatchNormGradients {
                        input: &mut of_input,
                        gamma: &mut of_gamma,
                        beta: &mut of_beta,
                        residual: None,
                        add,
                    };
                    backward_on(processor, saved, &grad_output, gradients);
                    (of_input, of_gamma, of_beta)
                };
                let recomputed = NormOutput::Recomputed {
                    scale: &scale,
                    offset: &offset,
                };
                let (plain, of_gamma, of_beta) = gradients(NormOutput::Saved(&output), None);
                assert_eq!(
                    (plain.clone(), of_gamma.clone(), of_beta.clone()),
                    gradients(recomputed, None)
                );
                let sum: Vec<f32> = plain.iter().zip(&add).map(|(a, b)| a + b).collect();
                assert_eq!((sum, of_gamma, of_beta), gradients(recomputed, Some(&add)));
            }
        }
    }
}
