//! What a graph owns.

use serde::{Deserialize, Serialize};

use super::Initialiser;

/// What a weight is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightKind {
    /// A matrix, a filter, an embedding: a parameter that weight decay applies to.
    Weight,
    /// A parameter that is added.
    Bias,
    /// The factor of a normalisation, a parameter.
    NormScale,
    /// The summand of a normalisation, a parameter.
    NormShift,
    /// A batch norm's running mean, a buffer.
    RunningMean,
    /// A batch norm's running variance (unbiased), a buffer.
    RunningVariance,
    /// A fixed value, a buffer.
    Constant,
}

impl WeightKind {
    /// The purpose in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Bias => "bias",
            Self::NormScale => "scale of a normalisation",
            Self::NormShift => "shift of a normalisation",
            Self::RunningMean => "running mean",
            Self::RunningVariance => "running variance",
            Self::Constant => "constant",
        }
    }

    /// Whether gradients can train it.
    pub const fn is_parameter(self) -> bool {
        !self.is_buffer()
    }

    /// Whether it is a running statistic or a constant: kept with the model, never trained by gradients.
    pub const fn is_buffer(self) -> bool {
        matches!(
            self,
            Self::RunningMean | Self::RunningVariance | Self::Constant
        )
    }
}

/// A weight: its shape, its purpose and how it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightSpec {
    /// The sizes, 1 to 6 axes.
    pub shape: Vec<usize>,
    /// The purpose.
    pub kind: WeightKind,
    /// How it starts.
    pub initialiser: Initialiser,
    /// Whether it stays as it is although it is a parameter.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
}

impl WeightSpec {
    /// A weight that starts as `initialiser` says and, if it is a parameter, trains.
    pub const fn new(shape: Vec<usize>, kind: WeightKind, initialiser: Initialiser) -> Self {
        Self {
            shape,
            kind,
            initialiser,
            frozen: false,
        }
    }

    /// Whether gradients train it.
    pub const fn is_trained(&self) -> bool {
        self.kind.is_parameter() && !self.frozen
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.shape
            .iter()
            .fold(1, |product, &size| product.saturating_mul(size))
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
