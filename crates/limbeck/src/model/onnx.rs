//! An ONNX file as teacher or student.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use limbeck_graph::ir::Graph;
use limbeck_graph::onnx::{Dimension, Imported, Model, ValueKind};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::Result;

/// An ONNX file, read once: clones share it.
///
/// Where all of its operators can be trained it is a graph; where one cannot, or the size of an input is open, the file still answers
/// through tract and can teach.
#[derive(Clone, Debug)]
pub struct OnnxModel {
    path: PathBuf,
    contents: Contents,
}

#[derive(Clone, Debug)]
enum Contents {
    Graph(Arc<Imported>),
    Foreign { model: Arc<Model>, reason: String },
}

impl OnnxModel {
    /// Reads the file at `path`; weights stay encoded until they are asked for.
    ///
    /// # Errors
    /// If the file cannot be read, is no ONNX model, or a node is wrong. An operator that cannot be trained is none.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self> {
        Self::read_sized(path, None)
    }

    /// [`read`](Self::read), with `sizes` (without the batch) for what the first input leaves open.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_sized(path: impl Into<PathBuf>, sizes: Option<&[usize]>) -> Result<Self> {
        let path = path.into();
        let model = Model::read(&path)?;
        // Copies the description of the file, which is small, and shares its bytes.
        let contents = match model.clone().import_sized(sizes) {
            Ok(imported) => Contents::Graph(Arc::new(imported)),
            Err(limbeck_graph::Error::Operator {
                node,
                opset,
                problem,
                ..
            }) => Contents::Foreign {
                model: Arc::new(model),
                reason: format!("{node}: {problem} (operator set {opset})"),
            },
            Err(limbeck_graph::Error::Onnx { problem, .. }) if leaves_sizes_open(&model) => {
                Contents::Foreign {
                    model: Arc::new(model),
                    reason: problem,
                }
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path, contents })
    }

    /// Whether a path is meant to be an ONNX file, by its ending.
    pub fn is_path(path: &Path) -> bool {
        path.extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What reports call it: the file's name.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// What the file says.
    pub fn file(&self) -> &Model {
        match &self.contents {
            Contents::Graph(imported) => imported.model(),
            Contents::Foreign { model, .. } => model,
        }
    }

    /// The model as a graph that trains; `None` where an operator cannot be trained here.
    pub fn imported(&self) -> Option<&Imported> {
        match &self.contents {
            Contents::Graph(imported) => Some(imported),
            Contents::Foreign { .. } => None,
        }
    }

    /// The graph that trains.
    pub fn graph(&self) -> Option<&Graph> {
        self.imported().map(Imported::graph)
    }

    /// Why it cannot be trained: the first node whose operator is not supported.
    pub fn reason(&self) -> Option<&str> {
        match &self.contents {
            Contents::Graph(_) => None,
            Contents::Foreign { reason, .. } => Some(reason),
        }
    }

    /// What runs it: this program, or tract.
    pub const fn engine(&self) -> &'static str {
        match self.contents {
            Contents::Graph(_) => "limbeck",
            Contents::Foreign { .. } => "tract",
        }
    }

    /// The values of its real initialisers, weights and constants alike.
    pub fn initialiser_values(&self) -> u64 {
        let initialisers = self.file().graph().initialisers.values();
        initialisers
            .filter(|tensor| tensor.element.is_float())
            .map(|tensor| tensor.len() as u64)
            .sum()
    }
}

/// Whether an input has a size that is known only when the model runs, apart from the batch.
fn leaves_sizes_open(model: &Model) -> bool {
    model.graph().inputs.iter().any(|input| match &input.kind {
        ValueKind::Tensor { shape, .. } => shape.as_ref().is_none_or(|shape| {
            let mut sizes = shape.iter().skip(1);
            sizes.any(|size| !matches!(size, Dimension::Known(_)))
        }),
        _ => false,
    })
}

impl PartialEq for OnnxModel {
    /// Files are compared by their place.
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Serialize for OnnxModel {
    /// The file, what runs it and, where that is tract, why.
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("OnnxModel", 3)?;
        fields.serialize_field("file", &self.path)?;
        fields.serialize_field("runs_on", self.engine())?;
        fields.serialize_field("because", &self.reason())?;
        fields.end()
    }
}
