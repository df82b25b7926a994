//! Matching a checkpoint's names with a graph's.
//!
//! Three steps, each tried on what the one before left over: the same name; the same name without a prefix
//! that all names of the checkpoint share; the same name after both sides were brought to one convention
//! ([`names::canonical`]). Shapes never decide which weight is meant, they are only checked.

mod mismatch;
mod names;

use std::collections::BTreeMap;

pub use mismatch::{Mismatch, Missing, Unexpected, WrongShape};

use super::HostTensor;
use crate::ir::Graph;
use crate::{Error, Result};

/// Renames a checkpoint's tensors to the graph's weights.
///
/// Names of wrappers (`module.`, `model.`, `backbone.` ...) and the usual conventions for CIFAR networks are
/// understood: `downsample`, `shortcut`; `fc`, `linear`, `classifier`; `layer1`, `stage_1`, `stages.0`; `conv1`, `stem.conv`.
///
/// # Errors
/// [`Error::Mismatch`] if a weight is missing, a tensor is left over or a shape differs.
pub fn fit(
    graph: &Graph,
    tensors: BTreeMap<String, HostTensor>,
) -> Result<BTreeMap<String, HostTensor>> {
    let sources = names::pair(
        graph.weights.keys().map(String::as_str),
        tensors.keys().map(String::as_str),
    );
    let mut mismatch = Mismatch::of(graph, &tensors, &sources);
    if !mismatch.is_empty() {
        mismatch.find_nearest();
        return Err(Error::Mismatch(Box::new(mismatch)));
    }
    let targets: BTreeMap<String, String> = sources
        .into_iter()
        .map(|(target, source)| (source.to_owned(), target.to_owned()))
        .collect();
    let renamed = tensors.into_iter().filter_map(|(source, tensor)| {
        let target = targets.get(&source)?;
        Some((target.clone(), tensor))
    });
    Ok(renamed.collect())
}

#[cfg(test)]
mod tests;
