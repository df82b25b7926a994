//! Elementwise operations and copies against plain loops.

mod reference;

use limbeck_kernels::Processor;
use limbeck_kernels::elementwise::{
    Function, accumulate_on, add_on, apply_on, backward_on, concatenate, multiply_add_on,
    multiply_on, nchw_to_nhwc_on, nhwc_to_nchw_on, permute, shuffle, split, subtract_on,
};
use proptest::prelude::*;
use reference::{assert_close, random, wide};

const FUNCTIONS: [Function; 15] = [
    Function::Relu,
    Function::Relu6,
    Function::LeakyRelu { slope: 0.2 },
    Function::Sigmoid,
    Function::Tanh,
    Function::Gelu,
    Function::Swish,
    Function::HardSwish,
    Function::GeluTanh,
    Function::HardSigmoid,
    Function::Elu { alpha: 0.7 },
    Function::Softplus,
    Function::Clip {
        least: -1.3,
        most: 2.1,
    },
    Function::Erf,
    Function::Exponential,
];

/// The function in `f64`; the normal distribution by Simpson's rule.
fn value(function: Function, x: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    match function {
        Function::Relu => x.max(0.0),
        Function::Relu6 => x.clamp(0.0, 6.0),
        Function::LeakyRelu { slope } => x.max(0.0) + f64::from(slope) * x.min(0.0),
        Function::Sigmoid => sigmoid,
        Function::Tanh => x.tanh(),
        Function::Gelu => x * (0.5 + area_of_the_normal_density(x)),
        Function::Swish => x * sigmoid,
        Function::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Function::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            x * (1.0 + inner.tanh()) / 2.0
        }
        Function::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Function::Elu { alpha } => x.max(0.0) + f64::from(alpha) * x.min(0.0).exp_m1(),
        Function::Softplus => x.exp().ln_1p(),
        Function::Clip { least, most } => x.clamp(f64::from(least), f64::from(most)),
        Function::Erf => 2.0 * area_of_the_normal_density(x * std::f64::consts::SQRT_2),
        Function::Exponential => x.exp(),
    }
}

/// From 0 to `x`.
fn area_of_the_normal_density(x: f64) -> f64 {
    let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let step = x / 2000.0;
    let weight = |k: u32| {
        if k == 0 || k == 2000 {
            1.0
        } else {
            2.0 + 2.0 * f64::from(k % 2)
        }
    };
    let area: f64 = (0..=2000)
        .map(|k| weight(k) * density(f64::from(k) * step))
        .sum();
    area * step / 3.0
}

#[test]
fn functions_and_their_gradients() {
    let input: Vec<f32> = random(1, 1003).iter().map(|x| 8.0 * x).collect();
    let gradient = random(2, input.len());
    for function in FUNCTIONS {
        let values: Vec<f64> = wide(&input).iter().map(|&x| value(function, x)).collect();
        let slope = |x: f64| (value(function, x + 1e-5) - value(function, x - 1e-5)) / 2e-5;
        let slopes: Vec<f64> = wide(&input)
            .iter()
            .zip(wide(&gradient))
            .map(|(&x, g)| slope(x) * g)
            .collect();
        for processor in Processor::available() {
            let mut found = vec![0.0; input.len()];
            apply_on(processor, function, &input, &mut found);
            assert_close(&format!("{function:?}"), &found, &values, 1e-6);
            backward_on(processor, function, &input, &gradient, &mut found);
            assert_close(&format!("gradient of {function:?}"), &found, &slopes, 1e-5);
        }
    }
}

#[test]
fn gradients_at_the_corners_are_those_of_pytorch() {
    for processor in Processor::available() {
        let slope = |function, x| {
            let mut found = [0.0];
            backward_on(processor, function, &[x], &[1.0], &mut found);
            found[0]
        };
        assert_eq!(slope(Function::Relu, 0.0), 0.0);
        assert_eq!(slope(Function::Relu6, 6.0), 0.0);
        assert_eq!(slope(Function::LeakyRelu { slope: 0.5 }, 0.0), 0.5);
        assert_eq!(slope(Function::HardSwish, -3.0), 0.0);
        assert_eq!(slope(Function::HardSwish, 3.0), 1.0);
        assert_eq!(slope(Function::HardSigmoid, 3.0), 0.0);
        let clip = Function::Clip {
            least: -1.0,
            most: f32::INFINITY,
        };
        assert_eq!(slope(clip, -1.0), 1.0);
        assert_eq!(slope(clip, -1.1), 0.0);
    }
}

