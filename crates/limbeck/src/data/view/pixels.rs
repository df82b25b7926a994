//! What the changes do to the pixels of an image.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Fill;
use crate::data::{Image, Pixels};

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

pub(super) fn moved(
    image: Image,
    vertical: usize,
    horizontal: usize,
    random: &mut ChaCha8Rng,
) -> Image {
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

pub(super) fn colored(image: Image, [brightness, contrast, saturation]: [f32; 3]) -> Image {
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

pub(super) fn erased(
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
