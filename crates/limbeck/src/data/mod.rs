//! Data sets, splits, views and the loader.
//!
//! [`open`] recognises a path by what is in it. Every row has a [`SampleId`] that is stable across shuffles, splits and
//! runs; a [`View`] (augmentation) is a pure function of run seed, epoch and sample id; the order of a [`Loader`] depends
//! on seed and epoch alone. So any batch of any epoch can be made again, in any process.
//!
//! | file | what |
//! |---|---|
//! | `source` | what a path holds, and opening one split of it |
//! | [`digits`] | the embedded set |
//! | [`idx`], `cifar`, `parquet`, `folder` | the file formats |
//! | `memory`, `images` | sets of decoded and of encoded rows |
//! | `subset`, `view`, `normalization`, `loader` | from a set to batches |
//! | `settings` | the recipe's `[data]` table |
//! | [`catalog`] | the public sets and their download |

pub mod catalog;
mod cifar;
mod content;
mod decode;
pub mod digits;
#[cfg(feature = "download")]
mod download;
mod folder;
mod hash;
pub mod idx;
mod idx_files;
mod images;
mod labels;
mod loader;
mod memory;
mod normalization;
mod parquet;
mod pixels;
mod resized;
mod settings;
mod source;
mod split;
mod subset;
mod view;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Result;

pub use images::DECODED_LIMIT;
pub use loader::{Batches, Loader, LoaderSettings};
pub use memory::MemorySet;
pub use normalization::Normalization;
pub use pixels::{Image, Pixels};
pub use settings::{DataSettings, HeldOut, Normalize, Splits};
pub use source::{OpenOptions, RECOGNISED, Source, open};
pub use split::Split;
pub use subset::{Amount, Subset, hold_out, labels_per_class, stratified};
pub use view::{Change, Fill, View};

/// The identity of a sample, stable across shuffles, splits and runs.
///
/// Within one source it is the row number in the origin's file order, plus the [`Split`] in the bits from 48 up, so that
/// a training and a test row never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SampleId(pub u64);

impl SampleId {
    /// The identity of row `row` of `split`.
    pub fn of(split: Split, row: u64) -> Self {
        Self((split as u64) << 48 | row)
    }
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One row of a data set.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its identity.
    pub id: SampleId,
    /// Its input.
    pub image: Image,
    /// Its class, if it has one.
    pub label: Option<u32>,
}

/// What is known of a data set before its rows are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// A short name, such as `digits` or the folder's.
    pub name: String,
    /// Where it comes from: a path, or the embedded source and its licence.
    pub origin: String,
    /// The file format, as `limbeck datasets` lists it.
    pub format: String,
    /// The class names, in the order of their indices.
    pub classes: Vec<String>,
    /// `[channels, height, width]` of every image.
    pub shape: [usize; 3],
    /// SHA-256 in hexadecimal over shape, labels and the rows as stored; file names, shards and compression of whole
    /// files do not enter.
    pub hash: String,
}

/// A set of samples with random access.
pub trait Dataset: Send + Sync {
    /// What is known before the rows are read.
    fn info(&self) -> &DatasetInfo;

    /// The number of rows.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The identity of row `index`.
    fn id(&self, index: usize) -> SampleId;

    /// The class of row `index`, without decoding its image.
    fn label(&self, index: usize) -> Option<u32>;

    /// Row `index`, decoded.
    ///
    /// # Errors
    /// If the row is broken: names the file, the row, expected and got.
    fn sample(&self, index: usize) -> Result<Sample>;
}

impl fmt::Debug for dyn Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("info", self.info())
            .field("len", &self.len())
            .finish()
    }
}

/// One batch on the host, ready to be uploaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The position in the epoch, counted from 0.
    pub index: usize,
    /// The samples' identities, `[batch]`.
    pub ids: Vec<SampleId>,
    /// The viewed and normalised inputs, `[batch, channels, height, width]` row major.
    pub inputs: Vec<f32>,
    /// `[channels, height, width]`.
    pub shape: [usize; 3],
    /// The classes, `[batch]`; `None` where the set has no labels.
    pub labels: Option<Vec<u32>>,
}
