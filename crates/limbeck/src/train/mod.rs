//! Optimisers, schedules, run directories, exact resume.
//!
//! A [`Trainer`] runs what a [`Method`](crate::method::Method) describes, in a [`RunDirectory`]. Everything random is
//! derived from the seed and the position, everything else that a step depends on is in its checkpoints, so a run
//! that was killed and resumed ends with the same bits as one that was not.

mod average;
mod batches;
mod benchmark;
mod checkpoint;
mod evaluation;
mod gradient;
mod learning_rate;
mod log;
mod objective;
mod optimizer;
mod parameters;
mod progress;
mod run_directory;
mod session;
mod settings;
mod stopping;
mod tally;
mod tensorboard;
mod trainer;

pub use batches::BatchSource;
pub use benchmark::{Benchmark, Spread, Timing};
pub use evaluation::evaluate_teacher;
pub use learning_rate::{LearningRate, Schedule};
pub use log::{StepReport, TermReport};
pub use parameters::{Weights, load, weights};
pub use progress::{Event, Progress};
pub use run_directory::RunDirectory;
pub use settings::{Clip, OptimizerSettings, TrainSettings};
pub use trainer::{Outcome, SILENT_STEPS, Trainer};
