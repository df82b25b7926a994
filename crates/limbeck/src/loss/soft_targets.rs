//! Soft targets: the teacher's softened distribution as the student's target.
//!
//! ```text
//! p = softmax(v / T) (teacher, constant),   q = softmax(z / T) (student)
//! divergence row    = T^2 sum_c p_c (log p_c - log q_c)
//! cross-entropy row = -T^2 sum_c p_c log q_c
//! ```
//!
//! Both are `[batch]` from `[batch, classes]`. They differ by T^2 times the teacher's entropy, a constant, so their
//! gradient is the same: `T (q - p)`, which tends to `z - v - mean(z - v)` over C as T grows: at high temperature the
//! loss matches logits. The factor T^2 keeps the gradient at one size when T changes. Classes of probability
//! 0 count as 0. The divergence is 0 where student and teacher agree.
//!
//! Pitfalls: dividing by batch and classes instead of batch (a hidden factor C); leaving T^2 out (T then changes the
//! weight silently); softening a distribution a second time. The last cannot happen here: a [`LogProbs`] knows its
//! temperature, and the student is softened with the same.
//!
//! Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.

use burn::tensor::Tensor;
use limbeck_kernels::loss::SoftTarget;
use limbeck_kernels::tensor as kernels;

use super::types::{LogProbs, Logits, log_softmax_by_operations, same_dims};
use crate::Result;

/// T^2 times the Kullback-Leibler divergence of the student from the teacher, `[batch]`; see the [module](self).
///
/// # Errors
/// If the shapes differ.
pub fn divergence(student: &Logits, teacher: &LogProbs) -> Result<Tensor<1>> {
    rows(SoftTarget::Divergence, student, teacher)
}

/// T^2 times the cross entropy of the student under the teacher's distribution, `[batch]`; see the [module](self).
///
/// # Errors
/// If the shapes differ.
pub fn cross_entropy(student: &Logits, teacher: &LogProbs) -> Result<Tensor<1>> {
    rows(SoftTarget::CrossEntropy, student, teacher)
}

fn rows(form: SoftTarget, student: &Logits, teacher: &LogProbs) -> Result<Tensor<1>> {
    same_dims("soft targets", student.dims(), teacher.dims())?;
    let rows = if kernels::accepts(student.tensor()) && kernels::accepts(teacher.tensor()) {
        by_kernel(form, student, teacher)
    } else {
        by_operations(form, student, teacher)
    };
    Ok(rows.mul_scalar(teacher.temperature().squared()))
}

fn by_kernel(form: SoftTarget, student: &Logits, teacher: &LogProbs) -> Tensor<1> {
    let temperature = teacher.temperature().get() as f32;
    let [student, target] = [student.tensor(), teacher.tensor()].map(Tensor::clone);
    kernels::soft_targets(form, temperature, student, target)
}

