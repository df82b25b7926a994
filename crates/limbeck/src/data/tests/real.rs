//! Real data sets, found through `LIMBECK_SHARED`.

use std::sync::Arc;

use safetensors::SafeTensors;

use super::super::{Batch, Dataset, Loader, LoaderSettings, Normalization, Pixels, Split, open};
use super::shared;

fn histogram(set: &dyn Dataset) -> Vec<usize> {
    let mut counts = vec![0; set.info().classes.len()];
    for row in 0..set.len() {
        counts[set.label(row).unwrap() as usize] += 1;
    }
    counts
}

#[test]
fn fashion_mnist() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/fashion_mnist");
    let folder = folder.to_str().unwrap();
    let train = open(folder, Split::Train).unwrap();
    let test = open(folder, Split::Test).unwrap();
    for (set, rows) in [(&train, 60_000), (&test, 10_000)] {
        assert_eq!(set.len(), rows);
        assert_eq!(set.info().shape, [1, 28, 28]);
        assert_eq!(set.info().classes[9], "Ankle boot");
        assert_eq!(histogram(set.as_ref()), vec![rows / 10; 10]);
    }
    assert_ne!(train.id(0), test.id(0));
    // The figures that are commonly used for this set.
    let fitted = Normalization::fit(train.as_ref()).unwrap();
    assert!((fitted.mean[0] - 0.2860).abs() < 5e-5, "{fitted:?}");
    assert!((fitted.std[0] - 0.3530).abs() < 5e-5, "{fitted:?}");
    assert!(
        open(folder, Split::Validation)
            .unwrap_err()
            .to_string()
            .ends_with("it has train and test")
    );

    let one_file = format!("{folder}/t10k-images-idx3-ubyte.gz");
    let file = open(&one_file, Split::Train).unwrap();
    assert_eq!(file.info().hash, test.info().hash);
    assert_eq!(file.id(7), test.id(7));
}

#[test]
fn mnist_test_file() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/mnist");
    let test = open(folder.to_str().unwrap(), Split::Test).unwrap();
    assert_eq!(test.len(), 10_000);
    assert_eq!(
        histogram(test.as_ref()),
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    );
    let error = open(folder.to_str().unwrap(), Split::Train)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("has no train split; it has test"),
        "{error}"
    );
}

#[test]
fn cifar_10_parquet() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/cifar10");
    let folder = folder.to_str().unwrap();
    let train = open(folder, Split::Train).unwrap();
    let test = open(folder, Split::Test).unwrap();
    for (set, rows) in [(&train, 50_000), (&test, 10_000)] {
        assert_eq!(set.len(), rows);
        assert_eq!(set.info().shape, [3, 32, 32]);
        assert_eq!(set.info().classes[9], "truck");
        assert_eq!(histogram(set.as_ref()), vec![rows / 10; 10]);
    }
    // A row of the second shard.
    assert_eq!(train.id(25_000).0, 25_000);
    train.sample(25_000).unwrap();
}

/// The differences from the pixels that the reference decoder (libjpeg) gave.
#[test]
fn jpeg_pixels_are_those_of_the_reference() {
    let Some(shared) = shared() else { return };
    let test = open(shared.join("data/cifar10").to_str().unwrap(), Split::Test).unwrap();
    let file = std::fs::read(shared.join("models/resnet20-cifar10-expected.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let expected = tensors.tensor("pixels_u8_nhwc").unwrap();
    assert_eq!(expected.shape(), [64, 32, 32, 3]);
    let mut differences = [0_usize; 256];
    for (row, expected) in expected.data().chunks_exact(3072).enumerate() {
        let Pixels::U8(pixels) = test.sample(row).unwrap().image.pixels else {
            panic!("decoded images are bytes")
        };
        for (value, expected) in pixels.iter().zip(expected) {
            differences[usize::from(value.abs_diff(*expected))] += 1;
        }
    }
    let largest = differences.iter().rposition(|count| *count > 0);
    assert_eq!(largest, Some(0), "{:?}", &differences[..16]);
}

#[test]
fn a_loaded_batch_is_the_reference_input() {
    let Some(shared) = shared() else { return };
    let test = open(shared.join("data/cifar10").to_str().unwrap(), Split::Test).unwrap();
    let file = std::fs::read(shared.join("models/resnet20-cifar10-expected.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let floats = |name| -> Vec<f32> {
        let bytes = tensors.tensor(name).unwrap().data();
        bytes
            .chunks_exact(4)
            .map(|value| f32::from_le_bytes(value.try_into().unwrap()))
            .collect()
    };
    let settings = LoaderSettings {
        normalization: Normalization::from_values(&[0.5, 0.5]).unwrap(),
        ..LoaderSettings::default()
    };
    let batch = Loader::new(test, settings)
        .unwrap()
        .epoch(0, 0)
        .next()
        .unwrap()
        .unwrap();
    let expected = floats("input");
    assert_eq!(batch.inputs.len(), expected.len());
    let difference = batch
        .inputs
        .iter()
        .zip(&expected)
        .map(|(a, b)| (a - b).abs());
    assert!(difference.fold(0.0, f32::max) < 1e-6);
}

#[test]
fn a_batch_of_cifar_10_takes_far_less_than_a_training_step() {
    let Some(shared) = shared() else { return };
    let test = open(shared.join("data/cifar10").to_str().unwrap(), Split::Test).unwrap();
    let view = super::super::View::new(vec![
        super::super::Change::Crop { padding: 4 },
        super::super::Change::Flip { probability: 0.5 },
    ])
    .unwrap();
    let settings = LoaderSettings {
        view,
        prefetch: 0,
        ..LoaderSettings::default()
    };
    let loader = Loader::new(Arc::clone(&test), settings).unwrap();
    let decoding = std::time::Instant::now();
    loader.epoch(0, 0).for_each(|batch| drop(batch.unwrap()));
    let decoding = decoding.elapsed().as_secs_f64() / loader.batches_per_epoch() as f64;
    let decoded = std::time::Instant::now();
    loader
        .epoch(1, 0)
        .for_each(|batch: Result<Batch, _>| drop(batch.unwrap()));
    let decoded = decoded.elapsed().as_secs_f64() / loader.batches_per_epoch() as f64;
    println!(
        "64 rows: {:.3} ms with decoding, {:.3} ms from decoded pixels",
        decoding * 1e3,
        decoded * 1e3
    );
    // Measured on one core of a busy machine, little optimised: 6.8 ms with decoding, 1.5 ms without.
    assert!(decoded < 5e-3);
}
