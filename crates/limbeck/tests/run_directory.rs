//! A run writes the files and keys that `docs/file-formats.md` describes.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use limbeck::device::DeviceChoice;
use limbeck::eval::Metrics;
use limbeck::experiment::{self, Observer, Settings};
use limbeck::graph::weights::read_checkpoint;
use limbeck::recipe::{Plan, RawRecipe};
use limbeck::train::{Event, Progress};
use serde_json::Value;

const TOP: [&str; 11] = [
    "figures",
    "lock",
    "parity.json",
    "pictures.json",
    "plan.json",
    "recipe.toml",
    "report.html",
    "report.md",
    "student.onnx",
    "student.safetensors",
    "summary.json",
];

const TRAINING: [&str; 10] = [
    "checkpoints",
    "lock",
    "log.jsonl",
    "parity.json",
    "plan.json",
    "predictions.safetensors",
    "recipe.toml",
    "result.json",
    "student.onnx",
    "student.safetensors",
];

struct Nobody;

impl Progress for Nobody {
    fn event(&mut self, _: Event<'_>) {}
}

impl Observer for Nobody {
    fn begin(&mut self, _: &str) {}
    fn measured(&mut self, _: &str, _: &Metrics) {}
}

fn run(recipe: &str, out: &Path) {
    let raw = RawRecipe::parse(recipe, Path::new("")).unwrap();
    let plan = Plan::check(&raw, "test").unwrap();
    let settings = Settings {
        out,
        resume: false,
        device: DeviceChoice::CPU,
        threads: 1,
        interrupt: Arc::new(AtomicBool::new(false)),
        observer: &mut Nobody,
    };
    experiment::run(&plan, settings).unwrap();
}

/// The names in a folder, without the event files, whose names hold a time.
fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("events.out.tfevents."))
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The keys of an object and of what it holds, but for the values of keys that are names of the user's.
fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                into.insert(key.clone());
                match key.as_str() {
                    "plan" | "settings" | "files" | "log" | "optimizer_counts" | "silent_terms"
                    | "stopping" | "method" | "train" | "experiment" => {}
                    "terms" => value
                        .as_object()
                        .unwrap()
                        .values()
                        .for_each(|term| keys(term, into)),
                    _ => keys(value, into),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

#[test]
fn a_run_writes_what_the_book_describes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    run(
        "seeds = [1, 2]
        baseline = false
        [data]
        path = 'digits'
        labels_per_class = 10
        [teacher]
        arch = 'mlp-16'
        [student]
        arch = 'mlp-4'
        [method]
        name = 'soft-targets'
        [train]
        epochs = 1
        batch = 50
        ",
        &out,
    );

    let mut top = set(&TOP);
    top.extend(set(&["teacher", "distilled-seed-1", "distilled-seed-2"]));
    assert_eq!(names(&out), top);
    let distilled = out.join("distilled-seed-1");
    for training in [&out.join("teacher"), &distilled] {
        assert_eq!(names(training), set(&TRAINING));
    }
    let checkpoint = distilled.join("checkpoints").join("step-2");
    assert_eq!(
        names(&checkpoint),
        set(&["optimizer.safetensors", "state.json", "student.safetensors"])
    );
    assert_eq!(
        fs::read(out.join("student.safetensors")).unwrap(),
        fs::read(distilled.join("student.safetensors")).unwrap()
    );

    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/file-formats.md");
    let page = fs::read_to_string(page).unwrap();
    let mut written = BTreeSet::new();
    for file in ["plan.json", "summary.json", "pictures.json"] {
        keys(&json(&out.join(file)), &mut written);
    }
    for file in ["plan.json", "result.json"] {
        keys(&json(&distilled.join(file)), &mut written);
    }
    keys(&json(&checkpoint.join("state.json")), &mut written);
    for line in fs::read_to_string(distilled.join("log.jsonl"))
        .unwrap()
        .lines()
    {
        keys(&serde_json::from_str(line).unwrap(), &mut written);
    }
    let student = read_checkpoint(out.join("student.safetensors")).unwrap();
    written.extend(student.metadata.into_keys());
    for key in written {
        let forms = [format!("`{key}`"), format!("\"{key}\""), format!(".{key}`")];
        assert!(
            forms.iter().any(|form| page.contains(form)),
            "`{key}` is not in docs/file-formats.md"
        );
    }
}

#[test]
fn the_only_training_of_a_student_is_the_run_itself() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    run(
        "baseline = false
        [data]
        path = 'digits'
        labels_per_class = 10
        [teacher]
        arch = 'mlp-8'
        [student]
        arch = 'mlp-4'
        [method]
        name = 'logit-regression'
        whiten = true
        [train]
        epochs = 1
        ",
        &out,
    );
    let mut expected = set(&TOP);
    expected.extend(set(&TRAINING));
    expected.insert("teacher".to_owned());
    assert_eq!(names(&out), expected);
    assert_eq!(names(&out.join("teacher")), set(&TRAINING));
}