fn by_operations(form: SoftTarget, student: &Logits, teacher: &LogProbs) -> Tensor<1> {
    let target = teacher.clone().detach();
    let log_q = log_softmax_by_operations(student.tensor().clone(), target.temperature());
    let value = match form {
        SoftTarget::Divergence => target.tensor().clone() - log_q,
        SoftTarget::CrossEntropy => log_q.neg(),
    };
    let p = target.exp().tensor().clone();
    // A class of probability 0 counts as 0 even if its value is infinite.
    let impossible = p.clone().equal_elem(0.0);
    let [rows, _] = p.dims();
    let terms = (p * value).mask_fill(impossible, 0.0);
    terms.sum_dim(1).reshape([rows])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::loss::testing::{self, Precision};
    use crate::loss::{LabelSmoothing, Labels, Temperature, cross_entropy as label_cross_entropy};
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn soften(teacher: &[f64], classes: usize, temperature: f64, like: &Logits) -> LogProbs {
        let precision = Precision::of(like);
        let device = like.tensor().device().inner();
        testing::logits(teacher, classes, precision, &device)
            .log_probabilities(Temperature::new(temperature).unwrap())
    }

    fn divergences(student: &[f64], teacher: &[f64], classes: usize, temperature: f64) -> Vec<f64> {
        let student = testing::logits(student, classes, Precision::Single, &Device::default());
        let target = soften(teacher, classes, temperature, &student);
        testing::values(&divergence(&student, &target).unwrap())
    }

    #[test]
    fn hand_value() {
        let ln3 = 3.0_f64.ln();
        // At T = 2 the teacher is (3/4, 1/4) and the student (1/2, 1/2).
        let kl = 0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln();
        testing::assert_close(
            &divergences(&[0.0, 0.0], &[2.0 * ln3, 0.0], 2, 2.0),
            &[4.0 * kl],
            1e-6,
        );

        let student = testing::logits(&[0.0, 0.0], 2, Precision::Single, &Device::default());
        let target = soften(&[2.0 * ln3, 0.0], 2, 2.0, &student);
        let cross = testing::values(&cross_entropy(&student, &target).unwrap());
        testing::assert_close(&cross, &[4.0 * 2.0_f64.ln()], 1e-6);
    }

    #[test]
    fn golden_divergence() {
        let Some(cases) = testing::golden("kd") else {
            return;
        };
        assert_eq!(cases.len(), 8, "cases of `kd`");
        for case in &cases {
            let temperature = case.parameter("temperature");
            let (teacher, classes) = case.matrix("teacher.logits");
            case.check("student.logits", |student| {
                let target = soften(&teacher, classes, temperature, student);
                divergence(student, &target).unwrap().mean()
            });
        }
    }

    #[test]
    fn golden_mix_with_labels() {
        let Some(cases) = testing::golden("kd_ce") else {
            return;
        };
        assert_eq!(cases.len(), 3, "cases of `kd_ce`");
        for case in &cases {
            let alpha = case.parameter("alpha");
            let (teacher, classes) = case.matrix("teacher.logits");
            let labels = case.labels("labels");
            case.check("student.logits", |student| {
                let target = soften(&teacher, classes, case.parameter("temperature"), student);
                let labels = Labels::new(&labels, classes, &student.tensor().device()).unwrap();
                let hard = label_cross_entropy(student, &labels, LabelSmoothing::NONE).unwrap();
                let soft = divergence(student, &target).unwrap();
                soft.mean().mul_scalar(alpha) + hard.mean().mul_scalar(1.0 - alpha)
            });
        }
    }

    #[test]
    fn both_forms_have_the_same_gradient() {
        let classes = 7;
        let student = testing::noise(4 * classes, 4.0, 1);
        let teacher = testing::noise(4 * classes, 4.0, 2);
        for temperature in [1.0, 4.0, 20.0] {
            let kl = |student: &Logits| {
                divergence(student, &soften(&teacher, classes, temperature, student))
                    .unwrap()
                    .mean()
            };
            let ce = |student: &Logits| {
                let target = soften(&teacher, classes, temperature, student);
                cross_entropy(student, &target).unwrap().mean()
            };
            testing::check_gradient(&student, classes, 1e-6, kl);
            testing::check_gradient(&student, classes, 1e-6, ce);
            let (kl_value, kl_gradient) =
                testing::differentiate(&student, classes, Precision::Double, kl);
            let (ce_value, ce_gradient) =
                testing::differentiate(&student, classes, Precision::Double, ce);
            testing::assert_close(&kl_gradient, &ce_gradient, 1e-12);
            assert!(ce_value > kl_value && kl_value > 0.0);
        }
    }

    #[test]
    fn high_temperature_matches_logits() {
        // Card and paper, equation 4: with zero-mean logits dC/dz -> (z - v) / (C T^2); with the factor T^2
        // and the mean over the batch the limit is (z - v) / (C batch).
        let (batch, classes) = (3, 10);
        let center = |values: Vec<f64>| -> Vec<f64> {
            values
                .chunks(classes)
                .flat_map(|row| {
                    let mean = row.iter().sum::<f64>() / classes as f64;
                    row.iter()
                        .map(move |value| value - mean)
                        .collect::<Vec<_>>()
                })
                .collect()
        };
        let student = center(testing::noise(batch * classes, 2.0, 5));
        let teacher = center(testing::noise(batch * classes, 2.0, 6));
        let limit: Vec<f64> = student
            .iter()
            .zip(&teacher)
            .map(|(z, v)| (z - v) / (classes * batch) as f64)
            .collect();
        let distance = |temperature: f64| {
            let (_, gradient) =
                testing::differentiate(&student, classes, Precision::Double, |student| {
                    let target = soften(&teacher, classes, temperature, student);
                    divergence(student, &target).unwrap().mean()
                });
            gradient
                .iter()
                .zip(&limit)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f64::max)
        };
        let far = [distance(100.0), distance(1000.0), distance(10_000.0)];
        let size = limit
            .iter()
            .fold(0.0_f64, |most, value| most.max(value.abs()));
        assert!(far[0] < 0.05 * size, "{far:?}, gradients of size {size}");
        // The first term left out is of order 1 / T.
        assert!(far[1] < far[0] / 9.0 && far[2] < far[1] / 9.0, "{far:?}");
    }

    #[test]
    fn teacher_equal_to_student_gives_nothing() {
        let values = testing::noise(40, 5.0, 3);
        for temperature in [1.0, 4.0] {
            let (value, gradient) =
                testing::differentiate(&values, 10, Precision::Single, |student| {
                    let target = soften(&values, 10, temperature, student);
                    divergence(student, &target).unwrap().mean()
                });
            assert!(value.abs() < 1e-6, "{value}");
            assert!(gradient.iter().all(|entry| entry.abs() < 1e-6));
        }
    }

    #[test]
    fn invariances() {
        let (student, teacher) = (testing::noise(12, 4.0, 7), testing::noise(12, 4.0, 8));
        let plain = divergences(&student, &teacher, 4, 3.0);
        let shift = |values: &[f64], by: f64| values.iter().map(|v| v + by).collect::<Vec<_>>();
        testing::assert_close(
            &plain,
            &divergences(&shift(&student, 1000.0), &shift(&teacher, -500.0), 4, 3.0),
            2e-3,
        );
        let reverse = |values: &[f64]| -> Vec<f64> {
            values
                .chunks(4)
                .flat_map(|row| row.iter().rev().copied().collect::<Vec<_>>())
                .collect()
        };
        testing::assert_close(
            &plain,
            &divergences(&reverse(&student), &reverse(&teacher), 4, 3.0),
            1e-5,
        );
        let roll = |values: &[f64]| [&values[4..], &values[..4]].concat();
        let rolled = divergences(&roll(&student), &roll(&teacher), 4, 3.0);
        testing::assert_close(&plain, &[rolled[2], rolled[0], rolled[1]], 1e-6);
    }

    #[test]
    fn extreme_and_impossible_classes_stay_finite() {
        for scale in [50.0, 100.0, 10_000.0] {
            let student: Vec<f64> = testing::noise(20, scale, 9);
            let teacher: Vec<f64> = testing::noise(20, scale, 10);
            let (value, gradient) =
                testing::differentiate(&student, 10, Precision::Single, |student| {
                    divergence(student, &soften(&teacher, 10, 1.0, student))
                        .unwrap()
                        .mean()
                });
            assert!(value.is_finite() && gradient.iter().all(|entry| entry.is_finite()));
        }
        let device = Device::default().autodiff();
        let masked = [[0.0, f32::NEG_INFINITY, 1.0]];
        let target = Logits::new(Tensor::from_floats(masked, &device.clone().inner()))
            .unwrap()
            .log_probabilities(Temperature::ONE);
        let scores = Tensor::<2>::from_floats(masked, &device).require_grad();
        let row = divergence(&Logits::new(scores.clone()).unwrap(), &target).unwrap();
        let gradients = row.sum().backward();
        let gradient = scores
            .grad(&gradients)
            .unwrap()
            .to_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert!(
            gradient.iter().all(|entry| entry.abs() < 1e-6),
            "{gradient:?}"
        );
    }

    #[test]
    fn no_gradient_reaches_the_teacher() {
        let device = Device::default().autodiff();
        let teacher = Tensor::<2>::from_floats([[1.0, 2.0]], &device).require_grad();
        let student = Tensor::<2>::from_floats([[2.0, 0.0]], &device).require_grad();
        let target = Logits::new(teacher.clone())
            .unwrap()
            .log_probabilities(Temperature::ONE);
        let gradients = divergence(&Logits::new(student.clone()).unwrap(), &target)
            .unwrap()
            .sum()
            .backward();
        assert!(student.grad(&gradients).is_some());
        assert!(teacher.grad(&gradients).is_none());
    }

    #[test]
    fn wrong_shapes_are_errors() {
        let student = testing::logits(&[0.0; 6], 3, Precision::Single, &Device::default());
        let target = soften(&[0.0; 8], 4, 1.0, &student);
        assert_eq!(
            divergence(&student, &target).unwrap_err().to_string(),
            "soft targets, teacher: expected [2, 3] as the student's logits, got [2, 4]"
        );
        assert!(cross_entropy(&student, &target).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn kernel_and_operations_agree(
            batch in 1usize..9,
            classes in prop_oneof![1usize..40, 90usize..120],
            temperature in prop::sample::select(vec![0.5, 1.0, 4.0, 20.0]),
            masked: bool,
            entropy: bool,
            seed in 0u64..1 << 40,
        ) {
            let form = if entropy { SoftTarget::CrossEntropy } else { SoftTarget::Divergence };
            let mut student = testing::noise(batch * classes, 8.0, seed);
            let mut teacher = testing::noise(batch * classes, 8.0, seed + 1);
            let weights = testing::noise(batch, 1.0, seed + 2);
            // Classes that neither knows of, but never all.
            for index in (0..batch * classes).filter(|index| masked && index % classes % 3 == 1) {
                student[index] = f64::NEG_INFINITY;
                teacher[index] = f64::NEG_INFINITY;
            }
            let device = Device::default().autodiff();
            let weights = testing::tensor(&weights, batch, Precision::Single, &device);
            let differentiate = |path: fn(SoftTarget, &Logits, &LogProbs) -> Tensor<1>| {
                let leaf = testing::tensor(&student, classes, Precision::Single, &device);
                let leaf = leaf.require_grad();
                let logits = Logits::new(leaf.clone()).unwrap();
                let target = soften(&teacher, classes, temperature, &logits);
                let rows = path(form, &logits, &target);
                let gradients = (rows.clone() * weights.clone().reshape([batch])).sum().backward();
                (testing::values(&rows), testing::matrix_values(&leaf.grad(&gradients).unwrap()))
            };
            let (fast, slow) = (differentiate(by_kernel), differentiate(by_operations));
            testing::assert_close(&fast.0, &slow.0, 1e-5);
            let largest = slow.1.iter().fold(0.0_f64, |most, slope| most.max(slope.abs()));
            testing::assert_close(&fast.1, &slow.1, 1e-4 * largest + 1e-7);
        }
    }

    #[test]
    fn what_is_not_a_number_surfaces_on_both_paths() {
        let device = Device::default();
        let plain = [0.5, 1.0, -1.0];
        for at in 0..3 {
            let mut odd = plain;
            odd[at] = f64::NAN;
            for (student, teacher) in [(odd, plain), (plain, odd)] {
                let student = testing::logits(&student, 3, Precision::Single, &device);
                let target = soften(&teacher, 3, 2.0, &student);
                for path in [by_kernel, by_operations] {
                    let rows = path(SoftTarget::Divergence, &student, &target);
                    assert!(testing::values(&rows)[0].is_nan());
                }
            }
        }
    }
}
