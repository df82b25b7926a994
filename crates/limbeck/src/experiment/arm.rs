//! One training of an experiment, measured.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use limbeck_graph::Seed;
use limbeck_graph::cost::Cost;
use limbeck_graph::ir::Graph;
use limbeck_graph::run::CompiledGraph;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::provenance::to_json;
use super::{Experiment, Observer, SPLIT_SEED};
use crate::data::{Dataset, Loader, LoaderSettings, Splits, View};
use crate::eval::{self, Latency, Predictions};
use crate::method::MethodSettings;
use crate::model::{
    BatchNormMode, Beginning, OnnxModel, Rows, STUDENT_ONNX, write_onnx, write_parity,
};
use crate::recipe::{ModelPlan, ModelSource};
use crate::report::ArmRun;
use crate::teacher::Teacher;
use crate::train::{BatchSource, Event, Progress, RunDirectory, TrainSettings, Trainer};
use crate::{Error, Result, files};

/// Rows per batch of an evaluation.
const EVALUATION_BATCH: usize = 250;

/// A network after its training, with what the report says of it.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub run: ArmRun,
    pub cost: Cost,
    pub file_bytes: u64,
    pub latency: Option<Latency>,
    pub directory: PathBuf,
    pub predictions: Predictions,
}

/// What one training needs.
pub(super) struct Training<'a> {
    pub graph: &'a Graph,
    pub model: &'a ModelPlan,
    /// Whether what is trained is drawn from the seed, although the model has weights.
    pub fresh: bool,
    pub batch_norm: BatchNormMode,
    pub seed: Seed,
    pub method: &'a MethodSettings,
    pub settings: &'a TrainSettings,
    pub splits: &'a Splits,
    pub directory: PathBuf,
    /// Whether its latency is measured: once per network is enough.
    pub timed: bool,
}

/// `result.json`: a training that is over and is not repeated on resume.
#[derive(Serialize, Deserialize)]
struct Finished {
    run: ArmRun,
    latency: Option<Latency>,
}

impl Experiment<'_, '_> {
    /// Trains a network and measures it on the test split, or reads what an earlier process has finished.
    pub(super) fn train(
        &mut self,
        training: &Training<'_>,
        teacher: Option<&dyn Teacher>,
    ) -> Result<Measured> {
        let directory = &training.directory;
        if let Some(measured) = self.finished(training)? {
            return Ok(measured);
        }
        let plan = json!({
            "experiment": self.provenance.to_json()?,
            "arch": training.model.name(),
            "seed": training.seed,
            "method": to_json(training.method)?,
            "train": to_json(training.settings)?,
        });
        let run = if directory == self.top.path() {
            Arc::clone(&self.top)
        } else {
            let resume = self.settings.resume;
            Arc::new(super::open_directory(directory, resume, self.plan, &plan)?)
        };
        let begun = Instant::now();
        let student = self.train_in(&run, training, teacher)?;
        let seconds = begun.elapsed().as_secs_f64();
        self.export(training, &student)?;

        let evaluated = self.evaluation_loader(training.splits)?;
        let predictions = eval::predict(&student, evaluated.epoch(0, 0), &self.device)?;
        predictions.save(&directory.join("predictions.safetensors"))?;
        let shape = training.splits.train.info().shape;
        let latency = training
            .timed
            .then(|| eval::latency(&student, shape, &self.device))
            .transpose()?;
        let finished = Finished {
            run: ArmRun {
                seed: Some(training.seed.value()),
                metrics: predictions.metrics()?,
                seconds,
                directory: self.relative(directory),
                agreement: None,
            },
            latency,
        };
        files::write_atomic(
            &directory.join("result.json"),
            format!("{:#}\n", to_json(&finished)?).as_bytes(),
        )?;
        self.measured(training, finished, predictions)
    }

    fn train_in(
        &mut self,
        run: &RunDirectory,
        training: &Training<'_>,
        teacher: Option<&dyn Teacher>,
    ) -> Result<CompiledGraph> {
        let splits = training.splits;
        let beginning = Beginning {
            given: training.model.given(training.graph)?,
            fresh: training.fresh,
            batch_norm: training.batch_norm,
        };
        let student = beginning.compile(training.graph, training.seed, &self.device)?;
        let train = Loader::new(
            Arc::clone(&splits.train),
            LoaderSettings {
                batch: training.settings.batch,
                seed: training.seed,
                view: splits.view.clone(),
                normalization: splits.normalization.clone(),
                shuffle: true,
                drop_last: true,
                ..LoaderSettings::default()
            },
        )?;
        let plain = |set: &Option<Arc<dyn Dataset>>| {
            set.as_ref()
                .map(|set| plain_loader(set, splits))
                .transpose()
        };
        let mut method = training.method.build();
        let (validation, test) = (plain(&splits.validation)?, plain(&splits.test)?);
        let unaugmented = plain_loader(&splits.train, splits)?;
        let outcome = Trainer {
            student,
            teacher,
            method: method.as_mut(),
            train: &train,
            unaugmented: Some(&unaugmented),
            validation: validation.as_ref().map(|loader| loader as &dyn BatchSource),
            test: test.as_ref().map(|loader| loader as &dyn BatchSource),
            settings: training.settings,
            seed: training.seed,
            device: self.device.clone(),
            run,
            metadata: metadata(training),
            interrupt: Arc::clone(&self.settings.interrupt),
            progress: &mut Forward(self.settings.observer),
        }
        .run()?;
        Ok(outcome.student)
    }

