//! A small student on the embedded digits, and everything to train it.

#![allow(dead_code, reason = "every test file uses another part")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::Module;
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Initializer, Linear, LinearConfig,
};
use burn::tensor::{Device, Tensor, activation};
use limbeck::data::{
    Amount, Change, Dataset, Loader, LoaderSettings, Split, Subset, View, hold_out,
};
use limbeck::graph::{Inputs, Network, Taps, Trace};
use limbeck::method::{LabelSettings, LabelTraining, Method};
use limbeck::teacher::Teacher;
use limbeck::train::{Event, Outcome, RunDirectory, TrainSettings, Trainer};
use limbeck::{Result, Seed, train};
use rand::RngExt;

/// Linear, batch norm, rectifier, dropout, linear.
#[derive(Module, Debug)]
pub(crate) struct Small {
    hidden: Linear,
    norm: Option<BatchNorm>,
    dropout: Dropout,
    output: Linear,
}

impl Small {
    /// Weights drawn from the seed alone, independent of Burn's process-wide generator.
    pub(crate) fn new(seed: Seed, norm: bool, dropout: f64, device: &Device) -> Self {
        let zeros = |from, to| {
            LinearConfig::new(from, to)
                .with_initializer(Initializer::Zeros)
                .init(device)
        };
        let student = Self {
            hidden: zeros(64, 24),
            norm: norm.then(|| BatchNormConfig::new(24).init(device)),
            dropout: DropoutConfig::new(dropout).init(),
            output: zeros(24, 10),
        };
        let mut weights = train::weights(&student).unwrap();
        for (name, tensor) in &mut weights {
            if name.ends_with(".weight") {
                let mut stream = seed.stream(name, &[]);
                let bound = (3.0 / tensor.shape[0] as f32).sqrt();
                let draw = |value: &mut f32| *value = stream.random_range(-bound..bound);
                tensor.values.iter_mut().for_each(draw);
            }
        }
        train::load(student, &weights).unwrap()
    }
}

impl Network for Small {
    fn forward(&self, inputs: &Inputs, taps: &Taps) -> limbeck::graph::Result<Trace> {
        let images: Tensor<4> = inputs.get_float(Inputs::DEFAULT)?.clone().try_into()?;
        let rows: Tensor<2> = images.flatten(1, 3);
        let mut hidden = self.hidden.forward(rows);
        if let Some(norm) = &self.norm {
            hidden = norm.forward(hidden);
        }
        let hidden = activation::relu(hidden);
        let output = self.output.forward(self.dropout.forward(hidden.clone()));
        let recorded = taps
            .names()
            .iter()
            .map(|name| (name.clone(), hidden.clone().into()));
        Ok(Trace {
            output: output.into(),
            features: recorded.collect(),
        })
    }

    fn tap_names(&self) -> Vec<String> {
        vec!["hidden".to_owned()]
    }
}

/// The digits: rows to learn from, to validate on, to test on.
pub(crate) struct Digits {
    pub(crate) train: Loader,
    pub(crate) unaugmented: Loader,
    pub(crate) validation: Loader,
    pub(crate) test: Loader,
}

impl Digits {
    /// `rows` to learn from in batches of `batch`, with `shift` moved by up to a pixel.
    pub(crate) fn new(rows: usize, batch: usize, shift: bool, seed: Seed) -> Self {
        let all = limbeck::data::open("digits", Split::Train).unwrap();
        let (rest, validation) = hold_out(&all, Amount::Rows(100), seed, "validation").unwrap();
        let train: Arc<dyn Dataset> = Arc::new(Subset::first(Arc::new(rest), rows).unwrap());
        let test = limbeck::data::open("digits", Split::Test).unwrap();
        let loader = |dataset: Arc<dyn Dataset>, learn: bool| {
            let change = Change::Shift {
                vertical: 1,
                horizontal: 1,
            };
            let changes = if learn && shift {
                vec![change]
            } else {
                Vec::new()
            };
            let settings = LoaderSettings {
                batch,
                seed,
                view: View::new(changes).unwrap(),
                shuffle: learn,
                drop_last: false,
                prefetch: 2,
                ..LoaderSettings::default()
            };
            Loader::new(dataset, settings).unwrap()
        };
        Self {
            unaugmented: loader(Arc::clone(&train), false),
            train: loader(train, true),
            validation: loader(Arc::new(validation), false),
            test: loader(test, false),
        }
    }
}

