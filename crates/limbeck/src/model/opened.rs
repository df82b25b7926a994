//! Models as commands take them: an ONNX file, a checkpoint, a finished run, a network of the zoo.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use limbeck_graph::ir::{Dim, Graph, WeightKind};
use limbeck_graph::onnx::{Dimension, ValueInfo, ValueKind};
use limbeck_graph::run::CompiledGraph;
use limbeck_graph::tract::TractNetwork;
use limbeck_graph::weights::{self, HostTensor};
use limbeck_graph::{Precision, Seed, zoo};

use super::OnnxModel;
use crate::data::Normalization;
use crate::teacher::{Frozen, Teacher};
use crate::{Error, Result};

/// A file with a model or its weights, read but not yet a network.
#[derive(Debug)]
pub struct ModelFile {
    path: PathBuf,
    /// The graph, where a file brings it along.
    onnx: Option<OnnxModel>,
    /// The weights, where they are in a file of their own.
    tensors: Option<BTreeMap<String, HostTensor>>,
    metadata: BTreeMap<String, String>,
}

/// What is known of a model apart from its file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints<'a> {
    /// The network's name in the zoo.
    pub arch: Option<&'a str>,
    /// `[channels, height, width]` of its images.
    pub shape: Option<[usize; 3]>,
    /// The number of classes.
    pub classes: Option<usize>,
}

impl ModelFile {
    /// Reads the model at `path`: an ONNX file, a checkpoint, or a run directory, whose student is meant.
    ///
    /// # Errors
    /// If there is no such file or it is broken, or a run directory has no student yet.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_sized(path, None)
    }

    /// [`read`](Self::read), with `sizes` (without the batch) for what an ONNX file's first input leaves open.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_sized(path: &Path, sizes: Option<&[usize]>) -> Result<Self> {
        let path = weights_file(path)?;
        if OnnxModel::is_path(&path) {
            let onnx = OnnxModel::read_sized(&path, sizes)?;
            return Ok(Self {
                path,
                metadata: onnx.file().header().metadata.clone(),
                onnx: Some(onnx),
                tensors: None,
            });
        }
        let checkpoint = weights::read_checkpoint(&path)?;
        let onnx = match checkpoint.metadata.get("model") {
            Some(beside) => {
                let name = Path::new(beside).file_name().unwrap_or_default();
                Some(OnnxModel::read(path.with_file_name(name))?)
            }
            None => None,
        };
        Ok(Self {
            path,
            onnx,
            tensors: Some(checkpoint.tensors),
            metadata: checkpoint.metadata,
        })
    }

    /// `[channels, height, width]` of the images it was trained on, if it says so.
    pub fn input(&self) -> Option<[usize; 3]> {
        if let Some(onnx) = &self.onnx {
            return image_of(onnx);
        }
        let sides = self.metadata.get("input")?.split('x');
        let sides: Vec<usize> = sides.map(|side| side.parse().ok()).collect::<Option<_>>()?;
        sides.try_into().ok()
    }

    /// Whether it is or brings an ONNX file.
    pub const fn onnx(&self) -> Option<&OnnxModel> {
        self.onnx.as_ref()
    }

    /// Fits the weights into their network. What the caller does not know is taken from what the file says of itself, and
    /// the number of classes from its classifier.
    ///
    /// # Errors
    /// If nothing says which network it is, or the weights are not its.
    pub fn into_model(self, hints: Hints<'_>) -> Result<Opened> {
        let unfit = |error: limbeck_graph::Error| match error {
            limbeck_graph::Error::Mismatch(_) => {
                Error::Data(format!("`{}`: {error}", self.path.display()))
            }
            other => other.into(),
        };
        let said = |key: &str| self.metadata.get(key).map(String::as_str);
        if let Some(onnx) = self.onnx {
            let tensors = match (self.tensors, onnx.graph()) {
                (Some(tensors), Some(graph)) => {
                    Some(fit(Some(&onnx), graph, tensors).map_err(unfit)?)
                }
                _ => None,
            };
            return Ok(Opened {
                name: onnx.name(),
                graph: onnx.graph().cloned(),
                onnx: Some(onnx),
                tensors,
                metadata: self.metadata,
            });
        }
        let arch = hints.arch.or(said("arch")).ok_or_else(|| {
            Error::Data(format!(
                "`{}` does not say which network it holds; name it with `--arch`, see `limbeck models`",
                self.path.display()
            ))
        })?;
        let shape = hints.shape.or_else(|| self.input()).unwrap_or([3, 32, 32]);
        let tensors = self.tensors.unwrap_or_default();
        let classes = hints
            .classes
            .or_else(|| said("classes").and_then(|text| text.parse().ok()))
            .or_else(|| classes_of(&tensors))
            .unwrap_or(10);
        let graph = zoo::build(arch, shape, classes)?;
        Ok(Opened {
            name: graph.name.clone(),
            tensors: Some(fit(None, &graph, tensors).map_err(unfit)?),
            graph: Some(graph),
            onnx: None,
            metadata: self.metadata,
        })
    }
}

