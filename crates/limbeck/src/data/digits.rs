//! The embedded set: 1,797 handwritten digits.
//!
//! *Optical Recognition of Handwritten Digits* by E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998,
//! <https://doi.org/10.24432/C50P49>, licensed under Creative Commons Attribution 4.0
//! (<https://creativecommons.org/licenses/by/4.0/>); the copy that scikit-learn carries, which is UCI's test part. Pixels were
//! changed from 0..16 to 0..1 and the rows were split, see [`open`].
//!
//! Each image counts the ink in the 4x4 blocks of a 32x32 bitmap, so its 8x8 pixels have 17 levels. `digits.zlib` holds
//! the pixels, row by row, and then the labels, one byte each, as a zlib stream.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use flate2::read::ZlibDecoder;
use limbeck_graph::Seed;

use super::{Amount, Dataset, DatasetInfo, MemorySet, Pixels, Split, Subset, hold_out};
use crate::Result;

/// Its name as a data path.
pub const NAME: &str = "digits";

/// Where the rows come from, and their licence.
pub const ORIGIN: &str = "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning \
    Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0; scaled to 0..1 and split";

/// All rows.
pub const ROWS: usize = 1_797;

/// The rows of the test part.
pub const TEST_ROWS: usize = 500;

/// `[channels, height, width]`.
pub const SHAPE: [usize; 3] = [1, 8, 8];

const SIZE: usize = 64;
const LEVELS: f32 = 16.0;
const PACKED: &[u8] = include_bytes!("digits.zlib");

/// The whole set, in the origin's order.
pub fn all() -> Arc<dyn Dataset> {
    static ALL: OnceLock<Arc<MemorySet>> = OnceLock::new();
    Arc::clone(ALL.get_or_init(|| Arc::new(unpack()))) as Arc<dyn Dataset>
}

/// The training part of 1,297 rows or the test part of 500, stratified with the fixed seed 0; every call gives the same
/// rows, and a row's identity is its number in the origin.
///
/// The writers of both parts are the same people, so figures on the test part are a little kinder than
/// UCI's own split between writers.
///
/// # Errors
/// If asked for a validation part: hold one out of the training part.
pub fn open(split: Split) -> Result<Arc<dyn Dataset>> {
    let (train, test) = halves()?;
    match split {
        Split::Train => Ok(Arc::new(train)),
        Split::Test => Ok(Arc::new(test)),
        Split::Validation => Err(crate::Error::Data(
            "`digits` has no validation split; it has train and test; hold out a share with `data.validation`"
                .to_owned(),
        )),
    }
}

fn halves() -> Result<(Subset, Subset)> {
    hold_out(&all(), Amount::Rows(TEST_ROWS), Seed::new(0), "digits")
}

fn unpack() -> MemorySet {
    let mut bytes = Vec::with_capacity(ROWS * (SIZE + 1));
    ZlibDecoder::new(PACKED)
        .read_to_end(&mut bytes)
        .expect("the embedded digits were packed by the generator below");
    let labels = bytes.split_off(ROWS * SIZE);
    let info = DatasetInfo {
        name: NAME.to_owned(),
        origin: ORIGIN.to_owned(),
        format: "embedded".to_owned(),
        classes: (0..10).map(|class| class.to_string()).collect(),
        shape: SHAPE,
        hash: String::new(),
    };
    let pixels = bytes
        .into_iter()
        .map(|level| f32::from(level) / LEVELS)
        .collect();
    let labels = labels.into_iter().map(u32::from).collect();
    MemorySet::new(info, Split::Train, Pixels::F32(pixels), Some(labels))
        .expect("the embedded digits have 64 pixels and a label per row")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::collections::BTreeSet;
    use std::io::Write;
    use std::path::Path;

    use super::*;

    fn read_csv() -> Option<(Vec<u8>, Vec<u8>)> {
        let Ok(shared) = std::env::var("LIMBECK_SHARED") else {
            println!("skipped: LIMBECK_SHARED is not set");
            return None;
        };
        let text =
            std::fs::read_to_string(Path::new(&shared).join("data/sklearn/digits.csv")).unwrap();
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for line in text.lines().skip(1) {
            let mut row: Vec<u8> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
            labels.push(row.pop().unwrap());
            pixels.append(&mut row);
        }
        Some((pixels, labels))
    }

    #[test]
    #[ignore = "writes src/data/digits.zlib from the csv"]
    fn pack() {
        let (pixels, labels) = read_csv().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/data/digits.zlib");
        let file = std::fs::File::create(path).unwrap();
        let mut packer = flate2::write::ZlibEncoder::new(file, flate2::Compression::best());
        packer.write_all(&pixels).unwrap();
        packer.write_all(&labels).unwrap();
        packer.finish().unwrap();
    }

    #[test]
    fn the_embedded_rows_are_those_of_the_csv() {
        let Some((pixels, labels)) = read_csv() else {
            return;
        };
        let set = all();
        assert_eq!((set.len(), labels.len()), (ROWS, ROWS));
        for row in 0..ROWS {
            let sample = set.sample(row).unwrap();
            assert_eq!(sample.label, Some(u32::from(labels[row])));
            let levels: Vec<u8> = sample
                .image
                .pixels
                .into_unit()
                .iter()
                .map(|value| (value * LEVELS) as u8)
                .collect();
            assert_eq!(levels, pixels[row * SIZE..(row + 1) * SIZE]);
        }
    }

    #[test]
    fn the_parts_are_disjoint_stratified_and_fixed() {
        let (train, test) = (open(Split::Train).unwrap(), open(Split::Test).unwrap());
        assert_eq!((train.len(), test.len()), (1297, 500));
        let ids = |set: &Arc<dyn Dataset>| -> BTreeSet<_> {
            (0..set.len()).map(|row| set.id(row)).collect()
        };
        assert!(ids(&train).is_disjoint(&ids(&test)));
        let mut counts = [0_usize; 10];
        for row in 0..test.len() {
            counts[test.label(row).unwrap() as usize] += 1;
        }
        // 178 182 177 183 181 182 181 179 174 180 rows of each digit, times 500 / 1797.
        assert_eq!(counts, [50, 51, 49, 51, 50, 51, 50, 50, 48, 50]);
        let first: Vec<u64> = (0..8).map(|row| test.id(row).0).collect();
        assert_eq!(first, [2, 5, 6, 9, 14, 15, 17, 19]);
        assert!(open(Split::Validation).is_err());
    }
}
