//! What a training does, on real digits and on rows made for the purpose.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use limbeck::data::{Batch, SampleId};
use limbeck::graph::Taps;
use limbeck::method::{Method, Step, Term};
use limbeck::train::{
    BatchSource, OptimizerSettings, Outcome, RunDirectory, SILENT_STEPS, Schedule, TrainSettings,
    Trainer, weights,
};
use limbeck::{Error, Result, Seed};
use support::{Case, Small, log_of};

fn run(case: &Case) -> (Outcome<Small>, Vec<serde_json::Value>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let outcome = case.run_in(&path).unwrap();
    (outcome, log_of(&path))
}

#[test]
fn a_student_learns_the_digits() {
    let mut case = Case::new();
    case.rows = 1000;
    case.shift = false;
    case.dropout = 0.0;
    case.settings.epochs = 12;
    let (outcome, log) = run(&case);
    let test = outcome.test.unwrap();
    assert_eq!(test.count, 500);
    assert!(test.top1 > 0.93, "top-1 is {}", test.top1);
    let steps: Vec<_> = log.iter().filter(|line| line["kind"] == "step").collect();
    assert_eq!(steps.len() as u64, outcome.steps);
    for (index, line) in steps.iter().enumerate() {
        assert_eq!(line["step"], index as u64 + 1);
        let term = &line["terms"]["labels"];
        assert_eq!(line["loss"], term["value"]);
        assert!(term["gradient_norm"].as_f64().unwrap() > 0.0);
        assert!(line["gradient_norm"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(steps[0]["lr"], 0.05);
    let evaluations: Vec<_> = log.iter().filter(|l| l["kind"] == "evaluation").collect();
    assert_eq!(evaluations.len(), 24);
    assert_eq!(evaluations[23]["top1"], test.top1);
}

/// Rows made up for a test, the same every epoch.
struct Rows {
    batches: Vec<Batch>,
}

impl Rows {
    fn new(count: usize, batch: usize) -> Self {
        let rows: Vec<(Vec<f32>, u32)> = (0..count)
            .map(|row| {
                let pixels = (0..64).map(|p| ((row * 31 + p * 17) % 97) as f32 / 97.0 - 0.4);
                (pixels.collect(), (row % 10) as u32)
            })
            .collect();
        let batches = rows.chunks(batch).enumerate().map(|(index, rows)| Batch {
            epoch: 0,
            index,
            ids: (0..rows.len())
                .map(|row| SampleId((index * batch + row) as u64))
                .collect(),
            inputs: rows.iter().flat_map(|(pixels, _)| pixels.clone()).collect(),
            shape: [1, 8, 8],
            labels: Some(rows.iter().map(|(_, label)| *label).collect()),
        });
        Self {
            batches: batches.collect(),
        }
    }
}

impl BatchSource for Rows {
    fn batches_per_epoch(&self) -> usize {
        self.batches.len()
    }

    fn epoch(&self, _: u64, first: usize) -> Box<dyn Iterator<Item = Result<Batch>> + '_> {
        Box::new(self.batches[first..].iter().cloned().map(Ok))
    }
}

/// Trains a student without batch norm and dropout on `train`.
fn train_on(
    train: &dyn BatchSource,
    validation: Option<&dyn BatchSource>,
    settings: &TrainSettings,
    method: &mut dyn Method,
) -> (Result<Outcome<Small>>, Vec<serde_json::Value>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = RunDirectory::create(&path, "", &serde_json::json!({})).unwrap();
    let device = Device::default();
    let seed = Seed::new(3);
    let outcome = Trainer {
        student: Small::new(seed, false, 0.0, &device.clone().autodiff()),
        teacher: None,
        method,
        train,
        unaugmented: None,
        validation,
        test: None,
        settings,
        seed,
        device,
        run: &run,
        metadata: std::collections::BTreeMap::new(),
        interrupt: Arc::new(AtomicBool::new(false)),
        progress: &mut (),
    }
    .run();
    let log = log_of(&path);
    (outcome, log)
}

fn labels() -> Box<dyn Method> {
    (Case::new().method)()
}

fn plain(epochs: u64) -> TrainSettings {
    TrainSettings {
        epochs,
        optimizer: OptimizerSettings::Sgd {
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
            decay_norms_and_biases: true,
        },
        learning_rate: 0.1,
        schedule: Schedule::Constant,
        ..TrainSettings::default()
    }
}

/// 80 rows: batches of 32, 32 and 16 accumulated are batches of 64 and 16.
#[test]
fn accumulated_batches_are_one_large_batch() {
    let large = train_on(&Rows::new(80, 64), None, &plain(3), &mut *labels());
    let settings = TrainSettings {
        accumulate: 2,
        ..plain(3)
    };
    let small = train_on(&Rows::new(80, 32), None, &settings, &mut *labels());
    let (large_weights, small_weights) = (
        weights(&large.0.unwrap().student).unwrap(),
        weights(&small.0.unwrap().student).unwrap(),
    );
    for (name, large) in &large_weights {
        for (a, b) in large.values.iter().zip(&small_weights[name].values) {
            assert!((a - b).abs() < 1e-6, "`{name}`: {a} and {b}");
        }
    }
    for (a, b) in large.1.iter().zip(&small.1) {
        for key in ["loss", "gradient_norm"] {
            let (a, b) = (a[key].as_f64().unwrap(), b[key].as_f64().unwrap());
            assert!((a - b).abs() < 1e-5, "{key}: {a} and {b}");
        }
        let norm = |line: &serde_json::Value| line["terms"]["labels"]["gradient_norm"].as_f64();
        assert!((norm(a).unwrap() - norm(b).unwrap()).abs() < 1e-6);
    }
}

/// Accumulating five batches of which the last two are smaller: rows count, not batches.
#[test]
fn unequal_batches_count_by_their_rows() {
    struct Unequal(Rows);
    impl BatchSource for Unequal {
        fn batches_per_epoch(&self) -> usize {
            2
        }
        fn epoch(&self, _: u64, first: usize) -> Box<dyn Iterator<Item = Result<Batch>> + '_> {
            Box::new(self.0.batches[first..].iter().cloned().map(Ok))
        }
    }
    let settings = TrainSettings {
        accumulate: 2,
        ..plain(1)
    };
    let whole = train_on(&Rows::new(40, 40), None, &plain(1), &mut *labels()).1;
    let parts = train_on(&Unequal(Rows::new(40, 32)), None, &settings, &mut *labels()).1;
    let loss = |log: &[serde_json::Value]| log[0]["loss"].as_f64().unwrap();
    assert!((loss(&whole) - loss(&parts)).abs() < 1e-6);
}

/// Several terms of the student's logits, some of them through the same intermediate.
struct Terms {
    weights: [f64; 2],
    poison: Option<(u64, f32)>,
}

impl Method for Terms {
    fn name(&self) -> &'static str {
        "terms"
    }

    fn student_taps(&self) -> Taps {
        Taps::new(["hidden"])
    }

    fn teacher_taps(&self) -> Option<Taps> {
        None
    }

    fn needs_labels(&self) -> bool {
        false
    }

    fn terms(&self, step: &Step<'_>) -> Result<Vec<Term>> {
        let logits: burn::tensor::Tensor<2> = step.student.output.clone().try_into()?;
        let hidden: burn::tensor::Tensor<2> = step.student.feature("hidden")?.clone().try_into()?;
        let shared = logits.square();
        let mut first = shared.clone().sum_dim(1).squeeze_dim(1);
        if let Some((at, value)) = self.poison
            && step.progress >= at as f64 / 12.0
        {
            first = first.mul_scalar(value);
        }
        let second = shared.sum_dim(1) + hidden.sum_dim(1).mul_scalar(3.0);
        Ok(vec![
            Term {
                name: "square",
                weight: self.weights[0],
                rows: first,
            },
            Term {
                name: "both",
                weight: self.weights[1],
                rows: second.squeeze_dim(1),
            },
        ])
    }
}

