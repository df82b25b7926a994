//! What a training tells whoever watches it.

use std::path::Path;

use super::log::StepReport;

/// Something that happened during a training.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Training begins, or goes on from a checkpoint.
    Start {
        /// The steps that were done before.
        step: u64,
        /// The steps of the whole training.
        steps: u64,
        /// The epochs of the whole training.
        epochs: u64,
    },
    /// An epoch begins, counted from 0.
    Epoch(u64),
    /// An optimiser step was done.
    Step(&'a StepReport),
    /// The student was evaluated.
    Evaluation {
        /// The epoch that was just trained, counted from 0.
        epoch: u64,
        /// `validation` or `test`.
        split: &'static str,
        /// The share of correct answers.
        top1: f64,
        /// The mean negative log-likelihood.
        nll: f64,
    },
    /// A checkpoint is complete.
    Checkpoint(&'a Path),
    /// Something looks wrong, but the training goes on.
    Warning(&'a str),
}

/// A listener, such as a progress bar. `()` ignores everything.
pub trait Progress {
    /// Takes note of `event`.
    fn event(&mut self, event: Event<'_>);
}

impl Progress for () {
    fn event(&mut self, _event: Event<'_>) {}
}

impl<F: FnMut(Event<'_>)> Progress for F {
    fn event(&mut self, event: Event<'_>) {
        self(event);
    }
}
