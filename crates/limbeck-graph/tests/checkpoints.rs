//! Checkpoints as people keep them.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::PathBuf;

use limbeck_graph::{weights, zoo};

/// The folder of shared models, where there is one.
fn models() -> Option<PathBuf> {
    let shared = std::env::var_os("LIMBECK_SHARED");
    if shared.is_none() {
        println!("skipped: LIMBECK_SHARED is not set");
    }
    Some(PathBuf::from(shared?).join("models"))
}

#[test]
fn a_trained_resnet_20_fits_its_graph() {
    let Some(models) = models() else { return };
    let read = weights::read_checkpoint(models.join("resnet20-cifar10.pth")).unwrap();
    assert_eq!(read.origin, "PyTorch before 1.6, `state_dict`");
    let graph = zoo::build("resnet-20", [3, 32, 32], 10).unwrap();
    let fitted = weights::fit(&graph, read.tensors).unwrap();
    assert!(fitted.keys().eq(graph.weights.keys()));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resnet20.safetensors");
    weights::write_safetensors(&path, &fitted, &Default::default()).unwrap();
    assert_eq!(weights::read(&path).unwrap(), fitted);
}

#[test]
fn another_network_is_told() {
    let Some(models) = models() else { return };
    let tensors = weights::read(models.join("resnet20-cifar10.pth")).unwrap();
    let graph = zoo::build("vgg-13", [3, 32, 32], 10).unwrap();
    let message = weights::fit(&graph, tensors).unwrap_err().to_string();
    assert!(message.contains("another architecture"), "{message}");
}
