//! A recipe proposed from two models and a data set.
//!
//! | file | what |
//! |---|---|
//! | `normalization` | which input normalisation a trained model wants, measured |
//! | `taps` | values of both networks that match by shape |
//! | `settings` | optimiser, rate, epochs and batch |
//! | `recipe` | the proposal as commented TOML |

mod normalization;
mod recipe;
mod settings;
mod taps;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use limbeck_graph::cost::Cost;
use limbeck_graph::ir::{Graph, Op};
use limbeck_graph::{Seed, zoo};
use serde::Serialize;

pub use normalization::{Candidate, Measured, measure};
pub use settings::{Optimizer, Training};
pub use taps::{Pair, pairs};

use crate::data::{
    Amount, DataSettings, Dataset, HeldOut, OpenOptions, Source, Split, Splits, digits, stratified,
};
use crate::model::{Hints, ModelFile, Opened, check_onnx};
use crate::{Error, Result};

/// The most training rows that models are measured on.
const MEASURED_ROWS: usize = 512;

/// A model as the user names it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// An ONNX file, a checkpoint, or a name of the zoo.
    pub model: &'a str,
    /// The network of a checkpoint that does not say it.
    pub arch: Option<&'a str>,
}

/// What a recipe is to be made of.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who knows.
    pub teacher: Asked<'a>,
    /// Who learns.
    pub student: Asked<'a>,
    /// A file, a folder or `digits`.
    pub data: &'a str,
}

/// What a recipe says, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Proposal {
    /// The run's name.
    pub name: String,
    /// The data.
    pub data: DataProposal,
    /// Who knows.
    pub teacher: ModelProposal,
    /// Who learns.
    pub student: ModelProposal,
    /// Whether the student's weights are drawn anew although its file has some.
    pub fresh: bool,
    /// Values that match by shape: the teacher's, the student's.
    pub taps: Vec<Pair>,
    /// How the student is trained.
    pub training: Training,
}

/// The data of a proposal.
#[derive(Clone, Debug, Serialize)]
pub struct DataProposal {
    /// As the user typed it.
    pub path: String,
    /// Training rows.
    pub rows: usize,
    /// Classes.
    pub classes: usize,
    /// `[channels, height, width]`, scaled.
    pub shape: [usize; 3],
    /// The size that images are scaled to, where the models take another than they have.
    pub resize: Option<[usize; 2]>,
    /// The share of rows to hold out, where the data has no test split.
    pub test: Option<f64>,
    /// The share of the most frequent class among the rows that models were measured on.
    pub chance: f64,
    /// The rows that models were measured on.
    pub measured_rows: usize,
}

/// A model of a proposal.
#[derive(Clone, Debug, Serialize)]
pub struct ModelProposal {
    /// What the recipe names.
    pub source: ModelOrigin,
    /// What runs it.
    pub runs_on: &'static str,
    /// Parameters, where they can be counted.
    pub parameters: Option<usize>,
    /// Multiply-adds for one image, where they can be counted.
    pub multiply_adds: Option<usize>,
    /// Its accuracy under each input normalisation, the best first; none for a network without weights.
    pub measured: Vec<Measured>,
}

/// What a recipe names a model by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelOrigin {
    /// A name of the zoo, fresh.
    Arch(String),
    /// An ONNX file.
    Model(PathBuf),
    /// A checkpoint of a network of the zoo.
    Checkpoint {
        /// The network.
        arch: String,
        /// The file.
        weights: PathBuf,
    },
}

