//! Teachers: ensembles, the recipe's bar, and checkpoints that were normalised otherwise.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use serde_json::Value;
use support::{Desk, RECIPE};

/// A recipe with another `[teacher]` table.
fn taught_by(teacher: &str) -> String {
    RECIPE.replace("arch = \"mlp-16\"", teacher)
}

fn teacher(desk: &Desk, run: &str) -> Value {
    desk.json(&format!("runs/{run}/summary.json"))["arms"][0].clone()
}

fn metric(arm: &Value, name: &str) -> f64 {
    arm["runs"][0]["metrics"][name].as_f64().unwrap()
}

#[test]
fn members_are_trained_with_their_own_seeds_and_asked_together() {
    let desk = Desk::new();
    desk.write(
        "recipe.toml",
        taught_by("arch = \"mlp-16\"\nmembers = 2\nmean = \"geometric\""),
    );
    desk.limbeck(&["run", "recipe.toml"]).succeeded();
    let student = |name: &str| desk.read(&format!("runs/small/{name}/student.safetensors"));
    assert_ne!(student("teacher-1"), student("teacher-2"));
    let geometric = teacher(&desk, "small");
    assert_eq!(geometric["label"], "ensemble of 2");
    assert_eq!(geometric["parameters"], 2 * (64 * 16 + 16 + 16 * 10 + 10));

    // The same members from their files, in their own tables and with the other mean.
    desk.write(
        "given.toml",
        taught_by(
            "arch = \"mlp-16\"\nmean = \"arithmetic\"\n\
             [[teacher.member]]\nweights = \"runs/small/teacher-1/student.safetensors\"\n\
             [[teacher.member]]\nweights = \"runs/small/teacher-2/student.safetensors\"",
        ),
    );
    desk.limbeck(&["run", "given.toml", "--set", "name=arithmetic"])
        .succeeded();
    let arithmetic = teacher(&desk, "arithmetic");
    assert_eq!(arithmetic["label"], "ensemble of 2");
    assert!(!desk.path("runs/arithmetic/teacher-1").exists());
    assert_ne!(metric(&geometric, "nll"), metric(&arithmetic, "nll"));
    desk.limbeck(&[
        "run",
        "given.toml",
        "--set",
        "name=geometric",
        "--set",
        "teacher.mean=geometric",
    ])
    .succeeded();
    let repeated = teacher(&desk, "geometric");
    for name in ["top1", "nll", "ece"] {
        let difference = metric(&geometric, name) - metric(&repeated, name);
        assert!(difference.abs() < 1e-6, "{name}: {difference}");
    }
    // So the students are the same, whether their teachers were just trained or read.
    assert_eq!(
        desk.read("runs/small/student.safetensors"),
        desk.read("runs/geometric/student.safetensors")
    );
}

#[test]
fn members_may_be_of_different_networks() {
    let desk = Desk::new();
    desk.write(
        "recipe.toml",
        taught_by("[[teacher.member]]\narch = \"mlp-16\"\n[[teacher.member]]\narch = \"mlp-12\""),
    );
    desk.limbeck(&["run", "recipe.toml"]).succeeded();
    let ensemble = teacher(&desk, "small");
    assert_eq!(ensemble["architecture"], "mlp-16 + mlp-12");
    assert_eq!(
        ensemble["parameters"],
        (64 * 16 + 16 + 16 * 10 + 10) + (64 * 12 + 12 + 12 * 10 + 10)
    );
}

#[test]
fn a_teacher_below_the_bar_stops_the_run_before_any_student() {
    let desk = Desk::new();
    desk.write(
        "recipe.toml",
        taught_by("arch = \"mlp-16\"\nminimum_accuracy = 1.0"),
    );
    desk.limbeck(&["run", "recipe.toml"]).failed(
        3,
        &[
            "the teacher's accuracy is 0.",
            "below `teacher.minimum_accuracy` = 1.0000",
        ],
    );
    assert!(
        desk.path("runs/small/teacher/student.safetensors")
            .is_file()
    );
    for name in [
        "alone-seed-1",
        "distilled-seed-1",
        "student.safetensors",
        "summary.json",
    ] {
        assert!(!desk.path("runs/small").join(name).exists(), "{name}");
    }
    desk.has_nothing_partial();
    // A lower bar goes on with the teacher that is there.
    let trained = desk.read("runs/small/teacher/student.safetensors");
    desk.write(
        "recipe.toml",
        taught_by("arch = \"mlp-16\"\nminimum_accuracy = 0.01"),
    );
    desk.limbeck(&["run", "recipe.toml", "--resume"])
        .succeeded();
    assert_eq!(desk.read("runs/small/teacher/student.safetensors"), trained);
}

#[test]
fn a_checkpoint_keeps_its_own_normalisation() {
    let desk = Desk::new();
    desk.write(
        "recipe.toml",
        RECIPE.replace("\"digits\"", "\"digits\"\nnormalize = [0.3, 0.4]"),
    );
    desk.limbeck(&["run", "recipe.toml"]).succeeded();
    let own = metric(&teacher(&desk, "small"), "top1");
    let given = |name: &str, keys: &str| {
        let recipe = taught_by(&format!(
            "arch = \"mlp-16\"\nweights = \"runs/small/teacher/student.safetensors\"\n{keys}"
        ));
        desk.write(&format!("{name}.toml"), recipe);
        desk.limbeck(&[
            "run",
            &format!("{name}.toml"),
            "--set",
            &format!("name={name}"),
        ])
        .succeeded();
        metric(&teacher(&desk, name), "top1")
    };
    assert_eq!(given("told", "normalize = [0.3, 0.4]"), own);
}

#[test]
fn the_teachers_data_and_training_can_differ() {
    let desk = Desk::new();
    desk.write(
        "recipe.toml",
        taught_by(
            "arch = \"mlp-16\"\n[teacher.train]\nepochs = 3\nbatch = 64\noptimizer = \"adam\"\n\
             [teacher.data]\nlimit = 640\naugment = [\"shift\"]",
        ),
    );
    desk.limbeck(&["run", "recipe.toml"]).succeeded();
    let steps = |name: &str| {
        support::log(&desk.read(&format!("runs/small/{name}/log.jsonl")), "step").len()
    };
    assert_eq!(steps("teacher"), 3 * 10);
    assert_eq!(steps("distilled-seed-1"), 2 * 10);
    desk.write(
        "other.toml",
        taught_by("arch = \"mlp-16\"\n[teacher.data]\nresize = 16"),
    );
    desk.limbeck(&["run", "other.toml", "--out", "other"])
        .failed(
            2,
            &["images of `teacher.data`: expected [1, 8, 8] as in `data`, got [1, 16, 16]"],
        );
    desk.write(
        "large.toml",
        taught_by("arch = \"mlp-16\"\n[teacher.data]\nlimit = 100"),
    );
    desk.limbeck(&["run", "large.toml", "--out", "large"])
        .failed(
            2,
            &["recipe key `teacher.train.batch`: expected at most the 100 training rows, got 128"],
        );
    assert!(!desk.path("other").exists() && !desk.path("large").exists());
}
