//! The numbers of one optimiser step, read from the device in one transfer.

use burn::tensor::Tensor;

use super::gradient;
use super::log::TermReport;
use super::objective::PassTerm;
use crate::Result;

/// The loss terms of the batches of one step.
#[derive(Default)]
pub(super) struct Tally {
    batches: Vec<(usize, Vec<PassTerm>)>,
}

/// What was read.
pub(super) struct Numbers {
    /// The terms over all rows of the step.
    pub terms: Vec<TermReport>,
    /// The other numbers asked for.
    pub rest: Vec<f32>,
}

impl Tally {
    /// Adds a batch.
    pub(super) fn add(&mut self, rows: usize, terms: Vec<PassTerm>) {
        self.batches.push((rows, terms));
    }

    /// The rows of all batches.
    pub(super) fn rows(&self) -> usize {
        self.batches.iter().map(|(rows, _)| rows).sum()
    }

    /// Reads all terms, and `rest` with them. Batches count by their rows, so the values and norms are those
    /// of one large batch.
    ///
    /// # Errors
    /// If the device cannot hand them over.
    pub(super) fn read(self, rest: Vec<Tensor<1>>) -> Result<Numbers> {
        let total = self.rows() as f64;
        let terms = || self.batches.iter().flat_map(|(_, terms)| terms);
        let mut wanted: Vec<Tensor<1>> = terms().map(|term| term.value.clone()).collect();
        wanted.extend(terms().map(|term| term.squared_norm.clone()));
        wanted.extend(rest);
        let read = gradient::read(wanted)?;
        let count = terms().count();
        let (values, others) = read.split_at(count);
        let (squares, rest) = others.split_at(count);

        let shares = self
            .batches
            .iter()
            .flat_map(|(rows, terms)| terms.iter().map(move |term| (*rows as f64 / total, term)));
        let mut reports: Vec<TermReport> = Vec::new();
        for ((share, term), (&value, &square)) in shares.zip(values.iter().zip(squares)) {
            let (value, square) = (share * f64::from(value), share * share * f64::from(square));
            match reports.iter_mut().find(|report| report.name == term.name) {
                Some(report) => {
                    report.value += value;
                    report.gradient_norm += square;
                }
                None => reports.push(TermReport {
                    name: term.name,
                    value,
                    weight: term.weight,
                    gradient_norm: square,
                }),
            }
        }
        for report in &mut reports {
            report.gradient_norm = report.gradient_norm.sqrt();
        }
        Ok(Numbers {
            terms: reports,
            rest: rest.to_vec(),
        })
    }
}

impl Numbers {
    /// The first term whose value or gradient is not finite: what it is, and its value.
    pub(super) fn not_finite(&self) -> Option<(String, f32)> {
        self.terms.iter().find_map(|term| {
            let name = term.name;
            if !term.value.is_finite() {
                Some((format!("loss term `{name}`"), term.value as f32))
            } else if !term.gradient_norm.is_finite() {
                let what = format!("the gradient of loss term `{name}`");
                Some((what, term.gradient_norm as f32))
            } else {
                None
            }
        })
    }
}
