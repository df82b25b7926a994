//! Losses against plain loops in `f64`.

mod reference;

use limbeck_kernels::Processor;
use limbeck_kernels::loss::{
    SoftTarget, cross_entropy_on, log_softmax_backward_on, log_softmax_on, scale_rows,
    soft_targets_on, softmax_backward_on, softmax_on,
};
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
    fn soft_targets_and_their_slopes(
        (rows, classes) in shapes(),
        temperature in prop::sample::select(vec![0.5f32, 1.0, 4.0, 20.0]),
        size in prop::sample::select(vec![1.0f32, 10.0, 1e4]),
        // Probabilities that sum to one or to something else.
        offset in prop::sample::select(vec![0.0f32, -0.5]),
        masked: bool,
        seed in 0u64..1 << 40,
    ) {
        let scale = |values: Vec<f32>| -> Vec<f32> { values.iter().map(|x| x * size).collect() };
        let mut student = scale(random(seed, rows * classes));
        let logits = scale(random(seed + 1, rows * classes));
        let wide = f64::from(temperature);
        let mut target: Vec<f32> = logits
            .chunks(classes)
            .flat_map(|row| log_softmax(row, wide))
            .map(|x| x as f32 + offset)
            .collect();
        // Classes that neither knows of, but never all.
        for index in (0..rows * classes).filter(|index| masked && index % classes % 3 == 1) {
            student[index] = f32::NEG_INFINITY;
            target[index] = f32::NEG_INFINITY;
        }
        let (mut divergences, mut entropies, mut slopes) = (vec![], vec![], vec![]);
        for row in 0..rows {
            let q = log_softmax(&student[row * classes..][..classes], wide);
            let p = &target[row * classes..][..classes];
            let terms = |of_target: f64| -> f64 {
                let possible = (0..classes).filter(|&c| p[c] > -104.0);
                let wide = |c: usize| f64::from(p[c]);
                possible.map(|c| wide(c).exp() * (of_target * wide(c) - q[c])).sum()
            };
            divergences.push(terms(1.0));
            entropies.push(terms(0.0));
            let total: f64 = p.iter().map(|&p| f64::from(p).exp()).sum();
            slopes.extend((0..classes).map(|c| (q[c].exp() * total - f64::from(p[c]).exp()) / wide));
        }
        for processor in Processor::available() {
            for (form, expected) in [
                (SoftTarget::Divergence, &divergences),
                (SoftTarget::CrossEntropy, &entropies),
            ] {
                let (mut losses, mut found) = (vec![0.0; rows], vec![0.0; rows * classes]);
                soft_targets_on(
                    processor, form, temperature, &student, &target, &mut losses, &mut found,
                );
                for (row, (&found, &truth)) in losses.iter().zip(expected).enumerate() {
                    // The terms that cancel are about as large as the scaled logits.
                    let error = (f64::from(found) - truth).abs();
                    let allowed = 2e-6 * (1.0 + truth.abs() + f64::from(size) / wide);
                    prop_assert!(error <= allowed, "row {row}: {found}, not {truth}");
                }
                // Softened softmaxes are close to each other, and their difference has fewer
                // digits. Logits of 1e4 are exact to 1e-3 only, and so are the exponents.
                if size < 1e4 {
                    assert_close("slopes", &found, &slopes, 1e-4);
                } else {
                    prop_assert!(found.iter().all(|value| value.is_finite()));
                }
            }
        }
    }

    #[test]
    fn a_student_that_agrees_has_no_divergence(
        (rows, classes) in shapes(),
        temperature in prop::sample::select(vec![0.5f32, 1.0, 4.0, 20.0]),
        seed in 0u64..1 << 40,
    ) {
        let logits: Vec<f32> = random(seed, rows * classes).iter().map(|x| x * 5.0).collect();
        for processor in Processor::available() {
            let mut target = vec![0.0; rows * classes];
            log_softmax_on(processor, rows, temperature, &logits, &mut target);
            let (mut losses, mut slopes) = (vec![1.0; rows], vec![1.0; rows * classes]);
            let form = SoftTarget::Divergence;
            soft_targets_on(
                processor, form, temperature, &logits, &target, &mut losses, &mut slopes,
            );
            prop_assert!(losses.iter().all(|&loss| loss == 0.0));
            prop_assert!(slopes.iter().all(|slope| slope.abs() < 2e-6));
        }
    }

    #[test]
    fn log_softmaxes(
        (rows, classes) in shapes(),
        temperature in prop::sample::select(vec![0.5f32, 1.0, 4.0, 20.0]),
        size in prop::sample::select(vec![1.0f32, 10.0, 1e4]),
        seed in 0u64..1 << 40,
    ) {
        let logits: Vec<f32> = random(seed, rows * classes).iter().map(|x| x * size).collect();
        let gradient = random(seed + 1, rows * classes);
        let wide = f64::from(temperature);
        let expected: Vec<f64> =
            logits.chunks(classes).flat_map(|row| log_softmax(row, wide)).collect();
        for processor in Processor::available() {
            let mut found = vec![0.0; rows * classes];
            log_softmax_on(processor, rows, temperature, &logits, &mut found);
            assert_close("logarithms", &found, &expected, 1e-5);
            let slopes: Vec<f64> = found
                .chunks(classes)
                .zip(gradient.chunks(classes))
                .flat_map(|(row, gradient)| {
                    let total: f64 = gradient.iter().map(|&g| f64::from(g)).sum();
                    row.iter()
                        .zip(gradient)
                        .map(move |(&x, &g)| (f64::from(g) - f64::from(x).exp() * total) / wide)
                        .collect::<Vec<f64>>()
                })
                .collect();
            let mut back = vec![0.0; rows * classes];
            log_softmax_backward_on(processor, rows, temperature, &found, &gradient, &mut back);
            assert_close("slopes", &back, &slopes, 1e-5);
        }
    }

    #[test]
    fn softmaxes(
        (rows, classes) in shapes(),
        size in prop::sample::select(vec![1.0f32, 10.0, 1e4]),
        seed in 0u64..1 << 40,
    ) {
        let logits: Vec<f32> = random(seed, rows * classes).iter().map(|x| x * size).collect();
        let gradient = random(seed + 1, rows * classes);
        let expected: Vec<f64> = logits
            .chunks(classes)
            .flat_map(|row| log_softmax(row, 1.0))
            .map(f64::exp)
            .collect();
        for processor in Processor::available() {
            let mut found = vec![0.0; rows * classes];
            softmax_on(processor, rows, &logits, &mut found);
            assert_close("shares", &found, &expected, 1e-5);
            let slopes: Vec<f64> = expected
                .chunks(classes)
                .zip(gradient.chunks(classes))
                .flat_map(|(row, gradient)| {
                    let mean: f64 = row.iter().zip(gradient).map(|(p, &g)| p * f64::from(g)).sum();
                    row.iter()
                        .zip(gradient)
                        .map(move |(p, &g)| p * (f64::from(g) - mean))
                        .collect::<Vec<f64>>()
                })
                .collect();
            let mut back = vec![0.0; rows * classes];
            softmax_backward_on(processor, rows, &found, &gradient, &mut back);
            // Where one class has it all its slope is a difference of equals; beside the share its error shows as what it is.
            back.iter_mut().zip(&found).for_each(|(slope, share)| *slope += share);
            let slopes: Vec<f64> = slopes.iter().zip(&expected).map(|(s, p)| s + p).collect();
            assert_close("slopes", &back, &slopes, 1e-5);
        }
    }

    #[test]
    fn rows_are_scaled((rows, classes) in shapes(), seed in 0u64..1 << 40) {
        let (weights, slopes) = (random(seed, rows), random(seed + 1, rows * classes));
        let mut result = vec![0.0; rows * classes];
        scale_rows(&weights, &slopes, &mut result);
        for (index, &value) in result.iter().enumerate() {
            prop_assert_eq!(value, weights[index / classes] * slopes[index]);
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
        let (mut expected, mut slopes) = (vec![], vec![]);
        for row in 0..rows {
            let q = log_softmax(&logits[row * classes..][..classes], 1.0);
            let smooth = f64::from(smoothing);
            let target = |c: usize| {
                let hit = if c == labels[row] as usize { 1.0 - smooth } else { 0.0 };
                hit + smooth / classes as f64
            };
            expected.push((0..classes).map(|c| -target(c) * q[c]).sum::<f64>());
            slopes.extend((0..classes).map(|c| q[c].exp() - target(c)));
        }
        for processor in Processor::available() {
            let (mut losses, mut gradient) = (vec![0.0; rows], vec![0.0; rows * classes]);
            cross_entropy_on(
                processor, smoothing, &logits, &labels, &mut losses, &mut gradient,
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
    let (mut losses, mut slopes) = ([0.0], [0.0; 2]);
    let processor = Processor::best();
    // Target 3 : 1, student 1 : 1: ln 2 - entropy of a quarter.
    let target = [0.75f32.ln(), 0.25f32.ln()];
    for (form, loss) in [
        (SoftTarget::Divergence, 0.130_812_035_941_137),
        (SoftTarget::CrossEntropy, std::f64::consts::LN_2),
    ] {
        let student = [0.0; 2];
        soft_targets_on(
            processor,
            form,
            2.0,
            &student,
            &target,
            &mut losses,
            &mut slopes,
        );
        assert_close("loss", &losses, &[loss], 1e-6);
        assert_close("slopes", &slopes, &[-0.125, 0.125], 1e-6);
    }
    cross_entropy_on(processor, 0.0, &[0.0; 2], &[1], &mut losses, &mut slopes);
    assert_close("loss", &losses, &[std::f64::consts::LN_2], 1e-6);
    assert_close("slopes", &slopes, &[0.5, -0.5], 1e-6);
}

#[test]
fn what_is_not_a_number_stays_so() {
    // Long enough for whole vectors of every family, with the odd one in the middle and in the tail.
    let classes = 37;
    let plain = vec![-(classes as f32).ln(); classes];
    for processor in Processor::available() {
        for place in [5, 36] {
            let mut odd = plain.clone();
            odd[place] = f32::NAN;
            let mut slopes = vec![0.0; classes];
            for form in [SoftTarget::Divergence, SoftTarget::CrossEntropy] {
                for (student, target) in [(&odd, &plain), (&plain, &odd)] {
                    let mut losses = [0.0];
                    soft_targets_on(
                        processor,
                        form,
                        4.0,
                        student,
                        target,
                        &mut losses,
                        &mut slopes,
                    );
                    assert!(losses[0].is_nan() && slopes[place].is_nan());
                }
            }
            let mut losses = [0.0];
            cross_entropy_on(processor, 0.1, &odd, &[0], &mut losses, &mut slopes);
            assert!(losses[0].is_nan() && slopes[place].is_nan());
            log_softmax_on(processor, 1, 4.0, &odd, &mut slopes);
            assert!(slopes.iter().all(|value| value.is_nan()));
        }
        // A class that the target holds possible and the student does not.
        let mut student = plain.clone();
        student[7] = f32::NEG_INFINITY;
        let (mut losses, mut slopes) = ([0.0], vec![0.0; classes]);
        let form = SoftTarget::Divergence;
        soft_targets_on(
            processor,
            form,
            1.0,
            &student,
            &plain,
            &mut losses,
            &mut slopes,
        );
        assert_eq!(losses, [f32::INFINITY]);
        assert!(slopes.iter().all(|slope| slope.is_finite()));
    }
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
        let (mut target, mut back) = (of_soft.clone(), of_soft.clone());
        log_softmax_on(processor, rows, 4.0, &teacher, &mut target);
        soft_targets_on(
            processor,
            SoftTarget::Divergence,
            4.0,
            &student,
            &target,
            &mut soft,
            &mut of_soft,
        );
        cross_entropy_on(processor, 0.1, &student, &labels, &mut hard, &mut of_hard);
        log_softmax_backward_on(processor, rows, 4.0, &target, &of_hard, &mut back);
        scale_rows(&weights, &of_soft, &mut of_hard);
        [soft, of_soft, hard, of_hard, target, back].concat()
    });
}
