//! Help, lists and plans: for people and for programs.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use serde_json::Value;
use support::{Desk, LABELS, RECIPE};

const COMMANDS: [&str; 10] = [
    "demo", "run", "plan", "inspect", "eval", "methods", "models", "datasets", "export", "report",
];

#[test]
fn help_lists_the_commands_and_the_exit_codes() {
    let desk = Desk::new();
    let help = desk.limbeck(&["--help"]).succeeded().stdout;
    for command in COMMANDS {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(command)),
            "{command}"
        );
    }
    assert!(
        help.contains("Exit codes: 0 done, 1 the machine failed"),
        "{help}"
    );
    for code in ["2 wrong input", "3 a check failed", "130 interrupted"] {
        assert!(help.replace("\n", " ").contains(code), "{code} in {help}");
    }
    assert!(
        desk.limbeck(&["--version"])
            .succeeded()
            .stdout
            .starts_with("limbeck ")
    );
}

#[test]
fn unknown_instructions_are_an_error() {
    let desk = Desk::new();
    let with = |value: &str| {
        let mut command = desk.command(&["methods"]);
        support::Done::of(&command.env("LIMBECK_KERNELS", value).output().unwrap())
    };
    with("sse9").failed(
        2,
        &["error: the environment variable `LIMBECK_KERNELS` must be `avx512`, `avx2`, `portable` or `off`, got `sse9`"],
    );
    for value in ["", "AVX2", "portable", "off"] {
        with(value).succeeded();
    }
    let help = desk.limbeck(&["--help"]).succeeded().stdout;
    assert!(help.contains("LIMBECK_KERNELS"), "{help}");
}

#[test]
fn every_command_has_help_with_an_example() {
    let desk = Desk::new();
    for command in COMMANDS {
        let help = desk.limbeck(&[command, "--help"]).succeeded().stdout;
        assert!(help.contains("Example"), "{help}");
        assert!(help.contains(&format!("limbeck {command}")), "{help}");
        assert!(
            help.contains("--json") && help.contains("--device"),
            "{help}"
        );
    }
    // Nothing at all is a mistake that shows the help.
    let nothing = desk.limbeck(&[]);
    assert_eq!(nothing.code, 2);
    assert!(nothing.stderr.contains("Usage: limbeck"));
}

#[test]
fn lists_are_json_for_programs() {
    let desk = Desk::new();
    let list = |arguments: &[&str]| desk.limbeck(arguments).succeeded().json();
    let names = |list: &Value, key: &str| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|entry| entry[key].as_str().unwrap().to_owned())
            .collect()
    };
    let methods = list(&["methods", "--json"]);
    assert_eq!(
        names(&methods, "name"),
        ["labels", "soft-targets", "logit-regression"]
    );
    let one = list(&["methods", "soft-targets", "--json"]);
    assert_eq!(one["paper"]["year"], 2015);
    assert!(names(&one["settings"], "key").contains(&"temperature".to_owned()));

    let models = list(&["--json", "models"]);
    let patterns = names(&models, "pattern");
    assert!(patterns.len() >= 8, "{patterns:?}");
    assert_eq!(
        list(&["models", "lenet5", "--json"])
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let sets = list(&["datasets", "--json"]);
    assert!(names(&sets, "name").contains(&"digits".to_owned()));
    assert_eq!(list(&["datasets", "digits", "--json"])["classes"], 10);

    let network = list(&["inspect", "resnet-20", "--json"]);
    assert_eq!(network["parameters"], 272_474);
    assert!(network["taps"].as_object().unwrap().contains_key("stage1"));
    assert_eq!(
        network["nodes"].as_array().unwrap().len(),
        network["layers"].as_array().unwrap().len()
    );
}

