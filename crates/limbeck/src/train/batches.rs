//! Where batches come from.

use limbeck_graph::{InputTensor, Inputs, each_rank};

use crate::Result;
use crate::data::{Batch, Loader};

/// Batches by epoch. The order and content of an epoch depend on its number alone, so that a resumed
/// run sees what the unbroken one would have seen.
pub trait BatchSource {
    /// The number of batches in every epoch.
    fn batches_per_epoch(&self) -> usize;

    /// The batches of an epoch, from `first_batch` on; both counted from 0.
    fn epoch(&self, epoch: u64, first_batch: usize)
    -> Box<dyn Iterator<Item = Result<Batch>> + '_>;
}

impl BatchSource for Loader {
    fn batches_per_epoch(&self) -> usize {
        self.batches_per_epoch()
    }

    fn epoch(
        &self,
        epoch: u64,
        first_batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + '_> {
        Box::new(self.epoch(epoch, first_batch))
    }
}

/// The same inputs with autodiff, which puts the network they are given to in training mode.
pub(super) fn with_autodiff(inputs: &Inputs) -> Inputs {
    inputs
        .iter()
        .fold(Inputs::default(), |with, (name, input)| {
            let input = match input {
                InputTensor::Float(feature) => InputTensor::Float(
                    each_rank!(feature, tensor => tensor.clone().autodiff().into()),
                ),
                InputTensor::Tokens(tokens) => InputTensor::Tokens(tokens.clone().autodiff()),
            };
            with.with(name, input)
        })
}
