//! What teachers said about a batch, and how several voices become one.
//!
//! ```text
//! arithmetic: p = 1/K sum_k softmax(v_k / T)
//! geometric:  p = softmax(1/K sum_k v_k / T)
//! logits:     v = 1/K sum_k v_k
//! ```
//!
//! `v_k` are the logits `[batch, classes]` of member k of K. The first two are Hinton et al. 2015, section 1; the mean
//! of logits is what Ba and Caruana 2014 regress on, section 2.4. They agree for a single member.

use burn::tensor::Tensor;
use limbeck_graph::{Feature, Trace};
use serde::{Deserialize, Serialize};

use crate::loss::{LogProbs, Logits, Probs, Temperature};
use crate::{Error, Result};

/// How an ensemble's distributions become one (Hinton et al. 2015, section 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnsembleMean {
    /// The mean of the members' probabilities.
    #[default]
    Arithmetic,
    /// The normalised geometric mean, which is the softmax of the mean logits.
    Geometric,
}

impl EnsembleMean {
    /// The words of a recipe, for [`Section::choice`](crate::recipe::Section::choice).
    pub const CHOICES: [(&str, Self); 2] = [
        ("arithmetic", Self::Arithmetic),
        ("geometric", Self::Geometric),
    ];
}

/// What the teachers said about a batch, without gradients.
#[derive(Clone, Debug)]
pub struct Answer {
    /// One trace per member.
    pub members: Vec<Trace>,
    /// How the members' distributions are combined.
    pub mean: EnsembleMean,
}

impl Answer {
    /// The answer of a single teacher.
    pub fn single(trace: Trace) -> Self {
        Self {
            members: vec![trace],
            mean: EnsembleMean::default(),
        }
    }

    /// The mean of the members' logits, `[batch, classes]`, whatever the [`mean`](Self::mean) of distributions.
    ///
    /// # Errors
    /// If a member's output is not `[batch, classes]`, or the members' shapes differ.
    pub fn logits(&self) -> Result<Logits> {
        let members = self.member_logits()?;
        let count = members.len();
        let sum = members
            .into_iter()
            .map(Logits::into_tensor)
            .reduce(|sum, next| sum + next);
        Logits::new(sum.ok_or_else(no_member)?.div_scalar(count as f64))
    }

    /// The members' distribution, softened with `temperature`, `[batch, classes]`.
    ///
    /// # Errors
    /// If a member's output is not `[batch, classes]`, or the members' shapes differ.
    pub fn probabilities(&self, temperature: Temperature) -> Result<Probs> {
        Ok(self.log_probabilities(temperature)?.exp())
    }

    /// The logarithm of [`probabilities`](Self::probabilities), without a detour through them: small
    /// probabilities keep their digits.
    ///
    /// # Errors
    /// If a member's output is not `[batch, classes]`, or the members' shapes differ.
    pub fn log_probabilities(&self, temperature: Temperature) -> Result<LogProbs> {
        if self.mean == EnsembleMean::Geometric || self.members.len() == 1 {
            return Ok(self.logits()?.log_probabilities(temperature));
        }
        let members: Vec<Tensor<2>> = self
            .member_logits()?
            .iter()
            .map(|logits| logits.log_probabilities(temperature).tensor().clone())
            .collect();
        let count = members.len() as f64;
        let largest = members
            .iter()
            .cloned()
            .reduce(Tensor::max_pair)
            .ok_or_else(no_member)?;
        let sum = members
            .into_iter()
            .map(|log_p| (log_p - largest.clone()).exp())
            .reduce(|sum, next| sum + next)
            .ok_or_else(no_member)?;
        LogProbs::new(sum.div_scalar(count).log() + largest, temperature)
    }

    /// The feature recorded at `tap`.
    ///
    /// # Errors
    /// If it was not recorded, or there are several members: their features have no common meaning.
    pub fn feature(&self, tap: &str) -> Result<&Feature> {
        match self.members.as_slice() {
            [only] => Ok(only.feature(tap)?),
            members => Err(Error::Data(format!(
                "the feature `{tap}` of an ensemble of {} teachers is not defined; \
                 use one teacher, or a method that compares outputs",
                members.len()
            ))),
        }
    }

    fn member_logits(&self) -> Result<Vec<Logits>> {
        let members: Vec<Logits> = self
            .members
            .iter()
            .map(|trace| Logits::try_from(trace.output.clone()))
            .collect::<Result<_>>()?;
        let first = members.first().ok_or_else(no_member)?.dims();
        match members
            .iter()
            .enumerate()
            .find(|(_, logits)| logits.dims() != first)
        {
            None => Ok(members),
            Some((index, other)) => Err(Error::Shape {
                what: format!("logits of ensemble member {index}"),
                expected: format!("{first:?} as those of member 0"),
                got: format!("{:?}", other.dims()),
            }),
        }
    }
}

