//! Weights on the host, and the files they live in.
//!
//! [`read`] takes safetensors files and PyTorch checkpoints and recognises them by what is in them, [`fit`]
//! matches their names with a graph's, [`write_safetensors`] writes what other programs can load.

pub(crate) mod element;
mod fit;
mod host;
mod pytorch;
mod safetensors;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use fit::{Mismatch, Missing, Unexpected, WrongShape, fit};
pub use host::HostTensor;
pub use pytorch::pytorch_from_bytes;
pub use safetensors::{safetensors_from_bytes, write_safetensors};

use crate::ir::Graph;
use crate::{Error, Result};

/// What a weights file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The tensors by name, as `f32`; integers and half precision are converted. Batch norms' counters of
    /// batches (`num_batches_tracked`) are left out.
    pub tensors: BTreeMap<String, HostTensor>,
    /// Texts kept beside the tensors (safetensors only).
    pub metadata: BTreeMap<String, String>,
    /// The format and, for PyTorch, the place in the file that the tensors were taken from.
    pub origin: String,
}

/// Reads the weights in the file at `path`, safetensors or PyTorch.
///
/// # Errors
/// As [`read_checkpoint`].
pub fn read(path: impl AsRef<Path>) -> Result<BTreeMap<String, HostTensor>> {
    Ok(read_checkpoint(path)?.tensors)
}

/// Reads the weights in the file at `path`, safetensors or PyTorch, and tells where in the file they were.
///
/// # Errors
/// If there is no such file, or it is of another format, broken, or holds no tensors.
pub fn read_checkpoint(path: impl AsRef<Path>) -> Result<Checkpoint> {
    let path = path.as_ref();
    let bytes = bytes_of(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    checkpoint_from_bytes(&bytes, path)
}

/// Reads weights, safetensors or PyTorch, from memory; `path` is only named in errors.
///
/// # Errors
/// If the bytes are of another format, broken, or hold no tensors.
pub fn checkpoint_from_bytes(bytes: &[u8], path: &Path) -> Result<Checkpoint> {
    if pytorch::recognises(bytes) {
        return pytorch_from_bytes(bytes, path);
    }
    if looks_like_safetensors(bytes) {
        return safetensors_from_bytes(bytes, path);
    }
    let seen = match bytes {
        [] => "the file is empty",
        _ if bytes.starts_with(b"version https://git-lfs") => {
            "this is a Git LFS pointer; fetch the file itself with `git lfs pull`"
        }
        _ if bytes.trim_ascii_start().starts_with(b"<") => {
            "this is a web page, not the file that was to be downloaded"
        }
        _ if bytes.get(257..262) == Some(b"ustar") => {
            "this is a tar archive, unpack it or save the weights again with a newer PyTorch"
        }
        _ if bytes.starts_with(&[0x1f, 0x8b]) => "this is a gzip file, unpack it first",
        _ => "expected a safetensors file or a PyTorch checkpoint (.pt, .pth)",
    };
    Err(Error::Weights {
        path: path.to_owned(),
        problem: seen.to_owned(),
    })
}

/// Checks that `weights` are those of `graph`, name for name, and that each holds as many values as its shape says.
pub(crate) fn check(graph: &Graph, weights: &BTreeMap<String, HostTensor>) -> Result<()> {
    if let Some(mismatch) = Mismatch::by_name(graph, weights) {
        return Err(Error::Mismatch(Box::new(mismatch)));
    }
    weights
        .values()
        .try_for_each(|host| HostTensor::check(&host.shape, host.values.len()))
}

/// A safetensors header is a JSON object after its length.
fn looks_like_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// The whole file, which must be a regular one: a device or a pipe has no end.
pub(crate) fn bytes_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        let kind = if about.is_dir() {
            "it is a folder"
        } else {
            "it is not a regular file"
        };
        return Err(std::io::Error::other(kind));
    }
    let mut bytes = Vec::new();
    let length = usize::try_from(about.len()).map_err(std::io::Error::other)?;
    bytes
        .try_reserve_exact(length)
        .map_err(std::io::Error::other)?;
    file.by_ref().take(about.len()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether the name is that of a batch norm's counter of batches, which no forward pass uses.
fn is_counter(name: &str) -> bool {
    name == "num_batches_tracked" || name.ends_with(".num_batches_tracked")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn problem(bytes: &[u8]) -> String {
        checkpoint_from_bytes(bytes, Path::new("w"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn other_files_are_told_apart() {
        assert!(problem(b"").contains("empty"));
        assert!(
            problem(b"version https://git-lfs.github.com/spec/v1\noid").contains("git lfs pull")
        );
        assert!(problem(b"\n<!DOCTYPE html>").contains("web page"));
        assert!(problem(b"\x1f\x8b\x08").contains("gzip"));
        assert!(problem(b"just a text").contains("expected a safetensors file"));
    }

    #[test]
    fn what_is_not_a_file_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("it is a folder"), "{error}");
        let error = read(folder.path().join("none.pth"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("cannot read `") && error.contains("none.pth"),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_device_without_end_is_refused() {
        assert!(
            read("/dev/zero")
                .unwrap_err()
                .to_string()
                .contains("not a regular file")
        );
    }
}
