//! Every direction against plain loops in f64, for every family of instructions.

use proptest::prelude::*;

use super::*;
use crate::Activation;

/// Numbers in `[-1, 1)` from a fixed generator.
fn numbers(length: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Calls `visit` with the indices of input, weight and output of every product.
fn products(of: &Convolution, mut visit: impl FnMut(usize, usize, usize)) {
    let (inputs, outputs) = (of.in_channels / of.groups, of.out_channels / of.groups);
    let (rows, columns) = (of.output_height(), of.output_width());
    for image in 0..of.batch {
        for y in 0..rows {
            for x in 0..columns {
                for tap in 0..of.taps() {
                    let (v, u) = (tap / of.kernel[1], tap % of.kernel[1]);
                    let row = (y * of.stride[0] + v * of.dilation[0]).wrapping_sub(of.padding[0]);
                    let column =
                        (x * of.stride[1] + u * of.dilation[1]).wrapping_sub(of.padding[1]);
                    if row >= of.height || column >= of.width {
                        continue;
                    }
                    for to in 0..of.out_channels {
                        for from in 0..inputs {
                            let input = ((image * of.height + row) * of.width + column)
                                * of.in_channels
                                + to / outputs * inputs
                                + from;
                            let weight = (to * inputs + from) * of.taps() + tap;
                            let output = ((image * rows + y) * columns + x) * of.out_channels + to;
                            visit(input, weight, output);
                        }
                    }
                }
            }
        }
    }
}

fn assert_close(what: &str, found: &[f32], expected: &[f64]) {
    let scale = expected
        .iter()
        .fold(1.0_f64, |scale, value| scale.max(value.abs()));
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(
            error <= 1e-5 * scale,
            "{what}[{index}] is {found}, not {expected}"
        );
    }
}

/// Checks all directions of one convolution on every available family.
fn check(of: &Convolution) {
    let input = numbers(of.input_length(), 1);
    let weight = numbers(of.weight_length(), 2);
    let grad_output = numbers(of.output_length(), 3);
    let mut output = vec![0.0_f64; of.output_length()];
    let mut grad_input = vec![0.0_f64; of.input_length()];
    let mut grad_weight = vec![0.0_f64; of.weight_length()];
    products(of, |i, w, o| {
        output[o] += f64::from(input[i]) * f64::from(weight[w]);
        grad_input[i] += f64::from(grad_output[o]) * f64::from(weight[w]);
        grad_weight[w] += f64::from(input[i]) * f64::from(grad_output[o]);
    });
    let mut grad_bias = vec![0.0_f64; of.out_channels];
    for (index, gradient) in grad_output.iter().enumerate() {
        grad_bias[index % of.out_channels] += f64::from(*gradient);
    }
    for processor in Processor::available() {
        let mut found = vec![f32::NAN; of.output_length()];
        forward_on(
            processor,
            of,
            &input,
            &weight,
            Epilogue::default(),
            &mut found,
        );
        assert_close("output", &found, &output);
        let mut found = vec![f32::NAN; of.input_length()];
        backward_input_on(processor, of, &grad_output, &weight, None, &mut found);
        assert_close("gradient of the input", &found, &grad_input);
        let mut found = vec![f32::NAN; of.weight_length()];
        let mut found_bias = vec![f32::NAN; of.out_channels];
        backward_weight_on(
            processor,
            of,
            &input,
            &grad_output,
            &mut found,
            Some(&mut found_bias),
        );
        assert_close("gradient of the weight", &found, &grad_weight);
        assert_close("gradient of the bias", &found_bias, &grad_bias);
    }
}