fn no_member() -> Error {
    Error::Data("the teacher answered with no member".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::loss::testing::{assert_close, matrix_values};
    use burn::tensor::Device;
    use std::collections::BTreeMap;

    fn trace(rows: &[[f32; 2]]) -> Trace {
        let values: Vec<f32> = rows.concat();
        let output = Feature::from_vec(values, &[rows.len(), 2], &Device::default()).unwrap();
        Trace {
            features: BTreeMap::from([("output".to_owned(), output.clone())]),
            output,
        }
    }

    fn answer(mean: EnsembleMean) -> Answer {
        // The members' probabilities at T = 1 are (4/5, 1/5) and (1/2, 1/2).
        Answer {
            members: vec![trace(&[[4.0_f32.ln(), 0.0]]), trace(&[[1.0, 1.0]])],
            mean,
        }
    }

    fn probabilities(answer: &Answer, temperature: f64) -> Vec<f64> {
        let temperature = Temperature::new(temperature).unwrap();
        matrix_values(answer.probabilities(temperature).unwrap().tensor())
    }

    #[test]
    fn arithmetic_mean_of_softened_distributions() {
        let answer = answer(EnsembleMean::Arithmetic);
        assert_close(&probabilities(&answer, 1.0), &[0.65, 0.35], 1e-6);
        // At T = 2 the first member says (2/3, 1/3).
        assert_close(
            &probabilities(&answer, 2.0),
            &[7.0 / 12.0, 5.0 / 12.0],
            1e-6,
        );
    }

    #[test]
    fn geometric_mean_is_the_softmax_of_mean_logits() {
        let answer = answer(EnsembleMean::Geometric);
        // sqrt(4/5 * 1/2) : sqrt(1/5 * 1/2) = 2 : 1.
        assert_close(&probabilities(&answer, 1.0), &[2.0 / 3.0, 1.0 / 3.0], 1e-6);
        let root = 2.0_f64.sqrt();
        assert_close(
            &probabilities(&answer, 2.0),
            &[root / (1.0 + root), 1.0 / (1.0 + root)],
            1e-6,
        );
    }

    #[test]
    fn logits_are_averaged_under_both_means() {
        let expected = [(4.0_f64.ln() + 1.0) / 2.0, 0.5];
        for mean in [EnsembleMean::Arithmetic, EnsembleMean::Geometric] {
            assert_close(
                &matrix_values(answer(mean).logits().unwrap().tensor()),
                &expected,
                1e-6,
            );
        }
    }

    #[test]
    fn arithmetic_logarithms_survive_tiny_probabilities() {
        let members = vec![trace(&[[0.0, -200.0]]), trace(&[[0.0, -300.0]])];
        let answer = Answer {
            members,
            mean: EnsembleMean::Arithmetic,
        };
        let log_probs = answer.log_probabilities(Temperature::ONE).unwrap();
        let expected = [0.0, -200.0 - 2.0_f64.ln()];
        assert_close(&matrix_values(log_probs.tensor()), &expected, 1e-4);
    }

    #[test]
    fn equal_members_are_one_voice() {
        let member = trace(&[[1.0, -2.0], [0.5, 3.0]]);
        let single = probabilities(&Answer::single(member.clone()), 3.0);
        for mean in [EnsembleMean::Arithmetic, EnsembleMean::Geometric] {
            let answer = Answer {
                members: vec![member.clone(); 3],
                mean,
            };
            assert_close(&probabilities(&answer, 3.0), &single, 1e-6);
        }
    }

    #[test]
    fn features_belong_to_single_teachers() {
        let single = Answer::single(trace(&[[1.0, 2.0]]));
        assert_eq!(single.feature("output").unwrap().shape(), [1, 2]);
        assert!(
            single
                .feature("outptu")
                .unwrap_err()
                .to_string()
                .contains("did you mean `output`?")
        );
        let message = answer(EnsembleMean::Arithmetic)
            .feature("output")
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("the feature `output` of an ensemble of 2 teachers"),
            "{message}"
        );
    }

    #[test]
    fn unlike_members_are_an_error() {
        let answer = Answer {
            members: vec![trace(&[[1.0, 2.0]]), trace(&[[1.0, 2.0], [3.0, 4.0]])],
            mean: EnsembleMean::Geometric,
        };
        assert_eq!(
            answer
                .probabilities(Temperature::ONE)
                .unwrap_err()
                .to_string(),
            "logits of ensemble member 1: expected [1, 2] as those of member 0, got [2, 2]"
        );
        let nobody = Answer {
            members: Vec::new(),
            mean: EnsembleMean::Arithmetic,
        };
        assert!(nobody.logits().is_err() && nobody.log_probabilities(Temperature::ONE).is_err());
    }
}
