//! The public data sets that Limbeck knows by name.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::digits;
use crate::{Error, Result};

/// A public data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogEntry {
    /// Its name in commands.
    pub name: &'static str,
    /// What is predicted from what.
    pub task: &'static str,
    /// The training rows.
    pub train_rows: usize,
    /// The test rows.
    pub test_rows: usize,
    /// `[channels, height, width]`.
    pub shape: [usize; 3],
    /// The number of classes.
    pub classes: usize,
    /// Under which terms it may be used.
    pub licence: &'static str,
    /// Who made it.
    pub origin: &'static str,
    /// Its repository on the Hugging Face hub; none if it is embedded.
    pub repository: Option<&'static str>,
}

impl CatalogEntry {
    /// How to get it, in one sentence.
    pub fn how_to_get(&self) -> String {
        match self.repository {
            None => format!("embedded; use `{}` as the data path", self.name),
            Some(_) => format!("limbeck datasets get {}", self.name),
        }
    }
}

const IMAGES: &str = "image classification";

/// The public data sets, by name.
pub const CATALOG: [CatalogEntry; 5] = [
    CatalogEntry {
        name: digits::NAME,
        task: IMAGES,
        train_rows: digits::ROWS - digits::TEST_ROWS,
        test_rows: digits::TEST_ROWS,
        shape: digits::SHAPE,
        classes: 10,
        licence: "CC BY 4.0",
        origin: digits::ORIGIN,
        repository: None,
    },
    CatalogEntry {
        name: "mnist",
        task: IMAGES,
        train_rows: 60_000,
        test_rows: 10_000,
        shape: [1, 28, 28],
        classes: 10,
        licence: "CC BY-SA 3.0, as commonly stated",
        origin: "Y. LeCun, C. Cortes and C. Burges, 1998",
        repository: Some("ylecun/mnist"),
    },
    CatalogEntry {
        name: "fashion_mnist",
        task: IMAGES,
        train_rows: 60_000,
        test_rows: 10_000,
        shape: [1, 28, 28],
        classes: 10,
        licence: "MIT",
        origin: "H. Xiao, K. Rasul and R. Vollgraf, Zalando, 2017",
        repository: Some("zalando-datasets/fashion_mnist"),
    },
    CatalogEntry {
        name: "cifar10",
        task: IMAGES,
        train_rows: 50_000,
        test_rows: 10_000,
        shape: [3, 32, 32],
        classes: 10,
        licence: "none stated; for research, with citation",
        origin: "A. Krizhevsky, Learning multiple layers of features from tiny images, 2009",
        repository: Some("uoft-cs/cifar10"),
    },
    CatalogEntry {
        name: "cifar100",
        task: IMAGES,
        train_rows: 50_000,
        test_rows: 10_000,
        shape: [3, 32, 32],
        classes: 100,
        licence: "none stated; for research, with citation",
        origin: "A. Krizhevsky, Learning multiple layers of features from tiny images, 2009",
        repository: Some("uoft-cs/cifar100"),
    },
];

/// The entry of a name.
///
/// # Errors
/// If there is none: names the nearest.
pub fn find(name: &str) -> Result<&'static CatalogEntry> {
    CATALOG
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| Error::unknown("data set", name, CATALOG.iter().map(|entry| entry.name)))
}

/// Downloads a set into `folder`, as parquet files that [`open`](super::open) reads, and returns the folder.
///
/// All files come from one commit of the repository. Each is checked against the SHA-256 that the hub lists for it and
/// moved into place when it is right; a file that is there and right is not fetched again, and an interrupted download
/// continues where it stopped. `progress` hears the bytes that are there and the bytes in all. The environment
/// variables `HF_ENDPOINT` (another address of the hub) and `HF_TOKEN` are heeded.
///
/// # Errors
/// If there is no such set, it is embedded, the hub cannot be reached or a checksum is wrong (the file is then removed).
pub fn get(name: &str, folder: &Path, progress: &dyn Fn(u64, u64)) -> Result<PathBuf> {
    let entry = find(name)?;
    let Some(repository) = entry.repository else {
        return Err(Error::Data(format!(
            "data set `{name}` is embedded; there is nothing to download, use `{name}` as the data path"
        )));
    };
    fetch(repository, folder, progress)?;
    Ok(folder.to_owned())
}

#[cfg(feature = "download")]
fn fetch(repository: &str, folder: &Path, progress: &dyn Fn(u64, u64)) -> Result<()> {
    super::download::Hub::from_env().fetch(repository, folder, progress)
}

#[cfg(not(feature = "download"))]
fn fetch(repository: &str, _: &Path, _: &dyn Fn(u64, u64)) -> Result<()> {
    Err(Error::Data(format!(
        "this build cannot download; build with `--features download`, or fetch the parquet files of \
         https://huggingface.co/datasets/{repository} by hand"
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::super::{Split, open};
    use super::*;

    #[test]
    fn the_digits_are_as_listed() {
        let entry = find("digits").unwrap();
        for (split, rows) in [
            (Split::Train, entry.train_rows),
            (Split::Test, entry.test_rows),
        ] {
            let set = open(entry.name, split).unwrap();
            assert_eq!((set.len(), set.info().shape), (rows, entry.shape));
            assert_eq!(set.info().classes.len(), entry.classes);
        }
    }

    #[test]
    fn what_cannot_be_fetched_is_said() {
        let folder = Path::new("never-written");
        let error = get("cifra10", folder, &|_, _| {}).unwrap_err().to_string();
        assert!(
            error.starts_with("there is no data set `cifra10`"),
            "{error}"
        );
        assert!(error.contains("`cifar10`"), "{error}");
        let error = get("digits", folder, &|_, _| {}).unwrap_err().to_string();
        assert!(error.contains("is embedded"), "{error}");
        assert!(!folder.exists());
    }
}