impl Proposal {
    /// Reads both models, opens the data and measures what has weights on training rows.
    ///
    /// # Errors
    /// If a model or the data cannot be read, they do not fit each other, or the student cannot be trained.
    pub fn of(request: &Request<'_>) -> Result<Self> {
        let teacher_file = open(request.teacher)?;
        let student_file = open(request.student)?;
        let wanted = agreed(&teacher_file, &student_file)?;
        let (data, splits) = open_data(request.data, wanted)?;
        let info = splits.train.info().clone();
        let classes = info.classes.len();
        let teacher = teacher_file.into_model(request.teacher, info.shape, classes)?;
        let student = student_file.into_model(request.student, info.shape, classes)?;
        let student_graph = student.graph(info.shape, classes)?.ok_or_else(|| {
            let reason = student
                .opened
                .as_ref()
                .and_then(|opened| opened.trainable().err());
            Error::Data(format!(
                "the student cannot be trained: {}; it can be a teacher",
                reason.map_or_else(String::new, |reason| reason.to_string())
            ))
        })?;
        let rows = measured_rows(&splits.train)?;
        let chance = chance(rows.as_ref());
        let candidates = normalization::candidates(&splits.normalization, info.shape[0]);
        let teacher_measured = teacher.measure(&rows, &candidates)?;
        let student_measured = student.measure(&rows, &candidates)?;
        let best = student_measured.first().map_or(0.0, |best| best.accuracy);
        let fresh = best <= near_chance(chance, rows.len());
        let cost = Cost::of(&student_graph)?;
        let teacher_graph = teacher.graph(info.shape, classes)?;
        let taps = match &teacher_graph {
            Some(graph) => pairs(graph, &student_graph)?,
            None => Vec::new(),
        };
        let training = Training::propose(&settings::Situation {
            rows: splits.train.len(),
            shape: info.shape,
            multiply_adds: cost.multiply_adds,
            fresh,
            batch_norms: has_batch_norms(&student_graph),
        });
        let name = recipe::name(&student.stem(), &teacher.stem());
        Ok(Self {
            name,
            data: DataProposal {
                rows: splits.train.len(),
                classes,
                shape: info.shape,
                chance,
                measured_rows: rows.len(),
                ..data
            },
            teacher: teacher.proposal(teacher_graph.as_ref(), teacher_measured)?,
            student: student.proposal(Some(&student_graph), student_measured)?,
            fresh,
            taps,
            training,
        })
    }

    /// The proposal as commented TOML whose relative paths start from `base`.
    pub fn to_toml(&self, base: &Path) -> String {
        recipe::text(self, base)
    }
}

/// A model that is read, before the data is known.
enum Read {
    Zoo(String),
    File(PathBuf, Box<ModelFile>),
}

fn open(asked: Asked<'_>) -> Result<Read> {
    let path = Path::new(asked.model);
    let endings = ["onnx", "safetensors", "pt", "pth"];
    let ending = path.extension().and_then(|ending| ending.to_str());
    if path.exists() || ending.is_some_and(|ending| endings.contains(&ending)) {
        let file = ModelFile::read(path)?;
        return Ok(Read::File(path.to_owned(), Box::new(file)));
    }
    // Only the name is judged; the size is large enough for every network.
    zoo::build(asked.model, [3, 64, 64], 10)?;
    Ok(Read::Zoo(asked.model.to_owned()))
}

/// The image that the models were made for, where one says it.
fn agreed(teacher: &Read, student: &Read) -> Result<Option<[usize; 3]>> {
    let input = |read: &Read| match read {
        Read::Zoo(_) => None,
        Read::File(_, file) => file.input(),
    };
    match (input(teacher), input(student)) {
        (Some(a), Some(b)) if a != b => Err(Error::Data(format!(
            "teacher and student take different images, {a:?} and {b:?}; export one of them for the other's"
        ))),
        (a, b) => Ok(a.or(b)),
    }
}

fn open_data(typed: &str, wanted: Option<[usize; 3]>) -> Result<(DataProposal, Splits)> {
    let source = Source::recognise(Path::new(typed))?;
    let wanted = wanted.map(|[_, height, width]| [height, width]);
    let own = source.open(Split::Train, &OpenOptions::default());
    let resize = match (&own, wanted) {
        (Ok(set), Some(wanted)) => (set.info().shape[1..] != wanted).then_some(wanted),
        // Images of several sizes have to be scaled anyway.
        (Err(_), wanted) => wanted,
        (Ok(_), None) => None,
    };
    let test = (!source.splits().contains(&Split::Test)).then_some(0.2);
    let settings = DataSettings {
        path: Some(typed.to_owned()),
        resize,
        test: test.map(HeldOut::Fraction),
        ..DataSettings::default()
    };
    let splits = settings.open(Path::new(""), Seed::new(0))?;
    let data = DataProposal {
        path: typed.to_owned(),
        rows: 0,
        classes: 0,
        shape: [0; 3],
        resize,
        test,
        chance: 0.0,
        measured_rows: 0,
    };
    Ok((data, splits))
}

fn measured_rows(train: &Arc<dyn Dataset>) -> Result<Arc<dyn Dataset>> {
    if train.len() <= MEASURED_ROWS {
        return Ok(Arc::clone(train));
    }
    let rows = Amount::Rows(MEASURED_ROWS);
    Ok(Arc::new(stratified(train, rows, Seed::new(0), "init")?))
}

