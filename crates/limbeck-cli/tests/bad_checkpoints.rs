//! Checkpoints that are broken, hostile or of another network.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use support::files::safetensors;
use support::{Desk, LABELS, RECIPE};

/// A desk with a recipe whose teacher is the checkpoint `model`.
fn desk(model: &str, bytes: &[u8]) -> Desk {
    let desk = Desk::new();
    desk.write(model, bytes);
    desk.write(
        "recipe.toml",
        RECIPE.replace(
            "arch = \"mlp-16\"",
            &format!("arch = \"mlp-16\"\nweights = \"{model}\""),
        ),
    );
    desk
}

/// Evaluating, inspecting, planning and running refuse the checkpoint with the same words, and write nothing.
fn refuses(model: &str, bytes: &[u8], words: &[&str]) {
    let desk = desk(model, bytes);
    let before = desk.content("");
    let commands: [&[&str]; 4] = [
        &["eval", model, "--arch", "mlp-16", "--data", "digits"],
        &["inspect", model, "--arch", "mlp-16", "--input", "1x8x8"],
        &["plan", "recipe.toml"],
        &["run", "recipe.toml"],
    ];
    for command in commands {
        let done = desk.limbeck(command).failed(2, words);
        assert!(done.stderr.contains(model), "{}", done.stderr);
    }
    assert_eq!(desk.content(""), before);
}

#[test]
fn a_pickle_that_runs_a_command() {
    for (module, function) in [("os", "system"), ("posix", "system"), ("builtins", "eval")] {
        let pickle = format!("\x02c{module}\n{function}\n(S'touch owned'\ntR.");
        let mut bytes = vec![0x80];
        bytes.extend_from_slice(pickle.as_bytes());
        refuses(
            "model.pth",
            &bytes,
            &[&format!("`{module}.{function}`"), "nothing was executed"],
        );
    }
}

#[test]
fn a_pickle_with_an_unknown_opcode() {
    refuses("model.pt", b"\x80\x02}\xfeq\x00.", &["opcode", "0xfe"]);
}

#[test]
fn a_truncated_pickle() {
    refuses("model.pt", b"\x80\x02}(U\x05weig", &["cannot use `"]);
}

#[test]
fn a_safetensors_header_of_2_to_the_63_bytes() {
    refuses(
        "model.safetensors",
        &safetensors(1 << 63, "{\"a\":1}", &[]),
        &["header claims 9223372036854775808 bytes, but only 7 follow"],
    );
}

#[test]
fn a_safetensors_file_without_its_end() {
    let header = r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
    refuses(
        "model.safetensors",
        &safetensors(header.len() as u64, header, &[0; 8]),
        &["cannot use `", "model.safetensors`"],
    );
}

#[test]
fn weights_that_are_not_numbers() {
    let desk = Desk::new();
    desk.write("recipe.toml", LABELS);
    desk.limbeck(&["run", "recipe.toml"]).succeeded();
    let mut bytes = desk.read("runs/labels/student.safetensors");
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    desk.write("broken.safetensors", &bytes);
    let done = desk.limbeck(&["eval", "broken.safetensors", "--data", "digits"]);
    assert!(matches!(done.code, 2 | 3), "{}", done.stderr);
    assert!(done.stderr.contains("NaN"), "{}", done.stderr);
}

#[test]
fn a_checkpoint_of_another_network() {
    let desk = Desk::new();
    desk.write("student.toml", LABELS);
    desk.limbeck(&["run", "student.toml"]).succeeded();
    desk.write(
        "recipe.toml",
        RECIPE.replace(
            "arch = \"mlp-16\"",
            "arch = \"mlp-16\"\nweights = \"runs/labels/student.safetensors\"",
        ),
    );
    let before = desk.content("");
    let words = [
        "runs/labels/student.safetensors`",
        "the weights do not fit `mlp-16`",
        "expected [16, 64], got [8, 64]",
    ];
    for command in ["plan", "run"] {
        let done = desk.limbeck(&[command, "recipe.toml"]).failed(2, &words);
        assert!(
            done.stderr
                .starts_with("error: recipe key `teacher.weights`: "),
            "{}",
            done.stderr
        );
    }
    desk.limbeck(&[
        "eval",
        "runs/labels/student.safetensors",
        "--arch",
        "mlp-16",
        "--data",
        "digits",
    ])
    .failed(2, &words);
    // A network with other names altogether.
    desk.limbeck(&[
        "inspect",
        "runs/labels/student.safetensors",
        "--arch",
        "resnet-8",
    ])
    .failed(
        2,
        &[
            "missing: ",
            "unexpected: ",
            "of another architecture, see `limbeck models`",
        ],
    );
    assert_eq!(desk.content(""), before);
}

#[test]
fn a_checkpoint_that_is_not_there() {
    let desk = Desk::new();
    let cases: [&[&str]; 3] = [
        &[
            "eval",
            "missing.pth",
            "--arch",
            "mlp-16",
            "--data",
            "digits",
        ],
        &["inspect", "missing.pth", "--arch", "mlp-16"],
        &["inspect", "models/missing"],
    ];
    for arguments in cases {
        desk.limbeck(arguments)
            .failed(2, &["cannot read `", "missing", "No such file"]);
    }
    desk.write(
        "recipe.toml",
        LABELS.replace(
            "arch = \"mlp-8\"",
            "arch = \"mlp-8\"\nweights = \"missing.pth\"",
        ),
    );
    desk.limbeck(&["run", "recipe.toml"]).failed(
        2,
        &["recipe key `student.weights`: there is no file `missing.pth`"],
    );
}

#[test]
fn a_checkpoint_that_does_not_say_what_it_is() {
    let desk = Desk::new();
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    desk.write(
        "model.safetensors",
        safetensors(header.len() as u64, header, &[0; 8]),
    );
    desk.limbeck(&["inspect", "model.safetensors"]).failed(
        2,
        &["`model.safetensors` does not say which network it holds; name it with `--arch`"],
    );
}

#[test]
fn a_run_that_is_not_one() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("folder")).unwrap();
    for arguments in [
        &["eval", "folder", "--data", "digits"][..],
        &["inspect", "folder"],
        &["export", "folder", "--to", "safetensors"],
        &["report", "folder"],
    ] {
        desk.limbeck(arguments)
            .failed(2, &["run directory `folder`: ", "`--resume`"]);
    }
    assert!(desk.content("").is_empty());
    desk.limbeck(&["export", "nowhere", "--to", "safetensors"])
        .failed(2, &["nowhere`"]);
    assert!(!desk.path("nowhere").exists());
}
