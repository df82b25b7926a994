//! Normalisation of pixels per channel.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Dataset, Image, Pixels};
use crate::{Error, Result};

/// `(pixel - mean) / std` per channel, on pixels scaled to 0..1. One value stands for all channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// The value that becomes 0, one per channel or one for all.
    pub mean: Vec<f32>,
    /// The distance that becomes 1, one per channel or one for all; positive.
    pub std: Vec<f32>,
}

const MEAN_KEY: &str = "normalization.mean";
const STD_KEY: &str = "normalization.std";

impl Normalization {
    /// Pixels stay in 0..1.
    pub fn none() -> Self {
        Self {
            mean: vec![0.0],
            std: vec![1.0],
        }
    }

    /// From the means and then the standard deviations: `[mean, std]` for all channels alike, or twice as many values as
    /// channels, such as `[0.49, 0.48, 0.45, 0.25, 0.24, 0.26]`.
    ///
    /// # Errors
    /// If the values are not an even number of finite ones, or a standard deviation is not positive.
    pub fn from_values(values: &[f64]) -> Result<Self> {
        if values.is_empty() || !values.len().is_multiple_of(2) {
            return Err(Error::Data(format!(
                "expected the means and then as many standard deviations, such as `0.5,0.5`, got {} values",
                values.len()
            )));
        }
        let (mean, std) = values.split_at(values.len() / 2);
        if let Some(value) = mean.iter().find(|value| !value.is_finite()) {
            return Err(Error::Range {
                name: "mean",
                expected: "finite",
                got: *value,
            });
        }
        if let Some(value) = std
            .iter()
            .find(|value| !(value.is_finite() && **value > 0.0))
        {
            return Err(Error::Range {
                name: "standard deviation",
                expected: "finite and above 0",
                got: *value,
            });
        }
        let narrow = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
        Ok(Self {
            mean: narrow(mean),
            std: narrow(std),
        })
    }

    /// The mean and standard deviation (over rows and pixels, divided by their number) of each channel of a set. A channel
    /// without variation gets the standard deviation 1.
    ///
    /// # Errors
    /// If a row is broken.
    pub fn fit(set: &dyn Dataset) -> Result<Self> {
        let channels = set.info().shape[0];
        // Blocks of fixed size, added in order, give the same bits on any number of threads.
        const BLOCK: usize = 256;
        let blocks = (0..set.len().div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| {
                let mut sums = Sums::new(channels);
                for row in block * BLOCK..((block + 1) * BLOCK).min(set.len()) {
                    sums.add(&set.sample(row)?.image);
                }
                Ok(sums)
            })
            .collect::<Result<Vec<_>>>()?;
        let mut total = Sums::new(channels);
        for block in &blocks {
            total.merge(block);
        }
        Ok(total.normalization())
    }

    /// The entries that say of a weights file which normalisation its network was trained with.
    pub fn to_metadata(&self) -> [(String, String); 2] {
        let list = |values: &[f32]| {
            let numbers: Vec<String> = values.iter().map(f32::to_string).collect();
            numbers.join(",")
        };
        [
            (MEAN_KEY.to_owned(), list(&self.mean)),
            (STD_KEY.to_owned(), list(&self.std)),
        ]
    }

    /// What a weights file says of its network's normalisation, if it says so.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Option<Self> {
        let list = |key: &str| -> Option<Vec<f64>> {
            let numbers = metadata.get(key)?.split(',');
            numbers.map(|number| number.parse().ok()).collect()
        };
        let (mean, std) = (list(MEAN_KEY)?, list(STD_KEY)?);
        if mean.len() != std.len() {
            return None;
        }
        Self::from_values(&[mean, std].concat()).ok()
    }

    /// Checks that the values fit the number of channels.
    ///
    /// # Errors
    /// If there is neither one value nor one per channel.
    pub fn check(&self, channels: usize) -> Result<()> {
        for (what, values) in [("means", &self.mean), ("standard deviations", &self.std)] {
            if values.len() != 1 && values.len() != channels {
                return Err(Error::Shape {
                    what: format!("{what} of the normalisation"),
                    expected: if channels == 1 {
                        "1 value".to_owned()
                    } else {
                        format!("1 or {channels} values")
                    },
                    got: values.len().to_string(),
                });
            }
        }
        Ok(())
    }

    /// Writes an image, `[height, width, channels]`, normalised to `out`, `[channels, height, width]`.
    ///
    /// The values must have passed [`check`](Self::check), and `out` must have the image's size.
    pub fn write(&self, image: &Image, out: &mut [f32]) {
        let plane = image.height * image.width;
        for channel in 0..image.channels {
            let mean = self.mean[channel % self.mean.len()];
            let std = self.std[channel % self.std.len()];
            let out = &mut out[channel * plane..(channel + 1) * plane];
            match &image.pixels {
                Pixels::U8(values) => {
                    let table: [f32; 256] =
                        std::array::from_fn(|value| (value as f32 / 255.0 - mean) / std);
                    let values = values.iter().skip(channel).step_by(image.channels);
                    for (out, value) in out.iter_mut().zip(values) {
                        *out = table[usize::from(*value)];
                    }
                }
                Pixels::F32(values) => {
                    let values = values.iter().skip(channel).step_by(image.channels);
                    for (out, value) in out.iter_mut().zip(values) {
                        *out = (value - mean) / std;
                    }
                }
            }
        }
    }
}

/// Count, sum and sum of squares per channel, of pixels scaled to 0..1.
struct Sums {
    count: u64,
    sum: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    fn new(channels: usize) -> Self {
        Self {
            count: 0,
            sum: vec![0.0; channels],
            squares: vec![0.0; channels],
        }
    }

