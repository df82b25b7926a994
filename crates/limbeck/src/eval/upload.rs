//! From a batch on the host to tensors on a device.

use burn::tensor::Device;
use limbeck_graph::{Feature, Inputs};

use crate::data::Batch;
use crate::loss::Labels;
use crate::{Error, Result};

/// The inputs of a batch, `[batch, channels, height, width]`, on `device`. On an autodiff device they train the network
/// they are given to, on a plain one they evaluate it.
///
/// # Errors
/// If the batch is empty, or its values do not fill its shape.
pub fn inputs(batch: &Batch, device: &Device) -> Result<Inputs> {
    if batch.ids.is_empty() {
        return Err(Error::Data(format!(
            "batch {} of epoch {} is empty",
            batch.index, batch.epoch
        )));
    }
    let [channels, height, width] = batch.shape;
    let shape = [batch.ids.len(), channels, height, width];
    let images = Feature::from_vec(batch.inputs.clone(), &shape, device)?;
    Ok(Inputs::float(images))
}

/// The labels of a batch, `[batch]`, on `device`; `None` where it has none.
///
/// # Errors
/// If a label is not below `classes` (names the sample), or there is not one per row.
pub fn labels(batch: &Batch, classes: usize, device: &Device) -> Result<Option<Labels>> {
    let Some(values) = &batch.labels else {
        return Ok(None);
    };
    if values.len() != batch.ids.len() {
        return Err(Error::Shape {
            what: "labels of a batch".to_owned(),
            expected: format!("{} rows, as it has samples", batch.ids.len()),
            got: values.len().to_string(),
        });
    }
    for (id, label) in batch.ids.iter().zip(values) {
        if *label as usize >= classes {
            return Err(Error::Data(format!(
                "label of sample {id}: expected a class below {classes}, got {label}; \
                 check that model and data have the same classes"
            )));
        }
    }
    Labels::new(values, classes, device).map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::data::SampleId;

    fn batch() -> Batch {
        Batch {
            epoch: 1,
            index: 2,
            ids: vec![SampleId(7), SampleId(9)],
            inputs: (0..12).map(|value| value as f32).collect(),
            shape: [3, 1, 2],
            labels: Some(vec![0, 4]),
        }
    }

    #[test]
    fn values_keep_their_place() {
        let device = Device::default();
        let inputs = inputs(&batch(), &device).unwrap();
        let images = inputs.get_float(Inputs::DEFAULT).unwrap();
        assert_eq!(images.shape(), [2, 3, 1, 2]);
        assert_eq!(images.to_vec().unwrap(), batch().inputs);
        let labels = labels(&batch(), 5, &device).unwrap().unwrap();
        assert_eq!(
            labels
                .tensor()
                .to_data()
                .convert::<i64>()
                .try_to_vec::<i64>()
                .unwrap(),
            [0, 4]
        );
        let unlabelled = Batch {
            labels: None,
            ..batch()
        };
        assert!(super::labels(&unlabelled, 5, &device).unwrap().is_none());
    }

    #[test]
    fn broken_batches_are_errors() {
        let device = Device::default();
        let message = labels(&batch(), 4, &device).unwrap_err().to_string();
        assert!(message.starts_with("label of sample 9: expected a class below 4, got 4"));
        let short = Batch {
            labels: Some(vec![0]),
            ..batch()
        };
        assert!(labels(&short, 5, &device).is_err());
        let empty = Batch {
            ids: Vec::new(),
            inputs: Vec::new(),
            ..batch()
        };
        assert_eq!(
            inputs(&empty, &device).unwrap_err().to_string(),
            "batch 2 of epoch 1 is empty"
        );
        let torn = Batch {
            inputs: vec![0.0; 11],
            ..batch()
        };
        assert!(inputs(&torn, &device).is_err());
    }
}
