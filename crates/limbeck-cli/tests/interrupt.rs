//! Runs that are stopped from outside, and go on.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::process::{Child, Command, Stdio};

use support::{Desk, Done, RECIPE, log, wait_until};

/// Long enough to be met while it trains.
fn long() -> String {
    RECIPE
        .replace("epochs = 2", "epochs = 40")
        .replace("batch = 128", "batch = 32")
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

fn spawn(desk: &Desk, arguments: &[&str]) -> Child {
    desk.command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn an_interrupted_run_goes_on_to_the_bits_of_an_unbroken_one() {
    let desk = Desk::new();
    desk.write("recipe.toml", long());
    desk.limbeck(&["run", "recipe.toml", "--out", "whole"])
        .succeeded();

    // Once while the teacher is trained, once while the student is.
    let mut resume = vec!["run", "recipe.toml", "--out", "broken"];
    for part in ["teacher", "distilled-seed-1"] {
        let mut child = spawn(&desk, &resume);
        let checkpoints = desk.path("broken").join(part).join("checkpoints");
        wait_until(&mut child, || {
            std::fs::read_dir(&checkpoints).is_ok_and(|mut entries| entries.next().is_some())
        });
        signal(&child, "INT");
        let done = Done::of(&child.wait_with_output().unwrap()).failed(
            130,
            &["interrupted at step ", "continue with `--resume`", part],
        );
        assert!(!desk.path("broken/summary.json").exists());
        desk.has_nothing_partial();
        // What the message promises is there.
        let checkpoint = done
            .stderr
            .lines()
            .find_map(|line| line.split("the checkpoint is `").nth(1)?.strip_suffix('`'))
            .unwrap();
        assert!(
            desk.path(checkpoint).join("state.json").is_file(),
            "{checkpoint}"
        );
        if resume.len() == 4 {
            resume.push("--resume");
        }
    }
    let done = desk.limbeck(&resume).succeeded();
    assert!(
        done.stderr.contains("continuing after step "),
        "{}",
        done.stderr
    );
    for part in ["", "teacher", "alone-seed-1", "distilled-seed-1"] {
        let student = |run: &str| desk.read(&format!("{run}/{part}/student.safetensors"));
        assert_eq!(student("whole"), student("broken"), "{part}");
    }
    let losses = |run: &str| -> Vec<serde_json::Value> {
        log(
            &desk.read(&format!("{run}/distilled-seed-1/log.jsonl")),
            "step",
        )
        .into_iter()
        .map(|step| step["loss"].clone())
        .collect()
    };
    assert_eq!(losses("whole"), losses("broken"));
}

#[test]
fn a_request_to_terminate_leaves_a_checkpoint_and_a_lost_terminal_does_not_matter() {
    let desk = Desk::new();
    desk.write("recipe.toml", long());
    // As `nohup` starts it.
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_limbeck"))
        .args(["run", "recipe.toml", "--out", "run"])
        .current_dir(desk.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let reached = |steps: usize| {
        let log_file = desk.path("run/teacher/log.jsonl");
        move || std::fs::read_to_string(&log_file).is_ok_and(|text| text.lines().count() > steps)
    };
    wait_until(&mut child, reached(0));
    signal(&child, "HUP");
    let steps = log(&desk.read("run/teacher/log.jsonl"), "step").len();
    wait_until(&mut child, reached(steps + 50));
    signal(&child, "TERM");
    Done::of(&child.wait_with_output().unwrap())
        .failed(130, &["interrupted at step ", "continue with `--resume`"]);
}

#[test]
fn a_killed_run_goes_on_and_a_second_process_waits_outside() {
    let desk = Desk::new();
    desk.write("recipe.toml", long());
    let arguments = ["run", "recipe.toml", "--out", "run"];
    let resume = ["run", "recipe.toml", "--out", "run", "--resume"];
    let mut child = spawn(&desk, &arguments);
    let log_file = desk.path("run/teacher/log.jsonl");
    wait_until(&mut child, || {
        std::fs::metadata(&log_file).is_ok_and(|file| file.len() > 0)
    });
    // While it trains, nobody else can, and the plan in the directory stays as it was.
    let plan = desk.read("run/plan.json");
    for arguments in [&arguments[..], &resume[..]] {
        desk.limbeck(arguments).failed(
            2,
            &["`run` is in use by another process; wait for it or choose another `--out`"],
        );
    }
    assert_eq!(desk.read("run/plan.json"), plan);
    child.kill().unwrap();
    child.wait().unwrap();
    // The system frees the lock of a process that is gone.
    desk.limbeck(&resume).succeeded();
    assert!(desk.path("run/student.safetensors").is_file());
    desk.has_nothing_partial();
}

#[test]
fn a_reader_that_goes_away_does_not_end_a_run() {
    let desk = Desk::new();
    desk.write("recipe.toml", RECIPE);
    let mut child = spawn(&desk, &["run", "recipe.toml"]);
    drop(child.stderr.take());
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert!(desk.path("runs/small/report.html").is_file());
    // Errors then are told by the exit code alone.
    let mut child = spawn(&desk, &["run", "recipe.toml", "--json"]);
    drop(child.stderr.take());
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}
