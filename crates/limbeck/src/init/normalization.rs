//! Which input normalisation a trained model wants, measured.

use std::sync::Arc;

use burn::tensor::Device;
use limbeck_graph::Precision;
use serde::Serialize;

use crate::Result;
use crate::data::{Dataset, Loader, LoaderSettings, Normalization};
use crate::eval;
use crate::model::Opened;

/// Rows per batch.
const BATCH: usize = 128;

/// A normalisation that networks are often trained with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// What it is, in words.
    pub what: &'static str,
    /// Its values.
    pub normalization: Normalization,
}

/// How a model does with inputs normalised so.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The normalisation.
    #[serde(flatten)]
    pub candidate: Candidate,
    /// Top-1 accuracy on the measured rows.
    pub accuracy: f64,
    /// Mean negative log-likelihood; it decides between equal accuracies.
    pub nll: f64,
}

/// What is tried for images of `channels`, where `own` are the statistics of the data.
pub(super) fn candidates(own: &Normalization, channels: usize) -> Vec<Candidate> {
    let values = |mean: &[f32], std: &[f32]| Normalization {
        mean: mean.to_vec(),
        std: std.to_vec(),
    };
    let mut candidates = vec![
        Candidate {
            what: "statistics of the training rows",
            normalization: own.clone(),
        },
        Candidate {
            what: "pixels in -1..1",
            normalization: values(&[0.5], &[0.5]),
        },
        Candidate {
            what: "pixels in 0..1",
            normalization: Normalization::none(),
        },
        Candidate {
            what: "pixels in 0..255",
            normalization: values(&[0.0], &[1.0 / 255.0]),
        },
    ];
    if channels == 3 {
        candidates.push(Candidate {
            what: "statistics of ImageNet",
            normalization: values(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]),
        });
    }
    candidates
}

/// The accuracy of `model` on `rows` under each candidate, and under what its file says; the best first.
///
/// # Errors
/// If the rows cannot be read or the model refuses them.
pub fn measure(
    model: &Opened,
    rows: &Arc<dyn Dataset>,
    candidates: &[Candidate],
    device: &Device,
) -> Result<Vec<Measured>> {
    let network = model.frozen(device, Precision::Fp32)?;
    let said = model.normalization().map(|normalization| Candidate {
        what: "as its file says",
        normalization,
    });
    let mut measured: Vec<Measured> = Vec::new();
    for candidate in said.iter().chain(candidates) {
        let loader = Loader::new(
            Arc::clone(rows),
            LoaderSettings {
                batch: BATCH,
                normalization: candidate.normalization.clone(),
                ..LoaderSettings::default()
            },
        )?;
        let predictions = eval::predict_teacher(&network, loader.epoch(0, 0), device);
        // Inputs far from those that a network knows may leave the finite numbers, which rules them out.
        let Ok(metrics) = predictions.and_then(|predictions| predictions.metrics()) else {
            continue;
        };
        measured.push(Measured {
            candidate: candidate.clone(),
            accuracy: metrics.top1,
            nll: metrics.nll,
        });
    }
    if measured.is_empty() {
        // Says what is wrong, if it is the same for all.
        let loader = Loader::new(Arc::clone(rows), LoaderSettings::default())?;
        eval::predict_teacher(&network, loader.epoch(0, 0), device)?;
    }
    measured.sort_by(|a, b| {
        let by_accuracy = b.accuracy.total_cmp(&a.accuracy);
        by_accuracy.then(a.nll.total_cmp(&b.nll))
    });
    Ok(measured)
}
