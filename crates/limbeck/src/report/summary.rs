//! What an experiment writes and a report reads: `summary.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::eval::{Latency, Metrics};

/// An experiment's result: the same student trained alone and distilled, beside its teacher.
///
/// Stored as `summary.json` at the top of the experiment's directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The experiment's name.
    pub name: String,
    /// When it finished, RFC 3339.
    pub created: String,
    /// The version that ran it.
    pub limbeck_version: String,
    /// The device it ran on, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Threads used on the CPU.
    pub threads: usize,
    /// The data.
    pub data: DataSummary,
    /// The method of the distilled arm.
    pub method: MethodSummary,
    /// Teacher, student alone, student distilled.
    pub arms: Vec<Arm>,
    /// What the reader should know before trusting the numbers.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Commands that make the experiment again, in order.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Checksums of what went in, by name: recipe, data, teacher.
    #[serde(default)]
    pub hashes: BTreeMap<String, String>,
    /// Versions of other software that mattered, by name.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
}

/// The data of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Its short name.
    pub name: String,
    /// Where it comes from: a path, or the embedded source and its licence.
    pub origin: String,
    /// Rows trained on.
    pub train_rows: u64,
    /// Rows for choosing, such as for early stopping; 0 if there is no such split.
    pub validation_rows: u64,
    /// Rows that the metrics are measured on.
    pub test_rows: u64,
    /// The classes' names, in the order of their numbers.
    pub classes: Vec<String>,
    /// Channels, height and width.
    pub shape: [usize; 3],
}

/// The method of the distilled arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodSummary {
    /// Its name in recipes, such as `soft-targets`.
    pub name: String,
    /// Authors, title and year.
    pub paper: String,
    /// The settings used, defaults included. A number at `temperature` is the
    /// temperature of the soft labels on the picture page.
    pub settings: serde_json::Value,
}

impl MethodSummary {
    /// The temperature of its soft labels, if it has one.
    pub fn temperature(&self) -> Option<f64> {
        self.settings
            .get("temperature")
            .and_then(serde_json::Value::as_f64)
            .filter(|temperature| temperature.is_finite() && *temperature > 0.0)
    }
}

/// What an arm of the experiment stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The network that knows.
    Teacher,
    /// The student trained on the labels only.
    Alone,
    /// The student trained by the method.
    Distilled,
}

/// One network, trained once per seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// What it stands for.
    pub role: Role,
    /// Its name in tables, such as `student distilled`.
    pub label: String,
    /// Its architecture, such as `resnet-20`.
    pub architecture: String,
    /// Trainable values; of a teacher that tract runs all real values of its file.
    pub parameters: u64,
    /// Multiply-adds for one input; none where they cannot be counted, as of a teacher that tract runs.
    #[serde(default)]
    pub multiply_adds: Option<u64>,
    /// Size of its safetensors file.
    pub file_bytes: u64,
    /// Measured time of a forward pass.
    #[serde(default)]
    pub latency: Option<Latency>,
    /// One entry per seed; a teacher given as a checkpoint has one entry without a seed.
    pub runs: Vec<ArmRun>,
}

/// One training of an arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmRun {
    /// Its seed; none for a checkpoint that was given.
    pub seed: Option<u64>,
    /// Its metrics on the test rows.
    pub metrics: Metrics,
    /// Seconds of training; 0 for a checkpoint that was given.
    pub seconds: f64,
    /// Its run directory, relative to the experiment's, with its `log.jsonl`.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Share of test rows on which it answers as the teacher does, 0 to 1.
    #[serde(default)]
    pub agreement: Option<f64>,
}
