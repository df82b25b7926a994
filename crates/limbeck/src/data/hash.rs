//! The hash of a set's content.

use sha2::{Digest, Sha256};

use super::Pixels;

/// SHA-256 over a set's shape and rows.
pub(super) struct ContentHash(Sha256);

impl ContentHash {
    /// Starts with the shape of every row.
    pub(super) fn new(shape: [usize; 3]) -> Self {
        let mut hash = Sha256::new();
        for size in shape {
            hash.update((size as u64).to_le_bytes());
        }
        Self(hash)
    }

    /// Adds the label and the stored bytes of a row.
    pub(super) fn row(&mut self, label: Option<u32>, bytes: &[u8]) {
        self.0
            .update(label.map_or(u64::MAX, u64::from).to_le_bytes());
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The hash of rows held in memory.
    pub(super) fn of_pixels(shape: [usize; 3], pixels: &Pixels, labels: Option<&[u32]>) -> String {
        let mut hash = Self::new(shape);
        for label in labels.unwrap_or_default() {
            hash.0.update(label.to_le_bytes());
        }
        match pixels {
            Pixels::U8(values) => hash.0.update(values),
            Pixels::F32(values) => {
                for value in values {
                    hash.0.update(value.to_le_bytes());
                }
            }
        }
        hash.finish()
    }

    /// The hash of some rows of a set with hash `parent`.
    pub(super) fn of_subset(parent: &str, rows: &[usize]) -> String {
        let mut hash = Sha256::new();
        hash.update(b"subset");
        hash.update(parent.as_bytes());
        for row in rows {
            hash.update((*row as u64).to_le_bytes());
        }
        hexadecimal(&hash.finalize())
    }

    /// The hash in hexadecimal.
    pub(super) fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
