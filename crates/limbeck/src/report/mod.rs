//! HTML and Markdown from what an experiment wrote.
//!
//! An experiment hands over a [`Summary`], some [`Picture`]s and run directories with a `log.jsonl` each.
//! [`write()`] keeps the first two as `summary.json` and `pictures.json`, and makes `report.html`, one file
//! that needs no network, and its twin `report.md` with figures in `figures/`. The same input gives the
//! same bytes. What is missing is named on the page, never drawn as if it were there.

mod arms;
mod axis;
mod calibration;
mod cards;
mod classes;
mod comparison;
mod confusion;
mod curves;
#[cfg(test)]
mod fixture;
mod log;
mod page;
mod picture;
mod render;
mod sections;
mod several;
mod summary;
mod svg;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod view;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub use comparison::{Comparison, Outcome, Pair};
pub use picture::{Picture, at_temperature_one, choose, entropy};
pub use summary::{Arm, ArmRun, DataSummary, MethodSummary, Role, Summary};

use render::Rendered;

use crate::files::write_atomic;
use crate::{Error, Result};

const SUMMARY: &str = "summary.json";
const PICTURES: &str = "pictures.json";

/// Writes an experiment's `summary.json`, `pictures.json`, `report.html`, `report.md` and `figures/`.
///
/// # Errors
///
/// If a file cannot be written. A log that cannot be read is a line on the page.
pub fn write(directory: &Path, summary: &Summary, pictures: &[Picture]) -> Result<()> {
    let write = |name: &str, bytes: Result<Vec<u8>>| write_atomic(&directory.join(name), &bytes?);
    write(SUMMARY, json(&directory.join(SUMMARY), summary))?;
    write(PICTURES, json(&directory.join(PICTURES), &pictures))?;
    Rendered::new(&page::build(directory, summary, pictures))?.write(directory, "report")?;
    Ok(())
}

/// Makes an experiment's report again from what an earlier [`write()`] left; returns the path of its
/// `report.html`.
///
/// # Errors
///
/// If the summary or the pictures cannot be read, or a file cannot be written.
pub fn rewrite(directory: &Path) -> Result<PathBuf> {
    let summary = read(directory)?;
    let pictures = read_pictures(directory)?;
    Rendered::new(&page::build(directory, &summary, &pictures))?.write(directory, "report")
}

/// Writes `compare.html`, `compare.md` and `figures/` into `out`: the experiments in the directories
/// `runs` side by side; returns the path of the `compare.html`.
///
/// # Errors
///
/// If there is no run, a summary cannot be read, or a file cannot be written.
pub fn write_comparison(runs: &[PathBuf], out: &Path) -> Result<PathBuf> {
    let experiments = runs
        .iter()
        .map(|run| Ok((run.as_path(), read(run)?)))
        .collect::<Result<Vec<_>>>()?;
    Rendered::new(&several::build(&experiments)?)?.write(out, "compare")
}

/// Reads the `summary.json` of an experiment's directory.
///
/// # Errors
///
/// If there is none, it cannot be read, or it is not a summary.
pub fn read(directory: &Path) -> Result<Summary> {
    let path = directory.join(SUMMARY);
    let Some(text) = read_if_there(&path)? else {
        return Err(Error::RunDirectory {
            path: directory.to_owned(),
            reason: format!(
                "there is no `{SUMMARY}`; name the directory of a finished `limbeck run` or \
                 `limbeck demo`, or finish the run with `--resume`"
            ),
        });
    };
    serde_json::from_str(&text).map_err(|error| Error::format(&path, "summary", error.to_string()))
}

/// Reads the pictures that an earlier [`write()`] kept; none if it kept none.
///
/// # Errors
///
/// If `pictures.json` is there but cannot be read.
pub fn read_pictures(directory: &Path) -> Result<Vec<Picture>> {
    let path = directory.join(PICTURES);
    let Some(text) = read_if_there(&path)? else {
        return Ok(Vec::new());
    };
    serde_json::from_str(&text).map_err(|error| Error::format(&path, "pictures", error.to_string()))
}

fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::read(path, source)),
    }
}

fn json(path: &Path, value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::write(path, std::io::Error::other(error)))?;
    bytes.push(b'\n');
    Ok(bytes)
}
