//! Class names, and labels checked against them.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::hash::hexadecimal;
use crate::{Error, Result};

/// CIFAR-10's classes.
pub(super) const CIFAR_10: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];

/// CIFAR-100's fine classes.
pub(super) const CIFAR_100: [&str; 100] = [
    "apple",
    "aquarium_fish",
    "baby",
    "bear",
    "beaver",
    "bed",
    "bee",
    "beetle",
    "bicycle",
    "bottle",
    "bowl",
    "boy",
    "bridge",
    "bus",
    "butterfly",
    "camel",
    "can",
    "castle",
    "caterpillar",
    "cattle",
    "chair",
    "chimpanzee",
    "clock",
    "cloud",
    "cockroach",
    "couch",
    "crab",
    "crocodile",
    "cup",
    "dinosaur",
    "dolphin",
    "elephant",
    "flatfish",
    "forest",
    "fox",
    "girl",
    "hamster",
    "house",
    "kangaroo",
    "keyboard",
    "lamp",
    "lawn_mower",
    "leopard",
    "lion",
    "lizard",
    "lobster",
    "man",
    "maple_tree",
    "motorcycle",
    "mountain",
    "mouse",
    "mushroom",
    "oak_tree",
    "orange",
    "orchid",
    "otter",
    "palm_tree",
    "pear",
    "pickup_truck",
    "pine_tree",
    "plain",
    "plate",
    "poppy",
    "porcupine",
    "possum",
    "rabbit",
    "raccoon",
    "ray",
    "road",
    "rocket",
    "rose",
    "sea",
    "seal",
    "shark",
    "shrew",
    "skunk",
    "skyscraper",
    "snail",
    "snake",
    "spider",
    "squirrel",
    "streetcar",
    "sunflower",
    "sweet_pepper",
    "table",
    "tank",
    "telephone",
    "television",
    "tiger",
    "tractor",
    "train",
    "trout",
    "tulip",
    "turtle",
    "wardrobe",
    "whale",
    "willow_tree",
    "wolf",
    "woman",
    "worm",
];

/// Fashion-MNIST's classes.
const FASHION: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// SHA-256 over the labels, a byte each, of Fashion-MNIST's two label files.
const FASHION_LABELS: [&str; 2] = [
    "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
];

/// Files that name the classes, one per line, as CIFAR's archives and common practice have them.
const NAME_FILES: [&str; 4] = [
    "batches.meta.txt",
    "fine_label_names.txt",
    "classes.txt",
    "labels.txt",
];

/// The classes' names from a file beside the data.
pub(super) fn names_beside(folder: &Path) -> Result<Option<Vec<String>>> {
    for name in NAME_FILES {
        let path = folder.join(name);
        if path.is_file() {
            let text =
                std::fs::read_to_string(&path).map_err(|source| Error::read(&path, source))?;
            let names: Vec<String> = text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect();
            if !names.is_empty() {
                return Ok(Some(names));
            }
        }
    }
    Ok(None)
}

/// The names of a well-known set that stores none, told by its labels.
pub(super) fn names_by_labels(labels: &[u32]) -> Option<Vec<String>> {
    let bytes: Option<Vec<u8>> = labels
        .iter()
        .map(|label| u8::try_from(*label).ok())
        .collect();
    let hash = hexadecimal(&Sha256::digest(bytes?));
    FASHION_LABELS
        .contains(&hash.as_str())
        .then(|| owned(&FASHION))
}

/// Names as `DatasetInfo` keeps them.
pub(super) fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// `0`, `1`, ... for `count` classes.
pub(super) fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|class| class.to_string()).collect()
}

/// The number of classes of labels without names: one more than the largest.
///
/// A damaged label must not pass as a class of its own, so at least half of the classes must occur.
///
/// # Errors
/// If fewer do; `place` turns the row of the largest label into the error.
pub(super) fn count_classes(
    labels: &[u32],
    place: impl Fn(usize, String) -> Error,
) -> Result<usize> {
    let Some((row, largest)) = labels
        .iter()
        .enumerate()
        .max_by_key(|(row, label)| (**label, std::cmp::Reverse(*row)))
    else {
        return Ok(0);
    };
    let mut distinct = labels.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let count = *largest as usize + 1;
    if distinct.len() * 2 < count {
        return Err(place(
            row,
            format!(
                "label {largest} would make {count} classes, but only {} labels occur; if the set really has {count} \
                 classes, set `data.classes = {count}`",
                distinct.len()
            ),
        ));
    }
    Ok(count)
}

/// Checks that every label has a class.
///
/// # Errors
/// If one has none; `place` turns its row into the error.
pub(super) fn check_labels(
    labels: &[u32],
    classes: usize,
    place: impl Fn(usize, String) -> Error,
) -> Result<()> {
    match labels.iter().position(|label| *label as usize >= classes) {
        None => Ok(()),
        Some(row) => Err(place(
            row,
            format!(
                "expected a label from 0 to {}, got {}",
                classes - 1,
                labels[row]
            ),
        )),
    }
}
