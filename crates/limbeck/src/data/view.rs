//! Views: seeded augmentation as a pure function of run seed, epoch and sample id.

use limbeck_graph::Seed;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Image, Pixels, SampleId};
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

impl Image {
    /// The mirror image, left and right exchanged.
    #[must_use]
    pub fn flipped(mut self) -> Self {
        fn flip<T: Copy>(values: &mut [T], width: usize, channels: usize) {
            for row in values.chunks_exact_mut(width * channels) {
                for left in 0..width / 2 {
                    let right = width - 1 - left;
                    for channel in 0..channels {
                        row.swap(left * channels + channel, right * channels + channel);
                    }
                }
            }
        }
        match &mut self.pixels {
            Pixels::U8(values) => flip(values, self.width, self.channels),
            Pixels::F32(values) => flip(values, self.width, self.channels),
        }
        self
    }

    /// The window whose upper left corner is at row `top` and column `left`, zeros where it leaves the image.
    #[must_use]
    pub fn window(self, top: isize, left: isize) -> Self {
        fn window<T: Copy + Default>(
            values: &[T],
            size: [usize; 3],
            top: isize,
            left: isize,
        ) -> Vec<T> {
            let [height, width, channels] = size;
            let mut out = vec![T::default(); values.len()];
            let skip = left.unsigned_abs().min(width);
            let (from, to) = if left >= 0 { (skip, 0) } else { (0, skip) };
            let length = (width - skip) * channels;
            for row in 0..height {
                let source = row as isize + top;
                if (0..height as isize).contains(&source) {
                    let from = (source as usize * width + from) * channels;
                    let to = (row * width + to) * channels;
                    out[to..to + length].copy_from_slice(&values[from..from + length]);
                }
            }
            out
        }
        let size = [self.height, self.width, self.channels];
        let pixels = match &self.pixels {
            Pixels::U8(values) => Pixels::U8(window(values, size, top, left)),
            Pixels::F32(values) => Pixels::F32(window(values, size, top, left)),
        };
        Self { pixels, ..self }
    }

