//! Elementwise operations and copies between layouts.

use limbeck_kernels::elementwise::{
    Function, accumulate, add, apply, backward, concatenate, nchw_to_nhwc, nhwc_to_nchw, shuffle,
};

use crate::{Work, measure, values};

/// Runs them all.
pub(crate) fn run() {
    let length = 1 << 20;
    let (left, right) = (values(length), values(length));
    let mut output = vec![0.0; length];
    let bytes = |passes: usize| Work::Bytes(4 * length * passes);
    measure("add", bytes(3), || add(&left, &right, &mut output));
    measure("accumulate", bytes(3), || accumulate(&mut output, &left));
    for function in [
        Function::Relu,
        Function::Gelu,
        Function::Swish,
        Function::Tanh,
    ] {
        measure(&format!("{function:?}"), bytes(2), || {
            apply(function, &left, &mut output)
        });
        measure(&format!("{function:?} backward"), bytes(3), || {
            backward(function, &left, &right, &mut output);
        });
    }
    for (pixels, channels) in [(1024, 16), (256, 32), (64, 64), (49, 512), (1024, 3)] {
        let length = length / (pixels * channels) * pixels * channels;
        let work = || Work::Bytes(8 * length);
        measure(&format!("nhwc to nchw {pixels}x{channels}"), work(), || {
            nhwc_to_nchw(pixels, channels, &left[..length], &mut output[..length]);
        });
        measure(&format!("nchw to nhwc {pixels}x{channels}"), work(), || {
            nchw_to_nhwc(pixels, channels, &left[..length], &mut output[..length]);
        });
    }
    measure("shuffle 64 channels in 2 groups", bytes(2), || {
        shuffle(64, 2, &left, &mut output)
    });
    let (first, second) = left.split_at(length / 2);
    measure("concatenate 32 + 32 channels", bytes(2), || {
        concatenate(length / 64, &[first, second], &mut output);
    });
}
