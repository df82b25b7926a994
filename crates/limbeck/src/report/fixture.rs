//! Experiments as they could have been, for tests: scores are drawn from a seed, and everything else
//! is counted from the scores.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Arm, ArmRun, DataSummary, MethodSummary, Picture, Role, Summary};
use crate::eval::{Accumulator, Latency, Metrics, Quantiles};

/// An arm with nothing but accuracies.
pub(super) fn arm(role: Role, label: &str, accuracies: &[(u64, f64)]) -> Arm {
    let run = |(seed, top1): &(u64, f64)| ArmRun {
        seed: Some(*seed),
        metrics: Metrics {
            top1: *top1,
            top5: None,
            nll: 1.0 - top1,
            ece: 0.02,
            brier: 0.1,
            count: 1000,
            per_class: Vec::new(),
            confusion: Vec::new(),
            reliability: Vec::new(),
        },
        seconds: 1.0,
        directory: None,
        agreement: None,
    };
    Arm {
        role,
        label: label.to_owned(),
        architecture: "mlp-10".to_owned(),
        parameters: 1000,
        multiply_adds: Some(1000),
        file_bytes: 4000,
        latency: None,
        runs: accuracies.iter().map(run).collect(),
    }
}

/// A small source of numbers that never changes (`SplitMix64`; Steele, Lea and Flood, 2014).
struct Numbers(u64);

impl Numbers {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// What kind of experiment to make up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) classes: usize,
    pub(super) rows: usize,
    pub(super) seeds: u64,
    pub(super) epochs: u64,
    pub(super) channels: usize,
    /// How much distillation adds to the student's strength.
    pub(super) gain: f64,
}

impl Sample {
    pub(super) const TEN: Self = Self {
        classes: 10,
        rows: 2000,
        seeds: 3,
        epochs: 30,
        channels: 1,
        gain: 0.3,
    };
    pub(super) const HUNDRED: Self = Self {
        classes: 100,
        rows: 4000,
        seeds: 5,
        epochs: 60,
        channels: 3,
        gain: -0.1,
    };

    /// Writes run directories below `directory` and returns what belongs to them.
    pub(super) fn write(&self, directory: &Path) -> (Summary, Vec<Picture>) {
        let teacher = self.arm(directory, Role::Teacher, "teacher", 5.2, 1.15);
        let alone = self.arm(directory, Role::Alone, "student alone", 4.0, 1.3);
        let distilled = self.arm(
            directory,
            Role::Distilled,
            "student distilled",
            4.0 + self.gain,
            0.95,
        );
        let summary = Summary {
            name: if self.classes == 10 {
                "fashion, first student"
            } else {
                "a hundred classes"
            }
            .to_owned(),
            created: "2026-11-22T10:15:30Z".to_owned(),
            limbeck_version: "0.1.0".to_owned(),
            device: "cpu".to_owned(),
            threads: 2,
            data: DataSummary {
                name: if self.classes == 10 {
                    "fashion-mnist"
                } else {
                    "hundred"
                }
                .to_owned(),
                origin: "made up for a test".to_owned(),
                train_rows: 54_000,
                validation_rows: 6000,
                test_rows: self.rows as u64,
                classes: self.names(),
                shape: [self.channels, 28, 28],
            },
            method: MethodSummary {
                name: "soft-targets".to_owned(),
                paper:
                    "Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015"
                        .to_owned(),
                settings: json!({
                    "temperature": 4.0,
                    "weights": { "soft": 0.9, "labels": 0.1 },
                    "optimiser": "sgd",
                }),
            },
            arms: vec![teacher, alone, distilled],
            warnings: Vec::new(),
            commands: vec!["limbeck run recipes/soft-targets.toml --seeds 0,1,2".to_owned()],
            hashes: BTreeMap::from([(
                "recipe.toml".to_owned(),
                "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
                    .to_owned(),
            )]),
            versions: BTreeMap::from([("burn".to_owned(), "0.22.1".to_owned())]),
        };
        (summary, self.pictures())
    }

    fn names(&self) -> Vec<String> {
        let ten = [
            "t-shirt/top",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ];
        if self.classes == 10 {
            return ten.map(str::to_owned).to_vec();
        }
        (0..self.classes)
            .map(|class| format!("class {class:02}"))
            .collect()
    }

    fn arm(&self, directory: &Path, role: Role, label: &str, strength: f64, loud: f64) -> Arm {
        let seeds = if role == Role::Teacher { 1 } else { self.seeds };
        let size = if role == Role::Teacher {
            272_474
        } else {
            78_042
        };
        let milliseconds = if role == Role::Teacher { 4.1 } else { 1.32 };
        let quantiles = |median: f64| Quantiles {
            p10: 0.94 * median,
            median,
            p90: 1.11 * median,
        };
        Arm {
            role,
            label: label.to_owned(),
            architecture: if role == Role::Teacher {
                "resnet-20"
            } else {
                "resnet-8"
            }
            .to_owned(),
            parameters: size,
            multiply_adds: Some(150 * size),
            file_bytes: 4 * size + 4312,
            latency: Some(Latency {
                batch1_ms: quantiles(milliseconds),
                batch64_ms: quantiles(41.0 * milliseconds),
            }),
            runs: (0..seeds)
                .map(|seed| self.run(directory, role, label, seed, strength, loud))
                .collect(),
        }
    }