/// Two terms that share a part of their graph have the gradient of their weighted sum, and each its own norm: with logits
/// z and 24 hidden units over n rows, `square` has 2 z / n at the logits, `both` the same and 3 / n at each hidden unit.
#[test]
fn terms_that_share_a_graph_add_up() {
    let rows = Rows::new(16, 16);
    let single = |weights| {
        let mut method = Terms {
            weights,
            poison: None,
        };
        train_on(&rows, None, &plain(1), &mut method).1[0].clone()
    };
    let both = single([0.5, 2.0]);
    let (first, second) = (single([0.5, 0.0]), single([0.0, 2.0]));
    let get = |line: &serde_json::Value, term: &str, key: &str| {
        line["terms"][term][key].as_f64().unwrap()
    };
    assert_eq!(
        get(&both, "square", "gradient_norm"),
        get(&first, "square", "gradient_norm")
    );
    assert_eq!(
        get(&both, "both", "gradient_norm"),
        get(&second, "both", "gradient_norm")
    );
    assert_eq!(get(&first, "both", "gradient_norm"), 0.0);
    let value = 0.5 * get(&both, "square", "value") + 2.0 * get(&both, "both", "value");
    assert!((both["loss"].as_f64().unwrap() - value).abs() < 1e-6);

    let square = get(&both, "square", "gradient_norm") / 0.5;
    let hidden = 3.0 / 16.0 * f64::sqrt(16.0 * 24.0);
    let expected = 2.0 * (square * square + hidden * hidden).sqrt();
    let got = get(&both, "both", "gradient_norm");
    assert!(
        (got - expected).abs() < 1e-4 * expected,
        "expected {expected}, got {got}"
    );
}