/// The share of the most frequent class.
fn chance(rows: &dyn Dataset) -> f64 {
    let mut counts = vec![0_usize; rows.info().classes.len()];
    for label in (0..rows.len()).filter_map(|row| rows.label(row)) {
        if let Some(count) = counts.get_mut(label as usize) {
            *count += 1;
        }
    }
    let largest = counts.into_iter().max().unwrap_or(0);
    largest as f64 / rows.len().max(1) as f64
}

/// What a model that knows nothing hardly exceeds: four standard deviations above chance.
fn near_chance(chance: f64, rows: usize) -> f64 {
    chance + 4.0 * (chance * (1.0 - chance) / rows.max(1) as f64).sqrt()
}

fn has_batch_norms(graph: &Graph) -> bool {
    let mut nodes = graph.nodes.iter();
    nodes.any(|node| matches!(node.op, Op::BatchNorm(_)))
}

/// A model that fits the data.
struct Model {
    origin: ModelOrigin,
    /// `None` for a network of the zoo without weights.
    opened: Option<Opened>,
}

impl Read {
    fn into_model(self, asked: Asked<'_>, shape: [usize; 3], classes: usize) -> Result<Model> {
        let (path, file) = match self {
            Self::Zoo(arch) => {
                return Ok(Model {
                    origin: ModelOrigin::Arch(arch),
                    opened: None,
                });
            }
            Self::File(path, file) => (path, file),
        };
        let opened = file.into_model(Hints {
            arch: asked.arch,
            shape: Some(shape),
            classes: None,
        })?;
        if let Some(onnx) = &opened.onnx {
            check_onnx(onnx, shape, classes)
                .map_err(|reason| Error::Data(format!("`{}`: {reason}", path.display())))?;
        } else if opened.classes().is_some_and(|got| got != classes) {
            return Err(Error::Data(format!(
                "`{}` has {} classes and the data has {classes}; they must agree",
                path.display(),
                opened.classes().unwrap_or_default()
            )));
        }
        let origin = match &opened.onnx {
            Some(onnx) => ModelOrigin::Model(onnx.path().to_owned()),
            None => ModelOrigin::Checkpoint {
                arch: opened.name.clone(),
                weights: match path.is_dir() {
                    true => path.join("student.safetensors"),
                    false => path,
                },
            },
        };
        Ok(Model {
            origin,
            opened: Some(opened),
        })
    }
}

impl Model {
    fn graph(&self, shape: [usize; 3], classes: usize) -> Result<Option<Graph>> {
        match (&self.opened, &self.origin) {
            (Some(opened), _) => Ok(opened.graph.clone()),
            (None, ModelOrigin::Arch(arch)) => Ok(Some(zoo::build(arch, shape, classes)?)),
            (None, _) => Ok(None),
        }
    }

    fn measure(&self, rows: &Arc<dyn Dataset>, candidates: &[Candidate]) -> Result<Vec<Measured>> {
        match &self.opened {
            None => Ok(Vec::new()),
            Some(opened) => measure(opened, rows, candidates, &Device::default()),
        }
    }

    /// What its name begins with, for the run's.
    fn stem(&self) -> String {
        let stem = |path: &Path| {
            let stem = path.file_stem().unwrap_or_default();
            stem.to_string_lossy().into_owned()
        };
        match &self.origin {
            ModelOrigin::Arch(arch) | ModelOrigin::Checkpoint { arch, .. } => arch.clone(),
            ModelOrigin::Model(path) => stem(path),
        }
    }

    fn proposal(&self, graph: Option<&Graph>, measured: Vec<Measured>) -> Result<ModelProposal> {
        let cost = graph.map(Cost::of).transpose()?;
        let onnx = self.opened.as_ref().and_then(|opened| opened.onnx.as_ref());
        Ok(ModelProposal {
            source: self.origin.clone(),
            runs_on: onnx.map_or("limbeck", |onnx| onnx.engine()),
            parameters: cost.as_ref().map(|cost| cost.parameters),
            multiply_adds: cost.as_ref().map(|cost| cost.multiply_adds),
            measured,
        })
    }
}

/// Whether the data is the embedded set, which has no path.
fn is_embedded(path: &str) -> bool {
    path == digits::NAME
}

#[cfg(test)]
mod tests;
