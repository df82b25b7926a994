//! The folder that one run owns.
//!
//! ```text
//! recipe.toml            as typed
//! plan.json              as checked
//! lock                   held by the process that works here; freed by the system when it dies
//! log.jsonl              one object per step and per evaluation
//! events.out.tfevents.*  the same for TensorBoard
//! checkpoints/step-N/    student, optimiser, averages (safetensors), state.json
//! student.safetensors    the result
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::files::{sync_folder, write_atomic};
use crate::{Error, Result};

/// An open run directory. No other process can open it until this value is dropped or the process ends,
/// however it ends.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    _lock: File,
}

impl RunDirectory {
    /// Creates the directory for a new run, with the recipe as typed and the plan as checked.
    ///
    /// # Errors
    /// [`Error::RunDirectory`] if it exists, [`Error::Locked`] if another process works in it,
    /// [`Error::Write`] if it cannot be written.
    pub fn create(path: &Path, recipe: &str, plan: &Value) -> Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|source| Error::write(parent, source))?;
        }
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Whoever is running there is the more useful thing to say.
                if path.join(LOCK).is_file() {
                    lock(path)?;
                }
                return Err(refuse(
                    path,
                    "exists already; continue it with `--resume` or choose another `--out`",
                ));
            }
            Err(source) => return Err(Error::write(path, source)),
        }
        let run = Self {
            path: path.to_owned(),
            _lock: lock(path)?,
        };
        run.describe(recipe, plan)?;
        Ok(run)
    }

    /// Opens the directory of a run that was interrupted, to continue it under the same recipe and plan.
    ///
    /// # Errors
    /// [`Error::RunDirectory`] if it does not exist or was begun with another plan (the keys that
    /// differ are named), [`Error::Locked`] if another process works in it, [`Error::Write`] if it cannot be
    /// written.
    pub fn resume(path: &Path, recipe: &str, plan: &Value) -> Result<Self> {
        if !path.is_dir() {
            return Err(refuse(
                path,
                "does not exist, so there is nothing to resume; leave out `--resume` to start the run",
            ));
        }
        let run = Self {
            path: path.to_owned(),
            _lock: lock(path)?,
        };
        match fs::read_to_string(run.plan_file()) {
            Ok(begun) => run.expect_plan(&begun, plan)?,
            // The run was killed before it was described, so before it did anything else.
            Err(error) if error.kind() == ErrorKind::NotFound => run.describe(recipe, plan)?,
            Err(source) => return Err(Error::read(&run.plan_file(), source)),
        }
        Ok(run)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The recipe as typed.
    pub fn recipe_file(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }

    /// The plan as checked.
    pub fn plan_file(&self) -> PathBuf {
        self.path.join("plan.json")
    }

    /// One JSON object per step and per evaluation.
    pub fn log_file(&self) -> PathBuf {
        self.path.join("log.jsonl")
    }

    /// The folder of checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The trained student.
    pub fn student_file(&self) -> PathBuf {
        self.path.join("student.safetensors")
    }

    /// Writes the recipe, then the plan: where there is a plan, there is a recipe.
    fn describe(&self, recipe: &str, plan: &Value) -> Result<()> {
        write_atomic(&self.recipe_file(), recipe.as_bytes())?;
        write_atomic(&self.plan_file(), text_of(plan).as_bytes())?;
        sync_folder(
            self.path
                .parent()
                .filter(|at| !at.as_os_str().is_empty())
                .unwrap_or(Path::new(".")),
        )
    }

    /// Texts are compared, not values, since a number may change in its last digit on its way through a parser.
    fn expect_plan(&self, begun: &str, plan: &Value) -> Result<()> {
        if begun == text_of(plan) {
            return Ok(());
        }
        let begun: Value = serde_json::from_str(begun)
            .map_err(|error| Error::format(&self.plan_file(), "JSON", error.to_string()))?;
        let mut keys = Vec::new();
        differences("", &begun, plan, &mut keys);
        Err(refuse(
            &self.path,
            format!(
                "was begun with another plan: {}; go back to the recipe in `recipe.toml` there, or \
                 start a new run in another `--out`",
                keys.join(", ")
            ),
        ))
    }
}

const LOCK: &str = "lock";

fn lock(path: &Path) -> Result<File> {
    let at = path.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&at)
        .map_err(|source| Error::write(&at, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(Error::write(&at, source)),
    }
}

fn refuse(path: &Path, reason: impl Into<String>) -> Error {
    Error::RunDirectory {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

fn text_of(plan: &Value) -> String {
    format!("{plan:#}\n")
}

/// The dotted keys at which two plans differ, with both values where they are short.
fn differences(key: &str, begun: &Value, now: &Value, found: &mut Vec<String>) {
    if let (Value::Object(begun), Value::Object(now)) = (begun, now) {
        let added = now.keys().filter(|name| !begun.contains_key(*name));
        for name in begun.keys().chain(added) {
            let key = if key.is_empty() {
                name.clone()
            } else {
                format!("{key}.{name}")
            };
            let missing = Value::Null;
            differences(
                &key,
                begun.get(name).unwrap_or(&missing),
                now.get(name).unwrap_or(&missing),
                found,
            );
        }
        return;
    }
    let (begun, now) = (begun.to_string(), now.to_string());
    if begun == now {
        return;
    }
    if begun.len() + now.len() <= 80 {
        found.push(format!("`{key}` was {begun} and is now {now}"));
    } else {
        found.push(format!("`{key}`"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_directory_is_created_once_and_can_be_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs").join("first");
        let plan = json!({"seed": 1, "train": {"learning_rate": 0.05}});
        let run = RunDirectory::create(&path, "seed = 1\n", &plan).unwrap();
        assert_eq!(fs::read_to_string(run.recipe_file()).unwrap(), "seed = 1\n");
        drop(run);

        let error = RunDirectory::create(&path, "", &plan).unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
        RunDirectory::resume(&path, "seed = 1\n", &plan).unwrap();
        let missing = RunDirectory::resume(&folder.path().join("none"), "", &plan).unwrap_err();
        assert!(
            missing.to_string().contains("nothing to resume"),
            "{missing}"
        );
    }

    #[test]
    fn a_directory_in_use_is_locked_for_everyone_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let plan = json!({});
        let _open = RunDirectory::create(&path, "", &plan).unwrap();
        for second in [
            RunDirectory::create(&path, "", &plan),
            RunDirectory::resume(&path, "", &plan),
        ] {
            assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
        }
    }

    #[test]
    fn another_plan_is_refused_and_the_difference_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let plan = json!({"seed": 1, "train": {"learning_rate": 0.05, "batch": 64}});
        drop(RunDirectory::create(&path, "", &plan).unwrap());
        let other = json!({"seed": 2, "train": {"learning_rate": 0.05, "batch": 32}});
        let message = RunDirectory::resume(&path, "", &other)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("`seed` was 1 and is now 2, `train.batch` was 64 and is now 32;"),
            "{message}"
        );
    }

    #[test]
    fn a_run_killed_before_its_description_is_described_on_resume() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        fs::create_dir(&path).unwrap();
        let plan = json!({"seed": 1});
        let run = RunDirectory::resume(&path, "seed = 1\n", &plan).unwrap();
        assert!(run.recipe_file().is_file() && run.plan_file().is_file());
    }
}
