//! TensorBoard itself reads what a run wrote.
//!
//! Needs a Python with TensorBoard: set `LIMBECK_PYTHON` to its interpreter.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use limbeck::Error;
use support::{Case, log_of};

#[test]
fn tensorboard_reads_the_scalars_of_a_resumed_run() {
    let Some(python) = std::env::var_os("LIMBECK_PYTHON") else {
        println!("skipped: LIMBECK_PYTHON is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut case = Case::new();
    case.stop_after = Some(9);
    assert!(matches!(case.run_in(&path), Err(Error::Interrupted { .. })));
    // Steps after the checkpoint, as a kill leaves them.
    std::fs::remove_dir_all(path.join("checkpoints/step-9")).unwrap();
    case.stop_after = None;
    case.run_in(&path).unwrap();

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_tensorboard.py");
    let output = Command::new(python)
        .arg(script)
        .arg(&path)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let scalars: BTreeMap<String, Vec<(u64, f64)>> =
        serde_json::from_slice(&output.stdout).unwrap();

    let log = log_of(&path);
    let logged = |kind: &str, split: Option<&str>, get: fn(&serde_json::Value) -> Option<f64>| {
        log.iter()
            .filter(|line| line["kind"] == kind && line["split"].as_str() == split)
            .map(|line| (line["step"].as_u64().unwrap(), get(line).unwrap()))
            .collect::<Vec<_>>()
    };
    for (tag, expected) in [
        (
            "train/loss",
            logged("step", None, |line| line["loss"].as_f64()),
        ),
        (
            "train/learning_rate",
            logged("step", None, |line| line["lr"].as_f64()),
        ),
        (
            "train/gradient_norm",
            logged("step", None, |line| line["gradient_norm"].as_f64()),
        ),
        (
            "term_gradients/labels",
            logged("step", None, |line| {
                line["terms"]["labels"]["gradient_norm"].as_f64()
            }),
        ),
        (
            "test/top1",
            logged("evaluation", Some("test"), |line| line["top1"].as_f64()),
        ),
        (
            "validation/nll",
            logged("evaluation", Some("validation"), |line| {
                line["nll"].as_f64()
            }),
        ),
    ] {
        let read = &scalars[tag];
        assert_eq!(read.len(), expected.len(), "{tag}");
        for (read, expected) in read.iter().zip(expected) {
            assert_eq!(read.0, expected.0, "{tag}");
            assert_eq!(read.1 as f32, expected.1 as f32, "{tag}");
        }
    }
}
