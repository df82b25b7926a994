//! ONNX files as teachers and students, and out again.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use support::{Desk, RECIPE};

/// The small run with both networks from ONNX files that an earlier run wrote.
const FROM_FILES: &str = r#"
name = "files"

[data]
path = "digits"

[teacher]
model = "runs/small/teacher/student.onnx"

[student]
model = "runs/small/student.onnx"

[method]
name = "soft-targets"
temperature = 4.0

[train]
epochs = 2
batch = 128
"#;

/// A desk with a finished run of networks of the zoo in `runs/small`.
fn finished() -> Desk {
    let desk = Desk::new();
    desk.write("recipe.toml", RECIPE);
    desk.limbeck(&["run", "recipe.toml"]).succeeded();
    desk
}

fn top1(desk: &Desk, run: &str, arm: usize) -> f64 {
    let summary = desk.json(&format!("runs/{run}/summary.json"));
    summary["arms"][arm]["runs"][0]["metrics"]["top1"]
        .as_f64()
        .unwrap()
}

fn tensor(bytes: &[u8], name: &str) -> Vec<f32> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let data = file.tensor(name).unwrap();
    let (values, _) = data.data().as_chunks::<4>();
    values
        .iter()
        .map(|value| f32::from_le_bytes(*value))
        .collect()
}

#[test]
fn a_student_leaves_as_onnx_and_comes_back() {
    let desk = finished();
    every_training_is_exported_and_checked(&desk);
    files_teach_and_learn(&desk);
    the_other_commands_read_an_onnx_run(&desk);
    resuming_a_finished_run_changes_nothing(&desk);
    a_recipe_is_proposed_that_runs(&desk);
    what_is_wrong_with_a_model_is_named_with_its_key(&desk);
}

fn every_training_is_exported_and_checked(desk: &Desk) {
    for folder in ["", "teacher/", "alone-seed-1/", "distilled-seed-1/"] {
        let place = format!("runs/small/{folder}");
        assert!(desk.path(&place).join("student.onnx").is_file(), "{folder}");
        let parity = desk.json(&format!("{place}parity.json"));
        assert_eq!(parity["rows"], 64);
        assert!(parity["runtime"].as_str().unwrap().starts_with("tract"));
        assert!(
            parity["largest_relative"].as_f64().unwrap() <= 1e-4,
            "{parity}"
        );
    }
    assert_eq!(
        desk.read("runs/small/student.onnx"),
        desk.read("runs/small/distilled-seed-1/student.onnx")
    );
    desk.has_nothing_partial();
}

fn files_teach_and_learn(desk: &Desk) {
    desk.write("files.toml", FROM_FILES);
    let plan = desk
        .limbeck(&["plan", "files.toml", "--json"])
        .succeeded()
        .json();
    assert_eq!(plan["notes"], serde_json::json!([]));
    desk.limbeck(&["run", "files.toml"]).succeeded();
    // The fresh file says how its inputs are normalised.
    assert_eq!(top1(desk, "files", 0), top1(desk, "small", 0));
    let plan = desk.json("runs/files/plan.json");
    assert_eq!(plan["plan"]["student"]["model"]["runs_on"], "limbeck");
    assert_eq!(plan["plan"]["student"]["init"], "file");
    for name in ["student.model", "teacher.0.model"] {
        assert_eq!(plan["hashes"][name].as_str().unwrap().len(), 64);
    }
    let before = desk.read("runs/small/student.onnx");
    let after = desk.read("runs/files/student.onnx");
    assert_eq!(before.len(), after.len());
    assert_ne!(before, after);
    let bytes = desk.read("runs/files/student.safetensors");
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let said = header.metadata().clone().unwrap();
    assert_eq!(said["model"], "student.onnx");
    assert!(!said.contains_key("arch"));
}

