//! A set whose images are scaled to another size.

use std::sync::Arc;

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Pixel};

use super::hash::ContentHash;
use super::{Dataset, DatasetInfo, Image, Pixels, Sample, SampleId};
use crate::{Error, Result};

/// A set whose images are scaled with a triangle filter.
pub(super) struct Resized {
    parent: Arc<dyn Dataset>,
    info: DatasetInfo,
}

impl Resized {
    pub(super) fn new(parent: Arc<dyn Dataset>, [height, width]: [usize; 2]) -> Self {
        let mut info = parent.info().clone();
        info.shape = [info.shape[0], height, width];
        info.hash = ContentHash::of_subset(&format!("resized {}", info.hash), &[height, width]);
        Self { parent, info }
    }
}

fn scale<P>(
    values: Vec<P::Subpixel>,
    image: &Image,
    height: usize,
    width: usize,
) -> Option<Vec<P::Subpixel>>
where
    P: Pixel + 'static,
{
    let buffer: ImageBuffer<P, _> =
        ImageBuffer::from_raw(image.width as u32, image.height as u32, values)?;
    Some(resize(&buffer, width as u32, height as u32, FilterType::Triangle).into_raw())
}

impl Dataset for Resized {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.parent.len()
    }

    fn id(&self, index: usize) -> SampleId {
        self.parent.id(index)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.parent.label(index)
    }

    fn sample(&self, index: usize) -> Result<Sample> {
        use image::{Luma, Rgb};
        let Sample {
            id,
            mut image,
            label,
        } = self.parent.sample(index)?;
        let [channels, height, width] = self.info.shape;
        let pixels = std::mem::replace(&mut image.pixels, Pixels::U8(Vec::new()));
        let pixels = match (pixels, channels) {
            (Pixels::U8(values), 1) => {
                scale::<Luma<u8>>(values, &image, height, width).map(Pixels::U8)
            }
            (Pixels::U8(values), _) => {
                scale::<Rgb<u8>>(values, &image, height, width).map(Pixels::U8)
            }
            (Pixels::F32(values), 1) => {
                scale::<Luma<f32>>(values, &image, height, width).map(Pixels::F32)
            }
            (Pixels::F32(values), _) => {
                scale::<Rgb<f32>>(values, &image, height, width).map(Pixels::F32)
            }
        };
        let pixels = pixels.ok_or_else(|| Error::Shape {
            what: format!("row {index} of data set `{}`", self.info.name),
            expected: format!("{:?}", self.parent.info().shape),
            got: format!("{:?}", image.shape()),
        })?;
        Ok(Sample {
            id,
            image: Image {
                height,
                width,
                channels,
                pixels,
            },
            label,
        })
    }
}