/// A model that can be run.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its name in the zoo, or its file's.
    pub name: String,
    /// The graph; `None` where only tract can run it.
    pub graph: Option<Graph>,
    /// The ONNX file, if it is from one.
    pub onnx: Option<OnnxModel>,
    /// Weights that are not those of the ONNX file.
    tensors: Option<BTreeMap<String, HostTensor>>,
    /// What its file says of itself.
    pub metadata: BTreeMap<String, String>,
}

impl Opened {
    /// A network of the zoo with the weights that `seed` draws.
    ///
    /// # Errors
    /// If there is no such network, or it cannot take such images.
    pub fn zoo(arch: &str, shape: [usize; 3], classes: usize, seed: Seed) -> Result<Self> {
        let graph = zoo::build(arch, shape, classes)?;
        let drawn = graph.compile(seed, &Device::default())?.weights();
        Ok(Self {
            name: arch.to_owned(),
            tensors: Some(drawn),
            graph: Some(graph),
            onnx: None,
            metadata: BTreeMap::new(),
        })
    }

    /// The normalisation that the file names.
    pub fn normalization(&self) -> Option<Normalization> {
        Normalization::from_metadata(&self.metadata)
    }

    /// Its graph, for what only a graph can do.
    ///
    /// # Errors
    /// If an operator of the model cannot be trained, which the error names.
    pub fn trainable(&self) -> Result<&Graph> {
        self.graph.as_ref().ok_or_else(|| {
            let reason = self.onnx.as_ref().and_then(OnnxModel::reason);
            Error::Data(format!(
                "`{}` runs on tract alone: {}",
                self.name,
                reason.unwrap_or("it has no graph")
            ))
        })
    }

    /// Its weights by the names of the graph.
    ///
    /// # Errors
    /// If they cannot be decoded.
    pub fn weights(&self) -> Result<BTreeMap<String, HostTensor>> {
        match (
            &self.tensors,
            self.onnx.as_ref().and_then(OnnxModel::imported),
        ) {
            (Some(tensors), _) => Ok(tensors.clone()),
            (None, Some(imported)) => Ok(imported.weights()?),
            (None, None) => Ok(BTreeMap::new()),
        }
    }

    /// The network on a device.
    ///
    /// # Errors
    /// If the model has no graph, or its weights cannot be decoded.
    pub fn compile(&self, device: &Device) -> Result<CompiledGraph> {
        let graph = self.trainable()?;
        let imported = self.onnx.as_ref().and_then(OnnxModel::imported);
        Ok(match (&self.tensors, imported) {
            (None, Some(imported)) => {
                graph.compile_from(device, |name, _| imported.weight(name))?
            }
            _ => graph
                .compile(Seed::new(0), device)?
                .load(&self.weights()?)?,
        })
    }

