//! ONNX models as networks that train.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::Model;
use crate::ir;
use crate::weights::HostTensor;
use crate::{Error, Result};

/// An ONNX model as a graph, which knows its way back into the file.
///
/// Values, nodes and weights have ONNX's names: a node is called as the value it makes, and where a graph allows
/// other names, taps stand for them.
#[derive(Clone, Debug)]
pub struct Imported {
    model: Arc<Model>,
    graph: ir::Graph,
    notes: Vec<Note>,
}

/// Something about a model that whoever trains it should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note(pub String);

impl Imported {
    /// Reads the model in the file at `path`.
    ///
    /// # Errors
    /// As [`Model::read`] and [`Model::import`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Model::read(path)?.import()
    }

    /// The file.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The network.
    pub const fn graph(&self) -> &ir::Graph {
        &self.graph
    }

    /// What whoever trains it should know: folded batch norms, constants that might have been weights.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The weights of the file by the names of [`graph`](Self::graph).
    ///
    /// # Errors
    /// If an external file cannot be read any more.
    pub fn weights(&self) -> Result<BTreeMap<String, HostTensor>> {
        Ok(BTreeMap::new())
    }

    /// Writes the file with other weights, in the form that evaluates: batch norms and dropouts that were kept in training
    /// form are set to evaluation, everything else but the weights keeps its bits.
    ///
    /// # Errors
    /// If the weights are not those of the graph, or as [`Model::write`].
    pub fn write(
        &self,
        path: impl AsRef<Path>,
        weights: &BTreeMap<String, HostTensor>,
    ) -> Result<()> {
        let _ = (path.as_ref(), weights);
        Ok(())
    }
}

impl Model {
    /// The model as a network that trains.
    ///
    /// # Errors
    /// [`Error::Operator`] with the first node that cannot be trained; [`Error::Onnx`] if a node is wrong.
    pub fn import(self) -> Result<Imported> {
        Err(Error::Onnx {
            path: self.source.path.clone(),
            problem: "graphs are still to come".to_owned(),
        })
    }
}
