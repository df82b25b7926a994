//! Optimizer steps in one pass over parameter, gradient and state.
//!
//! The formulae are those of PyTorch's `torch.optim.SGD`, `Adam` and `AdamW`.

mod adam;
mod sgd;
mod squares;

pub use adam::{Adam, WeightDecay, adam, adam_on};
pub use sgd::{Sgd, sgd, sgd_on};
pub use squares::{sum_of_squares, sum_of_squares_on};

/// Elements of one task.
const CHUNK: usize = 32 * 1024;
