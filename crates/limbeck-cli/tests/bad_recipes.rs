//! Mistakes in a recipe or on the command line: all of them at once, each with its key and the nearest name.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use support::{Desk, LABELS, RECIPE};

fn refuses(recipe: &str, words: &[&str]) {
    let desk = Desk::new();
    desk.write("recipe.toml", recipe);
    let before = desk.content("");
    for command in ["run", "plan"] {
        desk.limbeck(&[command, "recipe.toml"]).failed(2, words);
    }
    assert_eq!(desk.content(""), before);
}

#[test]
fn an_unknown_model() {
    refuses(
        &RECIPE.replace("mlp-8", "restnet-20"),
        &[
            "recipe key `student.arch`: there is no model `restnet-20`; did you mean",
            "`resnet-20`",
        ],
    );
    refuses(
        &RECIPE.replace("mlp-16", "mobilnet-v2"),
        &[
            "recipe key `teacher.arch`: there is no model `mobilnet-v2`; did you mean",
            "`mobilenet-v2`",
        ],
    );
}

#[test]
fn a_model_that_does_not_fit_the_images() {
    refuses(
        &RECIPE.replace("mlp-8", "lenet5"),
        &["`lenet5`", "expected images of at least", "got 8x8"],
    );
}

#[test]
fn an_unknown_key() {
    refuses(
        &RECIPE.replace("temperature", "temprature"),
        &["recipe key `method.temprature`: is not a known key; did you mean `temperature`?"],
    );
    refuses(
        &RECIPE.replace("epochs", "epoch"),
        &["recipe key `train.epoch`: is not a known key; did you mean `epochs`"],
    );
    refuses(
        &RECIPE.replace("[student]", "[sudent]"),
        &[
            "recipe key `student`: is missing",
            "recipe key `sudent`: is not a known key; did you mean `student`?",
        ],
    );
}

#[test]
fn an_unknown_method() {
    refuses(
        &RECIPE.replace("soft-targets", "soft-target"),
        &[
            "recipe key `method.name`: there is no method `soft-target`; did you mean `soft-targets`?",
        ],
    );
}

#[test]
fn a_temperature_of_zero() {
    for zero in ["0", "0.0", "-4.0", "nan", "inf"] {
        refuses(
            &RECIPE.replace("temperature = 4.0", &format!("temperature = {zero}")),
            &["recipe key `method.temperature`: expected a", "got "],
        );
    }
}

#[test]
fn every_mistake_at_once() {
    let recipe = RECIPE
        .replace("mlp-16", "mlp_16")
        .replace("temperature = 4.0", "temperature = 0")
        .replace("epochs = 2", "epochs = 'two'");
    let desk = Desk::new();
    desk.write("recipe.toml", recipe);
    let done = desk.limbeck(&["run", "recipe.toml"]).failed(
        2,
        &[
            "recipe key `train.epochs`: expected a whole number of at least 0, got `\"two\"`",
            "recipe key `method.temperature`",
            "recipe key `teacher.arch`",
        ],
    );
    assert_eq!(done.stderr.lines().count(), 3, "{}", done.stderr);
}

#[test]
fn what_is_not_toml() {
    refuses(
        "[data\npath = 1",
        &["`recipe.toml` is not a valid TOML file: line 1, column 6: unclosed table"],
    );
    let desk = Desk::new();
    desk.limbeck(&["run", "missing.toml"])
        .failed(2, &["cannot read `missing.toml`"]);
    desk.write("bytes.toml", [0xff, 0xfe, 0x00]);
    desk.limbeck(&["run", "bytes.toml"])
        .failed(2, &["cannot read `bytes.toml`", "UTF-8"]);
}

#[test]
fn early_stopping_without_validation_rows() {
    refuses(
        &format!("{RECIPE}early_stopping = 3\n"),
        &[
            "recipe key `train.early_stopping`: needs validation rows",
            "`data.validation`",
        ],
    );
}

#[test]
fn numbers_beyond_all_bounds_are_refused_before_they_are_used() {
    let huge = "9223372036854775807";
    for (from, to, key) in [
        ("epochs = 2", format!("epochs = {huge}"), "train.epochs"),
        ("batch = 128", format!("batch = {huge}"), "train.batch"),
        (
            "arch = \"mlp-16\"",
            format!("arch = \"mlp-16\"\nmembers = {huge}"),
            "teacher.members",
        ),
        (
            "path = \"digits\"",
            format!("path = \"digits\"\nclasses = {huge}"),
            "data.classes",
        ),
    ] {
        refuses(
            &RECIPE.replace(from, &to),
            &[&format!("recipe key `{key}`: expected at most "), huge],
        );
    }
    refuses(
        &RECIPE.replace("mlp-8", &format!("mlp-{huge}")),
        &["recipe key `student.arch`: "],
    );
}

#[test]
fn mistakes_on_the_command_line() {
    let desk = Desk::new();
    desk.write("recipe.toml", LABELS);
    let before = desk.content("");
    let cases: [(&[&str], &[&str]); 9] = [
        (
            &["run", "recipe.toml", "--seeds", "1,1"],
            &["recipe key `seeds`: expected different seeds"],
        ),
        (
            &["run", "recipe.toml", "--set", "train.epochs"],
            &["expected `KEY=VALUE`, such as `train.epochs=5`"],
        ),
        (
            &["run", "recipe.toml", "--set", "train.epohcs=1"],
            &["recipe key `train.epohcs`", "did you mean `epochs`?"],
        ),
        (
            &["run", "recipe.toml", "--set", "name.x=1"],
            &["`name` is not a table"],
        ),
        (
            &["run", "recipe.toml", "--resume"],
            &["runs/labels`: does not exist", "leave out `--resume`"],
        ),
        (
            &["run", "recipe.toml", "--device", "cuda:0"],
            &["no `cuda:0` device", "--features cuda"],
        ),
        (
            &["methods", "soft-target"],
            &["there is no method `soft-target`; did you mean `soft-targets`?"],
        ),
        (
            &["models", "restnet"],
            &["there is no model `restnet`; did you mean"],
        ),
        (
            &["datasets", "fashion-mnist"],
            &["`fashion-mnist`", "did you mean", "fashion_mnist"],
        ),
    ];
    for (arguments, words) in cases {
        let done = desk.limbeck(arguments);
        // A build with the device would run.
        if cfg!(feature = "cuda") && arguments.contains(&"cuda:0") {
            continue;
        }
        done.failed(2, words);
    }
    assert_eq!(desk.content(""), before);
}

#[test]
fn the_command_line_itself() {
    let desk = Desk::new();
    let cases: [(&[&str], &str); 8] = [
        (&["rnu"], "unrecognized subcommand 'rnu'"),
        (&["run", "--resmue", "x"], "--resume"),
        (&["run"], "<RECIPE>"),
        (
            &["eval", "m.pth", "--data", "d", "--normalize", "0.5,0"],
            "--normalize",
        ),
        (
            &["eval", "m.pth", "--data", "d", "--split", "dev"],
            "[possible values: train, validation, test]",
        ),
        (
            &["inspect", "resnet-20", "--input", "32x32"],
            "such as 3x32x32",
        ),
        (&["methods", "--device", "gpu"], "`gpu`"),
        (&["run", "x.toml", "--threads", "0"], "--threads"),
    ];
    for (arguments, words) in cases {
        let done = desk.limbeck(arguments);
        assert_eq!(done.code, 2, "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains(words), "{}", done.stderr);
        assert_eq!(done.stdout, "");
    }
}
