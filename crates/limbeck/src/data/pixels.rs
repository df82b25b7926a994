//! Decoded images.

/// The pixels of an image, `[height, width, channels]` row major.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// 0 to 255.
    U8(Vec<u8>),
    /// 0 to 1, finite.
    F32(Vec<f32>),
}

impl Pixels {
    /// The number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values `start..end`.
    pub(super) fn slice(&self, start: usize, end: usize) -> Self {
        match self {
            Self::U8(values) => Self::U8(values[start..end].to_vec()),
            Self::F32(values) => Self::F32(values[start..end].to_vec()),
        }
    }

    /// The values scaled to 0..1.
    pub fn into_unit(self) -> Vec<f32> {
        match self {
            Self::U8(values) => values
                .into_iter()
                .map(|value| f32::from(value) / 255.0)
                .collect(),
            Self::F32(values) => values,
        }
    }
}

/// A decoded image.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// The values, `[height, width, channels]`.
    pub pixels: Pixels,
}

impl Image {
    /// `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }
}
