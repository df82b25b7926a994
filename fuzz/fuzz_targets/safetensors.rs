//! Reads any bytes as a safetensors file and matches what it holds with a network.
//!
//! `cargo +nightly fuzz run safetensors -- -rss_limit_mb=1024 -malloc_limit_mb=512`

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use limbeck_graph::ir::Graph;
use limbeck_graph::{weights, zoo};

static GRAPH: LazyLock<Graph> = LazyLock::new(|| {
    zoo::build("mlp-4", [1, 2, 2], 2).expect("the network exists and takes such images")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = weights::safetensors_from_bytes(bytes, Path::new("fuzzed")) {
        let _ = weights::fit(&GRAPH, file.tensors).map_err(|error| error.to_string());
    }
});