fn any_convolution() -> impl Strategy<Value = Convolution> {
    let pair = |range: std::ops::RangeInclusive<usize>| [range.clone(), range];
    let channels = prop_oneof![1..=20_usize, Just(24), Just(32), Just(37), Just(58)];
    (
        (1..=5_usize, 1..=13_usize, 1..=13_usize),
        (
            channels.clone(),
            channels,
            prop_oneof![4 => Just(1_usize), 1 => 2..=3_usize],
        ),
        (pair(1..=4), pair(1..=3), pair(0..=3), pair(1..=2)),
    )
        .prop_map(
            |((batch, height, width), (from, to, groups), (kernel, stride, padding, dilation))| {
                Convolution {
                    batch,
                    height,
                    width,
                    in_channels: from.div_ceil(groups) * groups,
                    out_channels: to.div_ceil(groups) * groups,
                    kernel,
                    stride,
                    padding,
                    dilation,
                    groups,
                }
            },
        )
        .prop_filter("the kernel fits", |of| {
            let fits = |size: usize, axis: usize| {
                (of.kernel[axis] - 1) * of.dilation[axis] < size + 2 * of.padding[axis]
            };
            fits(of.height, 0) && fits(of.width, 1)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_direction_agrees_with_plain_loops(of in any_convolution()) {
        check(&of);
    }
}

#[test]
fn many_channels_are_summed_in_chunks() {
    check(&Convolution::same([2, 3, 3], [300, 70], 3));
    check(&Convolution::same([3, 2, 1], [2500, 40], 1));
    check(&Convolution {
        stride: [2; 2],
        ..Convolution::same([1, 5, 5], [1300, 33], 1)
    });
}

/// Taps side by side are computed together where a single vector of target channels reads full planes.
#[test]
fn taps_side_by_side_share_what_they_read() {
    for width in [1, 2, 3, 5, 16, 17, 33, 150] {
        check(&Convolution::same([3, 7, width], [16, 16], 3));
    }
    for (channels, kernel) in [([32, 10], 3), ([48, 16], 5), ([16, 48], 4), ([40, 16], 3)] {
        check(&Convolution::same([2, 6, 19], channels, kernel));
    }
    check(&Convolution {
        dilation: [2; 2],
        ..Convolution::same([2, 9, 20], [16, 16], 3)
    });
    check(&Convolution {
        stride: [2, 1],
        padding: [0; 2],
        ..Convolution::same([2, 9, 40], [16, 16], 3)
    });
}

#[test]
fn large_maps_are_cut_into_bands_of_rows() {
    check(&Convolution::same([1, 70, 41], [5, 17], 3));
    check(&Convolution {
        stride: [2; 2],
        ..Convolution::same([4, 45, 45], [16, 10], 3)
    });
    check(&Convolution::same([9, 16, 16], [16, 16], 3));
}

#[test]
fn strides_that_step_over_pixels_leave_zero_gradients() {
    check(&Convolution {
        stride: [3; 2],
        padding: [0; 2],
        ..Convolution::same([2, 9, 8], [4, 4], 1)
    });
    check(&Convolution {
        stride: [2; 2],
        ..Convolution::same([2, 8, 8], [32, 64], 1)
    });
}

#[test]
fn the_epilogue_adds_bias_and_residual_before_the_activation() {
    for channels in [16, 24, 40] {
        let of = Convolution::same([3, 9, 9], [150, channels], 3);
        let (input, weight) = (
            numbers(of.input_length(), 1),
            numbers(of.weight_length(), 2),
        );
        let (bias, residual) = (numbers(channels, 3), numbers(of.output_length(), 4));
        for processor in Processor::available() {
            let mut plain = vec![f32::NAN; of.output_length()];
            forward_on(
                processor,
                &of,
                &input,
                &weight,
                Epilogue::default(),
                &mut plain,
            );
            for activation in [Activation::None, Activation::Relu, Activation::Relu6] {
                let mut sums = ChannelSums::new(numbers(channels, 5));
                let mut found = vec![f32::NAN; of.output_length()];
                let epilogue = Epilogue {
                    bias: Some(&bias),
                    residual: Some(&residual),
                    activation,
                    statistics: Some(&mut sums),
                };
                forward_on(processor, &of, &input, &weight, epilogue, &mut found);
                let (low, high) = activation.bounds();
                let mut mean = vec![0.0_f64; channels];
                for (index, value) in found.iter().enumerate() {
                    let with_bias = plain[index] + bias[index % channels];
                    assert_eq!(*value, (with_bias + residual[index]).clamp(low, high));
                    mean[index % channels] += f64::from(with_bias) / sums.count as f64;
                }
                let mut variance = vec![0.0_f64; channels];
                for (index, value) in plain.iter().enumerate() {
                    let channel = index % channels;
                    let distance = f64::from(value + bias[channel]) - mean[channel];
                    variance[channel] += distance * distance / sums.count as f64;
                }
                assert_eq!(sums.count, 3 * 81);
                for channel in 0..channels {
                    assert!((sums.mean(channel) - mean[channel]).abs() < 1e-5);
                    let error = (sums.variance(channel) - variance[channel]).abs();
                    assert!(error < 1e-5 * variance[channel]);
                }
            }
        }
    }
}

/// Convolutions of every kind of layout.
fn assorted() -> [Convolution; 6] {
    [
        Convolution::same([2, 9, 7], [3, 10], 3),
        Convolution::same([3, 6, 6], [37, 40], 3),
        Convolution::same([2, 5, 5], [48, 16], 1),
        Convolution {
            stride: [2; 2],
            ..Convolution::same([2, 11, 8], [1, 7], 5)
        },
        Convolution {
            groups: 3,
            ..Convolution::same([2, 6, 6], [51, 24], 3)
        },
        Convolution {
            stride: [2; 2],
            ..Convolution::same([1, 8, 8], [300, 33], 1)
        },
    ]
}

#[test]
fn packed_weights_give_the_same_bits() {
    for of in assorted() {
        let weight = numbers(of.weight_length(), 2);
        let larger = Convolution {
            batch: 4,
            height: 12,
            width: 13,
            ..of
        };
        for processor in Processor::available() {
            let packed = PackedWeight::new_on(processor, &of, &weight);
            for of in [of, larger] {
                let input = numbers(of.input_length(), 1);
                let mut plain = vec![f32::NAN; of.output_length()];
                forward_on(
                    processor,
                    &of,
                    &input,
                    &weight,
                    Epilogue::default(),
                    &mut plain,
                );
                let mut found = vec![f32::NAN; of.output_length()];
                forward_packed(&of, &input, &packed, Epilogue::default(), &mut found);
                assert_eq!(found, plain);
            }
        }
    }
}

#[test]
fn bf16_is_exact_up_to_the_rounding_of_its_factors() {
    if !bf16_available() {
        return;
    }
    let rounded = |length, seed| -> Vec<f32> {
        let bits = |value: f32| f32::from_bits(value.to_bits() & 0xffff_0000);
        numbers(length, seed).into_iter().map(bits).collect()
    };
    for of in assorted() {
        let input = rounded(of.input_length(), 1);
        let weight = rounded(of.weight_length(), 2);
        let mut expected = vec![0.0_f64; of.output_length()];
        products(&of, |i, w, o| {
            expected[o] += f64::from(input[i]) * f64::from(weight[w])
        });
        let mut found = vec![f32::NAN; of.output_length()];
        let packed = PackedWeight::bf16(&of, &weight);
        forward_packed(&of, &input, &packed, Epilogue::default(), &mut found);
        assert_close("output", &found, &expected);
    }
}

#[test]
#[should_panic(expected = "the weight was packed for")]
fn a_packed_weight_fits_its_convolution_only() {
    let of = Convolution::same([1, 2, 2], [1, 1], 3);
    let packed = PackedWeight::new(&of, &[0.0; 9]);
    let other = Convolution {
        dilation: [2; 2],
        padding: [2; 2],
        ..of
    };
    forward_packed(
        &other,
        &[0.0; 4],
        &packed,
        Epilogue::default(),
        &mut [0.0; 4],
    );
}

#[test]
fn a_value_that_is_not_a_number_stays_visible() {
    let of = Convolution::same([1, 4, 4], [1, 1], 1);
    let mut input = numbers(of.input_length(), 1);
    input[5] = f32::NAN;
    for processor in Processor::available() {
        let mut output = vec![0.0; of.output_length()];
        let epilogue = Epilogue {
            activation: Activation::Relu6,
            ..Epilogue::default()
        };
        forward_on(processor, &of, &input, &[1.0], epilogue, &mut output);
        assert!(output[5].is_nan());
        assert_eq!(output.iter().filter(|value| value.is_nan()).count(), 1);
    }
}

#[test]
fn the_gradient_around_a_residual_connection_is_added() {
    for stride in [1, 2] {
        let of = Convolution {
            stride: [stride; 2],
            ..Convolution::same([2, 7, 6], [20, 9], 1)
        };
        let (gradient, weight) = (
            numbers(of.output_length(), 1),
            numbers(of.weight_length(), 2),
        );
        let add = numbers(of.input_length(), 3);
        for processor in Processor::available() {
            let mut plain = vec![f32::NAN; of.input_length()];
            backward_input_on(processor, &of, &gradient, &weight, None, &mut plain);
            let mut found = vec![f32::NAN; of.input_length()];
            backward_input_on(processor, &of, &gradient, &weight, Some(&add), &mut found);
            for index in 0..found.len() {
                assert_eq!(found[index], plain[index] + add[index]);
            }
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let shapes = [
        Convolution::same([5, 12, 12], [16, 16], 3),
        Convolution::same([3, 4, 4], [130, 140], 3),
        Convolution {
            stride: [2; 2],
            ..Convolution::same([1, 40, 40], [3, 24], 5)
        },
    ];
    for of in shapes {
        let (input, weight) = (
            numbers(of.input_length(), 1),
            numbers(of.weight_length(), 2),
        );
        let gradient = numbers(of.output_length(), 3);
        let run = || {
            let mut sums = ChannelSums::new(numbers(of.out_channels, 4));
            let mut output = vec![f32::NAN; of.output_length()];
            let epilogue = Epilogue {
                statistics: Some(&mut sums),
                ..Epilogue::default()
            };
            forward(&of, &input, &weight, epilogue, &mut output);
            let mut grad_input = vec![f32::NAN; of.input_length()];
            backward_input(&of, &gradient, &weight, None, &mut grad_input);
            let mut grad_weight = vec![f32::NAN; of.weight_length()];
            let mut grad_bias = vec![f32::NAN; of.out_channels];
            backward_weight(
                &of,
                &input,
                &gradient,
                &mut grad_weight,
                Some(&mut grad_bias),
            );
            (output, sums, grad_input, grad_weight, grad_bias)
        };
        let one = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .expect("threads start");
        let expected = one.install(run);
        for threads in [2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            assert!(pool.expect("threads start").install(run) == expected);
        }
    }
}

#[test]
#[should_panic(expected = "the weight has 3 elements where 9 are needed")]
fn wrong_lengths_are_named() {
    let of = Convolution::same([1, 2, 2], [1, 1], 3);
    forward(
        &of,
        &[0.0; 4],
        &[0.0; 3],
        Epilogue::default(),
        &mut [0.0; 4],
    );
}
