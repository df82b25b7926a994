//! Operators that move values without changing them.

use serde::{Deserialize, Serialize};

use super::Shape;

/// Values side by side along `axis`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concatenate {
    /// The axis.
    pub axis: usize,
}

/// A value cut along `axis`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The axis.
    pub axis: usize,
    /// The size of each part.
    pub sizes: Vec<usize>,
}

/// The same numbers with other axes after the batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reshape {
    /// The sizes after the batch.
    pub sizes: Vec<usize>,
}

/// The axes in another order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transpose {
    /// For each axis of the output, the axis of the input it was.
    pub axes: Vec<usize>,
}

/// The channels of `groups` groups dealt out in turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelShuffle {
    /// The number of groups.
    pub groups: usize,
}

/// The same numbers with other axes, wherever the batch is among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// The new axes; they hold the batch as often as the old ones do.
    pub shape: Shape,
}

/// Axes of size 1 repeated, missing ones put in front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expand {
    /// The shape that the input is repeated to; axes of size 1 may keep the input's size.
    pub shape: Shape,
}

/// Some of the places along an axis, at equal distances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// The axis.
    pub axis: usize,
    /// The first place.
    pub start: usize,
    /// The number of places.
    pub count: usize,
    /// The distance from one place to the next, at least 1.
    pub step: usize,
}

/// The places of an axis that are listed, in that order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// The axis.
    pub axis: usize,
    /// The places, which may repeat.
    pub indices: Vec<usize>,
}

/// More places at the ends of axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pad {
    /// The places put before and after each axis; none along the batch.
    pub sides: Vec<[usize; 2]>,
    /// What they hold.
    pub fill: Fill,
}

/// What padding holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fill", deny_unknown_fields)]
pub enum Fill {
    /// The same number everywhere.
    Constant {
        /// The number; infinities are allowed.
        #[serde(with = "super::number")]
        value: f64,
    },
    /// The values mirrored at the first and last one, which are not repeated.
    Reflect,
    /// The first and the last value repeated.
    Edge,
}
