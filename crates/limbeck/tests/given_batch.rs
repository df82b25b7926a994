//! Three steps of distillation are PyTorch's: weights and running statistics of a trained ResNet-20 in training mode, SGD with Nesterov
//! momentum and weight decay, given logits. `fixtures/distillation_step.py` wrote what is expected.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use limbeck::infer::{Given, read_tensors};

#[path = "../examples/given_batch.rs"]
mod given_batch;

#[test]
fn three_steps_are_those_of_pytorch() {
    let Some(shared) = std::env::var_os("LIMBECK_SHARED") else {
        eprintln!("skipped: three_steps_are_those_of_pytorch needs LIMBECK_SHARED");
        return;
    };
    let model = Path::new(&shared).join("models/onnx/resnet20-trained-bn-kept.onnx");
    let batch =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/distillation_step.safetensors");
    let folder = tempfile::tempdir().unwrap();
    let after = given_batch::steps(&model, &batch, BTreeMap::new(), folder.path()).unwrap();
    let mut compared = 0;
    for (name, expected) in read_tensors(&batch).unwrap() {
        let (Some(name), Given::Floats(expected)) = (name.strip_prefix("expected."), expected)
        else {
            continue;
        };
        let got = &after[name].values;
        let largest = expected
            .values
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        for (got, expected) in got.iter().zip(&expected.values) {
            assert!(
                (got - expected).abs() <= 1e-4 * largest,
                "{name}: expected {expected}, got {got}, the largest is {largest}"
            );
        }
        compared += 1;
    }
    // 21 convolutions with norms of four tensors each, and the classifier; two shifts are written once with their twins.
    assert_eq!(compared, 21 * 5 + 2 - 2);
}
