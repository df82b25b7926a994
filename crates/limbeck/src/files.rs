//! Files that are either complete or as they were before.
//!
//! A file is written to a temporary name in its own folder, synced, and renamed into place; then the folder is
//! synced, so that the new name survives a loss of power too. A kill at any moment leaves the old file or
//! the new one, never a part.

use std::fs;
use std::path::Path;

use crate::{Error, Result};

/// Writes `bytes` to `path` in one step.
///
/// # Errors
/// If the folder does not exist or cannot be written, or the disk is full; the file that stood at `path`
/// before is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    limbeck_graph::files::replace(path, |file| file.write_all(bytes)).map_err(|error| match error {
        limbeck_graph::Error::Write { path, source } => Error::Write { path, source },
        other => other.into(),
    })
}

/// Renames the finished folder `from` to `to`, both in the same parent, and syncs the parent.
///
/// # Errors
/// If `to` exists and is not empty, or the parent cannot be written.
pub fn rename_folder(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)
        .and_then(|()| sync(folder_of(to)))
        .map_err(|source| Error::write(to, source))
}

/// Makes the names inside `folder` durable.
///
/// # Errors
/// If the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> Result<()> {
    sync(folder).map_err(|source| Error::write(folder, source))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(unix)]
fn sync(folder: &Path) -> std::io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// Other systems neither need nor allow a folder to be synced.
#[cfg(not(unix))]
fn sync(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_no_temporary_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("state.json");
        let error = write_atomic(&path, b"new").unwrap_err();
        assert!(
            matches!(&error, Error::Write { path: at, .. } if *at == path),
            "{error}"
        );
    }

    #[test]
    fn a_folder_is_not_renamed_over_a_full_one() {
        let parent = tempfile::tempdir().unwrap();
        let (from, to) = (parent.path().join("from"), parent.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(to.join("kept"), b"kept").unwrap();
        assert!(rename_folder(&from, &to).is_err());
        assert_eq!(fs::read(to.join("kept")).unwrap(), b"kept");
    }
}
