//! Broken and malicious files.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use prost::Message;

use super::messages::{external, floats, model, raw};
use super::{initialiser, problem_after};
use crate::onnx::Model;

fn tensor_problem(tensor: super::messages::TensorProto) -> String {
    problem_after(|graph| graph.initializer[0] = tensor)
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = model(|_| {}).encode_to_vec();
    for length in 0..bytes.len() {
        let cut = Model::from_bytes(bytes[..length].to_vec(), Path::new("cut"));
        // A cut between two fields of the file leaves a file without what follows.
        let message = cut.unwrap_err().to_string();
        assert!(message.starts_with("cannot use `cut`"), "{message}");
    }
}

#[test]
fn lengths_must_fit_the_dimensions() {
    let message = tensor_problem(floats("w", &[5], &[0.0; 4]));
    assert_eq!(
        message,
        "tensor `w` (float32): the dimensions [5] ask for 20 bytes, got 16"
    );
    let message = tensor_problem(raw("w", 1, &[4], &[0; 15]));
    assert_eq!(
        message,
        "tensor `w` (float32): the dimensions [4] ask for 16 bytes, got 15"
    );
    let mut integers = floats("w", &[3], &[]);
    integers.data_type = 7;
    integers.int64_data = vec![1 << 40; 2];
    let message = tensor_problem(integers);
    assert_eq!(
        message,
        "tensor `w` (int64): the dimensions [3] ask for 3 values, got 2"
    );
}

#[test]
fn huge_dimensions_are_refused() {
    for dims in [&[i64::MAX, 2][..], &[1 << 32, 1 << 32], &[1 << 62]] {
        let message = tensor_problem(raw("w", 1, dims, &[]));
        assert!(message.ends_with("are too large"), "{message}");
    }
    assert!(tensor_problem(raw("w", 1, &[-1], &[])).contains("zero or more"));
    assert!(tensor_problem(raw("w", 1, &[1; 33], &[0; 4])).contains("33 dimensions"));
    let message = tensor_problem(raw("w", 1, &[1 << 40], &[]));
    assert!(message.ends_with("bytes, got 0"), "{message}");
}

#[test]
fn values_are_in_one_field_of_the_type() {
    let mut both = raw("w", 1, &[1], &[0; 4]);
    both.float_data = vec![0.0];
    assert!(tensor_problem(both).contains("values in both fields"));
    let mut wrong = floats("w", &[1], &[1.0]);
    wrong.data_type = 7;
    assert!(tensor_problem(wrong).ends_with("its values are in field 4, expected 9 or 7"));
    assert!(tensor_problem(raw("w", 0, &[1], &[0])).contains("no element type"));
}

#[test]
fn sparse_initialisers_are_refused() {
    let message = problem_after(|graph| graph.sparse_initializer.push(Vec::new()));
    assert_eq!(message, "it holds sparse initialisers; save them dense");
}

#[test]
fn a_file_of_empty_nodes_cannot_take_all_memory() {
    // Two bytes each: without a limit they would take a hundred times the file.
    let nodes = [0x0a, 0].repeat(4_000_000);
    let mut bytes = vec![0x08, 8, 0x42, 2, 0x10, 17, 0x3a];
    prost::encode_length_delimiter(nodes.len(), &mut bytes).unwrap();
    bytes.extend(nodes);
    let message = Model::from_bytes(bytes, Path::new("m"))
        .unwrap_err()
        .to_string();
    assert!(
        message.ends_with("take more than 256 MiB of memory"),
        "{message}"
    );
}

#[test]
fn wire_types_that_onnx_has_not_are_refused() {
    let error = |bytes: &[u8]| {
        let read = Model::from_bytes(bytes.to_vec(), Path::new("m"));
        read.unwrap_err().to_string()
    };
    assert!(error(&[0x0b]).contains("wire type 3"));
    assert!(error(&[0x00, 1]).contains("number 0"));
    assert!(error(&[0x08]).contains("truncated"));
    assert!(error(&[0xff; 11]).contains("more than 64 bits"));
    assert!(error(&[0x0a, 1, 0]).contains("field 1 holds bytes, expected an integer"));
    assert!(error(b"").contains("file format version 0"));
}

/// What is wrong with a model in `folder` whose weight is where `entries` say.
fn external_problem(folder: &Path, entries: &[(&str, &str)]) -> String {
    let bytes = model(|graph| graph.initializer[0] = external("w", &[4], entries)).encode_to_vec();
    let path = folder.join("model.onnx");
    fs::write(&path, &bytes).unwrap();
    Model::read(&path).unwrap_err().to_string()
}

#[test]
fn external_data_stays_in_the_folder() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("inner");
    fs::create_dir(&folder).unwrap();
    let secret = outer.path().join("secret");
    fs::write(&secret, [0; 16]).unwrap();
    for location in ["../secret", "a/../../secret", secret.to_str().unwrap()] {
        let message = external_problem(&folder, &[("location", location)]);
        assert!(
            message.contains("is outside the model's folder"),
            "{message}"
        );
    }
    for location in ["", ".", "a\\b"] {
        let message = external_problem(&folder, &[("location", location)]);
        assert!(message.contains("names no file"), "{message}");
    }
    assert!(external_problem(&folder, &[("location", "none")]).contains("cannot be read"));
    assert!(external_problem(&folder, &[("location", "model.onnx")]).contains("the model itself"));
    fs::create_dir(folder.join("sub")).unwrap();
    assert!(external_problem(&folder, &[("location", "sub")]).contains("not a regular file"));
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_folder_is_refused() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("inner");
    fs::create_dir(&folder).unwrap();
    fs::write(outer.path().join("secret"), [0; 16]).unwrap();
    std::os::unix::fs::symlink("../secret", folder.join("file")).unwrap();
    std::os::unix::fs::symlink("..", folder.join("up")).unwrap();
    for location in ["file", "up/secret"] {
        let message = external_problem(&folder, &[("location", location)]);
        assert!(
            message.contains("a link that leaves the model's folder"),
            "{message}"
        );
    }
}

#[test]
fn external_data_must_be_complete() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data"), [0; 20]).unwrap();
    let with = |key, value| external_problem(folder.path(), &[("location", "data"), (key, value)]);
    let message = with("offset", "8");
    assert!(
        message.contains("its 16 bytes from byte 8 on end after the file"),
        "{message}"
    );
    assert!(with("offset", "18446744073709551615").contains("end after the file"));
    assert!(with("offset", "-1").contains("expected a number"));
    assert!(with("length", "20").contains("claims 20 bytes, expected 16"));
    let mut both = external("w", &[4], &[("location", "data")]);
    both.float_data = vec![0.0; 4];
    assert!(
        initialiser(both)
            .unwrap_err()
            .to_string()
            .contains("both inside")
    );
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = model(|_| {}).encode_to_vec();
        for (index, byte) in changes {
            let position = index.index(bytes.len());
            bytes[position] = byte;
        }
        if let Ok(model) = Model::from_bytes(bytes, Path::new("m")) {
            for tensor in model.graph().initialisers.values() {
                if let Ok(values) = tensor.floats() {
                    prop_assert_eq!(values.len(), tensor.len());
                }
            }
        }
    }
}
