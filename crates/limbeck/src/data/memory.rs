//! A set held decoded in memory.

use super::hash::ContentHash;
use super::{Dataset, DatasetInfo, Image, Pixels, Sample, SampleId, Split};
use crate::{Error, Result};

/// A set held decoded in memory.
#[derive(Clone, Debug)]
pub struct MemorySet {
    info: DatasetInfo,
    split: Split,
    rows: usize,
    pixels: Pixels,
    labels: Option<Vec<u32>>,
}

impl MemorySet {
    /// Wraps decoded rows.
    ///
    /// `pixels` are `[rows, height, width, channels]` and `info.shape` is `[channels, height, width]`; `info.hash` is
    /// computed here. Row `i` gets the identity [`SampleId::of`]`(split, i)`.
    ///
    /// # Errors
    /// If there are no rows, the sizes do not fit, a pixel is not in 0..1 or a label has no class.
    pub fn new(
        mut info: DatasetInfo,
        split: Split,
        pixels: Pixels,
        labels: Option<Vec<u32>>,
    ) -> Result<Self> {
        let size: usize = info.shape.iter().product();
        if size == 0 || pixels.is_empty() {
            return Err(Error::Data(format!(
                "data set `{}` holds no rows",
                info.name
            )));
        }
        if !pixels.len().is_multiple_of(size) {
            return Err(Error::Shape {
                what: format!("pixels of data set `{}`", info.name),
                expected: format!("a multiple of {size} values"),
                got: pixels.len().to_string(),
            });
        }
        let rows = pixels.len() / size;
        if let Pixels::F32(values) = &pixels
            && let Some(at) = values.iter().position(|value| !(0.0..=1.0).contains(value))
        {
            return Err(Error::Data(format!(
                "row {} of data set `{}`: expected pixels in 0..1, got {}",
                at / size,
                info.name,
                values[at]
            )));
        }
        if let Some(labels) = &labels {
            if labels.len() != rows {
                return Err(Error::Data(format!(
                    "data set `{}` has {rows} images but {} labels",
                    info.name,
                    labels.len()
                )));
            }
            let classes = info.classes.len();
            if let Some(row) = labels.iter().position(|label| *label as usize >= classes) {
                return Err(Error::Data(format!(
                    "row {row} of data set `{}`: expected a label below {classes}, got {}",
                    info.name, labels[row]
                )));
            }
        }
        info.hash = ContentHash::of_pixels(info.shape, &pixels, labels.as_deref());
        Ok(Self {
            info,
            split,
            rows,
            pixels,
            labels,
        })
    }
}

impl Dataset for MemorySet {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.rows
    }

    fn id(&self, index: usize) -> SampleId {
        SampleId::of(self.split, index as u64)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.as_ref().map(|labels| labels[index])
    }

    fn sample(&self, index: usize) -> Result<Sample> {
        let [channels, height, width] = self.info.shape;
        let size = channels * height * width;
        let pixels = self.pixels.slice(index * size, (index + 1) * size);
        let image = Image {
            height,
            width,
            channels,
            pixels,
        };
        Ok(Sample {
            id: self.id(index),
            image,
            label: self.label(index),
        })
    }
}
