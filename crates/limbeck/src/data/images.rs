//! A set of encoded images, decoded when they are read and kept where they fit.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rayon::prelude::*;

use super::decode::{Head, decode, probe};
use super::hash::ContentHash;
use super::source::{Meta, OpenOptions};
use super::{Dataset, DatasetInfo, Image, Pixels, Sample, SampleId, Split};
use crate::{Error, Result};

/// Sets whose decoded pixels take at most this many bytes are decoded once and kept (512 MiB).
pub const DECODED_LIMIT: usize = 512 << 20;

/// Where the encoded images are.
pub(super) enum Encoded {
    /// In memory, one after the other; row `i` ends at `ends[i]`. `files` are the origins with their first rows.
    Memory {
        bytes: Vec<u8>,
        ends: Vec<usize>,
        files: Vec<(usize, PathBuf)>,
    },
    /// One file each.
    Files(Vec<PathBuf>),
}

impl Encoded {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Memory { ends, .. } => ends.len(),
            Self::Files(paths) => paths.len(),
        }
    }

    fn bytes(&self, row: usize) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::Memory { bytes, ends, .. } => {
                let start = if row == 0 { 0 } else { ends[row - 1] };
                Ok(Cow::Borrowed(&bytes[start..ends[row]]))
            }
            Self::Files(paths) => {
                let path = &paths[row];
                std::fs::read(path)
                    .map(Cow::Owned)
                    .map_err(|source| Error::read(path, source))
            }
        }
    }

    /// The error of a row, with its file and its number there.
    pub(super) fn fault(&self, row: usize, reason: String) -> Error {
        match self {
            Self::Memory { files, .. } => {
                let file = files
                    .partition_point(|(first, _)| *first <= row)
                    .saturating_sub(1);
                let (first, path) = files
                    .get(file)
                    .map_or((0, Path::new("")), |(first, path)| (*first, path));
                Error::row(path, (row - first) as u64, reason)
            }
            Self::Files(paths) => Error::format(&paths[row], "image", reason),
        }
    }
}

/// A set of encoded images.
pub(super) struct ImageSet {
    info: DatasetInfo,
    split: Split,
    encoded: Encoded,
    labels: Vec<Option<u32>>,
    resize: Option<[usize; 2]>,
    decoded: Option<Vec<OnceLock<Box<[u8]>>>>,
}

impl ImageSet {
    /// Reads every header, so that a set of several sizes is refused before training. One row in colour makes a
    /// set in colour.
    pub(super) fn new(
        encoded: Encoded,
        labels: Vec<Option<u32>>,
        classes: Vec<String>,
        format: &str,
        meta: &Meta,
        options: &OpenOptions,
    ) -> Result<Self> {
        if encoded.len() == 0 {
            return Err(Error::Data(format!("`{}` holds no rows", meta.origin)));
        }
        let heads = (0..encoded.len())
            .into_par_iter()
            .map(|row| probe(&encoded.bytes(row)?).map_err(|reason| encoded.fault(row, reason)))
            .collect::<Result<Vec<Head>>>()?;
        let channels = heads.iter().map(|head| head.channels).max().unwrap_or(1);
        let [height, width] = options.resize.unwrap_or([heads[0].height, heads[0].width]);
        if options.resize.is_none()
            && let Some((row, head)) = heads
                .iter()
                .enumerate()
                .find(|(_, head)| (head.height, head.width) != (height, width))
        {
            return Err(encoded.fault(
                row,
                format!(
                    "expected {height}x{width} pixels as in the first row, got {}x{}; set `data.resize` to scale all \
                     images to one size",
                    head.height, head.width
                ),
            ));
        }
        let shape = [channels, height, width];
        let mut hash = ContentHash::new(shape);
        for (row, label) in labels.iter().enumerate() {
            hash.row(*label, &encoded.bytes(row)?);
        }
        let mut info = meta.info(format, classes, shape);
        info.hash = hash.finish();
        let fits = shape
            .iter()
            .try_fold(encoded.len(), |product, size| product.checked_mul(*size))
            .is_some_and(|bytes| bytes <= DECODED_LIMIT);
        let decoded = fits.then(|| (0..encoded.len()).map(|_| OnceLock::new()).collect());
        Ok(Self {
            info,
            split: meta.split,
            encoded,
            labels,
            resize: options.resize,
            decoded,
        })
    }

    fn decode(&self, row: usize) -> Result<Vec<u8>> {
        let [channels, height, width] = self.info.shape;
        let fault = |reason| self.encoded.fault(row, reason);
        let (head, pixels) =
            decode(&self.encoded.bytes(row)?, channels, self.resize).map_err(fault)?;
        if (head.height, head.width) != (height, width) {
            return Err(fault(format!(
                "expected {height}x{width} pixels, got {}x{}; the file changed since it was opened",
                head.height, head.width
            )));
        }
        Ok(pixels)
    }
}

impl Dataset for ImageSet {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn id(&self, index: usize) -> SampleId {
        SampleId::of(self.split, index as u64)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels[index]
    }

    fn sample(&self, index: usize) -> Result<Sample> {
        let pixels = match &self.decoded {
            None => self.decode(index)?,
            Some(decoded) => match decoded[index].get() {
                Some(pixels) => pixels.to_vec(),
                None => {
                    let pixels = self.decode(index)?;
                    // Another thread may have been faster, with the same pixels.
                    let _ = decoded[index].set(pixels.clone().into_boxed_slice());
                    pixels
                }
            },
        };
        let [channels, height, width] = self.info.shape;
        let image = Image {
            height,
            width,
            channels,
            pixels: Pixels::U8(pixels),
        };
        Ok(Sample {
            id: self.id(index),
            image,
            label: self.label(index),
        })
    }
}
