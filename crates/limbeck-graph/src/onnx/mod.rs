//! ONNX files as checked values: read whole, described, and written back with other weights; and [graphs](crate::ir) as
//! fresh files.
//!
//! [`Model::read`] indexes a file in place. The tensors' values stay in the bytes of the file (or in the files beside
//! it) until [`Tensor::floats`] or [`Tensor::integers`] decodes them, and [`Model::write`] copies these
//! bytes with the new values in the old ones' places; so whatever a file holds that is not known here is kept to the bit.
//!
//! The format is protocol buffers, declared in
//! [onnx.proto](https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).

mod attribute;
mod check;
mod edit;
mod element;
mod export;
mod external;
mod import;
mod node;
mod payload;
mod read;
mod source;
mod tensor;
mod value;
mod wire;
mod write;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use element::ElementType;
pub use export::export;
pub use import::{Imported, Note};
pub use node::{Attribute, Node};
pub use tensor::Tensor;
pub use value::{Dimension, ValueInfo, ValueKind};

use crate::{Error, Result, weights};
use node::Place;
use read::Reader;
use source::Source;

/// A value, or what is wrong with the file.
type Outcome<T> = std::result::Result<T, String>;

/// The most bytes of a model file: protocol buffers end there, larger models keep their weights in other files.
const MAX_BYTES: u64 = 2 << 30;

/// A model: what its file says, and the file.
#[derive(Clone, Debug)]
pub struct Model {
    header: Header,
    graph: Graph,
    source: Arc<Source>,
}

/// What a model says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// The version of the file format.
    pub ir_version: i64,
    /// The versions of the operator sets by domain; ONNX's own is the empty one.
    pub opset_imports: BTreeMap<String, i64>,
    /// The program that wrote the model.
    pub producer_name: String,
    /// Its version.
    pub producer_version: String,
    /// Texts kept beside the model.
    pub metadata: BTreeMap<String, String>,
    /// The functions that the model defines itself.
    pub functions: Vec<Function>,
}

/// A function that a model defines: a node with this operator and domain calls it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// The operator that calls it.
    pub name: String,
    /// The domain of that operator.
    pub domain: String,
    /// The variant; mostly empty.
    pub overload: String,
}

/// The graph of a model, checked: every name is defined once, and every node comes after those it needs.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The name.
    pub name: String,
    /// The inputs, without those that have an initialiser.
    pub inputs: Vec<ValueInfo>,
    /// The outputs.
    pub outputs: Vec<ValueInfo>,
    /// The nodes, in an order in which they can run; the file's own where that is one.
    pub nodes: Vec<Node>,
    /// The weights and constants by name.
    pub initialisers: BTreeMap<String, Tensor>,
    /// What the model says of the values between nodes, by name.
    pub value_infos: BTreeMap<String, ValueInfo>,
    /// Where the message lies in the file.
    place: Place,
}

impl Model {
    /// Reads and checks the model in the file at `path`.
    ///
    /// Values may lie in other files, which must be inside the model's folder. Of a large model file the weights are
    /// read again when they are decoded, as are those in other files.
    ///
    /// # Errors
    /// If the file cannot be read, is no ONNX model or broken, uses an operator set before 11 or one that is not known
    /// yet, or holds what is not supported: subgraphs, sparse initialisers.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let unreadable = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let length = path.metadata().map_err(unreadable)?.len();
        if length > MAX_BYTES {
            return Err(Error::Onnx {
                path: path.to_owned(),
                problem: format!("it has {length} bytes, an ONNX file has at most {MAX_BYTES}"),
            });
        }
        let bytes = weights::bytes_of(path).map_err(unreadable)?;
        Self::parse(bytes, path, true)
    }

    /// Reads a model from memory; `path` is named in errors, and files with values are looked for beside it.
    ///
    /// # Errors
    /// As [`Model::read`].
    pub fn from_bytes(bytes: Vec<u8>, path: &Path) -> Result<Self> {
        Self::parse(bytes, path, false)
    }

    fn parse(bytes: Vec<u8>, path: &Path, is_file: bool) -> Result<Self> {
        let source = Arc::new(Source::new(path.to_owned(), bytes.len()));
        let parse = || -> Outcome<(Header, Graph)> {
            let (header, mut graph) = Reader::new(&source, &bytes).model()?;
            graph.check()?;
            Ok((header, graph))
        };
        let (header, graph) = parse().map_err(|problem| source.error(&problem))?;
        source.keep(bytes, is_file);
        Ok(Self {
            header,
            graph,
            source,
        })
    }

    /// What the model says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        let read = self.source.whole();
        read.map_err(|error| self.source.unreadable(error))
    }
}

#[cfg(test)]
mod tests;
