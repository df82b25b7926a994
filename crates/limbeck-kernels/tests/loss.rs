//! Losses against plain loops in `f64`.

mod reference;

use limbeck_kernels::Processor;
use limbeck_kernels::loss::{cross_entropy_on, kl_divergence_on};
use proptest::prelude::*;
use reference::{assert_close, assert_same_for_any_threads, random};

/// The logarithm of the softmax of `logits / temperature`.
fn log_softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let scaled: Vec<f64> = logits.iter().map(|&x| f64::from(x) / temperature).collect();
    let greatest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scaled.iter().map(|x| (x - greatest).exp()).sum();
    scaled.iter().map(|x| x - greatest - sum.ln()).collect()
}

fn shapes() -> impl Strategy<Value = (usize, usize)> {
    (
        1usize..40,
        prop_oneof![1usize..40, 90usize..120, 1000usize..1010],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn divergence(
        (rows, classes) in shapes(),
        temperature in prop::sample::select(vec![0.5f32, 1.0, 4.0, 20.0]),
        size in prop::sample::select(vec![1.0f32, 10.0, 1e4]),
        seed in 0u64..1 << 40,
    ) {
        let scale = |values: Vec<f32>| -> Vec<f32> { values.iter().map(|x| x * size).collect() };
        let student = scale(random(seed, rows * classes));
        let teacher = scale(random(seed + 1, rows * classes));
        let weights = random(seed + 2, rows);
        let (mut expected, mut slopes) = (vec![], vec![]);
        let wide = f64::from(temperature);
        for row in 0..rows {
            let q = log_softmax(&student[row * classes..][..classes], wide);
            let p = log_softmax(&teacher[row * classes..][..classes], wide);
            expected.push((0..classes).map(|c| p[c].exp() * (p[c] - q[c])).sum::<f64>());
            let weight = f64::from(weights[row]) / wide;
            slopes.extend((0..classes).map(|c| weight * (q[c].exp() - p[c].exp())));
        }
        for processor in Processor::available() {
            let (mut losses, mut gradient) = (vec![0.0; rows], vec![0.0; rows * classes]);
            kl_divergence_on(
                processor, temperature, &student, &teacher, &weights, &mut losses, &mut gradient,
            );
            for (row, (&found, &truth)) in losses.iter().zip(&expected).enumerate() {
                // The terms that cancel are about as large as the scaled logits.
                let error = (f64::from(found) - truth).abs();
                let allowed = 1e-6 * (1.0 + truth + f64::from(size) / wide);
                prop_assert!(error <= allowed, "row {row}: {found}, not {truth}");
            }
            // Softened softmaxes are close to each other, and their difference has fewer digits.
            // Logits of 1e4 are exact to 1e-3 only, and so are the exponents.
            if size < 1e4 {
                assert_close("gradient", &gradient, &slopes, 1e-4);
            } else {
                prop_assert!(gradient.iter().all(|value| value.is_finite()));
            }
            kl_divergence_on(
                processor, temperature, &student, &student, &weights, &mut losses, &mut gradient,
            );
            prop_assert!(losses.iter().chain(&gradient).all(|&value| value == 0.0));
        }
    }

    #[test]
    fn labels(
        (rows, classes) in shapes(),
        smoothing in prop::sample::select(vec![0.0f32, 0.1, 1.0]),
        size in prop::sample::select(vec![1.0f32, 10.0, 1e4]),
        seed in 0u64..1 << 40,
    ) {
        let logits: Vec<f32> = random(seed, rows * classes).iter().map(|x| x * size).collect();
        let labels: Vec<u32> = random(seed + 1, rows)
            .iter()
            .map(|x| ((x + 1.0) / 2.0 * classes as f32) as u32)
            .collect();
        let weights = random(seed + 2, rows);
        let (mut expected, mut slopes) = (vec![], vec![]);
        for row in 0..rows {
            let q = log_softmax(&logits[row * classes..][..classes], 1.0);
            let smooth = f64::from(smoothing);
            let target = |c: usize| {
                let hit = if c == labels[row] as usize { 1.0 - smooth } else { 0.0 };
                hit + smooth / classes as f64
            };
            expected.push((0..classes).map(|c| -target(c) * q[c]).sum::<f64>());
            let weight = f64::from(weights[row]);
            slopes.extend((0..classes).map(|c| weight * (q[c].exp() - target(c))));
        }
        for processor in Processor::available() {
            let (mut losses, mut gradient) = (vec![0.0; rows], vec![0.0; rows * classes]);
            cross_entropy_on(
                processor, smoothing, &logits, &labels, &weights, &mut losses, &mut gradient,
            );
            for (&found, &truth) in losses.iter().zip(&expected) {
                let error = (f64::from(found) - truth).abs();
                prop_assert!(error <= 1e-5 * (1.0 + truth), "{found}, not {truth}");
            }
            let tolerance = if size < 1e4 { 1e-5 } else { 1e-2 };
            assert_close("gradient", &gradient, &slopes, tolerance);
        }
    }
}

#[test]
fn values_by_hand() {
    let (mut losses, mut gradient) = ([0.0], [0.0; 2]);
    let processor = Processor::best();
    // Teacher 3 : 1, student 1 : 1 at temperature 2: ln 2 - entropy of a quarter.
    let teacher = [2.0 * 3.0f32.ln(), 0.0];
    kl_divergence_on(
        processor,
        2.0,
        &[0.0; 2],
        &teacher,
        &[1.0],
        &mut losses,
        &mut gradient,
    );
    assert_close("loss", &losses, &[0.130_812_035_941_137], 1e-6);
    assert_close("gradient", &gradient, &[-0.125, 0.125], 1e-6);
    cross_entropy_on(
        processor,
        0.0,
        &[0.0; 2],
        &[1],
        &[1.0],
        &mut losses,
        &mut gradient,
    );
    assert_close("loss", &losses, &[std::f64::consts::LN_2], 1e-6);
    assert_close("gradient", &gradient, &[0.5, -0.5], 1e-6);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let (rows, classes) = (300, 107);
    let (student, teacher) = (random(1, rows * classes), random(2, rows * classes));
    let weights = random(3, rows);
    let labels: Vec<u32> = (0..rows).map(|row| (row * 31 % classes) as u32).collect();
    let processor = Processor::best();
    assert_same_for_any_threads(|| {
        let (mut soft, mut of_soft) = (vec![0.0; rows], vec![0.0; rows * classes]);
        let (mut hard, mut of_hard) = (soft.clone(), of_soft.clone());
        kl_divergence_on(
            processor,
            4.0,
            &student,
            &teacher,
            &weights,
            &mut soft,
            &mut of_soft,
        );
        cross_entropy_on(
            processor,
            0.1,
            &student,
            &labels,
            &weights,
            &mut hard,
            &mut of_hard,
        );
        [soft, of_soft, hard, of_hard].concat()
    });
}
