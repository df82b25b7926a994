//! Reads any bytes as an ONNX model, decodes its initialisers, and makes a graph of it.
//!
//! `cargo +nightly fuzz run onnx -- -rss_limit_mb=2048 -malloc_limit_mb=512`

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use limbeck_graph::cost::Cost;
use limbeck_graph::onnx::Model;

/// The most values of a model that is decoded as a whole.
const SMALL: usize = 1 << 20;

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
    let Ok(imported) = model.import_sized(Some(&[3, 8, 8])) else {
        return;
    };
    let graph = imported.graph();
    let cost = Cost::of(graph).expect("an imported graph is valid");
    if cost.parameters + cost.buffers < SMALL {
        let weights = imported.weights().expect("no file is outside");
        assert!(weights.keys().eq(graph.weights.keys()));
        for (name, weight) in &weights {
            assert_eq!(weight.shape, graph.weights[name].shape);
        }
    }
});
