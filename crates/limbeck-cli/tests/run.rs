//! The main job from a recipe to a report, and what the other commands make of the result.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;
use support::{Desk, LABELS, RECIPE, log};

/// A desk with a finished run of two seeds, both arms and a trained teacher in `runs/small`.
fn finished() -> Desk {
    let desk = Desk::new();
    desk.write("recipe.toml", format!("seeds = [1, 2]\n{RECIPE}"));
    desk.limbeck(&["run", "recipe.toml"]).succeeded();
    desk
}

fn arm<'a>(summary: &'a Value, role: &str) -> &'a Value {
    summary["arms"]
        .as_array()
        .unwrap()
        .iter()
        .find(|arm| arm["role"] == role)
        .unwrap()
}

#[test]
fn a_run_leaves_what_it_promises_and_the_other_commands_read_it() {
    let desk = finished();
    the_layout_is_the_documented_one(&desk);
    the_report_names_the_figures_of_the_summary(&desk);
    arms_are_paired(&desk);
    evaluation_repeats_the_summary(&desk);
    export_gives_the_same_weights(&desk);
    the_report_is_made_again(&desk);
    resuming_changes_nothing(&desk);
    starting_again_is_refused(&desk);
    another_recipe_does_not_continue_it(&desk);
}

fn the_layout_is_the_documented_one(desk: &Desk) {
    let files = [
        "recipe.toml",
        "plan.json",
        "summary.json",
        "report.html",
        "report.md",
        "student.safetensors",
    ];
    for file in files {
        assert!(desk.path("runs/small").join(file).is_file(), "{file}");
    }
    let figures = desk.content("runs/small/figures");
    assert!(
        figures
            .keys()
            .all(|path| path.extension().unwrap() == "svg")
    );
    assert!(!figures.is_empty());
    let folders = [
        "teacher",
        "alone-seed-1",
        "alone-seed-2",
        "distilled-seed-1",
        "distilled-seed-2",
    ];
    for folder in folders {
        let folder = desk.path("runs/small").join(folder);
        for file in [
            "recipe.toml",
            "plan.json",
            "log.jsonl",
            "student.safetensors",
        ] {
            assert!(folder.join(file).is_file(), "{file} of {folder:?}");
        }
        let names: Vec<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        assert!(
            names
                .iter()
                .any(|name| name.starts_with("events.out.tfevents.")),
            "{names:?}"
        );
        // 1297 rows are ten batches of 128, twice.
        let checkpoint = folder.join("checkpoints/step-20");
        for file in ["student.safetensors", "optimizer.safetensors", "state.json"] {
            assert!(checkpoint.join(file).is_file(), "{file} of {checkpoint:?}");
        }
    }
    desk.has_nothing_partial();
    assert_eq!(
        desk.read("runs/small/recipe.toml"),
        desk.read("recipe.toml")
    );
    assert_eq!(
        desk.read("runs/small/student.safetensors"),
        desk.read("runs/small/distilled-seed-1/student.safetensors")
    );
    assert_ne!(
        desk.read("runs/small/student.safetensors"),
        desk.read("runs/small/distilled-seed-2/student.safetensors")
    );
    let plan = desk.json("runs/small/plan.json");
    assert_eq!(plan["seeds"], serde_json::json!([1, 2]));
    assert_eq!(plan["plan"]["method"]["temperature"], 4.0);
    for name in ["recipe", "data.train", "data.test"] {
        assert_eq!(plan["hashes"][name].as_str().unwrap().len(), 64, "{name}");
    }
    let bytes = desk.read("runs/small/student.safetensors");
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let said = header.metadata().clone().unwrap();
    assert_eq!(said["arch"], "mlp-8");
    assert_eq!(
        (said["input"].as_str(), said["classes"].as_str()),
        ("1x8x8", "10")
    );
}

