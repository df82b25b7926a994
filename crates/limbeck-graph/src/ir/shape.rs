//! Shapes whose batch is not yet known.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The size of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// As many as the batch holds; written `"batch"`.
    Batch,
    /// So many times the batch, 2 or more; written `"4 batch"`. Made by [`Dim::times_batch`].
    Batches(usize),
    /// A fixed number.
    Fixed(usize),
}

impl Dim {
    /// `count` times the batch.
    pub const fn times_batch(count: usize) -> Self {
        match count {
            1 => Self::Batch,
            count => Self::Batches(count),
        }
    }

    /// How many times the batch it is; `None` for a fixed number.
    pub const fn batches(self) -> Option<usize> {
        match self {
            Self::Batch => Some(1),
            Self::Batches(count) => Some(count),
            Self::Fixed(_) => None,
        }
    }

    /// The size for a batch of `batch`.
    pub const fn size(self, batch: usize) -> usize {
        match self {
            Self::Batch => batch,
            Self::Batches(count) => count.saturating_mul(batch),
            Self::Fixed(size) => size,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch => f.write_str("batch"),
            Self::Batches(count) => write!(f, "{count} batch"),
            Self::Fixed(size) => size.fmt(f),
        }
    }
}

impl Serialize for Dim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(size) => serializer.serialize_u64(*size as u64),
            rows => serializer.collect_str(rows),
        }
    }
}

impl<'de> Deserialize<'de> for Dim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Size(usize),
            Word(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Size(size) => Ok(Self::Fixed(size)),
            Written::Word(word) => {
                let count = match word.split_once(' ') {
                    Some((count, "batch")) => count.parse().ok().filter(|count| *count >= 1),
                    _ => (word == "batch").then_some(1),
                };
                count.map(Self::times_batch).ok_or_else(|| {
                    D::Error::custom(format!(
                        "expected a size, \"batch\" or \"4 batch\", got \"{word}\""
                    ))
                })
            }
        }
    }
}

/// The sizes of all axes, outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(pub Vec<Dim>);

impl Shape {
    /// `[batch, sizes...]`.
    pub fn batched(sizes: &[usize]) -> Self {
        std::iter::once(Dim::Batch)
            .chain(sizes.iter().copied().map(Dim::Fixed))
            .collect()
    }

    /// Only fixed sizes: something that is the same for every row, such as a parameter.
    pub fn fixed(sizes: &[usize]) -> Self {
        sizes.iter().copied().map(Dim::Fixed).collect()
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The axes.
    pub fn dims(&self) -> &[Dim] {
        &self.0
    }

    /// The size of an axis, unless it is the batch or does not exist.
    pub fn size(&self, axis: usize) -> Option<usize> {
        match self.0.get(axis) {
            Some(Dim::Fixed(size)) => Some(*size),
            _ => None,
        }
    }

    /// Whether the first axis is the batch, or a multiple of it.
    pub fn is_batched(&self) -> bool {
        self.0.first().is_some_and(|dim| dim.batches().is_some())
    }

    /// The first axis of this shape before other sizes.
    pub fn with_sizes(&self, sizes: &[usize]) -> Self {
        let first = self.0.first().copied().unwrap_or(Dim::Batch);
        std::iter::once(first)
            .chain(sizes.iter().copied().map(Dim::Fixed))
            .collect()
    }

    /// The sizes for a batch of `batch`.
    pub fn sizes(&self, batch: usize) -> Vec<usize> {
        self.0.iter().map(|dim| dim.size(batch)).collect()
    }

    /// The number of values of one row.
    pub fn len_per_row(&self) -> usize {
        self.sizes(1).into_iter().fold(1, usize::saturating_mul)
    }
}

impl FromIterator<Dim> for Shape {
    fn from_iter<I: IntoIterator<Item = Dim>>(dims: I) -> Self {
        Self(dims.into_iter().collect())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (axis, dim) in self.0.iter().enumerate() {
            if axis > 0 {
                f.write_str(", ")?;
            }
            dim.fmt(f)?;
        }
        f.write_str("]")
    }
}

/// What a value's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Real numbers.
    Float,
    /// Token ids, counted from 0.
    Tokens,
}

/// What a value is: its kind and shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ValueType {
    /// Floats or token ids.
    pub kind: Kind,
    /// The sizes.
    pub shape: Shape,
}

impl ValueType {
    /// A float value.
    pub const fn float(shape: Shape) -> Self {
        Self {
            kind: Kind::Float,
            shape,
        }
    }

    /// Token ids `[batch, length]`.
    pub fn tokens(length: usize) -> Self {
        Self {
            kind: Kind::Tokens,
            shape: Shape::batched(&[length]),
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Float => self.shape.fmt(f),
            Kind::Tokens => write!(f, "token ids {}", self.shape),
        }
    }
}
