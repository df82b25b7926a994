//! Pooling.

use limbeck_kernels::pool::{
    Pool, average, average_backward, global_average, global_average_backward, maximum,
    maximum_backward,
};

use crate::{Work, measure, values};

/// Runs them all.
pub(crate) fn run() {
    for (size, channels, kernel, padding) in [(32, 64, 2, 0), (112, 64, 3, 1), (32, 16, 3, 1)] {
        let pool = Pool {
            batch: 16,
            height: size,
            width: size,
            channels,
            kernel: [kernel; 2],
            stride: [2; 2],
            padding: [padding; 2],
            ceil: false,
        };
        let (input, gradient) = (values(pool.input_length()), values(pool.output_length()));
        let mut output = vec![0.0; pool.output_length()];
        let mut of_input = vec![0.0; pool.input_length()];
        let shape = format!("{kernel}x{kernel} {size}x{size}x{channels}");
        let bytes = 4 * (input.len() + output.len());
        measure(&format!("maximum {shape}"), Work::Bytes(bytes), || {
            maximum(pool, &input, &mut output);
        });
        measure(
            &format!("maximum backward {shape}"),
            Work::Bytes(2 * bytes),
            || {
                maximum_backward(pool, &input, &output, &gradient, &mut of_input);
            },
        );
        measure(&format!("average {shape}"), Work::Bytes(bytes), || {
            average(pool, true, &input, &mut output);
        });
        measure(
            &format!("average backward {shape}"),
            Work::Bytes(bytes),
            || {
                average_backward(pool, true, &gradient, &mut of_input);
            },
        );
    }
    let (pixels, channels) = (64, 64);
    let mut images = values(64 * pixels * channels);
    let mut means = vec![0.0; 64 * channels];
    let bytes = 4 * images.len();
    measure("global average 64x8x8x64", Work::Bytes(bytes), || {
        global_average(pixels, channels, &images, &mut means);
    });
    measure(
        "global average backward 64x8x8x64",
        Work::Bytes(bytes),
        || {
            global_average_backward(pixels, channels, &means, &mut images);
        },
    );
}
