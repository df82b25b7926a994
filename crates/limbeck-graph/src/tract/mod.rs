//! ONNX files run by [tract](https://github.com/sonos/tract), a program that shares no code with [`run`](crate::run).
//!
//! [`TractNetwork`] answers where a model has operators that cannot be trained here; [`parity`] checks that an exported
//! file means the same elsewhere.

mod convert;
mod guard;
mod load;
mod module;
mod parity;
mod plan;
mod repair;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;

pub use parity::{Parity, RUNTIME, parity};

use crate::error::nearest;
use crate::onnx::Model;
use crate::{Error, Inputs, Network, Result, Taps, Trace};
use convert::Signature;
use guard::Guard;
use load::Loaded;
use plan::Plans;

/// An ONNX model that answers and does not train.
///
/// The inputs have the file's names and types: real numbers where the file declares a float type, token ids where it
/// declares an integer type or truth values. The file's first output is the network's output; its other outputs are
/// recorded under their own names on every run. Every value that depends on the inputs can be tapped by its ONNX
/// name, and by the name of the node whose first output it is. Batch norms and dropouts that were exported in training form are
/// evaluated.
///
/// A clone shares the model. The values are computed on the CPU, whatever the device, with 32-bit floats (or what the file
/// declares), and handed over on the device.
#[derive(Clone)]
pub struct TractNetwork {
    shared: Arc<Shared>,
    device: Device,
}

/// What all clones share.
struct Shared {
    path: PathBuf,
    signature: Signature,
    loaded: Loaded,
    plans: Plans,
}

impl TractNetwork {
    /// Reads the model in the file at `path`; its answers will be on `device`.
    ///
    /// # Errors
    /// As [`Model::read`], which checks the file first; [`Error::Runtime`] if tract does not know an operator, cannot make sense of a
    /// node, or an input is neither a tensor of numbers nor of truth values.
    pub fn read(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::new(Model::read(path.as_ref())?, path.as_ref(), device)
    }

    fn new(model: Model, path: &Path, device: &Device) -> Result<Self> {
        let guard = Guard { path };
        let signature = Signature::new(model.graph()).map_err(|problem| guard.error(problem))?;
        let loaded = Loaded::new(model, guard)?;
        if let Some(shapes) = signature.smallest_shapes() {
            guard.run(|| loaded.typed(&signature.facts(&shapes), &loaded.outputs))?;
        }
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                signature,
                loaded,
                plans: Plans::default(),
            }),
            device: device.clone(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The names of the inputs, in the order of the file.
    pub fn input_names(&self) -> impl Iterator<Item = &str> {
        self.shared.signature.names()
    }

    /// The names of the outputs, in the order of the file.
    pub fn output_names(&self) -> &[String] {
        &self.shared.loaded.output_names
    }
}

impl fmt::Debug for TractNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TractNetwork")
            .field("path", &self.shared.path)
            .field("outputs", &self.shared.loaded.output_names)
            .finish_non_exhaustive()
    }
}

impl Network for TractNetwork {
    fn forward(&self, inputs: &Inputs, taps: &Taps) -> Result<Trace> {
        let Shared {
            path,
            signature,
            loaded,
            plans,
        } = &*self.shared;
        let guard = Guard { path };
        let mut wanted = loaded.outputs.clone();
        let mut names: Vec<(&str, usize)> = loaded
            .output_names
            .iter()
            .map(String::as_str)
            .zip(0..)
            .collect();
        for tap in taps.names() {
            let value = loaded.taps.get(tap).ok_or_else(|| Error::Unknown {
                kind: "tap",
                name: tap.clone(),
                nearest: nearest(tap, loaded.tap_names.iter().map(String::as_str)),
            })?;
            let place = wanted.iter().position(|known| known == value);
            let place = place.unwrap_or_else(|| {
                wanted.push(*value);
                wanted.len() - 1
            });
            names.push((tap, place));
        }
        let tensors = signature.tensors(inputs, guard)?;
        let results = plans.run(loaded, signature, tensors, wanted, guard)?;
        let features = results
            .iter()
            .map(|tensor| convert::feature(tensor, &self.device, guard))
            .collect::<Result<Vec<_>>>()?;
        let recorded: BTreeMap<_, _> = names[1..]
            .iter()
            .map(|(name, place)| ((*name).to_owned(), features[*place].clone()))
            .collect();
        Ok(Trace {
            output: features[0].clone(),
            features: recorded,
        })
    }

    fn tap_names(&self) -> Vec<String> {
        self.shared.loaded.tap_names.clone()
    }
}

#[cfg(test)]
mod tests;
