//! What can go wrong, in one sentence each: what, where, expected and got, what to try.

use std::path::{Path, PathBuf};

use limbeck_graph::error::did_you_mean;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file could not be written; what stood at its place before is untouched.
    #[error("cannot write `{}`: {source}; free some space or choose another folder", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is not what its format promises.
    #[error("`{}` is not a valid {format} file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format it was read as.
        format: &'static str,
        /// Expected and got.
        reason: String,
    },
    /// One row of a data file is unusable.
    #[error("row {row} of `{}`: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, counted from 0.
        row: u64,
        /// Expected and got.
        reason: String,
    },
    /// Data that cannot be used as asked.
    #[error("{0}")]
    Data(String),
    /// A recipe with mistakes, all of them.
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Recipe {
        /// One entry per mistake.
        problems: Vec<Problem>,
    },
    /// A name that does not exist.
    #[error("there is no {kind} `{name}`{}", did_you_mean(nearest))]
    Unknown {
        /// What was looked for: a data set, a method, a model.
        kind: &'static str,
        /// The name given.
        name: String,
        /// Names that exist, nearest first.
        nearest: Vec<String>,
    },
    /// A tensor of the wrong shape.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// The operation and the tensor.
        what: String,
        /// The shape it takes.
        expected: String,
        /// The shape given.
        got: String,
    },
    /// A number outside its range.
    #[error("{name} must be {expected}, got {got}")]
    Range {
        /// The number's name.
        name: &'static str,
        /// The range.
        expected: &'static str,
        /// The value given.
        got: f64,
    },
    /// Training left the finite numbers.
    #[error(
        "{what} is {value} at step {step}; lower the learning rate or clip gradients; {}",
        match checkpoint {
            Some(path) => format!("the last good checkpoint is `{}`", path.display()),
            None => "no checkpoint was written before it".to_owned(),
        }
    )]
    NotFinite {
        /// The loss term, the gradient or the weight.
        what: String,
        /// The value found.
        value: f32,
        /// The step, counted from 1.
        step: u64,
        /// The last good checkpoint.
        checkpoint: Option<PathBuf>,
    },
    /// The teacher is worse than the recipe allows.
    #[error(
        "the teacher's accuracy is {accuracy:.4}, below `teacher.minimum_accuracy` = {minimum:.4}; \
         check its weights, its normalisation and the data, or lower the bar"
    )]
    WeakTeacher {
        /// Its accuracy on the evaluation data.
        accuracy: f64,
        /// The recipe's bar.
        minimum: f64,
    },
    /// Another process works in the run directory.
    #[error(
        "`{}` is in use by another process; wait for it or choose another `--out`",
        path.display()
    )]
    Locked {
        /// The run directory.
        path: PathBuf,
    },
    /// The run directory does not fit the request.
    #[error("run directory `{}`: {reason}", path.display())]
    RunDirectory {
        /// The run directory.
        path: PathBuf,
        /// Expected and got, what to try.
        reason: String,
    },
    /// The user interrupted; a checkpoint was written.
    #[error(
        "interrupted at step {step}; continue with `--resume`, the checkpoint is `{}`",
        checkpoint.display()
    )]
    Interrupted {
        /// The step, counted from 1.
        step: u64,
        /// The checkpoint to continue from.
        checkpoint: PathBuf,
    },
    /// A check that the user or the toolkit asked for failed.
    #[error("{0}")]
    Check(String),
    /// A device that this build or machine does not have.
    #[error("{0}")]
    Device(String),
    /// An error of the graph, its weights or its inputs.
    #[error(transparent)]
    Graph(#[from] limbeck_graph::Error),
}

/// One mistake in a recipe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("recipe key `{key}`: {reason}")]
pub struct Problem {
    /// The key, dotted from the root.
    pub key: String,
    /// Expected and got, the nearest valid name.
    pub reason: String,
}

impl Error {
    /// An error while reading `path`.
    pub fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    /// An error while writing `path`.
    pub fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }

    /// A file that is not what its format promises.
    pub fn format(path: &Path, format: &'static str, reason: impl Into<String>) -> Self {
        Self::Format {
            path: path.to_owned(),
            format,
            reason: reason.into(),
        }
    }

    /// A row of a data file that is unusable.
    pub fn row(path: &Path, row: u64, reason: impl Into<String>) -> Self {
        Self::Row {
            path: path.to_owned(),
            row,
            reason: reason.into(),
        }
    }

    /// A name that does not exist, with the nearest of those that do.
    pub fn unknown<'a>(
        kind: &'static str,
        name: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::Unknown {
            kind,
            name: name.to_owned(),
            nearest: limbeck_graph::error::nearest(name, names),
        }
    }
}