#[test]
fn lists_are_text_for_people() {
    let desk = Desk::new();
    for (arguments, words) in [
        (&["methods"][..], "Geoffrey Hinton"),
        (&["methods", "soft-targets"], "temperature"),
        (&["models"], "resnet"),
        (&["models", "lenet5"], "lenet5"),
        (&["datasets"], "fashion_mnist"),
        (&["datasets", "digits"], "CC BY 4.0"),
        (&["inspect", "resnet-20"], "272,474 parameters"),
    ] {
        let done = desk.limbeck(arguments).succeeded();
        assert!(done.stdout.contains(words), "{}", done.stdout);
        assert_eq!(done.stderr, "");
        assert!(!done.stdout.contains('\x1b'));
        assert!(done.stdout.lines().all(|line| line == line.trim_end()));
    }
}

#[test]
fn a_plan_counts_before_any_work() {
    let desk = Desk::new();
    desk.write("recipe.toml", RECIPE);
    let plan = desk
        .limbeck(&["plan", "recipe.toml", "--json"])
        .succeeded()
        .json();
    assert_eq!(plan["train_rows"], 1297);
    // The teacher and two arms, two epochs of ten batches each.
    assert_eq!(
        (&plan["trainings"], &plan["steps"]),
        (&3.into(), &60.into())
    );
    assert_eq!(plan["student_parameters"], 610);
    for key in ["memory_bytes", "disk_bytes", "seconds"] {
        assert!(plan[key].as_f64().unwrap() > 0.0, "{key}");
    }
    let text = desk.limbeck(&["plan", "recipe.toml"]).succeeded().stdout;
    for words in ["1,297", "memory, about", "time, about", "measured on"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(!desk.path("runs").exists());
}

#[test]
fn a_pipe_gets_plain_lines() {
    let desk = Desk::new();
    desk.write("recipe.toml", RECIPE);
    let done = desk.limbeck(&["run", "recipe.toml"]).succeeded();
    for text in [&done.stdout, &done.stderr] {
        assert!(!text.contains('\x1b') && !text.contains('\r'), "{text}");
    }
    for part in [
        "teacher: accuracy ",
        "student alone, seed 1 (1 of 2): accuracy ",
        "student distilled, seed 1 (2 of 2): accuracy ",
    ] {
        assert!(
            done.stderr.lines().any(|line| line.starts_with(part)),
            "{}",
            done.stderr
        );
    }
    for words in [
        "teacher",
        "student alone",
        "student distilled",
        "report: runs/small/report.html",
        "student: runs/small/student.safetensors",
    ] {
        assert!(done.stdout.contains(words), "{}", done.stdout);
    }
    // Quiet is quiet, and programs get one document.
    let quiet = desk
        .limbeck(&["run", "recipe.toml", "--quiet", "--json", "--out", "quiet"])
        .succeeded();
    assert_eq!(quiet.stderr, "");
    assert_eq!(quiet.json(), desk.json("quiet/summary.json"));
}

#[test]
fn warnings_are_given_once_and_plain() {
    let desk = Desk::new();
    // Without a weight the soft term is no silent one; a learning rate of almost nothing is no warning either.
    desk.write("recipe.toml", LABELS.replace("epochs = 2", "epochs = 3"));
    desk.limbeck(&["run", "recipe.toml"]).succeeded();
    // A damaged checkpoint is passed over, with a word.
    for file in ["summary.json", "result.json", "student.safetensors"] {
        std::fs::remove_file(desk.path("runs/labels").join(file)).unwrap();
    }
    desk.write(
        "runs/labels/checkpoints/step-30/student.safetensors",
        "damaged",
    );
    let done = desk
        .limbeck(&["run", "recipe.toml", "--resume"])
        .succeeded();
    let warnings: Vec<&str> = done
        .stderr
        .lines()
        .filter(|line| line.contains("step-30"))
        .collect();
    assert_eq!(warnings.len(), 1, "{}", done.stderr);
    assert!(warnings[0].starts_with("warning: "), "{}", done.stderr);
    assert!(!done.stderr.contains('\x1b'), "{}", done.stderr);
}
