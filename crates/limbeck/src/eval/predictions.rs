//! A network's logits over a data set, with the samples' identities.

use std::path::Path;

use burn::tensor::Device;
use limbeck_graph::{Feature, Network, Precision, Taps};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{Accumulator, Agreement, Metrics, agreement, check_finite, upload};
use crate::data::{Batch, SampleId};
use crate::files::write_atomic;
use crate::loss::{Logits, Temperature};
use crate::teacher::Teacher;
use crate::{Error, Result};

/// What a network said about every row of a data set, in the order it saw them.
///
/// The file form is safetensors with `ids` (I64 `[rows]`, the bits of the unsigned identity), `logits` (F32
/// `[rows, classes]`) and, where the rows have labels, `labels` (I64 `[rows]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// The samples' identities, `[rows]`.
    pub ids: Vec<SampleId>,
    /// The logits, `[rows, classes]` row major, all finite.
    pub logits: Vec<f32>,
    /// The number of classes.
    pub classes: usize,
    /// The true classes, `[rows]`; `None` where the data has none.
    pub labels: Option<Vec<u32>>,
}

/// Runs a snapshot of `network` over batches in evaluation mode on `device`, without gradients.
///
/// # Errors
/// If a batch cannot be read or does not fit the network, a logit is not finite or a label out of range (both name the
/// sample), or there is no row.
pub fn predict<N: Network>(
    network: &N,
    batches: impl Iterator<Item = Result<Batch>>,
    device: &Device,
) -> Result<Predictions> {
    let device = device.clone().without_autodiff();
    let network = network.valid().to_device(&device);
    let network = network.prepared(Precision::Fp32);
    collect(batches, |batch| {
        let inputs = upload::inputs(batch, &device)?;
        Logits::try_from(network.forward(&inputs, &Taps::none())?.output)
    })
}

/// Asks a teacher about batches on `device`. Of several members the logits kept are the logarithms of their combined
/// distribution at temperature 1, whose softmax is that distribution again.
///
/// # Errors
/// As [`predict`].
pub fn predict_teacher(
    teacher: &dyn Teacher,
    batches: impl Iterator<Item = Result<Batch>>,
    device: &Device,
) -> Result<Predictions> {
    let device = device.clone().without_autodiff();
    collect(batches, |batch| {
        let answer = teacher.answer(&upload::inputs(batch, &device)?, &Taps::none())?;
        if answer.members.len() == 1 {
            return answer.logits();
        }
        Logits::new(answer.log_probabilities(Temperature::ONE)?.tensor().clone())
    })
}

fn collect(
    batches: impl Iterator<Item = Result<Batch>>,
    answer: impl Fn(&Batch) -> Result<Logits>,
) -> Result<Predictions> {
    let mut all: Option<Predictions> = None;
    for batch in batches {
        let batch = batch?;
        let logits = answer(&batch)?;
        let [count, classes] = logits.dims();
        if count != batch.ids.len() {
            return Err(Error::Shape {
                what: "a network's output".to_owned(),
                expected: format!("{} rows, as the batch has", batch.ids.len()),
                got: count.to_string(),
            });
        }
        let values = Feature::from(logits.into_tensor()).to_vec()?;
        check_finite(&values, classes, |row| format!("sample {}", batch.ids[row]))?;
        check_labels(batch.labels.as_deref(), &batch.ids, classes)?;
        match &mut all {
            None => {
                let Batch { ids, labels, .. } = batch;
                all = Some(Predictions {
                    ids,
                    logits: values,
                    classes,
                    labels,
                });
            }
            Some(all) => all.extend(batch, values, classes)?,
        }
    }
    all.ok_or_else(|| Error::Data("there are no rows to predict".to_owned()))
}

