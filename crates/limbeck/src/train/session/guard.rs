//! What stops a training, or warns of one that does nothing.

use limbeck_graph::Network;

use super::super::checkpoint::State;
use super::super::gradient::{self, squared_norm};
use super::super::log::TermReport;
use super::super::parameters::{self, Named};
use super::super::run_directory::RunDirectory;
use super::super::trainer::SILENT_STEPS;
use super::Session;
use crate::{Error, Result};

impl Session<'_> {
    /// A term that never has a gradient teaches nothing: a tap of a frozen part, a saturated loss, a typing error.
    pub(super) fn watch_silent_terms(&mut self, terms: &[TermReport], step: u64) -> Result<()> {
        for term in terms {
            // A weight of zero is a decision of the method.
            if term.gradient_norm > 0.0 || term.weight == 0.0 {
                self.state.silent_terms.remove(term.name);
                continue;
            }
            let silent = self
                .state
                .silent_terms
                .entry(term.name.to_owned())
                .or_default();
            *silent += 1;
            if *silent == SILENT_STEPS {
                let sentence = format!(
                    "the gradient of loss term `{}` was zero in all of the last {SILENT_STEPS} steps, up to \
                     step {step}; it teaches the student nothing",
                    term.name
                );
                self.warn(&sentence)?;
            }
        }
        Ok(())
    }

    /// Nothing is evaluated or saved that is not finite.
    pub(super) fn expect_finite_weights<S: Network>(&mut self, student: &S) -> Result<()> {
        let tensors = parameters::tensors(student);
        let square = squared_norm(tensors.values(), &self.device);
        if gradient::read(vec![square])?[0].is_finite() {
            return Ok(());
        }
        match first_not_finite(&tensors)? {
            // Only the square is too large.
            None => Ok(()),
            Some((name, value)) => {
                Err(self.stop(format!("weight `{name}`"), value, self.state.step)?)
            }
        }
    }

    /// The error for a number of `step`; where the weights were not finite before it, for those.
    pub(super) fn not_finite<S: Network>(
        &mut self,
        student: &S,
        what: String,
        value: f32,
        step: u64,
    ) -> Result<Error> {
        match first_not_finite(&parameters::tensors(student))? {
            None => self.stop(what, value, step),
            Some((name, value)) => self.stop(format!("weight `{name}`"), value, step - 1),
        }
    }

    fn stop(&mut self, what: String, value: f32, step: u64) -> Result<Error> {
        let error = Error::NotFinite {
            what,
            value,
            step,
            checkpoint: self.last_checkpoint.clone(),
        };
        self.log.message("error", step, &error.to_string())?;
        Ok(error)
    }
}

/// A checkpoint must be of the same training.
pub(super) fn expect_same(run: &RunDirectory, now: &State, begun: &State) -> Result<()> {
    let what = if now.seed != begun.seed {
        format!("seed {} instead of {}", begun.seed, now.seed)
    } else if now.settings != begun.settings {
        "other settings in `[train]`".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::RunDirectory {
        path: run.path().to_owned(),
        reason: format!("its checkpoints are of a training with {what}; choose another `--out`"),
    })
}

/// The first NaN or infinity, and the name of its tensor.
pub(super) fn first_not_finite(tensors: &Named) -> Result<Option<(String, f32)>> {
    for (name, tensor) in tensors {
        let found = tensor
            .to_vec()?
            .into_iter()
            .find(|value| !value.is_finite());
        if let Some(value) = found {
            return Ok(Some((name.clone(), value)));
        }
    }
    Ok(None)
}
