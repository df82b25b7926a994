//! Several teachers that answer as one.

use limbeck_graph::{Inputs, Taps};

use super::{Answer, EnsembleMean, Teacher};
use crate::{Error, Result};

/// Teachers whose distributions are averaged (Hinton et al. 2015, section 1).
pub struct Ensemble {
    members: Vec<Box<dyn Teacher>>,
    mean: EnsembleMean,
}

impl std::fmt::Debug for Ensemble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ensemble")
            .field("members", &self.members.len())
            .field("mean", &self.mean)
            .finish()
    }
}

impl Ensemble {
    /// Gathers teachers. Each may have its own architecture and its own input normalisation.
    ///
    /// # Errors
    /// If there is none.
    pub fn new(members: Vec<Box<dyn Teacher>>, mean: EnsembleMean) -> Result<Self> {
        if members.is_empty() {
            return Err(Error::Data(
                "an ensemble needs at least one teacher".to_owned(),
            ));
        }
        Ok(Self { members, mean })
    }
}

impl Teacher for Ensemble {
    fn answer(&self, inputs: &Inputs, taps: &Taps) -> Result<Answer> {
        let mut members = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let answer = member.answer(inputs, taps)?;
            if answer.members.len() > 1 {
                return Err(Error::Data(
                    "a member of an ensemble is an ensemble itself; list all teachers in one"
                        .to_owned(),
                ));
            }
            members.extend(answer.members);
        }
        Ok(Answer {
            members,
            mean: self.mean,
        })
    }
}