    /// What `training` gave, if an earlier process has finished it.
    fn finished(&self, training: &Training<'_>) -> Result<Option<Measured>> {
        let path = training.directory.join("result.json");
        let whole = path.is_file() && training.directory.join(STUDENT_ONNX).is_file();
        if !self.settings.resume || !whole {
            return Ok(None);
        }
        let bytes = std::fs::read(&path).map_err(|source| Error::read(&path, source))?;
        let finished = serde_json::from_slice(&bytes)
            .map_err(|error| Error::format(&path, "result", error.to_string()))?;
        let predictions = Predictions::read(&training.directory.join("predictions.safetensors"))?;
        self.measured(training, finished, predictions).map(Some)
    }

    fn measured(
        &self,
        training: &Training<'_>,
        finished: Finished,
        predictions: Predictions,
    ) -> Result<Measured> {
        let file = training.directory.join("student.safetensors");
        let file_bytes = std::fs::metadata(&file)
            .map_err(|source| Error::read(&file, source))?
            .len();
        Ok(Measured {
            run: finished.run,
            cost: Cost::of(training.graph)?,
            file_bytes,
            latency: finished.latency,
            directory: training.directory.clone(),
            predictions,
        })
    }

    /// The rows that networks are measured on: the test split, or where there is none the rows held back
    /// from training, or else the training rows.
    pub(super) fn evaluation_loader(&self, splits: &Splits) -> Result<Loader> {
        plain_loader(evaluation_rows(splits), splits)
    }

    /// Writes the trained student as ONNX, and holds an independent runtime to the same answers on real rows.
    fn export(&self, training: &Training<'_>, student: &CompiledGraph) -> Result<()> {
        let path = training.directory.join(STUDENT_ONNX);
        let metadata = metadata(training);
        let source = training.model.onnx().and_then(OnnxModel::imported);
        write_onnx(source, training.graph, &student.weights(), &metadata, &path)?;
        let rows = Rows {
            set: evaluation_rows(training.splits),
            normalization: &training.splits.normalization,
        };
        let parity = rows.compare(student, &path)?;
        write_parity(&path, &parity)?;
        parity.check(&path)
    }

    fn relative(&self, directory: &Path) -> Option<PathBuf> {
        directory
            .strip_prefix(self.settings.out)
            .ok()
            .map(Path::to_owned)
    }
}

fn evaluation_rows(splits: &Splits) -> &Arc<dyn Dataset> {
    let held_out = splits.test.as_ref().or(splits.validation.as_ref());
    held_out.unwrap_or(&splits.train)
}

/// What a student's file says of itself, so that it can be used without its run directory.
fn metadata(training: &Training<'_>) -> BTreeMap<String, String> {
    let info = training.splits.train.info();
    let (key, network) = match &training.model.source {
        ModelSource::Arch(arch) => ("arch", arch.as_str()),
        // The graph is in the file beside it.
        ModelSource::Model(_) => ("model", STUDENT_ONNX),
    };
    let mut metadata = BTreeMap::from([
        ("format".to_owned(), "pt".to_owned()),
        (key.to_owned(), network.to_owned()),
        ("classes".to_owned(), info.classes.len().to_string()),
        (
            "input".to_owned(),
            info.shape.map(|side| side.to_string()).join("x"),
        ),
    ]);
    metadata.extend(training.splits.normalization.to_metadata());
    metadata
}

/// An observer as the trainer knows it.
struct Forward<'a, 'b>(&'a mut (dyn Observer + 'b));

impl Progress for Forward<'_, '_> {
    fn event(&mut self, event: Event<'_>) {
        self.0.event(event);
    }
}

/// Rows in the set's order, normalised and otherwise unchanged.
fn plain_loader(set: &Arc<dyn Dataset>, splits: &Splits) -> Result<Loader> {
    Loader::new(
        Arc::clone(set),
        LoaderSettings {
            batch: EVALUATION_BATCH,
            seed: SPLIT_SEED,
            view: View::none(),
            normalization: splits.normalization.clone(),
            ..LoaderSettings::default()
        },
    )
}