    fn add(&mut self, image: &Image) {
        self.count += (image.height * image.width) as u64;
        for channel in 0..image.channels {
            match &image.pixels {
                // Whole numbers add up exactly, whatever the order.
                Pixels::U8(values) => {
                    let (mut sum, mut squares) = (0_u64, 0_u64);
                    for value in values.iter().skip(channel).step_by(image.channels) {
                        let value = u64::from(*value);
                        sum += value;
                        squares += value * value;
                    }
                    self.sum[channel] += sum as f64 / 255.0;
                    self.squares[channel] += squares as f64 / (255.0 * 255.0);
                }
                Pixels::F32(values) => {
                    for value in values.iter().skip(channel).step_by(image.channels) {
                        let value = f64::from(*value);
                        self.sum[channel] += value;
                        self.squares[channel] += value * value;
                    }
                }
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        for channel in 0..self.sum.len() {
            self.sum[channel] += other.sum[channel];
            self.squares[channel] += other.squares[channel];
        }
    }

    fn normalization(&self) -> Normalization {
        let count = self.count as f64;
        let mut result = Normalization {
            mean: Vec::new(),
            std: Vec::new(),
        };
        for (sum, squares) in self.sum.iter().zip(&self.squares) {
            let mean = sum / count;
            let variance = squares / count - mean * mean;
            result.mean.push(mean as f32);
            // Cancellation leaves about 1e-16 of a channel that is constant.
            result.std.push(if variance > 1e-12 {
                variance.sqrt() as f32
            } else {
                1.0
            });
        }
        result
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::super::{DatasetInfo, MemorySet, Split, digits};
    use super::*;

    #[test]
    fn statistics_by_hand() {
        let info = DatasetInfo {
            classes: vec!["one".to_owned()],
            shape: [3, 1, 2],
            ..digits::all().info().clone()
        };
        // Red 0 and 255, green 51 throughout, blue 0, 0, 0, 255 over two rows of two pixels.
        let pixels = vec![0, 51, 0, 255, 51, 0, 0, 51, 0, 255, 51, 255];
        let set = MemorySet::new(info, Split::Train, Pixels::U8(pixels), None).unwrap();
        let fitted = Normalization::fit(&set).unwrap();
        let expected = [(0.5, 0.5), (0.2, 1.0), (0.25, 0.1875_f32.sqrt())];
        for (channel, (mean, std)) in expected.into_iter().enumerate() {
            assert!((fitted.mean[channel] - mean).abs() < 1e-6, "{fitted:?}");
            assert!((fitted.std[channel] - std).abs() < 1e-6, "{fitted:?}");
        }
    }

    #[test]
    fn bytes_and_floats_agree_and_planes_are_separate() {
        let bytes: Vec<u8> = (0..12).map(|value| value * 20).collect();
        let image = |pixels| Image {
            height: 2,
            width: 2,
            channels: 3,
            pixels,
        };
        let normalization = Normalization {
            mean: vec![0.1, 0.2, 0.3],
            std: vec![0.5, 0.25, 2.0],
        };
        let mut from_bytes = [0.0; 12];
        normalization.write(&image(Pixels::U8(bytes.clone())), &mut from_bytes);
        let mut from_floats = [0.0; 12];
        let unit = Pixels::F32(Pixels::U8(bytes).into_unit());
        normalization.write(&image(unit), &mut from_floats);
        assert_eq!(from_bytes, from_floats);
        // Channel 1 of the last pixel: 11th byte.
        assert_eq!(from_bytes[7], (200.0 / 255.0 - 0.2) / 0.25);
    }

    #[test]
    fn a_normalised_set_has_mean_0_and_deviation_1() {
        let set = digits::all();
        let fitted = Normalization::fit(set.as_ref()).unwrap();
        let (mut sum, mut squares) = (0.0, 0.0);
        let mut out = [0.0; 64];
        for row in 0..set.len() {
            fitted.write(&set.sample(row).unwrap().image, &mut out);
            sum += out.iter().map(|value| f64::from(*value)).sum::<f64>();
            squares += out
                .iter()
                .map(|value| f64::from(*value).powi(2))
                .sum::<f64>();
        }
        let count = (set.len() * 64) as f64;
        assert!((sum / count).abs() < 1e-6);
        assert!((squares / count - 1.0).abs() < 1e-5);
    }

    #[test]
    fn values_are_checked() {
        let six = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
        let read = Normalization::from_values(&six).unwrap();
        assert_eq!(
            read,
            Normalization {
                mean: vec![0.1, 0.2, 0.3],
                std: vec![0.4, 0.5, 0.6]
            }
        );
        assert!(read.check(3).is_ok());
        assert_eq!(
            read.check(1).unwrap_err().to_string(),
            "means of the normalisation: expected 1 value, got 3"
        );
        assert!(Normalization::from_values(&[0.5]).is_err());
        assert!(Normalization::from_values(&[0.5, 0.0]).is_err());
        assert!(Normalization::from_values(&[f64::NAN, 1.0]).is_err());
    }

    #[test]
    fn weights_files_carry_it_exactly() {
        let normalization = Normalization {
            mean: vec![0.1, 1.0 / 3.0],
            std: vec![0.25, 1e-3],
        };
        let metadata = BTreeMap::from(normalization.to_metadata());
        assert_eq!(Normalization::from_metadata(&metadata), Some(normalization));
        assert_eq!(Normalization::from_metadata(&BTreeMap::new()), None);
        let bad = [
            (MEAN_KEY.to_owned(), "0.5".to_owned()),
            (STD_KEY.to_owned(), "0".to_owned()),
        ];
        assert_eq!(Normalization::from_metadata(&BTreeMap::from(bad)), None);
    }
}