fn the_other_commands_read_an_onnx_run(desk: &Desk) {
    let expected = top1(desk, "files", 2);
    for model in ["runs/files", "runs/files/student.onnx"] {
        let result = desk
            .limbeck(&["eval", model, "--data", "digits", "--json"])
            .succeeded()
            .json();
        let got = result["top1"].as_f64().unwrap();
        assert!((got - expected).abs() < 1e-9, "{model}: {got} {expected}");
        let inspected = desk
            .limbeck(&["inspect", model, "--json"])
            .succeeded()
            .json();
        assert_eq!(inspected["parameters"], 64 * 8 + 8 + 8 * 10 + 10);
        assert_eq!(inspected["trained"], inspected["parameters"]);
    }
    let text = desk
        .limbeck(&["inspect", "runs/files/student.onnx"])
        .succeeded()
        .stdout;
    assert!(
        text.contains("operator set 17") && text.contains("would train"),
        "{text}"
    );
    desk.limbeck(&["export", "runs/files", "--to", "onnx"])
        .succeeded();
    assert_eq!(
        desk.read("runs/files/export/student.onnx"),
        desk.read("runs/files/student.onnx")
    );
    desk.limbeck(&["report", "runs/files"]).succeeded();

    // The same answers from the run, its file and the weights of the zoo.
    let pixels: Vec<u8> = (0..5 * 64)
        .flat_map(|n| ((n as f32 * 0.3).sin()).to_le_bytes())
        .collect();
    let view = TensorView::new(Dtype::F32, vec![5, 1, 8, 8], &pixels).unwrap();
    desk.write(
        "in.safetensors",
        safetensors::serialize([("x", view)], None).unwrap(),
    );
    let answer = |model: &str, batch: &str| {
        desk.limbeck(&[
            "infer",
            model,
            "--inputs",
            "in.safetensors",
            "--out",
            "out.safetensors",
            "--batch",
            batch,
        ])
        .succeeded();
        let bytes = desk.read("out.safetensors");
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let names = file.names();
        assert_eq!(names.len(), 1, "{names:?}");
        tensor(&bytes, names[0])
    };
    let whole = answer("runs/small/student.onnx", "64");
    assert_eq!(whole.len(), 50);
    for (model, batch) in [("runs/small/student.onnx", "2"), ("runs/small", "3")] {
        for (a, b) in answer(model, batch).iter().zip(&whole) {
            assert!((a - b).abs() < 1e-4, "{model}: {a} {b}");
        }
    }
    desk.limbeck(&[
        "infer",
        "runs/small",
        "--inputs",
        "in.safetensors",
        "--out",
        "out.safetensors",
        "--taps",
        "nothing",
    ])
    .failed(2, &["`nothing`"]);
}

fn resuming_a_finished_run_changes_nothing(desk: &Desk) {
    let before = desk.content("runs/files");
    desk.limbeck(&["run", "files.toml", "--resume"]).succeeded();
    assert_eq!(desk.content("runs/files"), before);
}

fn a_recipe_is_proposed_that_runs(desk: &Desk) {
    desk.write("sub/nothing", "");
    let arguments = [
        "init",
        "--teacher",
        "runs/small/teacher/student.onnx",
        "--student",
        "runs/small/student.onnx",
        "--data",
        "digits",
    ];
    let printed = desk.limbeck(&arguments).succeeded().stdout;
    assert!(
        printed.contains("model = \"runs/small/student.onnx\""),
        "{printed}"
    );
    assert!(printed.contains("seeds = [1, 2, 3]"), "{printed}");
    desk.limbeck(&[&arguments[..], &["--out", "sub/proposed.toml"]].concat())
        .succeeded();
    let written = String::from_utf8(desk.read("sub/proposed.toml")).unwrap();
    assert!(
        written.contains("model = \"../runs/small/student.onnx\""),
        "{written}"
    );
    desk.limbeck(&[
        "run",
        "sub/proposed.toml",
        "--out",
        "proposed",
        "--set",
        "train.epochs=1",
        "--set",
        "train.warmup=0",
    ])
    .succeeded();
    assert!(desk.path("proposed/student.onnx").is_file());
    desk.limbeck(&[&arguments[..], &["--out", "sub/proposed.toml"]].concat())
        .failed(2, &["exists already"]);
}

