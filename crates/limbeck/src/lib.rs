//! Knowledge distillation: a large trained model teaches a small one.
//!
//! Every method of distillation combines five choices, and there is a folder for each: who knows ([`teacher`]),
//! on which inputs knowledge is passed (`transfer`), what is compared ([`loss`]), who learns (the
//! student, a [`Network`](limbeck_graph::Network)), and when (`schedule`). A [`method`] is one file that combines them.
//!
//! | folder | what |
//! |---|---|
//! | [`recipe`] | what the user typed, checked into a plan before anything runs |
//! | [`model`] | ONNX files and networks of the zoo as teachers and students |
//! | [`data`] | data sets, splits, views and the loader |
//! | [`teacher`] | frozen networks and ensembles |
//! | [`loss`] | one loss per file, values per row |
//! | [`method`] | one method per file |
//! | [`train`] | optimisers, schedules, run directories, exact resume |
//! | [`experiment`] | teacher, student alone and student distilled over paired seeds |
//! | [`eval`] | metrics and latency |
//! | [`report`] | HTML and Markdown from what a run wrote |

pub mod data;
pub mod device;
pub mod error;
pub mod eval;
pub mod experiment;
pub mod files;
pub mod infer;
pub mod init;
pub mod loss;
pub mod method;
pub mod model;
pub mod recipe;
pub mod report;
pub mod teacher;
pub mod train;

pub use error::Error;
pub use limbeck_graph as graph;
pub use limbeck_graph::Seed;

/// The result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;
