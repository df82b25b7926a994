//! Image folders: one sub-folder of images per class, perhaps within folders named train, validation and test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::images::{Encoded, ImageSet};
use super::source::{Meta, OpenOptions, Parts, entries};
use super::{Split, content};
use crate::{Error, Result};

/// As `limbeck datasets` lists it.
pub(super) const FORMAT: &str = "image folder";

/// Endings of files that ought to be images; others count when their bytes say so.
const ENDINGS: [&str; 6] = ["png", "jpg", "jpeg", "gif", "bmp", "webp"];

/// The folders of the splits, or the whole.
pub(super) fn divide(root: &Path) -> Result<Parts<PathBuf>> {
    let (_, folders) = entries(root)?;
    // A set with classes called `test` and `cat` is not divided: all folders must be splits, and hold folders.
    let mut splits = BTreeMap::new();
    for folder in &folders {
        match Split::from_name(folder) {
            Some(split) if !entries(folder)?.1.is_empty() => {
                if let Some(other) = splits.insert(split, folder.clone()) {
                    return Err(Error::Data(format!(
                        "both `{}` and `{}` are named as the {split} split",
                        other.display(),
                        folder.display()
                    )));
                }
            }
            _ => return Ok(Parts::Whole(Split::from_name(root), root.to_owned())),
        }
    }
    Ok(if splits.is_empty() {
        Parts::Whole(Split::from_name(root), root.to_owned())
    } else {
        Parts::Splits(splits)
    })
}

fn name(folder: &Path) -> String {
    folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Reads the images of every class folder, in the order of class and file name. The classes are the training split's.
pub(super) fn read(
    root: &Path,
    train: Option<&PathBuf>,
    meta: &Meta,
    options: &OpenOptions,
) -> Result<ImageSet> {
    let (_, folders) = entries(root)?;
    let classes: Vec<String> = match train {
        Some(train) => entries(train)?
            .1
            .iter()
            .map(|folder| name(folder))
            .collect(),
        None => folders.iter().map(|folder| name(folder)).collect(),
    };
    if let Some(expected) = options.classes
        && expected != classes.len()
    {
        return Err(Error::Data(format!(
            "`data.classes` is {expected}, but `{}` has {} class folders",
            root.display(),
            classes.len()
        )));
    }
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for folder in folders {
        let class = name(&folder);
        let Some(label) = classes.iter().position(|known| *known == class) else {
            return Err(Error::Data(format!(
                "`{}` is not one of the {} classes of the training split: `{}`",
                folder.display(),
                classes.len(),
                classes.join("`, `")
            )));
        };
        let before = files.len();
        for file in entries(&folder)?.0 {
            if is_image(&file)? {
                files.push(file);
                labels.push(Some(label as u32));
            }
        }
        if files.len() == before {
            return Err(Error::Data(format!(
                "class folder `{}` holds no images; remove it or fill it",
                folder.display()
            )));
        }
    }
    ImageSet::new(
        Encoded::Files(files),
        labels,
        classes,
        FORMAT,
        meta,
        options,
    )
}

fn is_image(file: &Path) -> Result<bool> {
    let ending = file
        .extension()
        .and_then(|end| end.to_str())
        .unwrap_or("")
        .to_ascii_lowercase();
    Ok(ENDINGS.contains(&ending.as_str()) || content::sniff(file)? == content::Content::Image)
}
