//! Depthwise convolutions against plain loops in `f64`.

mod reference;

use limbeck_kernels::convolution::depthwise::{
    Depthwise, backward_input_on, backward_weight_on, forward_on,
};
use limbeck_kernels::{Activation, Processor};
use proptest::prelude::*;
use reference::{assert_close, assert_same_for_any_threads, random};

fn sizes() -> impl Strategy<Value = Depthwise> {
    let axis = || {
        (1usize..6, 1usize..4, 0usize..4, 1usize..3, 0usize..24).prop_map(
            |(kernel, stride, padding, dilation, more)| {
                let extent = dilation * (kernel - 1) + 1;
                let size = extent.saturating_sub(2 * padding).max(1) + more;
                (kernel, stride, padding, dilation, size)
            },
        )
    };
    (1usize..4, 1usize..40, axis(), axis()).prop_map(|(batch, channels, rows, columns)| Depthwise {
        batch,
        height: rows.4,
        width: columns.4,
        channels,
        kernel: [rows.0, columns.0],
        stride: [rows.1, columns.1],
        padding: [rows.2, columns.2],
        dilation: [rows.3, columns.3],
    })
}

/// Sizes at stride 2, whose gradient of the input has kernels of its own.
fn halving_sizes() -> impl Strategy<Value = Depthwise> {
    let axis = || {
        (2usize..8, 0usize..4, 0usize..40)
            .prop_map(|(kernel, padding, more)| (kernel, padding.min(kernel - 1), kernel + more))
    };
    (1usize..4, 1usize..40, axis(), axis()).prop_map(|(batch, channels, rows, columns)| Depthwise {
        batch,
        height: rows.2,
        width: columns.2,
        channels,
        kernel: [rows.0, columns.0],
        stride: [2, 2],
        padding: [rows.1, columns.1],
        dilation: [1, 1],
    })
}

/// Panics unless all families agree with plain loops.
fn compare(sizes: Depthwise, with_bias: bool, seed: u64) {
    let input = random(seed, sizes.input_length());
    let weight = random(seed + 1, sizes.weight_length());
    let bias = with_bias.then(|| random(seed + 2, sizes.channels));
    let gradient = random(seed + 3, sizes.output_length());
    let mut output = vec![0.0f64; gradient.len()];
    let mut of_input = vec![0.0f64; input.len()];
    let mut of_weight = vec![0.0f64; weight.len()];
    let (height, width) = (sizes.output_height(), sizes.output_width());
    for index in 0..gradient.len() {
        let channel = index % sizes.channels;
        let column = index / sizes.channels % width;
        let row = index / sizes.channels / width % height;
        let image = index / sizes.channels / width / height;
        let mut sum = bias.as_ref().map_or(0.0, |bias| f64::from(bias[channel]));
        for y in 0..sizes.kernel[0] {
            for x in 0..sizes.kernel[1] {
                let from_row =
                    (row * sizes.stride[0] + y * sizes.dilation[0]).wrapping_sub(sizes.padding[0]);
                let from_column = (column * sizes.stride[1] + x * sizes.dilation[1])
                    .wrapping_sub(sizes.padding[1]);
                if from_row < sizes.height && from_column < sizes.width {
                    let from = (image * sizes.height + from_row) * sizes.width + from_column;
                    let from = from * sizes.channels + channel;
                    let tap = (channel * sizes.kernel[0] + y) * sizes.kernel[1] + x;
                    sum += f64::from(input[from]) * f64::from(weight[tap]);
                    of_input[from] += f64::from(gradient[index]) * f64::from(weight[tap]);
                    of_weight[tap] += f64::from(gradient[index]) * f64::from(input[from]);
                }
            }
        }
        output[index] = sum.max(0.0);
    }
    for processor in Processor::available() {
        let mut found = vec![f32::NAN; output.len()];
        let bias = bias.as_deref();
        forward_on(
            processor,
            sizes,
            &input,
            &weight,
            bias,
            Activation::Relu,
            &mut found,
        );
        assert_close("output", &found, &output, 1e-5);
        let mut found = vec![f32::NAN; of_input.len()];
        backward_input_on(processor, sizes, &gradient, &weight, &mut found);
        assert_close("gradient of input", &found, &of_input, 1e-5);
        let mut found = vec![f32::NAN; of_weight.len()];
        backward_weight_on(processor, sizes, &input, &gradient, &mut found);
        assert_close("gradient of weight", &found, &of_weight, 1e-5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn forward_and_gradients(sizes in sizes(), with_bias: bool, seed in 0u64..1 << 40) {
        compare(sizes, with_bias, seed);
    }

    #[test]
    fn forward_and_gradients_at_stride_2(sizes in halving_sizes(), seed in 0u64..1 << 40) {
        compare(sizes, false, seed);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let sizes = Depthwise {
        batch: 5,
        height: 27,
        width: 29,
        channels: 40,
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
        dilation: [1, 1],
    };
    let (input, weight) = (
        random(1, sizes.input_length()),
        random(2, sizes.weight_length()),
    );
    let gradient = random(3, sizes.output_length());
    let processor = Processor::best();
    assert_same_for_any_threads(|| {
        let mut output = vec![0.0; gradient.len()];
        let mut of_input = vec![0.0; input.len()];
        let mut of_weight = vec![0.0; weight.len()];
        forward_on(
            processor,
            sizes,
            &input,
            &weight,
            None,
            Activation::None,
            &mut output,
        );
        backward_input_on(processor, sizes, &gradient, &weight, &mut of_input);
        backward_weight_on(processor, sizes, &input, &gradient, &mut of_weight);
        [output, of_input, of_weight].concat()
    });
}
