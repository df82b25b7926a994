//! What a model says about its values.

use super::element::ElementType;

/// The name and type of an input, an output or a value between nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueInfo {
    /// The name of the value.
    pub name: String,
    /// Its type.
    pub kind: ValueKind,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValueKind {
    /// A dense tensor.
    Tensor {
        /// The type of its elements.
        element: ElementType,
        /// Its dimensions; none if even their number is unknown.
        shape: Option<Vec<Dimension>>,
    },
    /// Something else: a sequence, a map, an optional, a sparse tensor.
    Other(&'static str),
    /// The model does not say.
    Unknown,
}

/// One dimension of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// A number.
    Known(usize),
    /// A name for a number that is known when the model runs, mostly the rows of a batch.
    Symbol(String),
    /// The model does not say (or says a negative number, as some exporters do).
    Unknown,
}
