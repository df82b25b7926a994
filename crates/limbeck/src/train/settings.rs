//! The `[train]` table of a recipe, checked.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::learning_rate::{LearningRate, Schedule};
use crate::recipe::Section;

/// How the student is trained. Every value has passed its check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainSettings {
    /// Passes over the training set.
    pub epochs: u64,
    /// Samples per batch.
    pub batch: usize,
    /// The update rule.
    pub optimizer: OptimizerSettings,
    /// The rate that the schedule scales.
    pub learning_rate: f64,
    /// The schedule's shape.
    pub schedule: Schedule,
    /// Epochs of linear warm-up, also parts of one.
    pub warmup: f64,
    /// The limit put on gradients.
    pub clip: Option<Clip>,
    /// Batches whose gradients are averaged, row by row, for one optimiser step.
    pub accumulate: usize,
    /// The decay of the moving average of the weights. Where it is set, the averaged weights are the ones
    /// that are evaluated and exported.
    pub average: Option<f64>,
    /// Evaluations on the validation split without improvement after which training ends. The best
    /// student by validation accuracy is then the result, not the last.
    pub early_stopping: Option<usize>,
    /// Epochs between evaluations; the last epoch is always evaluated.
    pub evaluate_every: u64,
    /// Steps between checkpoints; at the end of every epoch if `None`.
    pub checkpoint_every: Option<u64>,
    /// Checkpoints kept.
    pub keep_checkpoints: usize,
}

/// An update rule with its constants, in PyTorch's conventions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum OptimizerSettings {
    /// With velocity `v = momentum * v + g + decay * w` the weight moves by `-rate * v`; with Nesterov by
    /// `-rate * (g + decay * w + momentum * v)`. This is Sutskever et al. 2013 as PyTorch writes it: the
    /// rate is outside the velocity, and nothing is dampened.
    Sgd {
        /// The share of the velocity that is kept.
        momentum: f64,
        /// Whether to look ahead along the velocity.
        nesterov: bool,
        /// The penalty that is added to the gradient, times the weight.
        weight_decay: f64,
        /// Whether vectors (norms and biases) decay too.
        decay_norms_and_biases: bool,
    },
    /// Kingma and Ba 2015, algorithm 1; the weight decay is added to the gradient.
    Adam {
        /// The decay of the first and the second moment.
        betas: [f64; 2],
        /// Added to the root of the second moment.
        epsilon: f64,
        /// The penalty that is added to the gradient, times the weight.
        weight_decay: f64,
        /// Whether vectors (norms and biases) decay too.
        decay_norms_and_biases: bool,
    },
    /// Adam with weights that shrink by `rate * decay` apart from the gradient (Loshchilov and Hutter 2019,
    /// algorithm 2).
    AdamW {
        /// The decay of the first and the second moment.
        betas: [f64; 2],
        /// Added to the root of the second moment.
        epsilon: f64,
        /// The share of a weight that is lost per step, times the rate.
        weight_decay: f64,
        /// Whether vectors (norms and biases) decay too.
        decay_norms_and_biases: bool,
    },
}

/// A limit on gradients, before the update rule sees them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clip {
    /// All gradients are scaled together so that their common L2 norm is at most this (Pascanu et al. 2013,
    /// algorithm 1).
    Norm(f64),
    /// Each component is cut to at most this size.
    Value(f64),
}

impl Default for TrainSettings {
    /// SGD with Nesterov momentum and a half cosine, as most recipes of the literature.
    fn default() -> Self {
        Self {
            epochs: 30,
            batch: 64,
            optimizer: OptimizerSettings::Sgd {
                momentum: 0.9,
                nesterov: true,
                weight_decay: 5e-4,
                decay_norms_and_biases: true,
            },
            learning_rate: 0.05,
            schedule: Schedule::Cosine { last: 0.0 },
            warmup: 0.0,
            clip: None,
            accumulate: 1,
            average: None,
            early_stopping: None,
            evaluate_every: 1,
            checkpoint_every: None,
            keep_checkpoints: 2,
        }
    }
}

