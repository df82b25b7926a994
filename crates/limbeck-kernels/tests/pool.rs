//! Pooling against plain loops.

mod reference;

use limbeck_kernels::Processor;
use limbeck_kernels::pool::{
    Pool, average_backward_on, average_on, global_average_backward_on, global_average_on,
    maximum_backward_on, maximum_on,
};
use proptest::prelude::*;
use reference::{assert_close, assert_same_for_any_threads, random};

/// The elements of the input in the window of an element of the output, in order.
fn window(pool: Pool, image: usize, row: usize, column: usize, channel: usize) -> Vec<usize> {
    let mut window = vec![];
    for y in 0..pool.kernel[0] {
        for x in 0..pool.kernel[1] {
            let y = (row * pool.stride[0] + y).wrapping_sub(pool.padding[0]);
            let x = (column * pool.stride[1] + x).wrapping_sub(pool.padding[1]);
            if y < pool.height && x < pool.width {
                window.push(((image * pool.height + y) * pool.width + x) * pool.channels + channel);
            }
        }
    }
    window
}

fn pools() -> impl Strategy<Value = Pool> {
    let axis = || {
        (1usize..6, 1usize..4, 0usize..=2, 0usize..12).prop_map(
            |(kernel, stride, padding, more)| {
                let padding = padding.min(kernel / 2);
                let least = kernel.saturating_sub(2 * padding).max(1);
                (kernel, stride, padding, least + more)
            },
        )
    };
    let images = (1usize..4, 1usize..40, any::<bool>());
    (images, axis(), axis()).prop_map(|((batch, channels, ceil), rows, columns)| Pool {
        batch,
        height: rows.3,
        width: columns.3,
        channels,
        kernel: [rows.0, columns.0],
        stride: [rows.1, columns.1],
        padding: [rows.2, columns.2],
        ceil,
    })
}

/// PyTorch's rule, one window after the other.
fn output_size(pool: Pool, size: usize, axis: usize) -> usize {
    let (kernel, padding) = (pool.kernel[axis], pool.padding[axis]);
    let counts = |start: &usize| {
        let whole = start + kernel <= size + 2 * padding;
        whole
            || pool.ceil
                && *start < size + padding
                && start + kernel < size + 2 * padding + pool.stride[axis]
    };
    (0..)
        .map(|window| window * pool.stride[axis])
        .take_while(counts)
        .count()
}

/// The places of a window, up to the end of the padding behind the input.
fn padded(pool: Pool, row: usize, column: usize) -> usize {
    let places = |at: usize, size: usize, axis: usize| {
        let start = at * pool.stride[axis];
        (start..start + pool.kernel[axis])
            .filter(|place| *place < size + 2 * pool.padding[axis])
            .count()
    };
    places(row, pool.height, 0) * places(column, pool.width, 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn windows(pool in pools(), count_padding: bool, holes: bool, seed in 0u64..1 << 40) {
        prop_assert_eq!(pool.output_height(), output_size(pool, pool.height, 0));
        prop_assert_eq!(pool.output_width(), output_size(pool, pool.width, 1));
        // Few distinct values, so that some windows have more than one greatest element.
        let input: Vec<f32> =
            random(seed, pool.input_length()).iter().map(|x| (4.0 * x).round()).collect();
        let gradient = random(seed + 1, pool.output_length());
        // Here and there, what is not a number.
        let mut broken = input.clone();
        if holes {
            broken.iter_mut().skip(seed as usize % 7).step_by(7).for_each(|value| *value = f32::NAN);
        }
        let greater = |a: f32, b: f32| a > b || a.is_nan() && !b.is_nan();
        let mut greatest = vec![];
        let mut mean = vec![];
        let mut of_greatest = vec![0.0f64; input.len()];
        let mut of_mean = vec![0.0f64; input.len()];
        for image in 0..pool.batch {
            for row in 0..pool.output_height() {
                for column in 0..pool.output_width() {
                    for channel in 0..pool.channels {
                        let window = window(pool, image, row, column, channel);
                        let gradient = f64::from(gradient[greatest.len()]);
                        let mut first = window[0];
                        for &index in &window {
                            if greater(broken[index], broken[first]) {
                                first = index;
                            }
                        }
                        greatest.push(broken[first]);
                        of_greatest[first] += gradient;
                        let area = padded(pool, row, column);
                        let count = if count_padding { area } else { window.len() } as f64;
                        mean.push(window.iter().map(|&i| f64::from(input[i])).sum::<f64>() / count);
                        window.iter().for_each(|&index| of_mean[index] += gradient / count);
                    }
                }
            }
        }
        for processor in Processor::available() {
            let mut output = vec![f32::NAN; greatest.len()];
            let mut found = vec![f32::NAN; input.len()];
            average_on(processor, pool, count_padding, &input, &mut output);
            assert_close("mean", &output, &mean, 1e-5);
            average_backward_on(processor, pool, count_padding, &gradient, &mut found);
            assert_close("gradient of mean", &found, &of_mean, 1e-5);
            maximum_on(processor, pool, &broken, &mut output);
            for (found, expected) in output.iter().zip(&greatest) {
                prop_assert!(found == expected || found.is_nan() && expected.is_nan(), "{} is not {}", found, expected);
            }
            maximum_backward_on(processor, pool, &broken, &output, &gradient, &mut found);
            assert_close("gradient of maximum", &found, &of_greatest, 1e-5);
        }
    }

    #[test]
    fn all_pixels(
        batch in 1usize..4,
        pixels in 1usize..70,
        channels in 1usize..70,
        seed in 0u64..1 << 40,
    ) {
        let input = random(seed, batch * pixels * channels);
        let gradient = random(seed + 1, batch * channels);
        let mut mean = vec![0.0f64; batch * channels];
        let mut of_input = vec![0.0f64; input.len()];
        for index in 0..input.len() {
            let to = index / (pixels * channels) * channels + index % channels;
            mean[to] += f64::from(input[index]) / pixels as f64;
            of_input[index] = f64::from(gradient[to]) / pixels as f64;
        }
        for processor in Processor::available() {
            let mut output = vec![0.0; mean.len()];
            global_average_on(processor, pixels, channels, &input, &mut output);
            assert_close("mean", &output, &mean, 1e-5);
            let mut found = vec![0.0; input.len()];
            global_average_backward_on(processor, pixels, channels, &gradient, &mut found);
            assert_close("gradient", &found, &of_input, 1e-5);
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let pool = Pool {
        batch: 5,
        height: 17,
        width: 19,
        channels: 24,
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
        ceil: true,
    };
    let input = random(1, pool.input_length());
    let gradient = random(2, pool.output_length());
    let processor = Processor::best();
    assert_same_for_any_threads(|| {
        let mut output = vec![0.0; pool.output_length()];
        let mut of_input = vec![0.0; pool.input_length()];
        maximum_on(processor, pool, &input, &mut output);
        maximum_backward_on(processor, pool, &input, &output, &gradient, &mut of_input);
        let mut means = vec![0.0; pool.batch * pool.channels];
        global_average_on(processor, pool.height * pool.width, 24, &input, &mut means);
        [output, of_input, means].concat()
    });
}
