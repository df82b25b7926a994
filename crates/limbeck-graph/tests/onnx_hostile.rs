//! Damaged ONNX files: whatever bytes change, reading one ends with a graph or an error.
//!
//! `LIMBECK_MUTATIONS=N` tries N changes of each file instead of a few; `fuzz/fuzz_targets/onnx.rs` looks further.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use limbeck_graph::Seed;
use limbeck_graph::cost::Cost;
use limbeck_graph::onnx::Model;
use rand::RngExt;

/// Changes of each file where nobody asks for more.
const FEW: u64 = 40;

fn damaged(bytes: &[u8], number: u64) -> Vec<u8> {
    let mut random = Seed::new(number).stream("damage", &[]);
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..5) {
            0 => bytes[at] = random.random_range(0..=255),
            1 => bytes[at] ^= 1 << random.random_range(0..8),
            // Sizes and dimensions are single bytes or runs of 0xff that end below 0x80.
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.random_range(0..5)],
            3 => {
                let end = (at + random.random_range(1..40)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let from = random.random_range(0..bytes.len());
                let end = (from + random.random_range(1..40)).min(bytes.len());
                let part = bytes[from..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[test]
fn damaged_models_are_read_or_refused() {
    let count = std::env::var("LIMBECK_MUTATIONS").ok();
    let count = count.map_or(FEW, |text| text.parse().unwrap());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx");
    let (mut read, mut refused) = (0_u64, 0_u64);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "onnx") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for number in 0..count {
            let model = Model::from_bytes(damaged(&bytes, number), &path);
            let imported = model.and_then(Model::import);
            match imported {
                Ok(imported) => {
                    read += 1;
                    Cost::of(imported.graph()).unwrap();
                    let weights = imported.weights().unwrap();
                    assert!(weights.keys().eq(imported.graph().weights.keys()));
                }
                Err(error) => {
                    refused += 1;
                    let message = error.to_string();
                    assert!(!message.is_empty() && !message.contains('\n'), "{message}");
                }
            }
        }
    }
    println!("{read} read, {refused} refused");
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}
