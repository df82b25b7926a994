//! Models of every origin: ONNX files, networks of the zoo, checkpoints and finished runs.
//!
//! | file | what |
//! |---|---|
//! | `onnx` | an ONNX file: as a graph that trains, or as one that only answers |
//! | `opened` | models as commands take them |
//! | `fit` | whether a model takes the data's images and knows its classes |
//! | `pattern`, `selection` | which weights are trained, by name |
//! | `export` | a network as ONNX, held against an independent runtime |
//! | `start` | the weights that a training begins with |

mod export;
mod fit;
mod onnx;
mod opened;
mod pattern;
mod selection;
mod start;

pub use export::{Exported, Rows, STUDENT_ONNX, write_onnx, write_parity};
pub use fit::{check_graph, check_onnx};
pub use onnx::OnnxModel;
pub use opened::{Hints, ModelFile, Opened, fit};
pub use pattern::Pattern;
pub use selection::{Selection, Unselected};
pub use start::{BatchNormMode, Beginning, freeze_batch_norms};