/// A training that can be run in parts.
pub(crate) struct Case {
    pub(crate) settings: TrainSettings,
    pub(crate) seed: u64,
    pub(crate) rows: usize,
    pub(crate) shift: bool,
    pub(crate) norm: bool,
    pub(crate) dropout: f64,
    /// Learns from a teacher if there is one, from labels otherwise.
    pub(crate) teacher: Option<Box<dyn Teacher>>,
    pub(crate) method: fn() -> Box<dyn Method>,
    /// Interrupts after this step.
    pub(crate) stop_after: Option<u64>,
}

impl Case {
    /// Three epochs of label training on 200 rows, seven batches of at most 32 each.
    pub(crate) fn new() -> Self {
        Self {
            settings: TrainSettings {
                epochs: 3,
                batch: 32,
                ..TrainSettings::default()
            },
            seed: 7,
            rows: 200,
            shift: true,
            norm: true,
            dropout: 0.2,
            teacher: None,
            method: || Box::new(LabelTraining::new(LabelSettings::default())),
            stop_after: None,
        }
    }

    pub(crate) fn plan(&self) -> serde_json::Value {
        serde_json::json!({"seed": self.seed, "train": self.settings})
    }

    /// Runs or continues in `path`.
    pub(crate) fn run_in(&self, path: &Path) -> Result<Outcome<Small>> {
        let run = if path.exists() {
            RunDirectory::resume(path, "", &self.plan())?
        } else {
            RunDirectory::create(path, "", &self.plan())?
        };
        self.run(&run)
    }

    pub(crate) fn run(&self, run: &RunDirectory) -> Result<Outcome<Small>> {
        let device = Device::default().autodiff();
        let seed = Seed::new(self.seed);
        self.train(run, Small::new(seed, self.norm, self.dropout, &device))
    }

    /// Trains any student.
    pub(crate) fn train<S: Network>(&self, run: &RunDirectory, student: S) -> Result<Outcome<S>> {
        let seed = Seed::new(self.seed);
        let device = Device::default();
        let data = Digits::new(self.rows, self.settings.batch, self.shift, seed);
        let interrupt = Arc::new(AtomicBool::new(false));
        let mut progress = |event: Event<'_>| {
            if let Event::Step(report) = event
                && Some(report.step) == self.stop_after
            {
                interrupt.store(true, Ordering::Relaxed);
            }
        };
        Trainer {
            student,
            teacher: self.teacher.as_deref(),
            method: &mut *(self.method)(),
            train: &data.train,
            unaugmented: Some(&data.unaugmented),
            validation: Some(&data.validation),
            test: Some(&data.test),
            settings: &self.settings,
            seed,
            device,
            run,
            metadata: std::collections::BTreeMap::new(),
            interrupt: Arc::clone(&interrupt),
            progress: &mut progress,
        }
        .run()
    }
}

/// The bytes of a run's result.
pub(crate) fn result_of(path: &Path) -> Vec<u8> {
    std::fs::read(path.join("student.safetensors")).unwrap()
}

/// The lines of a run's log, with the times taken out; none if there is no log.
pub(crate) fn log_of(path: &Path) -> Vec<serde_json::Value> {
    let Ok(text) = std::fs::read_to_string(path.join("log.jsonl")) else {
        return Vec::new();
    };
    text.lines()
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("seconds");
            line
        })
        .collect()
}