fn the_report_names_the_figures_of_the_summary(desk: &Desk) {
    let summary = desk.json("runs/small/summary.json");
    assert_eq!(summary["data"]["test_rows"], 500);
    let page = String::from_utf8(desk.read("runs/small/report.html")).unwrap();
    for role in ["alone", "distilled"] {
        let arm = arm(&summary, role);
        let runs = arm["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 2);
        assert_eq!(arm["parameters"], 64 * 8 + 8 + 8 * 10 + 10);
        let mean = runs
            .iter()
            .map(|run| run["metrics"]["top1"].as_f64().unwrap())
            .sum::<f64>()
            / 2.0;
        assert!(
            page.contains(&format!("{:.2}", 100.0 * mean)),
            "{role} {mean}"
        );
    }
    assert!(page.starts_with("<!DOCTYPE html>") || page.starts_with("<!doctype html>"));
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http://"));
}

/// Both arms of a seed begin with the same weights, see the same rows, and follow the same schedule.
fn arms_are_paired(desk: &Desk) {
    let steps = |name: &str| log(&desk.read(&format!("runs/small/{name}/log.jsonl")), "step");
    for seed in [1, 2] {
        let alone = steps(&format!("alone-seed-{seed}"));
        let distilled = steps(&format!("distilled-seed-{seed}"));
        assert_eq!((alone.len(), distilled.len()), (20, 20));
        // The cross entropy of the first step depends on the initial weights and the rows of the first batch alone.
        let first =
            |steps: &[Value], term: &str| steps[0]["terms"][term]["value"].as_f64().unwrap();
        assert_eq!(first(&alone, "labels"), first(&distilled, "labels"));
        for (a, d) in alone.iter().zip(&distilled) {
            assert_eq!(
                (&a["step"], &a["epoch"], &a["lr"]),
                (&d["step"], &d["epoch"], &d["lr"])
            );
            // What differs is the loss.
            assert_eq!(a["terms"].as_object().unwrap().len(), 1);
            assert_eq!(d["terms"].as_object().unwrap().len(), 2);
        }
        assert_ne!(alone[19]["loss"], distilled[19]["loss"]);
    }
    let first = |name: &str| steps(name)[0]["loss"].clone();
    assert_ne!(first("alone-seed-1"), first("alone-seed-2"));
}

fn evaluation_repeats_the_summary(desk: &Desk) {
    let summary = desk.json("runs/small/summary.json");
    let named = &arm(&summary, "distilled")["runs"][0]["metrics"];
    let measured = desk
        .limbeck(&[
            "eval",
            "runs/small",
            "--data",
            "digits",
            "--json",
            "--predictions",
            "predictions.safetensors",
        ])
        .succeeded()
        .json();
    for metric in ["top1", "top5", "count"] {
        assert_eq!(measured[metric], named[metric], "{metric}");
    }
    for metric in ["nll", "ece", "brier"] {
        let (a, b) = (measured[metric].as_f64(), named[metric].as_f64());
        assert!(
            (a.unwrap() - b.unwrap()).abs() < 1e-6,
            "{metric}: {a:?} {b:?}"
        );
    }
    assert_eq!(measured["count"], 500);
    assert_eq!(measured["arch"], "mlp-8");
    let bytes = desk.read("predictions.safetensors");
    let predictions = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(predictions.tensor("logits").unwrap().shape(), [500, 10]);
    // The last evaluation of the log is of the same student on the same rows.
    let log = log(
        &desk.read("runs/small/distilled-seed-1/log.jsonl"),
        "evaluation",
    );
    let last = log.iter().rfind(|line| line["split"] == "test").unwrap();
    assert_eq!(last["top1"], named["top1"]);
    // Another part of the data has other rows.
    let train = desk
        .limbeck(&[
            "eval",
            "runs/small",
            "--data",
            "digits",
            "--split",
            "train",
            "--json",
        ])
        .succeeded()
        .json();
    assert_eq!(train["count"], 1297);
}

fn export_gives_the_same_weights(desk: &Desk) {
    let parity = desk
        .limbeck(&["export", "runs/small", "--to", "safetensors", "--json"])
        .succeeded()
        .json();
    assert_eq!(parity["largest_difference"], 0.0);
    let exported = desk.read("runs/small/export/student.safetensors");
    let trained = desk.read("runs/small/student.safetensors");
    assert_eq!(
        SafeTensors::deserialize(&exported)
            .unwrap()
            .tensor("fc1.weight")
            .is_ok(),
        SafeTensors::deserialize(&trained)
            .unwrap()
            .tensor("fc1.weight")
            .is_ok()
    );
    assert_eq!(exported, trained);
    assert_eq!(desk.json("runs/small/export/parity.json"), parity);
    desk.limbeck(&[
        "export",
        "runs/small",
        "--to",
        "safetensors",
        "--out",
        "new/folder/s.safetensors",
    ])
    .succeeded();
    assert_eq!(desk.read("new/folder/s.safetensors"), trained);
}

fn the_report_is_made_again(desk: &Desk) {
    let before = desk.content("runs/small");
    let written = desk
        .limbeck(&["report", "runs/small", "--json"])
        .succeeded()
        .json();
    assert_eq!(
        Path::new(written["report"].as_str().unwrap()),
        Path::new("runs/small/report.html")
    );
    assert!(desk.content("runs/small") == before);
    let written = desk
        .limbeck(&[
            "report",
            "runs/small",
            "runs/small",
            "--out",
            "both",
            "--json",
        ])
        .succeeded()
        .json();
    assert_eq!(written["report"], "both/compare.html");
    assert!(desk.path("both/compare.html").is_file());
}

fn resuming_changes_nothing(desk: &Desk) {
    let before = desk.content("runs/small");
    let again = desk
        .limbeck(&["run", "recipe.toml", "--resume", "--json"])
        .succeeded()
        .json();
    assert_eq!(again, desk.json("runs/small/summary.json"));
    assert!(desk.content("runs/small") == before);
}

fn starting_again_is_refused(desk: &Desk) {
    let before = desk.content("runs/small");
    desk.limbeck(&["run", "recipe.toml"]).failed(
        2,
        &["run directory `runs/small`: exists already; continue it with `--resume` or choose another `--out`"],
    );
    assert!(desk.content("runs/small") == before);
}

fn another_recipe_does_not_continue_it(desk: &Desk) {
    let before = desk.content("runs/small");
    desk.limbeck(&["run", "recipe.toml", "--resume", "--set", "train.batch=64"])
        .failed(
            2,
            &[
                "run directory `runs/small`: was begun with another plan",
                "was 128 and is now 64",
            ],
        );
    assert!(desk.content("runs/small") == before);
}

#[test]
fn the_same_seed_gives_the_same_student_and_another_seed_another_one() {
    let desk = Desk::new();
    desk.write("recipe.toml", LABELS);
    for (out, seed) in [("a", "1"), ("b", "1"), ("c", "2")] {
        desk.limbeck(&["run", "recipe.toml", "--seeds", seed, "--out", out])
            .succeeded();
    }
    let student = |out: &str| desk.read(&format!("{out}/student.safetensors"));
    assert_eq!(student("a"), student("b"));
    assert_ne!(student("a"), student("c"));
}

#[test]
fn a_single_training_is_the_run_directory_itself() {
    let desk = Desk::new();
    desk.write("recipe.toml", format!("baseline = false\n{RECIPE}"));
    desk.limbeck(&["run", "recipe.toml"]).succeeded();
    for file in [
        "log.jsonl",
        "student.safetensors",
        "summary.json",
        "report.html",
    ] {
        assert!(desk.path("runs/small").join(file).is_file(), "{file}");
    }
    assert!(desk.path("runs/small/checkpoints/step-20").is_dir());
    assert!(
        desk.path("runs/small/teacher/student.safetensors")
            .is_file()
    );
    // A finished one is not continued under another recipe either.
    let before = desk.content("runs/small");
    desk.limbeck(&["run", "recipe.toml", "--resume", "--set", "train.epochs=3"])
        .failed(
            2,
            &[
                "was begun with another plan",
                "`plan.train.epochs` was 2 and is now 3",
            ],
        );
    desk.limbeck(&["run", "recipe.toml", "--resume"])
        .succeeded();
    assert!(desk.content("runs/small") == before);
}

#[test]
fn overrides_are_recorded_and_paths_stay_valid() {
    let desk = Desk::new();
    desk.write("recipes/labels.toml", LABELS);
    desk.limbeck(&["run", "recipes/labels.toml", "--out", "first"])
        .succeeded();
    // A folder called like a value is not taken for one.
    std::fs::create_dir(desk.path("digits")).unwrap();
    std::fs::create_dir(desk.path("other")).unwrap();
    desk.limbeck(&[
        "run",
        "recipes/labels.toml",
        "--set",
        "student.weights=first/student.safetensors",
        "--set",
        "data.path=digits",
        "--set",
        "name=other",
        "--set",
        "train.epochs=1",
    ])
    .succeeded();
    let recipe = String::from_utf8(desk.read("runs/other/recipe.toml")).unwrap();
    assert!(
        recipe.ends_with("# overridden: train.epochs = 1\n"),
        "{recipe}"
    );
    let plan = desk.json("runs/other/plan.json");
    assert_eq!(plan["hashes"]["student"].as_str().unwrap().len(), 64);
    // It went on from the weights of the first run.
    let first_loss = |run: &str| {
        log(&desk.read(&format!("{run}/log.jsonl")), "step")[0]["loss"]
            .as_f64()
            .unwrap()
    };
    assert!(first_loss("runs/other") < first_loss("first"));
}

#[test]
fn images_are_scaled_for_an_evaluation_as_they_were_for_the_training() {
    let desk = Desk::new();
    desk.write(
        "recipe.toml",
        LABELS.replace("\"digits\"", "\"digits\"\nresize = 6"),
    );
    desk.limbeck(&["run", "recipe.toml"]).succeeded();
    let measured = desk
        .limbeck(&["eval", "runs/labels", "--data", "digits", "--json"])
        .succeeded()
        .json();
    let summary = desk.json("runs/labels/summary.json");
    assert_eq!(
        measured["top1"],
        arm(&summary, "alone")["runs"][0]["metrics"]["top1"]
    );
    assert_eq!(measured["input"], serde_json::json!([1, 6, 6]));
}

#[test]
fn numbers_that_are_not_finite_stop_the_run_with_the_term_and_the_checkpoint() {
    let desk = Desk::new();
    desk.write("recipe.toml", LABELS);
    let done = desk
        .limbeck(&["run", "recipe.toml", "--set", "train.learning_rate=1e38"])
        .failed(
            3,
            &[" at step ", "lower the learning rate or clip gradients"],
        );
    assert!(
        done.stderr.contains("no checkpoint was written before it"),
        "{}",
        done.stderr
    );
    assert!(!desk.path("runs/labels/student.safetensors").exists());
    assert!(!desk.path("runs/labels/summary.json").exists());
    let errors = log(&desk.read("runs/labels/log.jsonl"), "error");
    assert_eq!(errors.len(), 1);
    let sentence = errors[0]["message"].as_str().unwrap();
    assert!(done.stderr.contains(sentence), "{}", done.stderr);
}

#[test]
fn a_demo_is_refused_where_there_is_one_and_can_be_resumed() {
    let desk = Desk::new();
    desk.write("runs/demo/kept.txt", "kept");
    let before = desk.content("");
    desk.limbeck(&["demo"]).failed(
        2,
        &["`runs/demo`: exists already; continue it with `--resume`"],
    );
    desk.limbeck(&["demo", "--out", "new", "--resume"])
        .failed(2, &["`new`: does not exist", "leave out `--resume`"]);
    assert_eq!(desk.content(""), before);
}
