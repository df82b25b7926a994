//! What is known of a model's values while its nodes are read.

use super::array::Array;
use super::rows::Rows;
use super::size::Size;
use crate::ir::{Dim, Shape};

/// A value of the model.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Whole numbers and truth values that are known, but for the batch in them.
    Integers(Array<Size>),
    /// Real numbers that are constants of the model.
    Floats(Array<f64>),
    /// Numbers that are known, in a shape that depends on the batch.
    Rows(Rows),
    /// A weight that the file holds.
    Weight(Weight),
    /// Real numbers that the graph computes; truth values among them are 0 and 1.
    Tensor(Tensor),
    /// Token ids that the model is given.
    Tokens(Tokens),
}

/// Real numbers that the graph computes.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    /// The name in the graph.
    pub(super) name: String,
    pub(super) shape: Shape,
}

/// An initialiser of real numbers, as it is or with its axes moved.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weight {
    pub(super) initialiser: String,
    /// The shape, with the axes moved.
    pub(super) shape: Vec<usize>,
    /// For each axis, the axis of the initialiser that it is.
    pub(super) axes: Vec<usize>,
    /// The model's node that takes the initialiser and hands it on.
    pub(super) holder: Option<Holder>,
}

/// A node that hands an initialiser on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Holder {
    /// Its position.
    pub(super) node: usize,
    /// What an identity calls it: the name that it had before exporters made equal weights one.
    pub(super) name: Option<String>,
}

/// Token ids `[batch, length]`, or with these axes swapped.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    /// The input of the graph.
    pub(super) name: String,
    pub(super) length: usize,
    pub(super) swapped: bool,
}

impl Weight {
    pub(super) fn new(initialiser: &str, shape: &[usize]) -> Self {
        Self {
            initialiser: initialiser.to_owned(),
            shape: shape.to_vec(),
            axes: (0..shape.len()).collect(),
            holder: None,
        }
    }

    /// Whether the axes are where the initialiser has them.
    pub(super) fn is_straight(&self) -> bool {
        self.axes.is_sorted()
    }

    pub(super) fn transposed(&self, axes: &[usize]) -> Self {
        Self {
            initialiser: self.initialiser.clone(),
            shape: axes.iter().map(|&axis| self.shape[axis]).collect(),
            axes: axes.iter().map(|&axis| self.axes[axis]).collect(),
            holder: self.holder.clone(),
        }
    }
}

impl Tokens {
    pub(super) fn shape(&self) -> Shape {
        let mut dims = vec![Dim::Batch, Dim::Fixed(self.length)];
        if self.swapped {
            dims.reverse();
        }
        Shape(dims)
    }
}

impl Value {
    /// The shape; may have no axes.
    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Integers(array) => Shape::fixed(&array.shape),
            Self::Floats(array) => Shape::fixed(&array.shape),
            Self::Rows(rows) => rows.shape.clone(),
            Self::Weight(weight) => Shape::fixed(&weight.shape),
            Self::Tensor(tensor) => tensor.shape.clone(),
            Self::Tokens(tokens) => tokens.shape(),
        }
    }

    /// What errors call it.
    pub(super) fn words(&self) -> String {
        let kind = match self {
            Self::Integers(_) => "constant integers",
            Self::Floats(_) | Self::Rows(_) => "constant numbers",
            Self::Weight(_) => "a weight",
            Self::Tensor(_) => "computed numbers",
            Self::Tokens(_) => "token ids",
        };
        format!("{kind} {}", self.shape())
    }
}
