//! Image and label files in the IDX format, paired.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::idx::{self, Values};
use super::labels::{check_labels, count_classes, names_beside, names_by_labels, numbers};
use super::source::{Meta, OpenOptions, Parts, entries};
use super::{MemorySet, Pixels, Split, content};
use crate::{Error, Result};

/// As `limbeck datasets` lists it.
pub(super) const FORMAT: &str = "IDX";

/// An image file and its label file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    images: PathBuf,
    labels: PathBuf,
}

/// Files with one dimension are labels, those with more are images.
fn is_labels(path: &Path) -> Result<bool> {
    Ok(idx::read_header(path)?.dimensions.len() == 1)
}

/// Pairs the files of a folder, within each split that the names announce.
pub(super) fn pair(
    root: &Path,
    files: Vec<PathBuf>,
    announced: impl Fn(&Path) -> Option<Split>,
) -> Result<Parts<Pair>> {
    let mut splits: BTreeMap<Option<Split>, [Vec<PathBuf>; 2]> = BTreeMap::new();
    for file in without_packed_twins(files) {
        let kind = usize::from(is_labels(&file)?);
        splits.entry(announced(&file)).or_default()[kind].push(file);
    }
    // `train-images` and plain `labels` belong together where there is nothing else.
    let [images, labels] = splits.values().fold([0, 0], |[images, labels], part| {
        [images + part[0].len(), labels + part[1].len()]
    });
    if images == 1 && labels == 1 && splits.len() > 1 {
        let split = splits.keys().copied().flatten().next();
        let mut all = splits.into_values().reduce(|mut one, mut other| {
            one[0].append(&mut other[0]);
            one[1].append(&mut other[1]);
            one
        });
        splits = BTreeMap::new();
        if let Some(all) = all.take() {
            splits.insert(split, all);
        }
    }
    let mut parts = BTreeMap::new();
    for (split, [images, labels]) in splits {
        let part = split.map_or_else(String::new, |split| format!(" for the {split} split"));
        let one = |files: Vec<PathBuf>, kind: &str| match <[PathBuf; 1]>::try_from(files) {
            Ok([file]) => Ok(file),
            Err(files) => {
                let names: Vec<String> = files
                    .iter()
                    .map(|file| format!("`{}`", file.display()))
                    .collect();
                Err(Error::Data(format!(
                    "expected one IDX file of {kind} in `{}`{part}, got {}",
                    root.display(),
                    if names.is_empty() {
                        "none".to_owned()
                    } else {
                        names.join(" and ")
                    }
                )))
            }
        };
        let pair = Pair {
            images: one(images, "images")?,
            labels: one(labels, "labels (one dimension)")?,
        };
        parts.insert(split, pair);
    }
    if parts.len() == 1
        && let Some(pair) = parts.remove(&None)
    {
        return Ok(Parts::Whole(None, pair));
    }
    let mut divided = BTreeMap::new();
    for (split, pair) in parts {
        let split = split.ok_or_else(|| {
            Error::Data(format!(
                "cannot tell which split `{}` belongs to, while other files of `{}` are named train, validation or \
                 test; rename it or move it away",
                pair.images.display(),
                root.display()
            ))
        })?;
        divided.insert(split, pair);
    }
    Ok(Parts::Splits(divided))
}

/// Downloads leave `x.gz` beside the unpacked `x`.
fn without_packed_twins(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let plain: Vec<PathBuf> = files.clone();
    files
        .into_iter()
        .filter(|file| {
            file.extension().is_none_or(|end| end != "gz")
                || !plain.contains(&file.with_extension(""))
        })
        .collect()
}

/// The label file that belongs to an image file: beside it, with the same split in its name.
pub(super) fn partner(images: &Path) -> Result<Pair> {
    if is_labels(images)? {
        return Err(Error::Data(format!(
            "`{}` holds labels (one dimension); give the image file or the folder",
            images.display()
        )));
    }
    let folder = match images.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let split = Split::from_name(images);
    let mut labels = Vec::new();
    for file in without_packed_twins(entries(folder)?.0) {
        if Split::from_name(&file) == split
            && content::sniff(&file)? == content::Content::Idx
            && is_labels(&file)?
        {
            labels.push(file);
        }
    }
    match <[PathBuf; 1]>::try_from(labels) {
        Ok([labels]) => Ok(Pair {
            images: images.to_owned(),
            labels,
        }),
        Err(labels) => Err(Error::Data(format!(
            "expected one IDX file of labels (one dimension) beside `{}`{}, got {}",
            images.display(),
            split.map_or_else(String::new, |split| format!(" for the {split} split")),
            labels.len()
        ))),
    }
}

/// Reads a pair. Without names the training labels tell the number of classes.
pub(super) fn read(
    pair: &Pair,
    train: Option<&Pair>,
    meta: &Meta,
    options: &OpenOptions,
) -> Result<MemorySet> {
    let (shape, rows, pixels) = read_images(&pair.images)?;
    let labels = read_labels(&pair.labels)?;
    if labels.len() != rows {
        return Err(Error::Data(format!(
            "`{}` holds {rows} images, but `{}` holds {} labels; they do not belong together",
            pair.images.display(),
            pair.labels.display(),
            labels.len()
        )));
    }
    if rows == 0 {
        return Err(Error::Data(format!(
            "`{}` holds no rows",
            pair.images.display()
        )));
    }
    let classes = classes(pair, &labels, train, options)?;
    check_labels(&labels, classes.len(), |row, reason| {
        Error::row(&pair.labels, row as u64, reason)
    })?;
    MemorySet::new(
        meta.info(FORMAT, classes, shape),
        meta.split,
        pixels,
        Some(labels),
    )
}

