//! `cargo run -p limbeck --example given_batch -- student.onnx batch.safetensors after.safetensors --steps 3` makes three steps of
//! distillation on a given batch, with given answers of a teacher, and writes the weights and running statistics after them. It takes
//! about a second, and is how one step is compared with another program's (`tests/fixtures/distillation_step.py` does it with PyTorch).
//!
//! The batch file holds
//!
//! | tensor | shape | what |
//! |---|---|---|
//! | `input` | `[batch, channels, height, width]`, or `[steps, ...]` of these | what the network sees, normalised |
//! | `labels` | I64 `[batch]`, or `[steps, batch]` | the classes |
//! | `logits` | `[batch, classes]`, or `[steps, batch, classes]` | what the teacher says |
//!
//! and, as metadata, what the command line does not say: `steps`, `learning_rate`, `momentum`, `nesterov`, `weight_decay`, `temperature`,
//! `soft_weight`, `hard_weight`, each also an option with `-` for `_`. The loss is
//! `soft_weight * mean of T^2 KL(teacher || student) + hard_weight * mean of cross entropy`; the optimiser is SGD as PyTorch has it.
//! The result has the names and shapes of the ONNX file's initialisers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use burn::tensor::Device;
use limbeck::data::{Batch, SampleId};
use limbeck::graph::onnx::{Imported, Model};
use limbeck::graph::weights::{HostTensor, write_safetensors};
use limbeck::graph::{Feature, Inputs, Taps, Trace};
use limbeck::infer::{Given, read_tensors};
use limbeck::loss::Temperature;
use limbeck::method::{MethodSettings, SoftTargetSettings};
use limbeck::model::{Beginning, OnnxModel};
use limbeck::teacher::{Answer, Teacher};
use limbeck::train::{
    BatchSource, Event, OptimizerSettings, RunDirectory, Schedule, TrainSettings, Trainer,
};
use limbeck::{Error, Result, Seed};
use safetensors::SafeTensors;

/// What is given, for every step.
struct GivenBatches {
    shape: [usize; 3],
    steps: usize,
    inputs: Vec<f32>,
    labels: Vec<u32>,
    logits: HostTensor,
}

/// Values that differ from step to step, or are the same for all.
fn of_step<T>(all: &[T], per_step: usize, step: usize) -> &[T] {
    match all.len() == per_step {
        true => all,
        false => &all[step * per_step..][..per_step],
    }
}

impl GivenBatches {
    fn new(mut tensors: BTreeMap<String, Given>, steps: usize) -> Result<Self> {
        let mut take = |name: &str| {
            let missing = || Error::Data(format!("the batch file has no tensor `{name}`"));
            tensors.remove(name).ok_or_else(missing)
        };
        let (Given::Floats(input), Given::Floats(logits), Given::Integers { values: labels, .. }) =
            (take("input")?, take("logits")?, take("labels")?)
        else {
            return Err(Error::Data(
                "expected real numbers in `input` and `logits`, and I64 in `labels`".to_owned(),
            ));
        };
        let [.., batch, channels, height, width] = *input.shape.as_slice() else {
            return Err(Error::Data(format!(
                "`input`: expected [batch, channels, height, width], got {:?}",
                input.shape
            )));
        };
        let [.., rows, classes] = *logits.shape.as_slice() else {
            return Err(Error::Data(format!(
                "`logits`: expected [batch, classes], got {:?}",
                logits.shape
            )));
        };
        let per_step = batch * channels * height * width;
        let lengths = [
            ("input", input.values.len(), per_step),
            ("labels", labels.len(), batch),
            ("logits", logits.values.len(), batch * classes),
        ];
        for (name, got, one) in lengths {
            if rows != batch || one == 0 || (got != one && got < steps * one) {
                return Err(Error::Data(format!(
                    "`{name}`: expected {batch} rows, for one step or for {steps}, got {got} values"
                )));
            }
        }
        let class = |label: i64| {
            u32::try_from(label).map_err(|_| Error::Data(format!("label {label} is no class")))
        };
        Ok(Self {
            shape: [channels, height, width],
            steps,
            inputs: input.values,
            labels: labels.into_iter().map(class).collect::<Result<_>>()?,
            logits: HostTensor::new(vec![batch, classes], logits.values.clone())
                .or_else(|_| HostTensor::new(logits.shape.clone(), logits.values))?,
        })
    }

    /// Rows and classes.
    fn answers(&self) -> [usize; 2] {
        let shape = &self.logits.shape;
        [shape[shape.len() - 2], shape[shape.len() - 1]]
    }
}

impl BatchSource for GivenBatches {
    fn batches_per_epoch(&self) -> usize {
        self.steps
    }

    fn epoch(
        &self,
        epoch: u64,
        first_batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + '_> {
        let [rows, _] = self.answers();
        let per_step = rows * self.shape.iter().product::<usize>();
        Box::new((first_batch..self.steps).map(move |index| {
            Ok(Batch {
                epoch,
                index,
                ids: (0..rows as u64).map(SampleId).collect(),
                inputs: of_step(&self.inputs, per_step, index).to_vec(),
                shape: self.shape,
                labels: Some(of_step(&self.labels, rows, index).to_vec()),
            })
        }))
    }
}

/// A teacher whose answers are written down: it is asked once per step, in order.
struct Written<'a> {
    batches: &'a GivenBatches,
    asked: AtomicUsize,
}