    /// The model as one that answers: its graph, or where it has none through tract.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn frozen(&self, device: &Device, precision: Precision) -> Result<Box<dyn Teacher>> {
        match (&self.graph, &self.onnx) {
            (None, Some(onnx)) => {
                let network = TractNetwork::read(onnx.path(), device)?;
                Ok(Box::new(Frozen::in_precision(&network, device, precision)))
            }
            _ => {
                let network = self.compile(device)?;
                Ok(Box::new(Frozen::in_precision(&network, device, precision)))
            }
        }
    }

    /// `[channels, height, width]` of the images it takes, if it takes images of one size.
    pub fn input(&self) -> Option<[usize; 3]> {
        match (&self.onnx, &self.graph) {
            (Some(onnx), _) => image_of(onnx),
            (None, Some(graph)) => image_of_graph(graph),
            (None, None) => None,
        }
    }

    /// The number of values per row of its output, if that is known.
    pub fn classes(&self) -> Option<usize> {
        match (&self.graph, &self.onnx) {
            (Some(graph), _) => {
                let analysis = graph.validate().ok()?;
                analysis
                    .value(graph, graph.outputs.first()?)
                    .ok()?
                    .shape
                    .size(1)
            }
            (None, Some(onnx)) => match dimensions(onnx.file().graph().outputs.first()?)? {
                [_, Dimension::Known(size)] => Some(*size),
                _ => None,
            },
            (None, None) => None,
        }
    }
}

/// Renames a checkpoint's tensors to the graph's weights; constants that it does not name are those of the ONNX file.
///
/// # Errors
/// If they do not fit.
pub fn fit(
    onnx: Option<&OnnxModel>,
    graph: &Graph,
    mut tensors: BTreeMap<String, HostTensor>,
) -> limbeck_graph::Result<BTreeMap<String, HostTensor>> {
    let constant = |name: &String| {
        let spec = graph.weights.get(name);
        spec.is_some_and(|spec| spec.kind == WeightKind::Constant)
    };
    let mut constants = graph.weights.keys().filter(|name| constant(name));
    if let Some(imported) = onnx.and_then(OnnxModel::imported)
        && constants.any(|name| !tensors.contains_key(name))
    {
        let given = imported.weights()?.into_iter();
        for (name, value) in given.filter(|(name, _)| constant(name)) {
            tensors.entry(name).or_insert(value);
        }
    }
    weights::fit(graph, tensors)
}

fn image_of(onnx: &OnnxModel) -> Option<[usize; 3]> {
    if let Some(graph) = onnx.graph() {
        return image_of_graph(graph);
    }
    match dimensions(onnx.file().graph().inputs.first()?)? {
        [
            _,
            Dimension::Known(c),
            Dimension::Known(h),
            Dimension::Known(w),
        ] => Some([*c, *h, *w]),
        _ => None,
    }
}

fn image_of_graph(graph: &Graph) -> Option<[usize; 3]> {
    match graph.inputs.first()?.value.shape.dims() {
        [Dim::Batch, Dim::Fixed(c), Dim::Fixed(h), Dim::Fixed(w)] => Some([*c, *h, *w]),
        _ => None,
    }
}

fn dimensions(value: &ValueInfo) -> Option<&[Dimension]> {
    match &value.kind {
        ValueKind::Tensor { shape, .. } => shape.as_deref(),
        _ => None,
    }
}

/// The number of classes of a checkpoint: the length of the bias of its classifier.
fn classes_of(tensors: &BTreeMap<String, HostTensor>) -> Option<usize> {
    let is_classifier = |name: &str| {
        ["fc.", "linear.", "classifier.", "head."]
            .iter()
            .any(|word| name.contains(word))
    };
    tensors
        .iter()
        .filter(|(name, tensor)| is_classifier(name) && tensor.shape.len() == 2)
        .map(|(_, tensor)| tensor.shape[0])
        .next_back()
}

/// The student file of a run directory, or `path` itself if it is a file.
fn weights_file(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let student = path.join("student.safetensors");
    if student.is_file() {
        return Ok(student);
    }
    Err(Error::RunDirectory {
        path: path.to_owned(),
        reason:
            "has no `student.safetensors`; if its run is not finished, continue it with `--resume`"
                .to_owned(),
    })
}
