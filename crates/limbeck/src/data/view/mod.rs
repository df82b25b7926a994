//! Views: seeded augmentation as a pure function of run seed, epoch and sample id.

mod pixels;
#[cfg(test)]
mod tests;

use limbeck_graph::Seed;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use pixels::{colored, erased, moved};

use super::{Image, SampleId};
use crate::{Error, Result};

/// What an erased rectangle is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// Uniform noise in 0..1 per value, the variant that Zhong et al. found best.
    Noise,
    /// Black.
    Zero,
}

/// One random change of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Change {
    /// A window of the original size, anywhere in the image padded with `padding` zeros on each side (He et al. 2016,
    /// section 4.2: 4 for CIFAR-10).
    Crop {
        /// Pixels on each side.
        padding: usize,
    },
    /// A horizontal mirror image.
    Flip {
        /// How often, 0 to 1.
        probability: f64,
    },
    /// A rotation about the centre by a uniform angle, bilinear, zeros from outside.
    Rotate {
        /// The largest angle either way.
        degrees: f64,
    },
    /// A move by whole pixels, uniform and separate for each axis, zeros from outside.
    Shift {
        /// The largest move up or down, in pixels.
        vertical: usize,
        /// The largest move left or right, in pixels.
        horizontal: usize,
    },
    /// Factors on brightness, contrast and saturation, in this order, each uniform in 1 - s..1 + s for its strength s; results
    /// are clamped to 0..1. Contrast is about the image's mean grey, saturation about each pixel's grey (ITU-R BT.601);
    /// grey images have no saturation.
    Color {
        /// 0 to 1.
        brightness: f64,
        /// 0 to 1.
        contrast: f64,
        /// 0 to 1.
        saturation: f64,
    },
    /// Random erasing (Zhong et al. 2020, algorithm 1): a rectangle with a uniform share of the area and a log-uniform
    /// aspect ratio.
    Erase {
        /// How often, 0 to 1.
        probability: f64,
        /// The smallest and the largest share of the area.
        area: [f64; 2],
        /// The smallest aspect ratio r; the largest is 1 / r.
        aspect: f64,
        /// What takes its place.
        fill: Fill,
    },
}

impl Change {
    /// Its name in recipes and the name of its random stream.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Crop { .. } => "crop",
            Self::Flip { .. } => "flip",
            Self::Rotate { .. } => "rotate",
            Self::Shift { .. } => "shift",
            Self::Color { .. } => "color",
            Self::Erase { .. } => "erase",
        }
    }

    fn check(&self) -> Result<()> {
        let share = |name, value: f64| {
            if (0.0..=1.0).contains(&value) {
                Ok(())
            } else {
                Err(Error::Range {
                    name,
                    expected: "between 0 and 1",
                    got: value,
                })
            }
        };
        match *self {
            Self::Crop { .. } | Self::Shift { .. } => Ok(()),
            Self::Flip { probability } => share("flip probability", probability),
            Self::Rotate { degrees } if (0.0..=180.0).contains(&degrees) => Ok(()),
            Self::Rotate { degrees } => Err(Error::Range {
                name: "rotation",
                expected: "between 0 and 180 degrees",
                got: degrees,
            }),
            Self::Color {
                brightness,
                contrast,
                saturation,
            } => {
                share("brightness", brightness)?;
                share("contrast", contrast)?;
                share("saturation", saturation)
            }
            Self::Erase {
                probability,
                area: [low, high],
                aspect,
                ..
            } => {
                share("erase probability", probability)?;
                share("smallest erased area", low)?;
                share("largest erased area", high)?;
                if low > high || high == 0.0 {
                    return Err(Error::Range {
                        name: "largest erased area",
                        expected: "above 0 and at least the smallest",
                        got: high,
                    });
                }
                if aspect > 0.0 && aspect <= 1.0 {
                    Ok(())
                } else {
                    Err(Error::Range {
                        name: "erase aspect ratio",
                        expected: "above 0 and at most 1",
                        got: aspect,
                    })
                }
            }
        }
    }

    fn apply(&self, image: Image, random: &mut ChaCha8Rng) -> Image {
        match *self {
            Self::Crop { padding } => moved(image, padding, padding, random),
            Self::Shift {
                vertical,
                horizontal,
            } => moved(image, vertical, horizontal, random),
            Self::Flip { probability } => {
                if random.random_bool(probability) {
                    image.flipped()
                } else {
                    image
                }
            }
            Self::Rotate { degrees } => image.rotated(random.random_range(-degrees..=degrees)),
            Self::Color {
                brightness,
                contrast,
                saturation,
            } => {
                let mut factor =
                    |strength: f64| random.random_range(1.0 - strength..=1.0 + strength) as f32;
                let factors = [factor(brightness), factor(contrast), factor(saturation)];
                colored(image, factors)
            }
            Self::Erase {
                probability,
                area,
                aspect,
                fill,
            } => {
                if random.random_bool(probability) {
                    erased(image, area, aspect, fill, random)
                } else {
                    image
                }
            }
        }
    }
}

/// A chain of random changes. The same run seed, epoch and sample id give the same view of a sample, whatever else is in
/// the batch and whichever thread makes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct View(Vec<Change>);

impl View {
    /// The sample as it is.
    pub fn none() -> Self {
        Self::default()
    }

    /// The changes in the order they are applied.
    ///
    /// # Errors
    /// If a parameter is outside its range, or a change occurs twice.
    pub fn new(changes: Vec<Change>) -> Result<Self> {
        for (index, change) in changes.iter().enumerate() {
            change.check()?;
            if changes[..index]
                .iter()
                .any(|earlier| earlier.name() == change.name())
            {
                return Err(Error::Data(format!(
                    "augmentation `{}` occurs twice; name it once",
                    change.name()
                )));
            }
        }
        Ok(Self(changes))
    }

    /// The changes in the order they are applied.
    pub fn changes(&self) -> &[Change] {
        &self.0
    }

    /// The view of `image` in `epoch`.
    ///
    /// Every change draws from its own stream, so that adding one leaves the draws of the others alone.
    pub fn apply(&self, image: Image, seed: Seed, epoch: u64, id: SampleId) -> Image {
        self.0.iter().fold(image, |image, change| {
            let stream = format!("view/{}", change.name());
            change.apply(image, &mut seed.stream(&stream, &[epoch, id.0]))
        })
    }
}
