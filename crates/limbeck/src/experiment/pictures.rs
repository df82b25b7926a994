//! Which inputs the report shows with their soft labels.

use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::Device;
use limbeck_graph::{Feature, Taps};

use crate::data::{Dataset, Loader, LoaderSettings, Normalization, Pixels, Subset};
use crate::eval::{self, Predictions};
use crate::loss::Temperature;
use crate::report::{self, Picture};
use crate::teacher::Teacher;
use crate::{Error, Result};

/// Inputs on which the teacher hesitates most.
const UNCERTAIN: usize = 12;
/// Inputs of each class.
const PER_CLASS: usize = 2;
/// Inputs in all; more would be a data set, not a page.
const MOST: usize = 48;

/// Who is asked about the inputs, and how.
pub(super) struct Question<'a> {
    pub set: &'a Arc<dyn Dataset>,
    pub normalization: &'a Normalization,
    pub teacher: &'a dyn Teacher,
    pub temperature: Temperature,
    pub device: &'a Device,
}

impl Question<'_> {
    /// The inputs on which the teacher hesitates most and a few of each class, with what teacher and student say of
    /// them at the method's temperature.
    ///
    /// # Errors
    /// If an image cannot be decoded or the teacher refuses it.
    pub(super) fn pictures(
        &self,
        teacher: &Predictions,
        student: Option<&Predictions>,
    ) -> Result<Vec<Picture>> {
        let classes = teacher.classes;
        let row_of = |all: &Predictions, row: usize, temperature: f64| {
            softmax(&all.logits[row * classes..][..classes], temperature)
        };
        let rows = teacher.ids.len();
        let labels: Vec<Option<u32>> = match &teacher.labels {
            Some(labels) => labels.iter().copied().map(Some).collect(),
            None => vec![None; rows],
        };
        let entropies: Vec<f64> = (0..rows)
            .map(|row| report::entropy(&row_of(teacher, row, 1.0)))
            .collect();
        let mut chosen = report::choose(&labels, &entropies, UNCERTAIN, PER_CLASS);
        chosen.truncate(MOST);
        let soft_labels = self.soft_labels(teacher, &chosen)?;
        let mut pictures = Vec::with_capacity(chosen.len());
        for (&row, soft) in chosen.iter().zip(soft_labels.chunks(classes)) {
            let sample = self.set.sample(self.index(teacher, row)?)?;
            pictures.push(Picture {
                id: sample.id.0,
                height: sample.image.height,
                width: sample.image.width,
                channels: sample.image.channels,
                pixels: bytes(sample.image.pixels),
                label: sample.label,
                teacher: soft.to_vec(),
                student: student.map_or_else(Vec::new, |student| {
                    let soft = row_of(student, row, self.temperature.get());
                    soft.into_iter().map(|p| p as f32).collect()
                }),
            });
        }
        Ok(pictures)
    }

    /// The teacher's probabilities for the chosen rows, `[rows, classes]`.
    fn soft_labels(&self, teacher: &Predictions, chosen: &[usize]) -> Result<Vec<f32>> {
        let rows = chosen
            .iter()
            .map(|&row| self.index(teacher, row))
            .collect::<Result<Vec<_>>>()?;
        let loader = Loader::new(
            Arc::new(Subset::new(Arc::clone(self.set), rows)?),
            LoaderSettings {
                normalization: self.normalization.clone(),
                prefetch: 0,
                ..LoaderSettings::default()
            },
        )?;
        let mut all = Vec::new();
        for batch in loader.epoch(0, 0) {
            let inputs = eval::inputs(&batch?, self.device)?;
            let answer = self.teacher.answer(&inputs, &Taps::none())?;
            let soft = answer.probabilities(self.temperature)?;
            all.extend(Feature::from(soft.tensor().clone()).to_vec()?);
        }
        Ok(all)
    }

    /// Where in the set the row of the predictions is.
    fn index(&self, predictions: &Predictions, row: usize) -> Result<usize> {
        let id = predictions.ids[row];
        // Predictions are made in the set's order; the search is for sets that changed it.
        if row < self.set.len() && self.set.id(row) == id {
            return Ok(row);
        }
        let places: HashMap<_, _> = (0..self.set.len()).map(|i| (self.set.id(i), i)).collect();
        places
            .get(&id)
            .copied()
            .ok_or_else(|| Error::Data(format!("sample {id} is not in the evaluation data")))
    }
}

fn bytes(pixels: Pixels) -> Vec<u8> {
    match pixels {
        Pixels::U8(bytes) => bytes,
        Pixels::F32(values) => values
            .iter()
            .map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8)
            .collect(),
    }
}

/// softmax(`logits` / `temperature`).
fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits
        .iter()
        .map(|&z| (f64::from(z - largest) / temperature).exp())
        .collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temperature_softens() {
        let soft = softmax(&[2.0, 0.0], 2.0);
        assert!((soft[0] - 0.731_058_578_630_004_9).abs() < 1e-12);
        assert!((soft[0] + soft[1] - 1.0).abs() < 1e-12);
        assert!(softmax(&[1000.0, 0.0], 1.0)[0].is_finite());
    }
}