impl Predictions {
    fn extend(&mut self, batch: Batch, logits: Vec<f32>, classes: usize) -> Result<()> {
        if classes != self.classes {
            return Err(Error::Shape {
                what: "a network's output".to_owned(),
                expected: format!("{} classes, as in earlier batches", self.classes),
                got: classes.to_string(),
            });
        }
        match (&mut self.labels, batch.labels) {
            (Some(all), Some(labels)) => all.extend(labels),
            (None, None) => {}
            _ => {
                return Err(Error::Data(
                    "some batches have labels and some have none; split the data first".to_owned(),
                ));
            }
        }
        self.ids.extend(batch.ids);
        self.logits.extend(logits);
        Ok(())
    }

    /// Metrics against the labels.
    ///
    /// # Errors
    /// If there are no labels or no rows.
    pub fn metrics(&self) -> Result<Metrics> {
        let labels = self
            .labels
            .as_ref()
            .ok_or_else(|| Error::Data("metrics need labels, and the data has none".to_owned()))?;
        let mut accumulator = Accumulator::new(self.classes);
        accumulator.add(&self.logits, labels)?;
        accumulator.metrics()
    }

    /// How closely these predictions follow the teacher's on the same samples in the same order.
    ///
    /// # Errors
    /// If samples or classes differ.
    pub fn agreement(&self, teacher: &Self) -> Result<Agreement> {
        if self.ids != teacher.ids || self.classes != teacher.classes {
            return Err(Error::Data(format!(
                "student and teacher were run on different rows or classes \
                 ({} rows of {} classes, {} rows of {}); predict both on the same data, unshuffled",
                self.ids.len(),
                self.classes,
                teacher.ids.len(),
                teacher.classes
            )));
        }
        agreement(&self.logits, &teacher.logits, self.classes)
    }

    /// Writes them as safetensors, in one step.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let ids: Vec<u8> = self.ids.iter().flat_map(|id| id.0.to_le_bytes()).collect();
        let logits: Vec<u8> = self
            .logits
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let labels: Option<Vec<u8>> = self.labels.as_ref().map(|labels| {
            labels
                .iter()
                .flat_map(|label| i64::from(*label).to_le_bytes())
                .collect()
        });
        let count = self.ids.len();
        let mut tensors = vec![
            ("ids", Dtype::I64, vec![count], &ids),
            ("logits", Dtype::F32, vec![count, self.classes], &logits),
        ];
        if let Some(labels) = &labels {
            tensors.push(("labels", Dtype::I64, vec![count], labels));
        }
        let invalid = |error: safetensors::SafeTensorError| {
            Error::write(path, std::io::Error::other(error.to_string()))
        };
        let views = tensors
            .into_iter()
            .map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(dtype, shape, bytes)?)))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(invalid)?;
        write_atomic(path, &safetensors::serialize(views, None).map_err(invalid)?)
    }

    /// Reads a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If it cannot be read, or is not such a file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| Error::read(path, source))?;
        let invalid = |reason: String| Error::format(path, "predictions", reason);
        let file = SafeTensors::deserialize(&bytes).map_err(|error| invalid(error.to_string()))?;
        let tensor = |name: &str, dtype: Dtype, rank: usize| {
            let tensor = file
                .tensor(name)
                .map_err(|_| invalid(format!("it has no tensor `{name}`")))?;
            if tensor.dtype() != dtype || tensor.shape().len() != rank {
                return Err(invalid(format!(
                    "expected `{name}` to be {dtype:?} of rank {rank}, got {:?} of shape {:?}",
                    tensor.dtype(),
                    tensor.shape()
                )));
            }
            Ok(tensor)
        };
        let ids = tensor("ids", Dtype::I64, 1)?;
        let ids: Vec<SampleId> = chunks(ids.data())
            .map(|bytes| SampleId(u64::from_le_bytes(bytes)))
            .collect();
        let logits = tensor("logits", Dtype::F32, 2)?;
        let (count, classes) = (logits.shape()[0], logits.shape()[1]);
        let logits: Vec<f32> = chunks(logits.data()).map(f32::from_le_bytes).collect();
        check_finite(&logits, classes, |row| format!("row {row}"))
            .map_err(|error| invalid(error.to_string()))?;
        let labels = if file.names().contains(&"labels") {
            let labels = tensor("labels", Dtype::I64, 1)?;
            let labels = chunks(labels.data())
                .map(i64::from_le_bytes)
                .map(u32::try_from);
            let labels: Option<Vec<u32>> = labels.map(std::result::Result::ok).collect();
            Some(labels.ok_or_else(|| invalid("a label is not a class number".to_owned()))?)
        } else {
            None
        };
        if ids.len() != count || labels.as_ref().is_some_and(|labels| labels.len() != count) {
            return Err(invalid(format!(
                "expected {count} ids and labels, as there are logits, got {} and {:?}",
                ids.len(),
                labels.map(|labels| labels.len())
            )));
        }
        check_labels(labels.as_deref(), &ids, classes)
            .map_err(|error| invalid(error.to_string()))?;
        Ok(Self {
            ids,
            logits,
            classes,
            labels,
        })
    }
}

