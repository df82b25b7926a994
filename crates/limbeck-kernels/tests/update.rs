//! Optimizer steps against PyTorch's formulae in `f64`.

mod reference;

use limbeck_kernels::Processor;
use limbeck_kernels::update::{Adam, Sgd, WeightDecay, adam_on, sgd_on, sum_of_squares_on};
use proptest::prelude::*;
use reference::{assert_close, assert_same_for_any_threads, random, wide};

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..70, 32_760usize..32_800]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn gradient_descent(
        length in lengths(),
        momentum in prop::sample::select(vec![0.0f32, 0.9]),
        dampening in prop::sample::select(vec![0.0f32, 0.3]),
        weight_decay in prop::sample::select(vec![0.0f32, 5e-4]),
        nesterov: bool,
        seed in 0u64..1 << 40,
    ) {
        let settings = Sgd { learning_rate: 0.1, momentum, dampening, weight_decay, nesterov };
        let [learning_rate, momentum, dampening, weight_decay] =
            [0.1f32, momentum, dampening, weight_decay].map(f64::from);
        for processor in Processor::available() {
            let mut parameter = random(seed, length);
            // What the state holds before the first step must not matter.
            let mut velocity = vec![f32::NAN; if momentum == 0.0 { 0 } else { length }];
            let (mut x, mut v) = (wide(&parameter), vec![0.0f64; length]);
            for step in 0..3 {
                let gradient = random(seed + 1 + step, length);
                sgd_on(processor, settings, step == 0, &mut parameter, &gradient, &mut velocity);
                for index in 0..length {
                    let mut g = f64::from(gradient[index]) + weight_decay * x[index];
                    if momentum != 0.0 {
                        v[index] = if step == 0 {
                            g
                        } else {
                            momentum * v[index] + (1.0 - dampening) * g
                        };
                        g = if nesterov { g + momentum * v[index] } else { v[index] };
                    }
                    x[index] -= learning_rate * g;
                }
            }
            assert_close("parameter", &parameter, &x, 1e-5);
            if momentum != 0.0 {
                assert_close("velocity", &velocity, &v, 1e-5);
            }
        }
    }

    #[test]
    fn adam_and_adam_w(length in lengths(), decoupled: bool, seed in 0u64..1 << 40) {
        let decay = 0.05f32;
        let weight_decay =
            if decoupled { WeightDecay::Decoupled(decay) } else { WeightDecay::Gradient(decay) };
        let betas = [0.9f64, 0.999];
        let settings = Adam { learning_rate: 0.01, betas, epsilon: 1e-8, weight_decay };
        let [rate, decay] = [0.01f32, decay].map(f64::from);
        let [first, second] = betas;
        for processor in Processor::available() {
            let mut parameter = random(seed, length);
            let (mut mean, mut square) = (vec![0.0; length], vec![0.0; length]);
            let mut x = wide(&parameter);
            let (mut m, mut s) = (vec![0.0f64; length], vec![0.0f64; length]);
            for step in 1..4u32 {
                // Far from what the decay adds: a sum near zero would lose its digits.
                let gradient: Vec<f32> = random(seed + u64::from(step), length)
                    .iter()
                    .map(|x| x + 0.2f32.copysign(*x))
                    .collect();
                adam_on(
                    processor, settings, step, &mut parameter, &gradient, &mut mean, &mut square,
                );
                for index in 0..length {
                    let mut g = f64::from(gradient[index]);
                    if decoupled {
                        x[index] *= 1.0 - rate * decay;
                    } else {
                        g += decay * x[index];
                    }
                    m[index] = first * m[index] + (1.0 - first) * g;
                    s[index] = second * s[index] + (1.0 - second) * g * g;
                    let mean = m[index] / (1.0 - first.powi(step as i32));
                    let square = s[index] / (1.0 - second.powi(step as i32));
                    x[index] -= rate * mean / (square.sqrt() + 1e-8);
                }
            }
            assert_close("mean", &mean, &m, 1e-5);
            assert_close("square", &square, &s, 1e-4);
            assert_close("parameter", &parameter, &x, 1e-5);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn squares(
        length in prop_oneof![0usize..70, 4_090usize..4_110, 32_760usize..32_800],
        scale in prop::sample::select(vec![1e-12f32, 1.0, 1e12]),
        seed in 0u64..1 << 40,
    ) {
        let values: Vec<f32> = random(seed, length).iter().map(|x| x * scale).collect();
        let expected: f64 = wide(&values).iter().map(|x| x * x).sum();
        for processor in Processor::available() {
            let error = (sum_of_squares_on(processor, &values) - expected).abs();
            prop_assert!(error <= 1e-6 * expected, "{processor:?}: {error} of {expected}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let length = 100_003;
    let (start, gradient) = (random(1, length), random(2, length));
    let settings = Sgd {
        learning_rate: 0.1,
        momentum: 0.9,
        dampening: 0.0,
        weight_decay: 5e-4,
        nesterov: true,
    };
    assert_same_for_any_threads(|| {
        let (mut parameter, mut velocity) = (start.clone(), vec![0.0; length]);
        for step in 0..2 {
            let first = step == 0;
            sgd_on(
                Processor::best(),
                settings,
                first,
                &mut parameter,
                &gradient,
                &mut velocity,
            );
        }
        let norm = sum_of_squares_on(Processor::best(), &velocity) as f32;
        [parameter, velocity, vec![norm]].concat()
    });
}
