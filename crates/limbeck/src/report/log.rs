//! Learning curves from the `log.jsonl` of a run directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde::Deserialize;

use crate::{Error, Result};

/// What a run logged, per epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Log {
    /// Mean training loss of an epoch's steps, by epochs finished.
    pub(super) loss: BTreeMap<u64, f64>,
    /// Top-1 accuracy by split, then by epochs finished.
    pub(super) accuracy: BTreeMap<String, BTreeMap<u64, f64>>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Step {
        step: u64,
        epoch: u64,
        // A loss that is not finite is written as null.
        loss: Option<f64>,
    },
    Evaluation {
        epoch: u64,
        split: String,
        top1: Option<f64>,
    },
    #[serde(other)]
    Other,
}

impl Log {
    /// Reads a log. Where a run was resumed, the later line about a step or an epoch counts; a last
    /// line that a kill cut short is left out.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a line before the last is not a log line.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::read(path, source))?;
        let mut steps = BTreeMap::new();
        let mut log = Self::default();
        let mut broken: Option<(u64, String)> = None;
        for (row, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|source| Error::read(path, source))?;
            if line.trim().is_empty() {
                continue;
            }
            if let Some((row, reason)) = broken.take() {
                return Err(Error::row(path, row, format!("not a log line: {reason}")));
            }
            match serde_json::from_str(&line) {
                Ok(Line::Step {
                    step,
                    epoch,
                    loss: Some(loss),
                }) => {
                    steps.insert(step, (epoch, loss));
                }
                Ok(Line::Evaluation {
                    epoch,
                    split,
                    top1: Some(top1),
                }) => {
                    log.accuracy
                        .entry(split)
                        .or_default()
                        .insert(epoch + 1, top1);
                }
                Ok(Line::Step { .. } | Line::Evaluation { .. } | Line::Other) => {}
                Err(error) => broken = Some((row as u64, error.to_string())),
            }
        }

        let mut sums: BTreeMap<u64, (f64, u64)> = BTreeMap::new();
        for (epoch, loss) in steps.into_values() {
            let (sum, count) = sums.entry(epoch + 1).or_default();
            *sum += loss;
            *count += 1;
        }
        log.loss = sums
            .into_iter()
            .map(|(epoch, (sum, count))| (epoch, sum / count as f64))
            .collect();
        Ok(log)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn read(text: &str) -> Result<Log> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        std::fs::write(&path, text).unwrap();
        Log::read(&path)
    }

    #[test]
    fn epochs_are_averaged_and_resumed_lines_replace() {
        let log = read(concat!(
            r#"{"kind":"step","step":1,"epoch":0,"lr":0.1,"loss":4.0,"terms":{}}"#,
            "\n",
            r#"{"kind":"step","step":2,"epoch":0,"loss":9.0}"#,
            "\n",
            r#"{"kind":"step","step":2,"epoch":0,"loss":2.0}"#,
            "\n",
            r#"{"kind":"evaluation","step":2,"epoch":0,"split":"test","top1":0.5,"top5":null}"#,
            "\n",
            r#"{"kind":"note","text":"later versions may add kinds"}"#,
            "\n",
            r#"{"kind":"step","step":3,"epoch":1,"loss":1."#,
        ))
        .unwrap();
        assert_eq!(log.loss, BTreeMap::from([(1, 3.0)]));
        assert_eq!(log.accuracy["test"], BTreeMap::from([(1, 0.5)]));
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = read("{\"kind\":\"note\"}\nnonsense\n{\"kind\":\"note\"}\n").unwrap_err();
        assert!(error.to_string().starts_with("row 1 of "), "{error}");
    }
}