#[test]
fn extreme_values_stay_finite_where_the_functions_are() {
    for processor in Processor::available() {
        for x in [-1e30_f32, -200.0, 200.0, 1e30] {
            let of = |function| {
                let (mut value, mut slope) = ([f32::NAN], [f32::NAN]);
                apply_on(processor, function, &[x], &mut value);
                backward_on(processor, function, &[x], &[1.0], &mut slope);
                (value[0], slope[0])
            };
            let side = f32::from(u8::from(x > 0.0));
            assert_eq!(of(Function::GeluTanh), (x * side, side));
            assert_eq!(of(Function::Softplus), (x * side, side));
            assert_eq!(of(Function::Erf), (x.signum(), 0.0));
            let (value, slope) = of(Function::Elu { alpha: 1.0 });
            assert_eq!((value, slope), (x.max(-1.0), side));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn arithmetic(length in prop_oneof![0usize..100, 32_700usize..32_800], seed in 0u64..1 << 40) {
        let (left, right) = (random(seed, length), random(seed + 1, length));
        let both = |of: fn(f64, f64) -> f64| -> Vec<f64> {
            wide(&left).into_iter().zip(wide(&right)).map(|(l, r)| of(l, r)).collect()
        };
        for processor in Processor::available() {
            let mut found = vec![0.0; length];
            add_on(processor, &left, &right, &mut found);
            assert_close("sum", &found, &both(|l, r| l + r), 1e-6);
            let mut accumulated = left.clone();
            accumulate_on(processor, &mut accumulated, &right);
            prop_assert_eq!(&accumulated, &found);
            subtract_on(processor, &left, &right, &mut found);
            assert_close("difference", &found, &both(|l, r| l - r), 1e-6);
            multiply_on(processor, &left, &right, &mut found);
            assert_close("product", &found, &both(|l, r| l * r), 1e-6);
            multiply_add_on(processor, &left, 3.0, 0.5, &mut found);
            assert_close("scaled", &found, &both(|l, _| l * 3.0 + 0.5), 1e-6);
        }
    }

    #[test]
    fn layouts(
        batch in 1usize..4,
        pixels in prop_oneof![1usize..40, 1000usize..1100],
        channels in prop_oneof![1usize..40, 500usize..600],
        seed in 0u64..1 << 40,
    ) {
        let input = random(seed, batch * pixels * channels);
        let mut expected = vec![0.0; input.len()];
        for (image, (input, expected)) in input
            .chunks(pixels * channels)
            .zip(expected.chunks_mut(pixels * channels))
            .enumerate()
        {
            prop_assert!(image < batch);
            for pixel in 0..pixels {
                for channel in 0..channels {
                    expected[channel * pixels + pixel] = input[pixel * channels + channel];
                }
            }
        }
        for processor in Processor::available() {
            let mut found = vec![0.0; input.len()];
            nhwc_to_nchw_on(processor, pixels, channels, &input, &mut found);
            prop_assert!(found == expected);
            let mut back = vec![0.0; input.len()];
            nchw_to_nhwc_on(processor, pixels, channels, &found, &mut back);
            prop_assert!(back == input);
        }
    }

    #[test]
    fn channels_side_by_side(
        rows in prop_oneof![1usize..10, 2000usize..2100],
        widths in prop::collection::vec(0usize..40, 1..4),
        seed in 0u64..1 << 40,
    ) {
        let total: usize = widths.iter().sum();
        let parts: Vec<Vec<f32>> =
            widths.iter().map(|width| random(seed + *width as u64, rows * width)).collect();
        let slices: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
        let mut found = vec![0.0; rows * total];
        concatenate(rows, &slices, &mut found);
        for row in 0..rows {
            let expected: Vec<f32> = parts
                .iter()
                .zip(&widths)
                .flat_map(|(part, width)| part[row * width..][..*width].to_vec())
                .collect();
            prop_assert_eq!(&found[row * total..][..total], &expected[..]);
        }
        let mut back: Vec<Vec<f32>> = parts.iter().map(|part| vec![0.0; part.len()]).collect();
        let mut slices: Vec<&mut [f32]> = back.iter_mut().map(Vec::as_mut_slice).collect();
        split(rows, &found, &mut slices);
        prop_assert!(back == parts);
    }

    #[test]
    fn shuffles(rows in 1usize..50, width in 1usize..20, groups in 1usize..6) {
        let channels = width * groups;
        let input = random(1, rows * channels);
        let mut found = vec![0.0; input.len()];
        shuffle(channels, groups, &input, &mut found);
        for row in 0..rows {
            for (group, member) in (0..groups).flat_map(|g| (0..width).map(move |m| (g, m))) {
                let from = input[row * channels + group * width + member];
                prop_assert_eq!(found[row * channels + member * groups + group], from);
            }
        }
        let mut back = vec![0.0; input.len()];
        shuffle(channels, width, &found, &mut back);
        prop_assert_eq!(back, input);
    }

    #[test]
    fn axes_in_any_order(
        sizes in prop::collection::vec(prop_oneof![Just(1usize), 2usize..7], 1..7),
        keys in prop::collection::vec(any::<u32>(), 6),
        long in prop_oneof![Just(1usize), Just(300usize)],
    ) {
        let mut sizes = sizes;
        sizes[0] *= long;
        let mut axes: Vec<usize> = (0..sizes.len()).collect();
        axes.sort_by_key(|&axis| keys[axis]);
        let length: usize = sizes.iter().product();
        let input: Vec<f32> = (0..length).map(|index| index as f32).collect();
        let mut found = vec![f32::NAN; length];
        permute(&sizes, &axes, &input, &mut found);
        let to: Vec<usize> = axes.iter().map(|&axis| sizes[axis]).collect();
        for (index, value) in found.iter().enumerate() {
            let (mut rest, mut at) = (index, vec![0; sizes.len()]);
            for (place, &size) in to.iter().enumerate().rev() {
                at[axes[place]] = rest % size;
                rest /= size;
            }
            let from = at.iter().zip(&sizes).fold(0, |from, (at, size)| from * size + at);
            prop_assert_eq!(*value, from as f32, "{:?} {:?} at {}", sizes, axes, index);
        }
    }
}