#[test]
fn not_a_number_stops_with_step_and_term_and_keeps_the_checkpoint() {
    for (value, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        // Two epochs of six batches; the ninth step is poisoned.
        let mut method = Terms {
            weights: [1.0, 1.0],
            poison: Some((8, value)),
        };
        let settings = TrainSettings {
            learning_rate: 1e-3,
            ..plain(2)
        };
        let (outcome, log) = train_on(&Rows::new(96, 16), None, &settings, &mut method);
        match outcome {
            Err(Error::NotFinite {
                what,
                step,
                checkpoint,
                ..
            }) => {
                assert_eq!((what.as_str(), step), ("loss term `square`", 9));
                assert!(checkpoint.unwrap().ends_with("checkpoints/step-6"));
            }
            other => panic!("expected an error, got {other:?}"),
        }
        let last = log.last().unwrap();
        assert_eq!(
            (last["kind"].as_str(), last["step"].as_u64()),
            (Some("error"), Some(9))
        );
        assert!(last["message"].as_str().unwrap().contains(word));
    }
}

#[test]
fn exploding_weights_are_named() {
    let settings = TrainSettings {
        learning_rate: 1e38,
        ..plain(2)
    };
    let mut method = Terms {
        weights: [1e3, 1e3],
        poison: None,
    };
    let (outcome, _) = train_on(&Rows::new(96, 16), None, &settings, &mut method);
    match outcome {
        Err(Error::NotFinite {
            what,
            value,
            step,
            checkpoint,
        }) => {
            assert!(what.starts_with("weight `"), "{what}");
            assert_eq!((value.abs(), step), (f32::INFINITY, 1));
            assert!(checkpoint.is_none());
        }
        other => panic!("expected an error, got {other:?}"),
    }
}

/// Bad weights at the end of an epoch reach neither an evaluation nor a checkpoint.
#[test]
fn exploding_weights_are_not_saved() {
    let settings = TrainSettings {
        learning_rate: 1e38,
        ..plain(1)
    };
    let mut method = Terms {
        weights: [1e3, 1e3],
        poison: None,
    };
    let rows = Rows::new(16, 16);
    let (outcome, log) = train_on(&rows, Some(&rows), &settings, &mut method);
    assert!(
        matches!(outcome, Err(Error::NotFinite { step: 1, .. })),
        "{outcome:?}"
    );
    assert!(log.iter().all(|line| line["kind"] != "evaluation"));
}

/// A term that does not depend on the student.
struct Constant;

impl Method for Constant {
    fn name(&self) -> &'static str {
        "constant"
    }

    fn teacher_taps(&self) -> Option<Taps> {
        None
    }

    fn needs_labels(&self) -> bool {
        false
    }

    fn terms(&self, step: &Step<'_>) -> Result<Vec<Term>> {
        let logits: burn::tensor::Tensor<2> = step.student.output.clone().try_into()?;
        let live = logits.clone().square().sum_dim(1).squeeze_dim(1);
        let dead = logits.mul_scalar(0.0).sum_dim(1).squeeze_dim(1);
        let free = dead.clone().detach().add_scalar(1.0);
        Ok(vec![
            Term {
                name: "live",
                weight: 1.0,
                rows: live,
            },
            Term {
                name: "dead",
                weight: 1.0,
                rows: dead,
            },
            Term {
                name: "free",
                weight: 1.0,
                rows: free,
            },
        ])
    }
}