    fn run(
        &self,
        directory: &Path,
        role: Role,
        label: &str,
        seed: u64,
        strength: f64,
        loud: f64,
    ) -> ArmRun {
        let folder = PathBuf::from("runs").join(format!("{}-{seed}", label.replace(' ', "-")));
        fs::create_dir_all(directory.join(&folder)).unwrap();
        let mut numbers = Numbers(1000 * seed + role as u64);
        let strength = strength + 0.06 * numbers.normal();
        let labels: Vec<usize> = (0..self.rows).map(|row| row % self.classes).collect();
        let scores: Vec<Vec<f64>> = labels
            .iter()
            .map(|label| self.scores(*label, strength, loud, &mut numbers))
            .collect();
        let metrics = self.metrics(&labels, &scores);
        self.write_log(&directory.join(&folder), metrics.top1, &mut numbers);
        ArmRun {
            seed: Some(seed),
            agreement: (role != Role::Teacher).then_some(metrics.top1 + 0.01),
            metrics,
            seconds: if role == Role::Teacher {
                912.0
            } else {
                341.5 + seed as f64
            },
            directory: Some(folder),
        }
    }

    /// Scores of one row: the true class, two classes that resemble it, and noise.
    fn scores(&self, label: usize, strength: f64, loud: f64, numbers: &mut Numbers) -> Vec<f64> {
        let hard = 1.0 + 0.8 * ((label * 7 % 10) as f64 / 10.0);
        (0..self.classes)
            .map(|class| {
                let distance = (class + self.classes - label) % self.classes;
                let likeness = match distance {
                    0 => strength,
                    2 => 0.45 * strength,
                    5 => 0.3 * strength,
                    _ => 0.0,
                };
                loud * (likeness + hard * numbers.normal())
            })
            .collect()
    }

    fn metrics(&self, labels: &[usize], scores: &[Vec<f64>]) -> Metrics {
        let logits: Vec<f32> = scores.iter().flatten().map(|score| *score as f32).collect();
        let labels: Vec<u32> = labels.iter().map(|label| *label as u32).collect();
        let mut accumulator = Accumulator::new(self.classes);
        accumulator.add(&logits, &labels).unwrap();
        accumulator.metrics().unwrap()
    }

    fn write_log(&self, folder: &Path, end: f64, numbers: &mut Numbers) {
        let chance = 1.0 / self.classes as f64;
        let mut log = String::new();
        for epoch in 0..self.epochs {
            let progress = (epoch + 1) as f64 / self.epochs as f64;
            let settled = 1.0 - (-6.0 * progress).exp();
            for step in 1..=10 {
                let loss = 0.3 + (1.9 - 1.7 * settled) * (1.0 + 0.1 * numbers.normal());
                let step = epoch * 10 + step;
                let line = json!({ "kind": "step", "step": step, "epoch": epoch, "loss": loss });
                writeln!(log, "{line}").unwrap();
            }
            let shaky = 0.012 * (1.0 - progress) * numbers.normal();
            let top1 = chance + (end - chance) * settled + shaky;
            let line = json!({
                "kind": "evaluation", "step": (epoch + 1) * 10, "epoch": epoch, "split": "test",
                "top1": top1.clamp(0.0, 1.0), "nll": 1.0 - settled, "count": self.rows,
            });
            writeln!(log, "{line}").unwrap();
        }
        fs::write(folder.join("log.jsonl"), log).unwrap();
    }

    fn pictures(&self) -> Vec<Picture> {
        let mut numbers = Numbers(77);
        (0..3 * self.classes.min(12))
            .map(|place| {
                let label = place % self.classes;
                let soft = |row: &[f64]| -> Vec<f32> {
                    let row: Vec<f64> = row.iter().map(|score| score / 4.0).collect();
                    softmax(&row)
                        .into_iter()
                        .map(|share| share as f32)
                        .collect()
                };
                let teacher = self.scores(label, 8.0, 1.1, &mut numbers);
                let student: Vec<f64> = teacher
                    .iter()
                    .map(|score| 0.9 * score + 0.5 * numbers.normal())
                    .collect();
                Picture {
                    id: 31 * place as u64 + 5,
                    height: 28,
                    width: 28,
                    channels: self.channels,
                    pixels: self.pixels(label),
                    label: Some(label as u32),
                    teacher: soft(&teacher),
                    student: soft(&student),
                }
            })
            .collect()
    }

    /// A star with as many points as the class's number, plus two.
    fn pixels(&self, label: usize) -> Vec<u8> {
        let mut pixels = Vec::new();
        for place in 0..28 * 28 {
            let (y, x) = ((place / 28) as f64 - 13.5, (place % 28) as f64 - 13.5);
            let edge = 9.0 + 3.5 * ((label % 12 + 2) as f64 * y.atan2(x)).cos();
            let light = (edge - x.hypot(y) + 0.5).clamp(0.0, 1.0);
            for channel in 0..self.channels {
                pixels.push((light * (255.0 - 70.0 * (channel * (label % 3)) as f64)) as u8);
            }
        }
        pixels
    }
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = row.iter().map(|score| (score - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}
