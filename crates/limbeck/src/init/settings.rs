//! Optimiser, learning rate, epochs and batch of a proposal.

use serde::Serialize;

/// Images per training that are enough for a small network from scratch: fifteen epochs of CIFAR-10.
const IMAGES: usize = 750_000;

/// Multiply-adds of a training's forward passes that are a matter of minutes on a few cores.
const MULTIPLY_ADDS: f64 = 5e13;

/// What the settings depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    /// Training rows.
    pub(super) rows: usize,
    /// `[channels, height, width]`.
    pub(super) shape: [usize; 3],
    /// The student's, for one image.
    pub(super) multiply_adds: usize,
    /// Whether it starts from scratch.
    pub(super) fresh: bool,
    /// Whether it has batch norms.
    pub(super) batch_norms: bool,
}

/// How a student is trained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Training {
    /// Passes over the rows.
    pub epochs: usize,
    /// Rows per batch.
    pub batch: usize,
    /// The update rule.
    pub optimizer: Optimizer,
    /// Its rate at the highest.
    pub learning_rate: f64,
    /// Its weight decay.
    pub weight_decay: f64,
    /// Epochs of linear rise.
    pub warmup: usize,
    /// Random changes of the images.
    pub augment: Vec<&'static str>,
    /// Softens teacher and student.
    pub temperature: f64,
    /// The weight of the soft targets beside the labels.
    pub alpha: f64,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Whether the student starts from scratch.
    pub fresh: bool,
}

/// The update rule of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// With Nesterov's momentum.
    Sgd,
    /// With weight decay apart from the gradient.
    AdamW,
}

impl Training {
    /// What is known to work for networks of this kind.
    pub(super) fn propose(situation: &Situation) -> Self {
        let Situation {
            rows,
            shape,
            multiply_adds,
            fresh,
            batch_norms,
        } = *situation;
        let batch = match rows {
            0..2_000 => 32,
            2_000..8_000 => 64,
            _ => 128,
        }
        .min(rows.max(1));
        let by_images = IMAGES / rows.max(1);
        let by_cost = MULTIPLY_ADDS / (multiply_adds.max(1) as f64 * rows.max(1) as f64);
        let enough = by_images.clamp(10, 60).min(by_cost as usize).max(5);
        // A student that was trained before needs to follow the teacher, not to learn to see.
        let epochs = if fresh { enough } else { (enough / 3).max(3) };
        let optimizer = if batch_norms {
            Optimizer::Sgd
        } else {
            Optimizer::AdamW
        };
        let (full, weight_decay) = match optimizer {
            Optimizer::Sgd => (0.05, 5e-4),
            Optimizer::AdamW => (1e-3, 0.01),
        };
        Self {
            epochs,
            batch,
            optimizer,
            learning_rate: if fresh { full } else { full / 5.0 },
            weight_decay,
            warmup: usize::from(fresh && epochs > 5),
            augment: match shape {
                [3, height, _] if height >= 16 => vec!["crop", "flip"],
                // Mirrored letters and digits are other letters, or none.
                [1, ..] => vec!["shift"],
                _ => Vec::new(),
            },
            temperature: 4.0,
            alpha: 0.9,
            seeds: vec![1, 2, 3],
            fresh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIFAR: Situation = Situation {
        rows: 50_000,
        shape: [3, 32, 32],
        multiply_adds: 4_000_000,
        fresh: true,
        batch_norms: true,
    };

    #[test]
    fn settings_follow_from_data_and_student() {
        let training = Training::propose(&CIFAR);
        assert_eq!((training.epochs, training.batch), (15, 128));
        assert_eq!(training.optimizer, Optimizer::Sgd);
        assert_eq!(training.augment, ["crop", "flip"]);
        let trained = Training::propose(&Situation {
            fresh: false,
            ..CIFAR
        });
        assert!(trained.epochs < training.epochs);
        assert!(trained.learning_rate < training.learning_rate);
        let transformer = Training::propose(&Situation {
            batch_norms: false,
            shape: [1, 28, 28],
            ..CIFAR
        });
        assert_eq!(transformer.optimizer, Optimizer::AdamW);
        assert_eq!(transformer.augment, ["shift"]);
    }

    #[test]
    fn extremes_stay_usable() {
        for rows in [1, 10, 1297, 10_000_000] {
            for multiply_adds in [0, 1, 1 << 40] {
                let training = Training::propose(&Situation {
                    rows,
                    multiply_adds,
                    ..CIFAR
                });
                assert!((3..=60).contains(&training.epochs), "{training:?}");
                assert!((1..=rows).contains(&training.batch), "{training:?}");
                assert!(training.warmup < training.epochs);
            }
        }
    }
}
