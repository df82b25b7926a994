//! One batch through the student, its loss terms and their gradients.
//!
//! Burn's backward pass consumes the graph it walks, so the gradients of several terms cannot be taken one after
//! the other through the network. The pass is cut at what the terms see: every output and tapped feature of
//! the student becomes a leaf. Each term is differentiated down to the leaves alone, which costs little; the
//! sum of these gradients is then sent through the network once, as the gradient of
//! `sum(feature * gradient)`. The result is the exact gradient of the weighted sum of the terms, and the
//! norm of each term's share at the student's outputs is known on the way.

use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use limbeck_graph::{Feature, Inputs, Network, Seed, Trace, each_rank};

use super::batches::with_autodiff;
use super::gradient::{add, each_pair, squared_norm};
use super::parameters::{self, Named};
use crate::data::Batch;
use crate::eval;
use crate::loss::Labels;
use crate::method::{Method, Step, Term};
use crate::teacher::Answer;
use crate::{Error, Result};

/// Burn seeds a device's generator for the whole process, so seeding and drawing must not be
/// interleaved with another training's.
static GENERATOR: Mutex<()> = Mutex::new(());

/// The loss terms of one batch and the gradient of their weighted sum.
pub(super) struct Pass {
    pub terms: Vec<PassTerm>,
    /// By parameter name; empty if no term reaches a parameter.
    pub gradients: Named,
}

/// One loss term of one batch; its numbers are still on the device.
pub(super) struct PassTerm {
    pub name: &'static str,
    pub weight: f64,
    /// The mean over the rows, unweighted, `[1]`.
    pub value: Tensor<1>,
    /// The squared L2 norm of the weighted mean's gradient at the student's outputs and features, `[1]`.
    pub squared_norm: Tensor<1>,
}

/// What one batch is trained on.
pub(super) struct Objective<'a> {
    pub method: &'a dyn Method,
    pub answer: Option<&'a Answer>,
    pub progress: f64,
    pub seed: Seed,
    /// The position of the random streams: the step and the batch in it.
    pub position: [u64; 2],
    /// Without autodiff.
    pub device: &'a Device,
}

impl Objective<'_> {
    /// Runs `student` on the inputs of `batch` and differentiates every term.
    ///
    /// # Errors
    /// If the student or the method refuses the batch.
    pub(super) fn differentiate<S: Network>(
        &self,
        student: &S,
        inputs: &Inputs,
        batch: &Batch,
    ) -> Result<Pass> {
        let inputs = with_autodiff(inputs);
        let taps = self.method.student_taps();
        let trace = self.seeded("dropout", || Ok(student.forward(&inputs, &taps)?))?;
        let classes = trace.output.shape().last().copied().unwrap_or(0);
        let labels = eval::labels(batch, classes, self.device)?;
        let leaves = cut(&trace);
        let mut terms = Vec::new();
        let mut totals: Vec<Option<Feature>> = vec![None; 1 + trace.features.len()];
        let mut index = 0;
        loop {
            // The terms may share parts of their graph, which one backward pass would consume for all.
            let all = self.terms(&leaves, labels.as_ref(), batch.ids.len())?;
            let count = all.len();
            let Some(term) = all.into_iter().nth(index) else {
                break;
            };
            let (pass_term, gradients) = self.differentiate_term(&term, &leaves);
            for (total, gradient) in totals.iter_mut().zip(gradients) {
                *total = match (total.take(), gradient) {
                    (Some(total), Some(gradient)) => Some(add(total, gradient)),
                    (total, gradient) => total.or(gradient),
                };
            }
            terms.push(pass_term);
            index += 1;
            if index == count {
                break;
            }
        }
        let gradients = send_through(student, &trace, totals);
        Ok(Pass { terms, gradients })
    }

    fn terms(&self, leaves: &Trace, labels: Option<&Labels>, rows: usize) -> Result<Vec<Term>> {
        let step = Step {
            student: leaves,
            teacher: self.answer,
            labels,
            progress: self.progress,
        };
        let terms = self.seeded("method", || self.method.terms(&step))?;
        for term in &terms {
            let [got] = term.rows.dims();
            if got != rows {
                return Err(Error::Shape {
                    what: format!("loss term `{}`", term.name),
                    expected: format!("one value per row, [{rows}]"),
                    got: format!("[{got}]"),
                });
            }
        }
        Ok(terms)
    }

    /// The term's numbers, and its gradients at the leaves in the order of [`tensors_of`].
    fn differentiate_term(&self, term: &Term, leaves: &Trace) -> (PassTerm, Vec<Option<Feature>>) {
        let mean = term.rows.clone().mean();
        let value = mean.clone().inner();
        let gradients: Vec<Option<Feature>> = if mean.is_tracked() && term.weight != 0.0 {
            let mut found = mean.mul_scalar(term.weight).backward();
            tensors_of(leaves)
                .map(|leaf| each_rank!(leaf, tensor => tensor.grad_remove(&mut found).map(Into::into)))
                .collect()
        } else {
            Vec::new()
        };
        let term = PassTerm {
            name: term.name,
            weight: term.weight,
            value,
            squared_norm: squared_norm(gradients.iter().flatten(), self.device),
        };
        (term, gradients)
    }

    /// Runs `draw` with the device's generator at the start of the stream `name` of this position.
    fn seeded<T>(&self, name: &str, draw: impl FnOnce() -> Result<T>) -> Result<T> {
        let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        self.device.seed(self.seed.derive(name, &self.position));
        draw()
    }
}

/// The output and the features of a trace, always in the same order.
fn tensors_of(trace: &Trace) -> impl Iterator<Item = &Feature> {
    std::iter::once(&trace.output).chain(trace.features.values())
}

/// The same values as leaves of a new graph.
fn cut(trace: &Trace) -> Trace {
    let leaf = |feature: &Feature| -> Feature {
        each_rank!(feature.clone().detach(), tensor => tensor.autodiff().require_grad().into())
    };
    Trace {
        output: leaf(&trace.output),
        features: trace
            .features
            .iter()
            .map(|(name, feature)| (name.clone(), leaf(feature)))
            .collect(),
    }
}

/// The gradients of the student's parameters, given those of its outputs and features.
fn send_through<S: Module>(student: &S, trace: &Trace, totals: Vec<Option<Feature>>) -> Named {
    let products = tensors_of(trace)
        .zip(totals)
        .filter_map(|(feature, total)| {
            let total = total?;
            let product = each_pair!(feature.clone(), total, a, b => (a * b).sum());
            product.is_tracked().then_some(product)
        });
    match products.reduce(|sum, product| sum + product) {
        None => Named::new(),
        Some(sum) => parameters::gradients(student, &mut sum.backward()),
    }
}