impl Teacher for Written<'_> {
    fn answer(&self, _: &Inputs, _: &Taps) -> Result<Answer> {
        let step = self.asked.fetch_add(1, Ordering::Relaxed);
        let [rows, classes] = self.batches.answers();
        let logits = of_step(&self.batches.logits.values, rows * classes, step).to_vec();
        let output = Feature::from_vec(logits, &[rows, classes], &Device::default())?;
        Ok(Answer::single(Trace {
            output,
            features: BTreeMap::new(),
        }))
    }
}

/// Settings by name, from the command line or the file.
struct Settings(BTreeMap<String, String>);

impl Settings {
    fn number(&self, name: &str, default: f64) -> Result<f64> {
        match self.0.get(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| Error::Data(format!("`{name}`: expected a number, got `{text}`"))),
        }
    }

    fn train(&self) -> Result<TrainSettings> {
        let nesterov = self.0.get("nesterov").is_none_or(|text| text != "false");
        Ok(TrainSettings {
            epochs: 1,
            batch: 1,
            optimizer: OptimizerSettings::Sgd {
                momentum: self.number("momentum", 0.9)?,
                nesterov,
                weight_decay: self.number("weight_decay", 5e-4)?,
                decay_norms_and_biases: true,
            },
            learning_rate: self.number("learning_rate", 0.1)?,
            schedule: Schedule::Constant,
            ..TrainSettings::default()
        })
    }

    fn method(&self) -> Result<MethodSettings> {
        let default = SoftTargetSettings::default();
        Ok(MethodSettings::SoftTargets(SoftTargetSettings {
            temperature: Temperature::new(self.number("temperature", 4.0)?)?,
            soft_weight: self.number("soft_weight", 1.0)?,
            hard_weight: self.number("hard_weight", 0.0)?,
            ..default
        }))
    }
}

/// The weights and running statistics of `model` after the steps that `batch` describes, by the names of its initialisers.
pub(crate) fn steps(
    model: &Path,
    batch: &Path,
    options: BTreeMap<String, String>,
    folder: &Path,
) -> Result<BTreeMap<String, HostTensor>> {
    let mut settings = said(batch)?;
    settings.extend(options);
    let settings = Settings(settings);
    let model = OnnxModel::read(model)?;
    let student = model
        .imported()
        .ok_or_else(|| Error::Data(model.reason().unwrap_or_default().to_owned()))?;
    let steps = settings.number("steps", 1.0)? as usize;
    let batches = GivenBatches::new(read_tensors(batch)?, steps)?;
    let teacher = Written {
        batches: &batches,
        asked: AtomicUsize::new(0),
    };
    let device = Device::default();
    let beginning = Beginning {
        given: Some(student.weights()?),
        ..Beginning::default()
    };
    let run = RunDirectory::create(&folder.join("run"), "", &serde_json::json!({}))?;
    let outcome = Trainer {
        student: beginning.compile(student.graph(), Seed::new(0), &device)?,
        teacher: Some(&teacher),
        method: settings.method()?.build().as_mut(),
        train: &batches,
        unaugmented: None,
        validation: None,
        test: None,
        settings: &settings.train()?,
        seed: Seed::new(0),
        device,
        run: &run,
        metadata: BTreeMap::new(),
        interrupt: Arc::new(AtomicBool::new(false)),
        progress: &mut |event: Event<'_>| {
            if let Event::Step(report) = event {
                eprintln!("step {}: loss {:.6}", report.step, report.loss);
            }
        },
    }
    .run()?;
    initialisers(
        student,
        &outcome.student.weights(),
        &folder.join("after.onnx"),
    )
}

/// The metadata of the batch file.
fn said(path: &Path) -> Result<BTreeMap<String, String>> {
    let bytes = std::fs::read(path)
        .map_err(|error| Error::Data(format!("cannot read `{}`: {error}", path.display())))?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| {
        Error::Data(format!(
            "`{}` is no safetensors file: {error}",
            path.display()
        ))
    })?;
    let metadata = header.metadata().clone().unwrap_or_default();
    Ok(metadata.into_iter().collect())
}

/// Weights as the file has them, which may be transposed or joined against the graph's.
fn initialisers(
    student: &Imported,
    weights: &BTreeMap<String, HostTensor>,
    path: &Path,
) -> Result<BTreeMap<String, HostTensor>> {
    student.write(path, weights)?;
    let written = Model::read(path)?;
    let tensors = written.graph().initialisers.iter();
    tensors
        .filter(|(_, tensor)| tensor.element.is_float() && !tensor.shape.is_empty())
        .map(|(name, tensor)| Ok((name.clone(), tensor.floats()?)))
        .collect()
}

#[allow(dead_code, reason = "a test uses the rest of this file")]
fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut files = Vec::new();
    let mut options = BTreeMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--") {
            Some(name) => {
                let value = arguments
                    .next()
                    .ok_or(format!("`--{name}` needs a value"))?;
                options.insert(name.replace('-', "_"), value);
            }
            None => files.push(argument),
        }
    }
    let [model, batch, out] = files.as_slice() else {
        return Err("expected MODEL.onnx BATCH.safetensors OUT.safetensors [--steps N ...]".into());
    };
    let folder = tempfile::tempdir()?;
    let after = steps(Path::new(model), Path::new(batch), options, folder.path())?;
    write_safetensors(out, &after, &BTreeMap::new())?;
    println!("{} tensors are in {out}", after.len());
    Ok(())
}