impl TrainSettings {
    /// Reads the `[train]` table. Mistakes are recorded in the section; the default stands for them.
    pub fn check(section: &mut Section) -> Self {
        let default = Self::default();
        let epochs = section.count_up_to("epochs", default.epochs as usize, 1, MOST_EPOCHS) as u64;
        let (optimizer, rate) = optimizer(section);
        let settings = Self {
            epochs,
            batch: section.count("batch", default.batch, 1),
            optimizer,
            learning_rate: section.number("learning_rate", rate, "a positive number", positive),
            schedule: schedule(section, epochs),
            warmup: 0.0,
            clip: clip(section),
            accumulate: section.count("accumulate", default.accumulate, 1),
            average: typed_number(section, "average", "a number between 0 and 1", |decay| {
                0.0 < decay && decay < 1.0
            }),
            early_stopping: typed_count(section, "early_stopping"),
            evaluate_every: section.count("evaluate_every", 1, 1) as u64,
            checkpoint_every: typed_count(section, "checkpoint_every").map(|steps| steps as u64),
            keep_checkpoints: section.count("keep_checkpoints", default.keep_checkpoints, 1),
        };
        // One-cycle has its own rise, so `warmup` is not a key that it knows.
        if matches!(settings.schedule, Schedule::OneCycle { .. }) {
            return settings;
        }
        let warmup = section.number(
            "warmup",
            0.0,
            &format!("a number of epochs from 0 to below {epochs}"),
            |warmup| (0.0..epochs as f64).contains(&warmup),
        );
        Self { warmup, ..settings }
    }

    /// The learning rate of a training with `steps_per_epoch` optimiser steps per epoch.
    pub fn learning_rates(&self, steps_per_epoch: u64) -> LearningRate {
        LearningRate {
            base: self.learning_rate,
            schedule: self.schedule.clone(),
            warmup: (self.warmup * steps_per_epoch as f64).round() as u64,
            steps: self.epochs * steps_per_epoch,
            steps_per_epoch,
        }
    }