fn check_labels(labels: Option<&[u32]>, ids: &[SampleId], classes: usize) -> Result<()> {
    let Some(labels) = labels else {
        return Ok(());
    };
    match labels
        .iter()
        .zip(ids)
        .find(|(label, _)| **label as usize >= classes)
    {
        None => Ok(()),
        Some((label, id)) => Err(Error::Data(format!(
            "label of sample {id}: expected a class below {classes}, got {label}; \
             check that model and data have the same classes"
        ))),
    }
}

fn chunks<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    let (whole, _) = data.as_chunks::<N>();
    whole.iter().copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::collections::BTreeMap;

    use super::*;
    use crate::teacher::{Ensemble, EnsembleMean, Frozen};
    use burn::module::Module;
    use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig};
    use burn::tensor::Tensor;
    use limbeck_graph::{Inputs, Trace};

    #[derive(Module, Debug)]
    struct Classifier {
        norm: BatchNorm,
        dropout: Dropout,
        head: Linear,
    }

    impl Classifier {
        fn new(device: &Device) -> Self {
            Self {
                norm: BatchNormConfig::new(1).init(device),
                dropout: DropoutConfig::new(0.5).init(),
                head: LinearConfig::new(4, 3).init(device),
            }
        }
    }

    impl Network for Classifier {
        fn forward(&self, inputs: &Inputs, _: &Taps) -> limbeck_graph::Result<Trace> {
            let images: Tensor<4> = inputs.get_float(Inputs::DEFAULT)?.clone().try_into()?;
            let hidden: Tensor<2> = self
                .dropout
                .forward(self.norm.forward(images))
                .flatten(1, 3);
            Ok(Trace {
                output: self.head.forward(hidden).into(),
                features: BTreeMap::new(),
            })
        }

        fn tap_names(&self) -> Vec<String> {
            Vec::new()
        }
    }

    fn batch(first: u64, count: u64, labels: bool) -> Batch {
        Batch {
            epoch: 0,
            index: 0,
            ids: (first..first + count).map(SampleId).collect(),
            inputs: (0..count * 4)
                .map(|value| (first * 4 + value) as f32 / 10.0)
                .collect(),
            shape: [1, 2, 2],
            labels: labels.then(|| (0..count).map(|row| (row % 3) as u32).collect()),
        }
    }

    fn example() -> Predictions {
        Predictions {
            ids: vec![SampleId(3), SampleId(u64::MAX)],
            logits: vec![0.0, 1.0, -1.0, 0.5],
            classes: 2,
            labels: Some(vec![1, 1]),
        }
    }

    #[test]
    fn prediction_is_evaluation_and_does_not_depend_on_batches() {
        let training = Device::default().autodiff();
        let network = Classifier::new(&training);
        let one = predict(&network, [Ok(batch(0, 5, true))].into_iter(), &training).unwrap();
        let parts = [Ok(batch(0, 2, true)), Ok(batch(2, 3, true))].into_iter();
        let two = predict(&network, parts, &training).unwrap();
        assert_eq!(one.ids, two.ids);
        for (a, b) in one.logits.iter().zip(&two.logits) {
            assert!((a - b).abs() < 1e-6);
        }
        assert_eq!((one.classes, one.logits.len()), (3, 15));
        let mean = network.norm.running_mean.value_sync().into_scalar::<f32>();
        assert_eq!(mean, 0.0, "prediction moved the running mean");
    }

    #[test]
    fn a_teacher_is_predicted_by_its_distribution() {
        let device = Device::default();
        let networks = [Classifier::new(&device), Classifier::new(&device)];
        let batches = || [Ok(batch(0, 4, true))].into_iter();
        let frozen = |index: usize| Frozen::new(&networks[index], &device);
        let alone = predict_teacher(&frozen(0), batches(), &device).unwrap();
        assert_eq!(alone, predict(&networks[0], batches(), &device).unwrap());

        let members: Vec<Box<dyn Teacher>> = vec![Box::new(frozen(0)), Box::new(frozen(1))];
        let ensemble = Ensemble::new(members, EnsembleMean::Arithmetic).unwrap();
        let together = predict_teacher(&ensemble, batches(), &device).unwrap();
        let other = predict(&networks[1], batches(), &device).unwrap();
        let probability = |logits: &[f32], class: usize| {
            let total: f64 = logits.iter().map(|value| f64::from(*value).exp()).sum();
            f64::from(logits[class]).exp() / total
        };
        for row in 0..4 {
            let of = |all: &Predictions, class| probability(&all.logits[row * 3..][..3], class);
            for class in 0..3 {
                let mean = (of(&alone, class) + of(&other, class)) / 2.0;
                assert!((of(&together, class) - mean).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn broken_batches_stop_the_prediction() {
        let device = Device::default();
        let network = Classifier::new(&device);
        let run = |batches: Vec<Result<Batch>>| {
            predict(&network, batches.into_iter(), &device)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(run(Vec::new()), "there are no rows to predict");
        assert_eq!(run(vec![Err(Error::Data("broken".to_owned()))]), "broken");
        let mut nan = batch(40, 2, true);
        nan.inputs[5] = f32::NAN;
        assert!(run(vec![Ok(nan)]).starts_with("sample 41: the logit of class 0 is NaN"));
        let label = Batch {
            labels: Some(vec![0, 3]),
            ..batch(7, 2, true)
        };
        assert!(run(vec![Ok(label)]).starts_with("label of sample 8: expected a class below 3"));
        let mixed = run(vec![Ok(batch(0, 2, true)), Ok(batch(2, 2, false))]);
        assert!(mixed.starts_with("some batches have labels"));
    }

    #[test]
    fn files_give_back_what_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.safetensors");
        for predictions in [
            example(),
            Predictions {
                labels: None,
                ..example()
            },
        ] {
            predictions.save(&path).unwrap();
            assert_eq!(Predictions::read(&path).unwrap(), predictions);
        }
    }

    #[test]
    fn broken_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.safetensors");
        let reason = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Predictions::read(&path).unwrap_err().to_string()
        };
        assert!(reason(b"nothing").contains("is not a valid predictions file"));
        assert!(reason(&(1_u64 << 63).to_le_bytes()).contains("is not a valid predictions file"));
        example().save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(reason(&bytes[..bytes.len() - 1]).contains("is not a valid predictions file"));
        let outside = Predictions {
            labels: Some(vec![0, 9]),
            ..example()
        };
        outside.save(&path).unwrap();
        let message = Predictions::read(&path).unwrap_err().to_string();
        assert!(
            message.contains("expected a class below 2, got 9"),
            "{message}"
        );
        let missing = folder.path().join("missing.safetensors");
        assert!(matches!(
            Predictions::read(&missing),
            Err(Error::Read { .. })
        ));
    }

    #[test]
    fn metrics_and_agreement_come_from_stored_logits() {
        let predictions = example();
        assert_eq!(predictions.metrics().unwrap().top1, 1.0);
        assert_eq!(
            predictions.agreement(&predictions).unwrap().equal_argmax,
            1.0
        );
        let other = Predictions {
            ids: vec![SampleId(3), SampleId(4)],
            ..example()
        };
        assert!(predictions.agreement(&other).is_err());
        assert!(
            Predictions {
                labels: None,
                ..example()
            }
            .metrics()
            .is_err()
        );
    }
}
