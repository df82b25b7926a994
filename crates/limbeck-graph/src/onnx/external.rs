//! Values in files beside the model.
//!
//! A model names these files itself, so a name must not lead out of the model's folder.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use super::Outcome;
use crate::{Error, Result};

/// A file beside the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located {
    /// The path inside the model's folder.
    pub(super) inside: PathBuf,
    /// The path that is opened.
    pub(super) path: PathBuf,
    /// Its bytes when the model was read.
    pub(super) length: u64,
}

/// Finds the file that the model at `model` calls `location`.
pub(super) fn locate(model: &Path, location: &str) -> Outcome<Located> {
    let inside = inside(location)?;
    let folder = folder(model);
    let unreadable =
        |error: std::io::Error| format!("its external data `{location}` cannot be read: {error}");
    let root = folder.canonicalize().map_err(unreadable)?;
    let path = root.join(&inside).canonicalize().map_err(unreadable)?;
    if !path.starts_with(&root) {
        return Err(format!(
            "its external data `{location}` is a link that leaves the model's folder; copy the file into the folder"
        ));
    }
    if model.canonicalize().is_ok_and(|model| model == path) {
        return Err(format!(
            "its external data `{location}` is the model itself"
        ));
    }
    let about = path.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(format!(
            "its external data `{location}` is not a regular file"
        ));
    }
    Ok(Located {
        inside,
        path,
        length: about.len(),
    })
}

/// The folder of the file at `path`.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn inside(location: &str) -> Outcome<PathBuf> {
    let mut inside = PathBuf::new();
    for component in Path::new(location).components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            _ => {
                return Err(format!(
                    "its external data `{location}` is outside the model's folder"
                ));
            }
        }
    }
    if inside.as_os_str().is_empty() || location.contains(['\\', '\0']) {
        return Err(format!(
            "its external data has the location `{}`, which names no file",
            location.escape_debug()
        ));
    }
    Ok(inside)
}

/// `length` bytes of the file from `offset` on.
pub(super) fn read(located: &Located, offset: u64, length: usize) -> Result<Vec<u8>> {
    let fill = || {
        let mut file = File::open(&located.path)?;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(length)
            .map_err(std::io::Error::other)?;
        file.seek(SeekFrom::Start(offset))?;
        file.take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() == length {
            Ok(bytes)
        } else {
            Err(std::io::ErrorKind::UnexpectedEof.into())
        }
    };
    fill().map_err(|source| Error::Read {
        path: located.path.clone(),
        source,
    })
}
