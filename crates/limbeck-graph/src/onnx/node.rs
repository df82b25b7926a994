//! Nodes and their attributes.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::tensor::Tensor;

/// One operation.
#[derive(Clone, Debug)]
pub struct Node {
    /// The name; may be empty.
    pub name: String,
    /// The operator.
    pub op_type: String,
    /// The operator set; empty for ONNX's own.
    pub domain: String,
    /// The variant of a model's own function; mostly empty.
    pub overload: String,
    /// The names of the inputs; empty where an optional one is left out.
    pub inputs: Vec<String>,
    /// The names of the outputs; empty where an optional one is left out.
    pub outputs: Vec<String>,
    /// The attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
    /// Where the message lies in the file, and the field that holds it.
    pub(super) place: Place,
}

/// Where a message lies in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The whole field.
    pub(super) field: Range<usize>,
    /// The message in it.
    pub(super) message: Range<usize>,
}

/// The value of an attribute.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Attribute {
    /// `FLOAT`.
    Float(f32),
    /// `INT`.
    Int(i64),
    /// `STRING`.
    Text(String),
    /// `TENSOR`.
    Tensor(Tensor),
    /// `FLOATS`.
    Floats(Vec<f32>),
    /// `INTS`.
    Ints(Vec<i64>),
    /// `STRINGS`.
    Texts(Vec<String>),
    /// `TENSORS`.
    Tensors(Vec<Tensor>),
}

impl fmt::Display for Node {
    /// The words that errors use for it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, op_type, .. } = self;
        match (name.as_str(), self.outputs.first()) {
            ("", Some(output)) => write!(formatter, "the node of `{output}` ({op_type})"),
            ("", None) => write!(formatter, "a node without outputs ({op_type})"),
            (name, _) => write!(formatter, "node `{name}` ({op_type})"),
        }
    }
}
