//! What a run writes down as it goes: `log.jsonl` and the same for TensorBoard.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::run_directory::RunDirectory;
use super::tensorboard::{self, EventFile};
use crate::{Error, Result};

/// How far the logs had come, so that a resumed run can go back to there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogPosition {
    /// The size of `log.jsonl`.
    pub log_bytes: u64,
    /// The names and sizes of the event files.
    pub event_files: Vec<(String, u64)>,
}

/// One loss term of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct TermReport {
    /// Its name.
    pub name: &'static str,
    /// Its mean over the rows, unweighted.
    pub value: f64,
    /// Its factor in the loss.
    pub weight: f64,
    /// The L2 norm of the gradient of `weight * value` at the student's outputs and tapped features.
    pub gradient_norm: f64,
}

/// One optimiser step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Counted from 1.
    pub step: u64,
    /// Counted from 0.
    pub epoch: u64,
    /// The learning rate.
    pub learning_rate: f64,
    /// The weighted sum of the terms.
    pub loss: f64,
    /// The L2 norm of the loss's gradient at the parameters, before clipping.
    pub gradient_norm: f64,
    /// The terms.
    pub terms: Vec<TermReport>,
    /// Wall-clock time of the step, with loading the data and the teacher's answer.
    pub seconds: f64,
}

/// The open logs of a run.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    events: EventFile,
}

impl Log {
    /// Opens the logs at `position` and forgets what was written after it; the next step is `first_step`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(super) fn open(
        run: &RunDirectory,
        position: &LogPosition,
        first_step: u64,
    ) -> Result<Self> {
        let path = run.log_file();
        let open = || -> std::io::Result<File> {
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            if file.metadata()?.len() > position.log_bytes {
                file.set_len(position.log_bytes)?;
            }
            Ok(file)
        };
        let file = open().map_err(|source| Error::write(&path, source))?;
        tensorboard::cut_back(run.path(), &position.event_files)?;
        Ok(Self {
            folder: run.path().to_owned(),
            path,
            file,
            events: EventFile::create(run.path(), first_step)?,
        })
    }

    /// Writes one step.
    ///
    /// # Errors
    /// If the disk is full.
    pub(super) fn step(&mut self, report: &StepReport) -> Result<()> {
        let terms: Map<String, Value> = report
            .terms
            .iter()
            .map(|term| {
                let entry = json!({
                    "value": term.value,
                    "weight": term.weight,
                    "gradient_norm": term.gradient_norm,
                });
                (term.name.to_owned(), entry)
            })
            .collect();
        self.line(&json!({
            "kind": "step",
            "step": report.step,
            "epoch": report.epoch,
            "lr": report.learning_rate,
            "loss": report.loss,
            "gradient_norm": report.gradient_norm,
            "terms": terms,
            "seconds": report.seconds,
        }))?;
        let mut scalars = vec![
            ("train/loss".to_owned(), report.loss),
            ("train/learning_rate".to_owned(), report.learning_rate),
            ("train/gradient_norm".to_owned(), report.gradient_norm),
        ];
        for term in &report.terms {
            scalars.push((format!("terms/{}", term.name), term.value));
            scalars.push((format!("term_gradients/{}", term.name), term.gradient_norm));
        }
        self.events.scalars(report.step, scalars)
    }

    /// Writes one evaluation; `metrics` are its numbers by name.
    ///
    /// # Errors
    /// If the disk is full.
    pub(super) fn evaluation(
        &mut self,
        step: u64,
        epoch: u64,
        split: &str,
        metrics: &Map<String, Value>,
    ) -> Result<()> {
        let mut line = Map::new();
        line.insert("kind".to_owned(), "evaluation".into());
        line.insert("step".to_owned(), step.into());
        line.insert("epoch".to_owned(), epoch.into());
        line.insert("split".to_owned(), split.into());
        line.extend(metrics.clone());
        self.line(&Value::Object(line))?;
        let scalars = metrics
            .iter()
            .filter_map(|(name, value)| Some((format!("{split}/{name}"), value.as_f64()?)))
            .collect();
        self.events.scalars(step, scalars)
    }

    /// Writes a sentence of `kind` `warning` or `error`.
    ///
    /// # Errors
    /// If the disk is full.
    pub(super) fn message(&mut self, kind: &str, step: u64, message: &str) -> Result<()> {
        self.line(&json!({"kind": kind, "step": step, "message": message}))
    }

    /// Makes everything written durable, and tells how far that is.
    ///
    /// # Errors
    /// If the disk is full.
    pub(super) fn sync(&self) -> Result<LogPosition> {
        let log_bytes = self
            .file
            .sync_data()
            .and_then(|()| self.file.metadata())
            .map_err(|source| Error::write(&self.path, source))?
            .len();
        self.events.sync()?;
        Ok(LogPosition {
            log_bytes,
            event_files: tensorboard::files(&self.folder)?,
        })
    }

    /// Appends one line in one write, so that a reader rarely sees a part of it.
    fn line(&mut self, value: &Value) -> Result<()> {
        self.file
            .write_all(format!("{value}\n").as_bytes())
            .map_err(|source| Error::write(&self.path, source))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn report(step: u64) -> StepReport {
        StepReport {
            step,
            epoch: 0,
            learning_rate: 0.1,
            loss: 2.25,
            gradient_norm: 1.5,
            terms: vec![TermReport {
                name: "labels",
                value: 2.25,
                weight: 1.0,
                gradient_norm: 0.5,
            }],
            seconds: 0.01,
        }
    }

    #[test]
    fn lines_have_the_documented_keys() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&folder.path().join("run"), "", &json!({})).unwrap();
        let mut log = Log::open(&run, &LogPosition::default(), 1).unwrap();
        log.step(&report(1)).unwrap();
        let metrics = json!({"top1": 0.5, "count": 4});
        log.evaluation(1, 0, "test", metrics.as_object().unwrap())
            .unwrap();
        let text = std::fs::read_to_string(run.log_file()).unwrap();
        let expected = concat!(
            r#"{"kind":"step","step":1,"epoch":0,"lr":0.1,"loss":2.25,"gradient_norm":1.5,"#,
            r#""terms":{"labels":{"value":2.25,"weight":1.0,"gradient_norm":0.5}},"seconds":0.01}"#,
            "\n",
            r#"{"kind":"evaluation","step":1,"epoch":0,"split":"test","top1":0.5,"count":4}"#,
            "\n",
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn reopening_forgets_what_came_after_the_position() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&folder.path().join("run"), "", &json!({})).unwrap();
        let mut log = Log::open(&run, &LogPosition::default(), 1).unwrap();
        log.step(&report(1)).unwrap();
        let position = log.sync().unwrap();
        let kept = std::fs::read(run.log_file()).unwrap();
        log.step(&report(2)).unwrap();
        drop(log);
        let log = Log::open(&run, &position, 2).unwrap();
        assert_eq!(std::fs::read(run.log_file()).unwrap(), kept);
        let files = log.sync().unwrap().event_files;
        assert_eq!(files.len(), 2);
        assert_eq!(files[0], position.event_files[0]);
    }
}