fn what_is_wrong_with_a_model_is_named_with_its_key(desk: &Desk) {
    desk.write("broken.onnx", b"no model");
    let set = |assignment: &str, words: &[&str]| {
        desk.limbeck(&["run", "files.toml", "--out", "wrong", "--set", assignment])
            .failed(2, words);
        assert!(!desk.path("wrong").exists());
    };
    set(
        "student.arch=mlp-8",
        &["recipe key `student.model`: give either `arch` or `model`"],
    );
    set(
        "student.model=missing.onnx",
        &["recipe key `student.model`: there is no file"],
    );
    set(
        "teacher.model=broken.onnx",
        &["recipe key `teacher.model`: cannot use"],
    );
    set(
        "student.train=[\"zzz*\"]",
        &["recipe key `student.train`: `zzz*` stands for no weight"],
    );
    set(
        "student.freeze=[\"*\"]",
        &["recipe key `student.freeze`: leaves nothing to train"],
    );
    set(
        "student.init=new",
        &["recipe key `student.init`: expected one of `file`, `fresh`"],
    );
    set(
        "teacher.members=2",
        &["recipe key `teacher.members`: expected 1"],
    );
    set(
        "data.resize=16",
        &[
            "recipe key `student.model`: `student.onnx`: input",
            "data.resize = [8, 8]",
        ],
    );
}

#[test]
fn what_is_frozen_keeps_its_bits() {
    let desk = finished();
    desk.write("files.toml", FROM_FILES);
    let inspected = desk
        .limbeck(&["inspect", "runs/small/student.onnx", "--json"])
        .succeeded()
        .json();
    let weights = inspected["graph"]["weights"].as_object().unwrap();
    let first = weights
        .keys()
        .find(|name| name.ends_with(".weight"))
        .unwrap();
    let freeze = format!("student.freeze=[\"{first}\"]");
    desk.limbeck(&[
        "run",
        "files.toml",
        "--set",
        &freeze,
        "--set",
        "baseline=false",
    ])
    .succeeded();
    let before = desk.read("runs/small/student.safetensors");
    let after = desk.read("runs/files/student.safetensors");
    for name in weights.keys() {
        let same = tensor(&before, name) == tensor(&after, name);
        assert_eq!(same, name == first, "{name}");
    }
}

#[test]
fn the_files_of_pytorch_run_with_and_without_taps() {
    let Some(shared) = std::env::var_os("LIMBECK_SHARED") else {
        eprintln!("skipped: the_files_of_pytorch_run_with_and_without_taps needs LIMBECK_SHARED");
        return;
    };
    let folder = Path::new(&shared).join("models/onnx");
    let desk = Desk::new();
    for name in [
        "lenet5",
        "vit-tiny",
        "text-cnn",
        "resnet20-trained",
        "mobilenet-v2-035-bn-kept",
    ] {
        let fixture = std::fs::read(folder.join(name).with_extension("safetensors")).unwrap();
        let file = SafeTensors::deserialize(&fixture).unwrap();
        let input = if name == "text-cnn" {
            "tokens"
        } else {
            "input"
        };
        let view = file.tensor(input).unwrap();
        desk.write(
            "in.safetensors",
            safetensors::serialize([(input, view)], None).unwrap(),
        );
        let model = folder.join(name).with_extension("onnx");
        desk.limbeck(&[
            "infer",
            model.to_str().unwrap(),
            "--inputs",
            "in.safetensors",
            "--out",
            "out.safetensors",
            "--batch",
            "3",
        ])
        .succeeded();
        let got = tensor(&desk.read("out.safetensors"), "logits");
        let expected = tensor(&fixture, "logits");
        let largest = expected
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(&expected) {
            assert!(
                (got - expected).abs() <= 1e-4 * largest,
                "{name}: {got} {expected}"
            );
        }
        desk.limbeck(&["inspect", model.to_str().unwrap()])
            .succeeded();
    }
}
