//! Reads any bytes as an ONNX model and decodes its initialisers.
//!
//! `cargo +nightly fuzz run onnx -- -rss_limit_mb=2048 -malloc_limit_mb=512`

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use limbeck_graph::onnx::Model;

fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = Model::from_bytes(bytes.to_vec(), Path::new("/nowhere/fuzzed.onnx")) else {
        return;
    };
    for tensor in model.graph().initialisers.values() {
        if let Ok(values) = tensor.floats() {
            assert_eq!(values.len(), tensor.len());
        }
        if let Ok(values) = tensor.integers() {
            assert_eq!(values.len(), tensor.len());
        }
    }
});
