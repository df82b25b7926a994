//! Losses and optimizer steps.

use limbeck_kernels::loss::{SoftTarget, cross_entropy, log_softmax, soft_targets};
use limbeck_kernels::update::{Adam, Sgd, WeightDecay, adam, sgd};

use crate::{Work, measure, values};

/// Runs them all.
pub(crate) fn run() {
    for (rows, classes) in [(128, 10), (128, 100), (256, 1000)] {
        let (student, teacher) = (values(rows * classes), values(rows * classes));
        let labels: Vec<u32> = (0..rows).map(|row| (row % classes) as u32).collect();
        let (mut losses, mut gradient) = (vec![0.0; rows], vec![0.0; rows * classes]);
        let bytes = |passes: usize| Work::Bytes(4 * rows * classes * passes);
        let mut target = vec![0.0; rows * classes];
        measure(&format!("log-softmax {rows}x{classes}"), bytes(2), || {
            log_softmax(rows, 4.0, &teacher, &mut target);
        });
        measure(&format!("divergence {rows}x{classes}"), bytes(3), || {
            soft_targets(
                SoftTarget::Divergence,
                4.0,
                &student,
                &target,
                &mut losses,
                &mut gradient,
            );
        });
        measure(&format!("cross-entropy {rows}x{classes}"), bytes(2), || {
            cross_entropy(0.1, &student, &labels, &mut losses, &mut gradient);
        });
    }
    let length = 1 << 20;
    let (mut parameter, gradient) = (values(length), values(length));
    let (mut mean, mut square) = (vec![0.0; length], vec![0.0; length]);
    let settings = Sgd {
        learning_rate: 1e-3,
        momentum: 0.9,
        dampening: 0.0,
        weight_decay: 5e-4,
        nesterov: true,
    };
    measure(
        "gradient descent, 1 M parameters",
        Work::Bytes(20 * length),
        || {
            sgd(settings, false, &mut parameter, &gradient, &mut mean);
        },
    );
    let settings = Adam {
        learning_rate: 1e-3,
        betas: [0.9, 0.999],
        epsilon: 1e-8,
        weight_decay: WeightDecay::Decoupled(1e-2),
    };
    measure("AdamW, 1 M parameters", Work::Bytes(28 * length), || {
        adam(
            settings,
            1,
            &mut parameter,
            &gradient,
            &mut mean,
            &mut square,
        );
    });
}