    /// SHA-256, in hexadecimal, of every setting that changes the result; how often checkpoints are
    /// written and how many are kept does not.
    pub fn fingerprint(&self) -> String {
        let result = Self {
            checkpoint_every: None,
            keep_checkpoints: 1,
            ..self.clone()
        };
        let text = serde_json::to_string(&result).expect("settings hold numbers and names only");
        hex(&Sha256::digest(text.as_bytes()))
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn positive(value: f64) -> bool {
    value > 0.0
}

fn not_negative(value: f64) -> bool {
    value >= 0.0
}

/// Steps are counted in 64 bits: this many epochs of any data set fit.
const MOST_EPOCHS: usize = 1_000_000;

/// The number at `name`, if it was typed. The key is known either way, so that a misspelt one finds it.
fn typed_number(
    section: &mut Section,
    name: &str,
    expected: &str,
    accept: impl Fn(f64) -> bool,
) -> Option<f64> {
    let value = section.number(name, f64::NAN, expected, accept);
    (!value.is_nan()).then_some(value)
}

/// The count of at least 1 at `name`, if it was typed.
fn typed_count(section: &mut Section, name: &str) -> Option<usize> {
    let count = section.count(name, 1, 1);
    section.has(name).then_some(count)
}

/// The update rule, and the learning rate that usually goes with it.
fn optimizer(section: &mut Section) -> (OptimizerSettings, f64) {
    let name = section.choice(
        "optimizer",
        &[("sgd", "sgd"), ("adam", "adam"), ("adamw", "adamw")],
        "sgd",
    );
    let usual_decay = match name {
        "sgd" => 5e-4,
        "adamw" => 0.01,
        _ => 0.0,
    };
    let weight_decay = section.number(
        "weight_decay",
        usual_decay,
        "a number of at least 0",
        not_negative,
    );
    let decay_norms_and_biases = section.or("decay_norms_and_biases", true);
    if name == "sgd" {
        let momentum = section.number("momentum", 0.9, "a number from 0 to below 1", |momentum| {
            (0.0..1.0).contains(&momentum)
        });
        let nesterov = section.or("nesterov", momentum > 0.0);
        if nesterov && momentum == 0.0 {
            section.problem("nesterov", "needs a `momentum` above 0");
        }
        let rule = OptimizerSettings::Sgd {
            momentum,
            nesterov,
            weight_decay,
            decay_norms_and_biases,
        };
        return (rule, 0.05);
    }
    let betas = betas(section);
    let epsilon = section.number("epsilon", 1e-8, "a positive number", positive);
    let rule = if name == "adam" {
        OptimizerSettings::Adam {
            betas,
            epsilon,
            weight_decay,
            decay_norms_and_biases,
        }
    } else {
        OptimizerSettings::AdamW {
            betas,
            epsilon,
            weight_decay,
            decay_norms_and_biases,
        }
    };
    (rule, 1e-3)
}

fn betas(section: &mut Section) -> [f64; 2] {
    let usual = [0.9, 0.999];
    match section.optional::<Vec<f64>>("betas") {
        None => usual,
        Some(betas) => match <[f64; 2]>::try_from(betas) {
            Ok(betas) if betas.iter().all(|beta| (0.0..1.0).contains(beta)) => betas,
            _ => {
                section.problem(
                    "betas",
                    "expected two numbers from 0 to below 1, such as [0.9, 0.999]",
                );
                usual
            }
        },
    }
}

fn schedule(section: &mut Section, epochs: u64) -> Schedule {
    let names = ["constant", "step", "cosine", "one-cycle"];
    match section.choice("schedule", &names.map(|name| (name, name)), "cosine") {
        "constant" => Schedule::Constant,
        "step" => Schedule::Step {
            milestones: milestones(section, epochs),
            gamma: section.number("gamma", 0.1, "a number between 0 and 1", |gamma| {
                0.0 < gamma && gamma < 1.0
            }),
        },
        "one-cycle" => Schedule::OneCycle {
            peak: section.number("peak", 0.3, "a number between 0 and 1", |peak| {
                0.0 < peak && peak < 1.0
            }),
            start_divisor: section.number("start_divisor", 25.0, "at least 1", |by| by >= 1.0),
            final_divisor: section.number("final_divisor", 1e4, "at least 1", |by| by >= 1.0),
        },
        _ => Schedule::Cosine {
            last: section.number(
                "final_learning_rate",
                0.0,
                "a number of at least 0",
                not_negative,
            ),
        },
    }
}

/// Typed milestones, or PyTorch-style ones at half and three quarters of the training.
fn milestones(section: &mut Section, epochs: u64) -> Vec<u64> {
    let usual = vec![epochs / 2, epochs * 3 / 4];
    let Some(typed) = section.optional::<Vec<u64>>("milestones") else {
        return usual;
    };
    let ascending = typed.windows(2).all(|pair| pair[0] < pair[1]);
    if typed.is_empty() || !ascending || typed.iter().any(|&at| at == 0 || at >= epochs) {
        let reason = format!(
            "expected ascending epochs between 1 and the last, {epochs} - 1, got {typed:?}"
        );
        section.problem("milestones", reason);
        return usual;
    }
    typed
}

fn clip(section: &mut Section) -> Option<Clip> {
    let mut limit = |name| typed_number(section, name, "a positive number", positive);
    let (norm, value) = (limit("clip_norm"), limit("clip_value"));
    if norm.is_some() && value.is_some() {
        section.problem(
            "clip_value",
            "cannot be combined with `clip_norm`; keep one",
        );
    }
    norm.map(Clip::Norm).or(value.map(Clip::Value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::recipe::Problems;

    fn check(text: &str) -> (TrainSettings, Vec<String>) {
        let problems = Problems::default();
        let mut section = Section::root(text.parse().unwrap(), problems.clone());
        let settings = TrainSettings::check(&mut section);
        section.finish();
        let reasons = problems
            .into_vec()
            .iter()
            .map(ToString::to_string)
            .collect();
        (settings, reasons)
    }

    #[test]
    fn an_empty_table_is_the_default() {
        assert_eq!(check(""), (TrainSettings::default(), vec![]));
    }

    #[test]
    fn every_key_is_read() {
        let (settings, problems) = check(
            r#"
            epochs = 240
            batch = 32
            optimizer = "sgd"
            learning_rate = 0.1
            momentum = 0.8
            nesterov = false
            weight_decay = 1e-4
            decay_norms_and_biases = false
            schedule = "step"
            milestones = [150, 180, 210]
            gamma = 0.2
            warmup = 0.5
            clip_norm = 5
            accumulate = 4
            average = 0.99
            early_stopping = 7
            evaluate_every = 3
            checkpoint_every = 100
            keep_checkpoints = 5
            "#,
        );
        assert_eq!(problems, Vec::<String>::new());
        let expected = TrainSettings {
            epochs: 240,
            batch: 32,
            optimizer: OptimizerSettings::Sgd {
                momentum: 0.8,
                nesterov: false,
                weight_decay: 1e-4,
                decay_norms_and_biases: false,
            },
            learning_rate: 0.1,
            schedule: Schedule::Step {
                milestones: vec![150, 180, 210],
                gamma: 0.2,
            },
            warmup: 0.5,
            clip: Some(Clip::Norm(5.0)),
            accumulate: 4,
            average: Some(0.99),
            early_stopping: Some(7),
            evaluate_every: 3,
            checkpoint_every: Some(100),
            keep_checkpoints: 5,
        };
        assert_eq!(settings, expected);
        assert_eq!(settings.learning_rates(10).warmup, 5);
    }

    #[test]
    fn adam_has_its_own_keys_and_usual_rate() {
        let (settings, problems) =
            check("optimizer = \"adam\"\nbetas = [0.5, 0.9]\nepsilon = 1e-6");
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(settings.learning_rate, 1e-3);
        assert_eq!(
            settings.optimizer,
            OptimizerSettings::Adam {
                betas: [0.5, 0.9],
                epsilon: 1e-6,
                weight_decay: 0.0,
                decay_norms_and_biases: true,
            }
        );
    }

    #[test]
    fn a_key_that_nothing_would_read_is_a_mistake() {
        for (text, key) in [
            ("optimizer = \"adam\"\nmomentum = 0.9", "momentum"),
            ("schedule = \"cosine\"\ngamma = 0.1", "gamma"),
            ("schedule = \"one-cycle\"\nwarmup = 1", "warmup"),
        ] {
            let (_, problems) = check(text);
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(
                problems[0].starts_with(&format!("recipe key `{key}`: is not a known key")),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        for (text, expected) in [
            (
                "epochs = 0",
                "recipe key `epochs`: expected at least 1, got 0",
            ),
            (
                "epochs = 9223372036854775807",
                "recipe key `epochs`: expected at most 1000000, got 9223372036854775807",
            ),
            (
                "learning_rate = 0",
                "recipe key `learning_rate`: expected a positive number, got 0",
            ),
            (
                "momentum = 1.0",
                "recipe key `momentum`: expected a number from 0 to below 1, got 1",
            ),
            (
                "average = 1",
                "recipe key `average`: expected a number between 0 and 1, got 1",
            ),
            (
                "epochs = 4\nwarmup = 4",
                "recipe key `warmup`: expected a number of epochs from 0 to below 4, got 4",
            ),
            (
                "clip_norm = 1\nclip_value = 1",
                "recipe key `clip_value`: cannot be combined with `clip_norm`; keep one",
            ),
            (
                "momentum = 0.0\nnesterov = true",
                "recipe key `nesterov`: needs a `momentum` above 0",
            ),
            (
                "optimizer = \"adamw\"\nbetas = [0.9]",
                "recipe key `betas`: expected two numbers from 0 to below 1, such as [0.9, 0.999]",
            ),
        ] {
            assert_eq!(check(text).1, [expected], "{text}");
        }
        assert!(
            check("epochs = 5\nschedule = \"step\"\nmilestones = [3, 3]").1[0]
                .contains("expected ascending epochs")
        );
    }

    #[test]
    fn the_fingerprint_is_of_what_changes_the_result() {
        let settings = TrainSettings::default();
        let same = TrainSettings {
            checkpoint_every: Some(1),
            keep_checkpoints: 9,
            ..settings.clone()
        };
        let other = TrainSettings {
            learning_rate: 0.06,
            ..settings.clone()
        };
        assert_eq!(settings.fingerprint(), same.fingerprint());
        assert_ne!(settings.fingerprint(), other.fingerprint());
    }
}