fn classes(
    pair: &Pair,
    labels: &[u32],
    train: Option<&Pair>,
    options: &OpenOptions,
) -> Result<Vec<String>> {
    let folder = pair.labels.parent().unwrap_or(Path::new("."));
    let mut names = names_beside(folder)?.or_else(|| names_by_labels(labels));
    if names.is_none() && options.classes.is_none() {
        let count = |labels: &[u32], path: &Path| {
            count_classes(labels, |row, reason| Error::row(path, row as u64, reason))
        };
        names = Some(numbers(match train {
            Some(train) if train != pair => count(&read_labels(&train.labels)?, &train.labels)?,
            _ => count(labels, &pair.labels)?,
        }));
    }
    let mut names = names.unwrap_or_default();
    options.fit_classes(&mut names);
    Ok(names)
}

fn read_labels(path: &Path) -> Result<Vec<u32>> {
    fn whole<T: Copy + TryInto<u32> + std::fmt::Display>(
        values: &[T],
        path: &Path,
    ) -> Result<Vec<u32>> {
        values
            .iter()
            .enumerate()
            .map(|(row, value)| {
                (*value).try_into().map_err(|_| {
                    Error::row(
                        path,
                        row as u64,
                        format!("expected a label of at least 0, got {value}"),
                    )
                })
            })
            .collect()
    }
    let array = idx::read(path)?;
    if array.dimensions.len() != 1 {
        return Err(Error::format(
            path,
            FORMAT,
            format!("labels have one dimension, got {:?}", array.dimensions),
        ));
    }
    match &array.values {
        Values::U8(values) => whole(values, path),
        Values::I8(values) => whole(values, path),
        Values::I16(values) => whole(values, path),
        Values::I32(values) => whole(values, path),
        Values::F32(_) | Values::F64(_) => Err(Error::format(
            path,
            FORMAT,
            "labels are whole numbers, got floating-point ones",
        )),
    }
}

/// Shape, rows and pixels. Dimensions are rows, height, width and, with four, channels last or first.
fn read_images(path: &Path) -> Result<([usize; 3], usize, Pixels)> {
    let array = idx::read(path)?;
    let (rows, shape, channels_first) = match array.dimensions[..] {
        [rows, height, width] => (rows, [1, height, width], false),
        [rows, height, width, channels @ (1 | 3)] => (rows, [channels, height, width], false),
        [rows, channels @ (1 | 3), height, width] => (rows, [channels, height, width], true),
        _ => {
            return Err(Error::format(
                path,
                FORMAT,
                format!(
                    "images have dimensions [rows, height, width] or four with 1 or 3 channels, got {:?}",
                    array.dimensions
                ),
            ));
        }
    };
    let size: usize = shape.iter().product();
    if rows > 0 && size == 0 {
        return Err(Error::format(
            path,
            FORMAT,
            format!(
                "expected images of at least one pixel, got {:?}",
                array.dimensions
            ),
        ));
    }
    let fault = |at: usize, reason: String| Error::row(path, (at / size) as u64, reason);
    let pixels = match array.values {
        Values::U8(values) => Pixels::U8(values),
        Values::I8(values) => Pixels::U8(bytes(&values, fault)?),
        Values::I16(values) => Pixels::U8(bytes(&values, fault)?),
        Values::I32(values) => Pixels::U8(bytes(&values, fault)?),
        Values::F32(values) => Pixels::F32(unit(values, fault)?),
        Values::F64(values) => Pixels::F32(unit(
            values.into_iter().map(|value| value as f32).collect(),
            fault,
        )?),
    };
    let pixels = match pixels {
        pixels if !channels_first => pixels,
        Pixels::U8(values) => Pixels::U8(channels_last(&values, shape)),
        Pixels::F32(values) => Pixels::F32(channels_last(&values, shape)),
    };
    Ok((shape, rows, pixels))
}

fn bytes<T: Copy + TryInto<u8> + std::fmt::Display>(
    values: &[T],
    fault: impl Fn(usize, String) -> Error,
) -> Result<Vec<u8>> {
    values
        .iter()
        .enumerate()
        .map(|(at, value)| {
            (*value)
                .try_into()
                .map_err(|_| fault(at, format!("expected pixels in 0..255, got {value}")))
        })
        .collect()
}

fn unit(values: Vec<f32>, fault: impl Fn(usize, String) -> Error) -> Result<Vec<f32>> {
    match values.iter().position(|value| !(0.0..=1.0).contains(value)) {
        None => Ok(values),
        Some(at) => Err(fault(
            at,
            format!(
                "expected floating-point pixels to be finite and in 0..1, got {}",
                values[at]
            ),
        )),
    }
}

fn channels_last<T: Copy>(values: &[T], [channels, height, width]: [usize; 3]) -> Vec<T> {
    let plane = height * width;
    values
        .chunks_exact((channels * plane).max(1))
        .flat_map(|row| {
            (0..plane)
                .flat_map(move |at| (0..channels).map(move |channel| row[channel * plane + at]))
        })
        .collect()
}
