//! A training, frozen: everything from which it continues to the same bits.
//!
//! A checkpoint is a folder, `checkpoints/step-N`. It is filled under another name, every file and the folder are
//! synced, and it is renamed into place, so a folder of that name is complete. The state holds a
//! checksum of every file and of itself; a checkpoint that does not match is passed over for the one
//! before it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use limbeck_graph::weights::{read, write_safetensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::log::LogPosition;
use super::optimizer::SavedState;
use super::parameters::Weights;
use super::run_directory::RunDirectory;
use super::settings::hex;
use super::stopping::Stopping;
use crate::files::{rename_folder, sync_folder, write_atomic};
use crate::{Error, Result};

const FORMAT: u32 = 1;
const STATE: &str = "state.json";
const STUDENT: &str = "student.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const AVERAGE: &str = "average.safetensors";
const BEST: &str = "best.safetensors";

/// Where a training stands. Random streams are derived from the seed and the position, so they need
/// no state of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// The version of this format.
    pub format: u32,
    /// The seed of the run.
    pub seed: u64,
    /// The fingerprint of the training settings.
    pub settings: String,
    /// Optimiser steps done.
    pub step: u64,
    /// The epoch that is being trained, counted from 0.
    pub epoch: u64,
    /// The batches of it that are done. Where these are all, its evaluation is still to come.
    pub batch: usize,
    /// Early stopping.
    pub stopping: Stopping,
    /// For every loss term, the steps in a row in which its gradient was zero.
    pub silent_terms: BTreeMap<String, u64>,
    /// Where the logs end.
    pub log: LogPosition,
    /// The counts in the optimiser's state.
    pub optimizer_counts: BTreeMap<String, u64>,
    /// The SHA-256 of every other file of the checkpoint, by name.
    pub files: BTreeMap<String, String>,
}

/// A state with the weights that belong to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Checkpoint {
    pub state: State,
    pub student: Weights,
    pub optimizer: SavedState,
    /// The moving average of the weights.
    pub average: Option<Weights>,
    /// The best student so far by validation.
    pub best: Option<Weights>,
}

/// What there is to continue from.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The newest undamaged checkpoint and its folder.
    pub checkpoint: Option<(PathBuf, Checkpoint)>,
    /// A sentence for every damaged one that is newer.
    pub damaged: Vec<String>,
}

/// The state as it stands in its file.
#[derive(Serialize, Deserialize)]
struct Sealed {
    state: State,
    sha256: String,
}