#[test]
fn a_term_without_gradient_is_a_warning_once() {
    let settings = TrainSettings {
        learning_rate: 1e-4,
        ..plain(30)
    };
    let (outcome, log) = train_on(&Rows::new(64, 16), None, &settings, &mut Constant);
    assert_eq!(outcome.unwrap().steps, 120);
    let warnings: Vec<_> = log
        .iter()
        .filter(|line| line["kind"] == "warning")
        .collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for (warning, term) in warnings.iter().zip(["dead", "free"]) {
        assert_eq!(warning["step"], SILENT_STEPS - 1);
        let message = warning["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("loss term `{term}` was zero")),
            "{message}"
        );
    }
}

#[test]
fn early_stopping_chooses_by_validation() {
    let mut case = Case::new();
    // A rate so high that later epochs are worse than the best one.
    case.settings.epochs = 40;
    case.settings.learning_rate = 0.5;
    case.settings.schedule = Schedule::Constant;
    case.settings.early_stopping = Some(3);
    let (outcome, log) = run(&case);
    assert!(outcome.stopped_early);
    assert_eq!(outcome.epochs, outcome.chosen_epoch + 4);
    let of = |split: &str| -> Vec<&serde_json::Value> {
        log.iter().filter(|line| line["split"] == split).collect()
    };
    let validation = of("validation");
    let key = |line: &serde_json::Value| {
        (
            line["top1"].as_f64().unwrap(),
            -line["nll"].as_f64().unwrap(),
        )
    };
    let best = validation.iter().fold(validation[0], |best, line| {
        if key(line) > key(best) { line } else { best }
    });
    assert_eq!(best["epoch"], outcome.chosen_epoch);
    assert_eq!(best["top1"], outcome.validation.unwrap().top1);
    let test = of("test");
    assert_eq!(
        test[outcome.chosen_epoch as usize]["nll"],
        outcome.test.unwrap().nll
    );
}

#[test]
fn early_stopping_without_validation_is_an_error() {
    let settings = TrainSettings {
        early_stopping: Some(2),
        ..plain(2)
    };
    let (outcome, _) = train_on(&Rows::new(32, 16), None, &settings, &mut *labels());
    assert!(
        outcome
            .unwrap_err()
            .to_string()
            .contains("needs a validation split")
    );
}

/// One step of plain descent from the initial weights: the average after it is a 2/11 to 9/11 mix.
#[test]
fn the_average_is_what_is_evaluated_and_exported() {
    let rows = Rows::new(16, 16);
    let export = |average| {
        let settings = TrainSettings {
            average,
            ..plain(1)
        };
        weights(
            &train_on(&rows, None, &settings, &mut *labels())
                .0
                .unwrap()
                .student,
        )
        .unwrap()
    };
    let (plain, averaged) = (export(None), export(Some(0.9)));
    let start = Small::new(Seed::new(3), false, 0.0, &Device::default());
    for (name, start) in weights(&start).unwrap() {
        let ends = plain[&name].values.iter().zip(&averaged[&name].values);
        for (start, (end, average)) in start.values.iter().zip(ends) {
            let expected = start * (2.0 / 11.0) + end * (9.0 / 11.0);
            assert!(
                (average - expected).abs() < 1e-6,
                "`{name}`: {average} and {expected}"
            );
        }
    }
}

#[test]
fn unused_parts_of_the_data_and_the_method_are_refused() {
    struct NeedsTeacher;
    impl Method for NeedsTeacher {
        fn name(&self) -> &'static str {
            "needs-teacher"
        }
        fn teacher_taps(&self) -> Option<Taps> {
            Some(Taps::none())
        }
        fn needs_labels(&self) -> bool {
            false
        }
        fn terms(&self, _: &Step<'_>) -> Result<Vec<Term>> {
            Ok(Vec::new())
        }
    }
    let rows = Rows::new(16, 16);
    let (outcome, _) = train_on(&rows, None, &plain(1), &mut NeedsTeacher);
    assert!(
        outcome
            .unwrap_err()
            .to_string()
            .contains("`needs-teacher` needs a teacher")
    );
    let (outcome, _) = train_on(&Rows::new(0, 16), None, &plain(1), &mut *labels());
    assert!(
        outcome
            .unwrap_err()
            .to_string()
            .contains("less than one batch")
    );
}
