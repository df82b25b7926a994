//! Networks in a recipe: from the zoo or from an ONNX file, with a checkpoint where wanted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use limbeck_graph::ir::Graph;
use limbeck_graph::onnx::Imported;
use limbeck_graph::weights::{self, HostTensor};
use limbeck_graph::zoo;
use serde::Serialize;

use super::Section;
use crate::Result;
use crate::model::{self, OnnxModel};

/// A network: `[student]`, and each member of `[teacher]`.
///
/// | key | meaning | default |
/// |---|---|---|
/// | `arch` | a name of `limbeck models` | required, or `model` |
/// | `model` | an ONNX file, instead of `arch` | |
/// | `weights` | a checkpoint to start from (`.safetensors`, `.pt`, `.pth`) | those of `model`, else fresh weights |
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelPlan {
    /// What it is made from.
    #[serde(flatten)]
    pub source: ModelSource,
    /// A checkpoint to start from.
    pub weights: Option<PathBuf>,
}

/// What a network is made from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelSource {
    /// The network of this name in the zoo.
    Arch(String),
    /// An ONNX file.
    Model(OnnxModel),
}

impl ModelPlan {
    /// A network of the zoo with fresh weights.
    pub fn zoo(arch: &str) -> Self {
        Self {
            source: ModelSource::Arch(arch.to_owned()),
            weights: None,
        }
    }

    /// What it is called: its name in the zoo, or its file's.
    pub fn name(&self) -> String {
        match &self.source {
            ModelSource::Arch(arch) => arch.clone(),
            ModelSource::Model(model) => model.name(),
        }
    }

    /// The ONNX file, if it is one.
    pub const fn onnx(&self) -> Option<&OnnxModel> {
        match &self.source {
            ModelSource::Arch(_) => None,
            ModelSource::Model(model) => Some(model),
        }
    }

    /// Whether its weights are given, by a checkpoint or the model's own file.
    pub const fn is_given(&self) -> bool {
        self.weights.is_some() || self.onnx().is_some()
    }

    /// The graph for images of `shape` and `classes`: an ONNX file's own, whatever the data; `None` where an operator of it cannot be
    /// trained.
    ///
    /// # Errors
    /// If a network of the zoo cannot take such images.
    pub fn graph(&self, shape: [usize; 3], classes: usize) -> Result<Option<Graph>> {
        match &self.source {
            ModelSource::Arch(arch) => Ok(Some(zoo::build(arch, shape, classes)?)),
            ModelSource::Model(model) => Ok(model.graph().cloned()),
        }
    }

    /// The weights that are given for `graph`. Constants that the checkpoint does not name are those of the ONNX file.
    ///
    /// # Errors
    /// If a file cannot be read, or the checkpoint does not fit the graph.
    pub fn given(&self, graph: &Graph) -> Result<Option<BTreeMap<String, HostTensor>>> {
        let imported = self.onnx().and_then(OnnxModel::imported);
        let Some(path) = &self.weights else {
            return Ok(imported.map(Imported::weights).transpose()?);
        };
        Ok(Some(self.fit(graph, weights::read(path)?)?))
    }

    /// Weights of a checkpoint as those of `graph`.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn fit(
        &self,
        graph: &Graph,
        tensors: BTreeMap<String, HostTensor>,
    ) -> Result<BTreeMap<String, HostTensor>> {
        Ok(model::fit(self.onnx(), graph, tensors)?)
    }
}

/// The ONNX files of a recipe, each read once however often it is named.
#[derive(Debug, Default)]
pub(super) struct ModelFiles(BTreeMap<PathBuf, OnnxModel>);

impl ModelFiles {
    /// The model at the section's key `model`; a mistake where it cannot be read.
    fn read(&mut self, section: &Section, folder: &Path, text: &str) -> Option<OnnxModel> {
        let path = folder.join(text);
        if let Some(model) = self.0.get(&path) {
            return Some(model.clone());
        }
        if !path.is_file() {
            section.problem("model", format!("there is no file `{}`", path.display()));
            return None;
        }
        match OnnxModel::read(&path) {
            Ok(model) => {
                self.0.insert(path, model.clone());
                Some(model)
            }
            Err(error) => {
                section.problem("model", error.to_string());
                None
            }
        }
    }
}

/// Reads `arch` or `model`, and `weights`.
pub(super) fn check_model(
    section: &mut Section,
    arch: Option<&str>,
    folder: &Path,
    files: &mut ModelFiles,
) -> Option<ModelPlan> {
    // All are read before any decides, so that every mistake is reported.
    let source = check_source(section, arch, folder, files);
    let weights = match section.optional::<String>("weights") {
        Some(text) => Some(check_file(section, &text, folder)?),
        None => None,
    };
    let model = ModelPlan {
        source: source?,
        weights,
    };
    check_weights(section, &model).then_some(model)
}

/// Reads `arch` or `model`; `arch` is what a table above says.
pub(super) fn check_source(
    section: &mut Section,
    arch: Option<&str>,
    folder: &Path,
    files: &mut ModelFiles,
) -> Option<ModelSource> {
    let file = section.optional::<String>("model");
    if section.has("model") {
        if section.has("arch") {
            section.accept("arch");
            section.problem("model", "give either `arch` or `model`, not both");
            return None;
        }
        section.accept("arch");
        return files.read(section, folder, &file?).map(ModelSource::Model);
    }
    check_arch(section, arch).map(ModelSource::Arch)
}

/// A model that only tract runs has no other weights than its file's.
pub(super) fn check_weights(section: &Section, model: &ModelPlan) -> bool {
    let Some((onnx, reason)) = model.onnx().and_then(|onnx| Some((onnx, onnx.reason()?))) else {
        return true;
    };
    if model.weights.is_none() {
        return true;
    }
    section.problem(
        "weights",
        format!(
            "`{}` runs on tract, which takes no other weights than the file's own ({reason}); leave `weights` out",
            onnx.name()
        ),
    );
    false
}

fn check_arch(section: &mut Section, default: Option<&str>) -> Option<String> {
    let arch = match default {
        Some(default) => section.or("arch", default.to_owned()),
        None => section.required::<String>("arch")?,
    };
    match any_size(&arch) {
        Ok(_) => Some(arch),
        Err(error) => {
            section.problem("arch", error.to_string());
            None
        }
    }
}

/// A network of the zoo before the data is known: its images are large enough for every network, so that only the name is judged.
/// Its weights have the names that they will have.
pub(super) fn any_size(arch: &str) -> limbeck_graph::Result<Graph> {
    zoo::build(arch, [3, 64, 64], 10)
}

pub(super) fn check_file(section: &Section, text: &str, folder: &Path) -> Option<PathBuf> {
    let path = folder.join(text);
    if path.is_file() {
        return Some(path);
    }
    section.problem("weights", format!("there is no file `{}`", path.display()));
    None
}
