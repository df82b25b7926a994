//! A run that was stopped and resumed ends with the bits of one that was not.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use limbeck::graph::build::Builder;
use limbeck::graph::ir::{Conv2d, Linear};
use limbeck::graph::weights;
use limbeck::method::{SoftTargetSettings, SoftTargets};
use limbeck::teacher::Frozen;
use limbeck::train::{Clip, OptimizerSettings, RunDirectory, Schedule, TrainSettings};
use limbeck::{Error, Seed};
use support::{Case, Small, log_of, result_of};

/// Runs `case` unbroken, and again with a stop after each of `stops`.
fn expect_same_bits(case: Case, stops: &[u64]) {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let outcome = case.run_in(&whole).unwrap();

    let mut case = case;
    for &stop in stops {
        case.stop_after = Some(stop);
        match case.run_in(&parts) {
            Err(Error::Interrupted { step, checkpoint }) => {
                assert_eq!(step, stop);
                assert!(checkpoint.ends_with(format!("checkpoints/step-{stop}")));
            }
            other => panic!("expected an interrupt after step {stop}, got {other:?}"),
        }
        assert!(!parts.join("student.safetensors").exists());
    }
    case.stop_after = None;
    let resumed = case.run_in(&parts).unwrap();
    assert_eq!(result_of(&whole), result_of(&parts));
    assert_eq!(log_of(&whole), log_of(&parts));
    assert_eq!(outcome.test, resumed.test);
    assert_eq!(outcome.validation, resumed.validation);
    assert_eq!(outcome.chosen_epoch, resumed.chosen_epoch);
}

fn sgd() -> OptimizerSettings {
    TrainSettings::default().optimizer
}

#[test]
fn sgd_with_average_dropout_and_batch_norm() {
    let mut case = Case::new();
    case.settings.average = Some(0.98);
    // In the middle of an epoch, at the end of one, right after it, and after the very last step.
    expect_same_bits(case, &[3, 7, 8, 21]);
}

#[test]
fn adam_with_accumulation_warmup_and_clipping() {
    let mut case = Case::new();
    case.settings.optimizer = OptimizerSettings::Adam {
        betas: [0.9, 0.999],
        epsilon: 1e-8,
        weight_decay: 1e-4,
        decay_norms_and_biases: false,
    };
    case.settings.learning_rate = 2e-3;
    case.settings.accumulate = 2;
    case.settings.warmup = 0.5;
    case.settings.clip = Some(Clip::Norm(0.5));
    // Seven batches are four steps per epoch, the last of one batch.
    expect_same_bits(case, &[2, 5, 11]);
}

#[test]
fn adamw_with_one_cycle_and_early_stopping() {
    let mut case = Case::new();
    case.settings.optimizer = OptimizerSettings::AdamW {
        betas: [0.9, 0.99],
        epsilon: 1e-8,
        weight_decay: 0.01,
        decay_norms_and_biases: true,
    };
    case.settings.learning_rate = 5e-3;
    case.settings.schedule = Schedule::OneCycle {
        peak: 0.3,
        start_divisor: 25.0,
        final_divisor: 1e4,
    };
    case.settings.early_stopping = Some(1);
    case.settings.checkpoint_every = Some(4);
    expect_same_bits(case, &[1, 6]);
}

#[test]
fn plain_sgd_without_state_of_its_own() {
    let mut case = Case::new();
    case.settings.optimizer = OptimizerSettings::Sgd {
        momentum: 0.0,
        nesterov: false,
        weight_decay: 0.0,
        decay_norms_and_biases: true,
    };
    case.settings.clip = Some(Clip::Value(0.05));
    expect_same_bits(case, &[10]);
}

#[test]
fn distillation_from_a_teacher() {
    let device = Device::default();
    let teacher = Small::new(Seed::new(99), true, 0.0, &device);
    let mut case = Case::new();
    case.teacher = Some(Box::new(Frozen::new(&teacher, &device)));
    case.method = || Box::new(SoftTargets::new(SoftTargetSettings::default()));
    expect_same_bits(case, &[5, 13]);
}

/// A compiled graph with batch norm and dropout; its result is read back as weights of the graph.
#[test]
fn a_compiled_graph() {
    let mut b = Builder::new("small");
    let x = b.image([1, 8, 8]);
    let h = b.conv2d(
        "block.0.conv",
        x,
        Conv2d::new(1, 6, 3).padding(1).bias(false),
    );
    let h = b.batch_norm("block.0.norm", h);
    let h = b.relu("block.0.relu", h);
    let h = b.dropout("drop", h, 0.3);
    let h = b.flatten("flatten", h);
    let h = b.linear("head", h, Linear::new(6 * 64, 10));
    let graph = b.finish(h).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let mut case = Case::new();
    case.settings.average = Some(0.98);
    case.settings.epochs = 2;
    let train = |case: &Case, path: &Path, resume: bool| {
        let open = if resume {
            RunDirectory::resume
        } else {
            RunDirectory::create
        };
        let run = open(path, "", &case.plan()).unwrap();
        let device = Device::default().autodiff();
        case.train(&run, graph.compile(Seed::new(5), &device).unwrap())
    };
    let outcome = train(&case, &whole, false).unwrap();
    case.stop_after = Some(4);
    assert!(matches!(
        train(&case, &parts, false),
        Err(Error::Interrupted { .. })
    ));
    case.stop_after = None;
    train(&case, &parts, true).unwrap();
    assert_eq!(result_of(&whole), result_of(&parts));
    assert_eq!(log_of(&whole), log_of(&parts));

    let written = weights::read(whole.join("student.safetensors")).unwrap();
    let names: Vec<&str> = written.keys().map(String::as_str).collect();
    let norm = ["bias", "running_mean", "running_var", "weight"];
    let norm = norm.map(|role| format!("block.0.norm.{role}"));
    let mut expected = vec!["block.0.conv.weight"];
    expected.extend(norm.iter().map(String::as_str));
    expected.extend(["head.bias", "head.weight"]);
    assert_eq!(names, expected);
    let fresh = graph.compile(Seed::new(6), &Device::default()).unwrap();
    let loaded = fresh.load(&written).unwrap();
    assert_eq!(loaded.weights(), outcome.student.weights());
}