impl State {
    pub(super) const fn start(seed: u64, settings: String) -> Self {
        Self {
            format: FORMAT,
            seed,
            settings,
            step: 0,
            epoch: 0,
            batch: 0,
            stopping: Stopping::START,
            silent_terms: BTreeMap::new(),
            log: LogPosition {
                log_bytes: 0,
                event_files: Vec::new(),
            },
            optimizer_counts: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    fn digest(&self) -> Result<String> {
        let text = serde_json::to_string(self)
            .map_err(|error| Error::Check(format!("a training state cannot be saved: {error}")))?;
        Ok(hex(&Sha256::digest(text.as_bytes())))
    }
}

impl Checkpoint {
    /// Writes the checkpoint, then removes all but the newest `keep`.
    ///
    /// # Errors
    /// If the folder cannot be written or the disk is full; earlier checkpoints are then untouched.
    pub(super) fn write(mut self, run: &RunDirectory, keep: usize) -> Result<PathBuf> {
        let folder = run.checkpoints();
        let place = folder.join(format!("step-{}", self.state.step));
        let unfinished = folder.join(format!(".tmp-step-{}", self.state.step));
        create_folder(&folder)?;
        remove_folder(&unfinished)?;
        let filled = create_folder(&unfinished).and_then(|()| self.fill(&unfinished));
        if let Err(error) = filled {
            // The first error is the one to report; what cannot be removed now is removed on resume.
            let _ = remove_folder(&unfinished);
            return Err(error);
        }
        // The same step can be reached twice: after a fall back from a damaged checkpoint.
        remove_folder(&place)?;
        rename_folder(&unfinished, &place)?;
        let mut present = list(&folder)?;
        present.retain(|(step, _)| *step <= self.state.step);
        for (_, old) in present.iter().skip(keep) {
            remove_folder(old)?;
        }
        Ok(place)
    }

    fn fill(&mut self, folder: &Path) -> Result<()> {
        let mut files = vec![(STUDENT, &self.student)];
        // A file without tensors is none.
        files.extend(
            (!self.optimizer.tensors.is_empty()).then_some((OPTIMIZER, &self.optimizer.tensors)),
        );
        files.extend(self.average.as_ref().map(|average| (AVERAGE, average)));
        files.extend(self.best.as_ref().map(|best| (BEST, best)));
        self.state.files.clear();
        for (name, weights) in files {
            let path = folder.join(name);
            write_safetensors(&path, weights, &BTreeMap::new())?;
            self.state.files.insert(name.to_owned(), digest_of(&path)?);
        }
        self.state.optimizer_counts = self.optimizer.counts.clone();
        let sealed = Sealed {
            sha256: self.state.digest()?,
            state: self.state.clone(),
        };
        let text = serde_json::to_string_pretty(&sealed)
            .map_err(|error| Error::Check(format!("a training state cannot be saved: {error}")))?;
        write_atomic(&folder.join(STATE), format!("{text}\n").as_bytes())?;
        sync_folder(folder)
    }

    /// Looks for the newest undamaged checkpoint of `run`.
    ///
    /// # Errors
    /// If there are checkpoints but all are damaged, or the folder cannot be read.
    pub(super) fn newest(run: &RunDirectory) -> Result<Newest> {
        let folder = run.checkpoints();
        if !folder.is_dir() {
            return Ok(Newest::default());
        }
        let mut damaged = Vec::new();
        for (_, path) in list(&folder)? {
            match Self::read(&path) {
                Ok(checkpoint) => {
                    return Ok(Newest {
                        checkpoint: Some((path, checkpoint)),
                        damaged,
                    });
                }
                Err(error) => damaged.push(format!(
                    "checkpoint `{}` is damaged and passed over: {error}",
                    path.display()
                )),
            }
        }
        if damaged.is_empty() {
            return Ok(Newest::default());
        }
        Err(Error::RunDirectory {
            path: run.path().to_owned(),
            reason: format!(
                "no checkpoint can be used; start the run again in another `--out`; {}",
                damaged.join("; ")
            ),
        })
    }

    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(STATE);
        let text = fs::read_to_string(&path).map_err(|source| Error::read(&path, source))?;
        let Sealed { state, sha256 } = serde_json::from_str(&text)
            .map_err(|error| Error::format(&path, "training state", error.to_string()))?;
        if state.format != FORMAT {
            let reason = format!("expected version {FORMAT}, got {}", state.format);
            return Err(Error::format(&path, "training state", reason));
        }
        if state.digest()? != sha256 {
            let reason = "its content does not match its checksum";
            return Err(Error::format(&path, "training state", reason));
        }
        for (name, expected) in &state.files {
            let path = folder.join(name);
            if digest_of(&path)? != *expected {
                let reason = "its content does not match its checksum in `state.json`";
                return Err(Error::format(&path, "safetensors", reason));
            }
        }
        let optional = |name: &str| -> Result<Option<Weights>> {
            let present = state.files.contains_key(name);
            Ok(present.then(|| read(folder.join(name))).transpose()?)
        };
        Ok(Self {
            student: read(folder.join(STUDENT))?,
            optimizer: SavedState {
                tensors: optional(OPTIMIZER)?.unwrap_or_default(),
                counts: state.optimizer_counts.clone(),
            },
            average: optional(AVERAGE)?,
            best: optional(BEST)?,
            state,
        })
    }
}

/// Removes what a killed write left in `folder`: files and folders whose name starts with `.tmp-`.
///
/// # Errors
/// If the folder cannot be read or cleaned.
pub(super) fn remove_unfinished(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry.map_err(|source| Error::read(folder, source))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(".tmp-") {
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(|source| Error::write(&path, source))?;
        }
    }
    Ok(())
}

/// The checkpoints in `folder`, newest first.
fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = fs::read_dir(folder).map_err(|source| Error::read(folder, source))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| Error::read(folder, source))?.path();
        let step = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix("step-")?.parse().ok());
        found.extend(step.map(|step| (step, path)));
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found)
}

fn digest_of(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|source| Error::read(path, source))?;
    Ok(hex(&Sha256::digest(&bytes)))
}

fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::write(path, source))
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::write(path, error))
        }
        _ => Ok(()),
    }
}
