//! PyTorch checkpoints, as people keep them: `.pt` and `.pth` files of every version since 0.1.10.
//!
//! A checkpoint is a pickle, and loading a pickle in Python runs what it asks for. Here nothing runs: the pickle's
//! own small machine builds dictionaries and lists, knows how PyTorch rebuilds a tensor, keeps every
//! other call as an opaque object, and refuses a file that asks for a function that is only good for an attack.
//!
//! `burn-store`'s reader does the same job for trusted files; this one exists because that one opens paths only,
//! neither reports attacks nor reads big-endian files, and lets a compressed archive of 100 KiB or an expanded view take
//! gigabytes of memory.

mod container;
mod globals;
mod pickle;
mod rebuild;
mod select;
mod tensor;
mod value;

use std::collections::BTreeMap;
use std::path::Path;

use super::element::ByteOrder;
use super::{Checkpoint, HostTensor, is_counter};
use crate::{Error, Result};
use container::{Archive, STREAM_MAGIC, Storages};
use pickle::{Cursor, Pickle};
use select::Selection;
use value::Value;

/// Prefixes that wrappers of a model put before every name: `DataParallel` and `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Whether the bytes start like a PyTorch checkpoint: a zip archive or a pickle.
pub(super) fn recognises(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || matches!(bytes, [0x80, 2..=5, ..])
}

/// Reads a PyTorch checkpoint from memory; `path` is only named in errors.
///
/// Of nested dictionaries, the one with the most tensors is taken ([`Checkpoint::origin`] says which); `module.` and
/// `_orig_mod.` before all names are removed.
///
/// # Errors
/// If the file is broken, names a dangerous global, or holds no named tensors.
pub fn pytorch_from_bytes(bytes: &[u8], path: &Path) -> Result<Checkpoint> {
    parse(bytes).map_err(|problem| Error::Weights {
        path: path.to_owned(),
        problem,
    })
}

fn parse(bytes: &[u8]) -> std::result::Result<Checkpoint, String> {
    if bytes.starts_with(&STREAM_MAGIC) {
        let stream = container::stream(bytes)?;
        let selection = select::select(&stream.pickle.heap, stream.pickle.root)?;
        let format = "PyTorch before 1.6";
        return collect(
            &stream.pickle,
            selection,
            &stream.storages,
            stream.order,
            bytes,
            format,
        );
    }
    if !bytes.starts_with(b"PK") {
        // Most likely written by `pickle.dump`: look for an attack, then say what is missing.
        let pickle = pickle::read(&mut Cursor::new(bytes))?;
        select::select(&pickle.heap, pickle.root)?;
        return Err(
            "this is a pickle without the tensors' values; write it with `torch.save`".to_owned(),
        );
    }
    let mut archive = Archive::open(bytes)?;
    let order = archive.byte_order()?;
    let pickled = archive.pickle()?;
    let pickle = pickle::read(&mut Cursor::new(&pickled))?;
    let selection = select::select(&pickle.heap, pickle.root)?;
    let keys = selection
        .entries
        .iter()
        .filter_map(|(_, id)| match pickle.heap.get(*id) {
            Value::Tensor(tensor) => pickle.heap.text(tensor.key),
            _ => None,
        });
    let storages = archive.storages(keys)?;
    collect(&pickle, selection, &storages, order, bytes, "PyTorch")
}

fn collect(
    pickle: &Pickle<'_>,
    selection: Selection,
    storages: &Storages<'_>,
    order: ByteOrder,
    bytes: &[u8],
    format: &str,
) -> std::result::Result<Checkpoint, String> {
    let mut room = tensor::Room::for_file(bytes.len());
    let mut tensors = BTreeMap::new();
    for (name, id) in selection.entries {
        if is_counter(&name) {
            continue;
        }
        let values = match pickle.heap.get(id) {
            Value::Tensor(tensor) => {
                let key = pickle.heap.text(tensor.key).unwrap_or_default();
                tensor::read(tensor, key, storages, order, &mut room)
            }
            Value::Object(object) => Err(format!(
                "it was saved through `{}`, which is not read; save a dense float tensor",
                pickle.heap.global_name(object.class)
            )),
            _ => Err("it is not a tensor".to_owned()),
        };
        let values = values.map_err(|problem| format!("tensor `{name}`: {problem}"))?;
        tensors.insert(name, values);
    }
    let origin = if selection.place.is_empty() {
        format.to_owned()
    } else {
        format!("{format}, `{}`", selection.place)
    };
    Ok(Checkpoint {
        tensors: unwrap_names(tensors),
        metadata: BTreeMap::new(),
        origin,
    })
}

/// Removes the wrappers' prefixes where all names have them.
fn unwrap_names(mut tensors: BTreeMap<String, HostTensor>) -> BTreeMap<String, HostTensor> {
    while let Some(wrapper) = WRAPPERS.iter().find(|wrapper| {
        !tensors.is_empty() && tensors.keys().all(|name| name.starts_with(**wrapper))
    }) {
        tensors = tensors
            .into_iter()
            .map(|(name, tensor)| (name[wrapper.len()..].to_owned(), tensor))
            .collect();
    }
    tensors
}

#[cfg(test)]
mod tests;
