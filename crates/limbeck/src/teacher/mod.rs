//! Frozen networks and ensembles: a teacher has neither gradients nor a training mode.
//!
//! [`Frozen`] takes any [`Network`](limbeck_graph::Network), [`Ensemble`] takes several teachers. Both give an
//! [`Answer`], from which a method takes what it compares: a softened distribution, logits, a feature.

mod answer;
mod ensemble;
mod frozen;

pub use answer::{Answer, EnsembleMean};
pub use ensemble::Ensemble;
pub use frozen::{Frozen, Renormalization};

use limbeck_graph::{Inputs, Taps};

use crate::Result;

/// A source of knowledge. There is no way to train one.
pub trait Teacher: Send {
    /// The members' outputs for a batch, evaluated without gradients.
    ///
    /// # Errors
    /// If the inputs do not fit or a tap does not exist.
    fn answer(&self, inputs: &Inputs, taps: &Taps) -> Result<Answer>;
}

impl<T: Teacher + ?Sized> Teacher for Box<T> {
    fn answer(&self, inputs: &Inputs, taps: &Taps) -> Result<Answer> {
        (**self).answer(inputs, taps)
    }
}
