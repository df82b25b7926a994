//! What a training needs, and what it gives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::tensor::Device;
use limbeck_graph::{Network, Seed};

use super::batches::BatchSource;
use super::progress::Progress;
use super::run_directory::RunDirectory;
use super::session::Session;
use super::settings::TrainSettings;
use crate::Result;
use crate::eval::Metrics;
use crate::method::Method;
use crate::teacher::Teacher;

/// Steps in a row in which a term's gradient is exactly zero before a warning is given.
pub const SILENT_STEPS: u64 = 100;

/// One training, ready to run.
///
/// The student is trained in the run directory's name: where that holds a checkpoint, the training goes on
/// from the newest, to the same bits as if it had never been interrupted.
pub struct Trainer<'a, S: Network> {
    /// Who learns, freshly initialised (also when a run is resumed).
    pub student: S,
    /// Who knows; only asked if the method needs it, batch by batch.
    pub teacher: Option<&'a dyn Teacher>,
    /// What is compared.
    pub method: &'a mut dyn Method,
    /// What is learned from.
    pub train: &'a dyn BatchSource,
    /// The same rows in a fixed order and not augmented, for methods that look at the whole training set
    /// first ([`Method::prepare`]).
    pub unaugmented: Option<&'a dyn BatchSource>,
    /// What early stopping decides on.
    pub validation: Option<&'a dyn BatchSource>,
    /// What is only ever reported on.
    pub test: Option<&'a dyn BatchSource>,
    /// How the student learns.
    pub settings: &'a TrainSettings,
    /// The one seed of the run.
    pub seed: Seed,
    /// Where tensors live.
    pub device: Device,
    /// Where everything is written.
    pub run: &'a RunDirectory,
    /// What `student.safetensors` says of itself beside its tensors, such as the network's name.
    pub metadata: BTreeMap<String, String>,
    /// Set by someone else to end the training after the current step, with a checkpoint.
    pub interrupt: Arc<AtomicBool>,
    /// Who watches.
    pub progress: &'a mut dyn Progress,
}

/// A finished training.
#[derive(Clone, Debug)]
pub struct Outcome<S> {
    /// The trained student in evaluation mode, as it was written to `student.safetensors`: the averaged weights
    /// if there is an average, of the best epoch if there is early stopping, of the last one otherwise.
    pub student: S,
    /// Optimiser steps done.
    pub steps: u64,
    /// Epochs done.
    pub epochs: u64,
    /// The epoch, counted from 0, after which the student was as it is.
    pub chosen_epoch: u64,
    /// Whether early stopping ended the training.
    pub stopped_early: bool,
    /// The student on the validation split.
    pub validation: Option<Metrics>,
    /// The student on the test split.
    pub test: Option<Metrics>,
    /// Wall-clock time of this process's part of the training.
    pub seconds: f64,
}

impl<S: Network> Trainer<'_, S> {
    /// Trains to the end.
    ///
    /// # Errors
    /// [`Interrupted`](crate::Error::Interrupted) after an interrupt, [`NotFinite`](crate::Error::NotFinite) if a number left
    /// the finite ones, [`RunDirectory`](crate::Error::RunDirectory) if its checkpoints belong to another training; otherwise
    /// if the data, the teacher or the method fails, or something cannot be written. The last complete checkpoint is always
    /// kept.
    pub fn run(self) -> Result<Outcome<S>> {
        let started = Instant::now();
        let (mut session, mut student) = Session::open(self)?;
        while !session.is_done() {
            student = session.epoch(student)?;
        }
        session.finish(&student, started)
    }
}