    /// The image turned counter-clockwise about its centre, bilinear, zeros from outside.
    #[must_use]
    pub fn rotated(self, degrees: f64) -> Self {
        let Self {
            height,
            width,
            channels,
            pixels,
        } = self;
        let values = pixels.into_unit();
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (middle_y, middle_x) = ((height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0);
        let mut out = vec![0.0; values.len()];
        for y in 0..height {
            for x in 0..width {
                let (dy, dx) = (y as f64 - middle_y, x as f64 - middle_x);
                let source_x = cos * dx - sin * dy + middle_x;
                let source_y = sin * dx + cos * dy + middle_y;
                let (floor_y, floor_x) = (source_y.floor(), source_x.floor());
                let (part_y, part_x) = ((source_y - floor_y) as f32, (source_x - floor_x) as f32);
                let target = (y * width + x) * channels;
                for (step_y, weight_y) in [(0.0, 1.0 - part_y), (1.0, part_y)] {
                    for (step_x, weight_x) in [(0.0, 1.0 - part_x), (1.0, part_x)] {
                        let (near_y, near_x) = (floor_y + step_y, floor_x + step_x);
                        if near_y < 0.0
                            || near_x < 0.0
                            || near_y >= height as f64
                            || near_x >= width as f64
                        {
                            continue;
                        }
                        let source = (near_y as usize * width + near_x as usize) * channels;
                        for channel in 0..channels {
                            out[target + channel] += weight_y * weight_x * values[source + channel];
                        }
                    }
                }
            }
        }
        Self {
            height,
            width,
            channels,
            pixels: Pixels::F32(out),
        }
    }
}

fn moved(image: Image, vertical: usize, horizontal: usize, random: &mut ChaCha8Rng) -> Image {
    let mut draw = |limit: usize, size: usize| {
        // Beyond its size an image has left the window altogether.
        let limit = limit.min(size) as i64;
        random.random_range(-limit..=limit) as isize
    };
    let top = draw(vertical, image.height);
    let left = draw(horizontal, image.width);
    if top == 0 && left == 0 {
        image
    } else {
        image.window(top, left)
    }
}

fn grey(pixel: &[f32]) -> f32 {
    match pixel {
        [red, green, blue] => 0.299 * red + 0.587 * green + 0.114 * blue,
        _ => pixel[0],
    }
}

fn colored(image: Image, [brightness, contrast, saturation]: [f32; 3]) -> Image {
    let channels = image.channels;
    let mut values = image.pixels.into_unit();
    for value in &mut values {
        *value = (*value * brightness).clamp(0.0, 1.0);
    }
    let count = (values.len() / channels) as f64;
    let mean = values
        .chunks_exact(channels)
        .map(|pixel| f64::from(grey(pixel)))
        .sum::<f64>()
        / count;
    let mean = mean as f32;
    for value in &mut values {
        *value = (mean + contrast * (*value - mean)).clamp(0.0, 1.0);
    }
    if channels == 3 {
        for pixel in values.chunks_exact_mut(channels) {
            let grey = grey(pixel);
            for value in pixel {
                *value = (grey + saturation * (*value - grey)).clamp(0.0, 1.0);
            }
        }
    }
    Image {
        pixels: Pixels::F32(values),
        ..image
    }
}

fn erased(
    image: Image,
    [low, high]: [f64; 2],
    aspect: f64,
    fill: Fill,
    random: &mut ChaCha8Rng,
) -> Image {
    let Image {
        height,
        width,
        channels,
        pixels,
    } = image;
    let mut values = pixels.into_unit();
    // A rectangle that does not fit is drawn again; the paper repeats without end, a long thin image would not let it.
    const ATTEMPTS: usize = 10;
    for _ in 0..ATTEMPTS {
        let area = random.random_range(low..=high) * (height * width) as f64;
        let spread = -aspect.ln();
        let ratio = random.random_range(-spread..=spread).exp();
        let rows = (area * ratio).sqrt().round() as usize;
        let columns = (area / ratio).sqrt().round() as usize;
        if rows == 0 || columns == 0 || rows > height || columns > width {
            continue;
        }
        let top = random.random_range(0..=(height - rows) as u64) as usize;
        let left = random.random_range(0..=(width - columns) as u64) as usize;
        for row in top..top + rows {
            let start = (row * width + left) * channels;
            for value in &mut values[start..start + columns * channels] {
                *value = match fill {
                    Fill::Noise => random.random(),
                    Fill::Zero => 0.0,
                };
            }
        }
        break;
    }
    Image {
        height,
        width,
        channels,
        pixels: Pixels::F32(values),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;
    use rand::RngExt;

    use super::*;

    fn image(height: usize, width: usize, channels: usize, seed: u64) -> Image {
        let mut random = Seed::new(seed).stream("image", &[]);
        let pixels = (0..height * width * channels)
            .map(|_| random.random())
            .collect();
        Image {
            height,
            width,
            channels,
            pixels: Pixels::U8(pixels),
        }
    }

    fn everything() -> View {
        View::new(vec![
            Change::Crop { padding: 2 },
            Change::Flip { probability: 0.5 },
            Change::Shift {
                vertical: 1,
                horizontal: 2,
            },
            Change::Rotate { degrees: 20.0 },
            Change::Color {
                brightness: 0.4,
                contrast: 0.4,
                saturation: 0.4,
            },
            Change::Erase {
                probability: 0.5,
                area: [0.02, 0.4],
                aspect: 0.3,
                fill: Fill::Noise,
            },
        ])
        .unwrap()
    }

    proptest! {
        #[test]
        fn a_view_follows_from_seed_epoch_and_id(seed: u64, epoch: u64, id: u64, rows in 8_usize..14, columns in 8_usize..14, colour: bool) {
            let image = image(rows, columns, if colour { 3 } else { 1 }, seed);
            let view = |seed, epoch, id| {
                everything().apply(image.clone(), Seed::new(seed), epoch, SampleId(id))
            };
            let once = view(seed, epoch, id);
            prop_assert_eq!(&once, &view(seed, epoch, id));
            prop_assert_eq!(once.shape(), image.shape());
            let Pixels::F32(values) = &once.pixels else { panic!("colour changes give floats") };
            prop_assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
            prop_assert_ne!(&once, &view(seed, epoch.wrapping_add(1), id));
            prop_assert_ne!(&once, &view(seed, epoch, id.wrapping_add(1)));
            prop_assert_ne!(&once, &view(seed.wrapping_add(1), epoch, id));
        }

        #[test]
        fn a_flip_twice_is_the_image(rows in 1_usize..9, columns in 1_usize..9, seed: u64) {
            let image = image(rows, columns, 3, seed);
            prop_assert_eq!(image.clone().flipped().flipped(), image);
        }

        #[test]
        fn a_crop_is_a_window_of_the_padded_image(
            rows in 1_usize..9, columns in 1_usize..9, padding in 0_usize..6, seed: u64,
        ) {
            let image = image(rows, columns, 1, seed);
            let crop = View::new(vec![Change::Crop { padding }]).unwrap()
                .apply(image.clone(), Seed::new(seed), 0, SampleId(1));
            let Pixels::U8(values) = &image.pixels else { unreachable!("built from bytes") };
            let (padded_rows, padded_columns) = (rows + 2 * padding, columns + 2 * padding);
            let mut padded = vec![0; padded_rows * padded_columns];
            for row in 0..rows {
                for column in 0..columns {
                    padded[(row + padding) * padded_columns + column + padding] =
                        values[row * columns + column];
                }
            }
            let window = |top: usize, left: usize| {
                let mut out = Vec::new();
                for row in top..top + rows {
                    out.extend_from_slice(
                        &padded[row * padded_columns + left..row * padded_columns + left + columns],
                    );
                }
                Pixels::U8(out)
            };
            let found = (0..=2 * padding)
                .any(|top| (0..=2 * padding).any(|left| window(top, left) == crop.pixels));
            prop_assert!(found);
        }
    }

    #[test]
    fn every_offset_of_a_crop_occurs_about_equally_often() {
        let mut values = vec![0; 25];
        values[12] = 255;
        let dot = Image {
            height: 5,
            width: 5,
            channels: 1,
            pixels: Pixels::U8(values),
        };
        let view = View::new(vec![Change::Crop { padding: 2 }]).unwrap();
        let mut counts = [0_u32; 25];
        for id in 0..5000 {
            let Pixels::U8(values) = view
                .apply(dot.clone(), Seed::new(3), 0, SampleId(id))
                .pixels
            else {
                unreachable!("crops keep bytes")
            };
            counts[values.iter().position(|value| *value == 255).unwrap()] += 1;
        }
        // 200 expected, standard deviation 13.9.
        assert!(
            counts.iter().all(|count| (140..260).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn rotation_by_hand() {
        let pixels = Pixels::F32(vec![0.25, 0.5, 0.75, 1.0]);
        let image = Image {
            height: 2,
            width: 2,
            channels: 1,
            pixels,
        };
        let quarter = image.clone().rotated(90.0);
        let Pixels::F32(values) = quarter.pixels else {
            unreachable!("rotations give floats")
        };
        // Counter-clockwise: the right column becomes the top row.
        for (value, expected) in values.iter().zip([0.5, 1.0, 0.25, 0.75]) {
            assert!((value - expected).abs() < 1e-6, "{values:?}");
        }
        let still = image.clone().rotated(0.0);
        assert_eq!(still, image);
    }

    #[test]
    fn colour_by_hand() {
        let pixels = Pixels::F32(vec![0.2, 0.4, 0.6]);
        let image = Image {
            height: 1,
            width: 1,
            channels: 3,
            pixels,
        };
        // A single pixel is its own mean: contrast moves each value away from its grey, as saturation does.
        let grey = 0.299 * 0.4 + 0.587 * 0.8 + 0.114;
        let Pixels::F32(values) = colored(image, [2.0, 0.5, 1.0]).pixels else {
            unreachable!("colour changes give floats")
        };
        for (value, bright) in values.iter().zip([0.4, 0.8, 1.0]) {
            let expected = grey + 0.5 * (bright - grey);
            assert!((value - expected).abs() < 1e-6, "{values:?}");
        }
    }

    #[test]
    fn erasing_leaves_the_rest_alone_and_keeps_to_the_area() {
        let image = Image {
            height: 20,
            width: 20,
            channels: 3,
            pixels: Pixels::F32(vec![0.5; 1200]),
        };
        let view = View::new(vec![Change::Erase {
            probability: 1.0,
            area: [0.1, 0.2],
            aspect: 0.5,
            fill: Fill::Zero,
        }])
        .unwrap();
        for id in 0..200 {
            let Pixels::F32(values) = view
                .apply(image.clone(), Seed::new(1), 0, SampleId(id))
                .pixels
            else {
                unreachable!("erasing gives floats")
            };
            assert!(values.iter().all(|value| *value == 0.0 || *value == 0.5));
            let share = values.iter().filter(|value| **value == 0.0).count() as f64 / 1200.0;
            assert!((0.08..0.23).contains(&share), "{share}");
        }
    }

    #[test]
    fn another_change_leaves_the_draws_alone() {
        let image = image(8, 8, 1, 5);
        let crop = Change::Crop { padding: 2 };
        let alone = View::new(vec![crop.clone()]).unwrap();
        let with = View::new(vec![Change::Flip { probability: 0.0 }, crop]).unwrap();
        for id in 0..20 {
            let id = SampleId(id);
            assert_eq!(
                alone.apply(image.clone(), Seed::new(1), 2, id),
                with.apply(image.clone(), Seed::new(1), 2, id)
            );
        }
    }

    #[test]
    fn parameters_are_checked() {
        let refuse = |change| View::new(vec![change]).unwrap_err().to_string();
        assert_eq!(
            refuse(Change::Flip { probability: 1.5 }),
            "flip probability must be between 0 and 1, got 1.5"
        );
        assert_eq!(
            refuse(Change::Rotate { degrees: f64::NAN }),
            "rotation must be between 0 and 180 degrees, got NaN"
        );
        let twice = vec![Change::Crop { padding: 1 }, Change::Crop { padding: 2 }];
        assert!(
            View::new(twice)
                .unwrap_err()
                .to_string()
                .contains("occurs twice")
        );
    }
}