#[test]
fn the_seed_decides_the_bits() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, seed: u64| {
        let path = folder.path().join(name);
        let case = Case {
            seed,
            ..Case::new()
        };
        case.run_in(&path).unwrap();
        result_of(&path)
    };
    let first = run("first", 7);
    assert_eq!(first, run("second", 7));
    assert_ne!(first, run("other", 8));
}

/// A run stopped after step 9, with checkpoints at 7 and 9.
fn stopped_run(folder: &Path) -> (Case, PathBuf) {
    let path = folder.join("run");
    let mut case = Case::new();
    case.stop_after = Some(9);
    assert!(matches!(case.run_in(&path), Err(Error::Interrupted { .. })));
    case.stop_after = None;
    (case, path)
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    Case::new().run_in(&whole).unwrap();
    for file in ["student.safetensors", "optimizer.safetensors", "state.json"] {
        let folder = tempfile::tempdir().unwrap();
        let (case, path) = stopped_run(folder.path());
        let damaged = path.join("checkpoints/step-9").join(file);
        let mut bytes = fs::read(&damaged).unwrap();
        // A digit of the step in the state, a bit of a weight elsewhere.
        let at = match file {
            "state.json" => bytes.windows(9).position(|w| w == b"\"step\": 9").unwrap() + 8,
            _ => bytes.len() - 1,
        };
        bytes[at] ^= 1;
        fs::write(&damaged, bytes).unwrap();
        case.run_in(&path).unwrap();
        assert_eq!(result_of(&whole), result_of(&path), "{file}");
        let warned = log_of(&path).iter().any(|line| {
            line["kind"] == "warning"
                && line["message"]
                    .as_str()
                    .unwrap()
                    .contains("step-9` is damaged")
        });
        assert!(warned, "{file}");
    }
}

#[test]
fn with_all_checkpoints_damaged_nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (case, path) = stopped_run(folder.path());
    for step in ["step-7", "step-9"] {
        fs::remove_file(
            path.join("checkpoints")
                .join(step)
                .join("student.safetensors"),
        )
        .unwrap();
    }
    let log = fs::read(path.join("log.jsonl")).unwrap();
    let message = case.run_in(&path).unwrap_err().to_string();
    assert!(message.contains("no checkpoint can be used"), "{message}");
    assert_eq!(fs::read(path.join("log.jsonl")).unwrap(), log);
}

#[test]
fn what_a_kill_left_unfinished_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (case, path) = stopped_run(folder.path());
    let half = path.join("checkpoints/.tmp-step-14");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("student.safetensors"), b"half").unwrap();
    fs::write(path.join(".tmp-abc"), b"half").unwrap();
    let mut log = fs::read(path.join("log.jsonl")).unwrap();
    log.extend_from_slice(b"{\"kind\":\"step\",\"st");
    fs::write(path.join("log.jsonl"), log).unwrap();
    case.run_in(&path).unwrap();
    assert!(!half.exists() && !path.join(".tmp-abc").exists());
    assert_eq!(log_of(&path).last().unwrap()["split"], "test");
}

#[test]
fn checkpoints_of_another_training_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_, path) = stopped_run(folder.path());
    let plan = Case::new().plan();
    let run = RunDirectory::resume(&path, "", &plan).unwrap();
    let mut other = Case::new();
    other.settings.learning_rate = 0.01;
    let message = other.run(&run).unwrap_err().to_string();
    assert!(message.contains("other settings in `[train]`"), "{message}");
    let other = Case {
        seed: 8,
        ..Case::new()
    };
    let message = other.run(&run).unwrap_err().to_string();
    assert!(message.contains("seed 7 instead of 8"), "{message}");
}

#[test]
fn only_the_newest_checkpoints_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut case = Case::new();
    case.settings.optimizer = sgd();
    case.settings.checkpoint_every = Some(2);
    case.settings.keep_checkpoints = 3;
    case.run_in(&path).unwrap();
    let mut names: Vec<String> = fs::read_dir(path.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    // The end of the training is always one.
    assert_eq!(names, ["step-18", "step-20", "step-21"]);
}

#[test]
fn a_finished_run_resumed_gives_its_result_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let case = Case::new();
    let first = case.run_in(&path).unwrap();
    let bytes = result_of(&path);
    fs::remove_file(path.join("student.safetensors")).unwrap();
    let again = case.run_in(&path).unwrap();
    assert_eq!(result_of(&path), bytes);
    assert_eq!((first.test, first.steps), (again.test, again.steps));
}
