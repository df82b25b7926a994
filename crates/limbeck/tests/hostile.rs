//! Recipes and IDX files that nobody would write: they are refused, they never panic and never take all memory.
//!
//! The targets in `fuzz/` search longer and with coverage; these run with every test.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use limbeck::data::idx::{self, Values};
use limbeck::recipe::{Plan, RawRecipe};
use limbeck::{Error, Seed};
use rand::RngExt;

const ROUNDS: u64 = 20_000;

/// Every table and nearly every key.
const RECIPE: &str = r#"
name = "hostile"
seeds = [1, 2, 3]
baseline = true
device = "cpu"

[data]
path = "digits"
test = 0.2
validation = 100
limit = 0.5
labels_per_class = 20
classes = 10
resize = [8, 8]
normalize = [0.5, 0.5]
augment = ["crop", "flip", "rotate", "shift", "color", "erase"]

[data.crop]
padding = 1

[data.erase]
probability = 0.25
area = [0.1, 0.2]
aspect = 0.5
fill = "zero"

[teacher]
mean = "geometric"
minimum_accuracy = 0.5
seed = 7

[[teacher.member]]
arch = "resnet-8"
normalize = [0.1, 0.2, 0.3, 1, 2, 3]

[[teacher.member]]
arch = "mlp-b4-8-d50"

[teacher.data]
limit = 900

[teacher.train]
epochs = 20

[student]
arch = "mlp-4"

[method]
name = "soft-targets"
temperature = 4.0
alpha = 0.9
form = "cross-entropy"

[train]
epochs = 12
batch = 32
optimizer = "sgd"
learning_rate = 0.1
momentum = 0.8
nesterov = false
weight_decay = 1e-4
decay_norms_and_biases = false
schedule = "step"
milestones = [6, 9]
gamma = 0.2
warmup = 0.5
clip_norm = 5
accumulate = 4
average = 0.99
early_stopping = 7
evaluate_every = 3
checkpoint_every = 100
keep_checkpoints = 5
"#;

/// A teacher without members of its own, and the other settings.
const SHORT: &str = r#"
[data]
train = "here"
test = "there"
[teacher]
arch = "wrn-10-1"
members = 3
[student]
arch = "vgg-8"
[method]
name = "logit-regression"
whiten = true
[train]
optimizer = "adamw"
betas = [0.5, 0.9]
schedule = "one-cycle"
peak = 0.5
"#;

const VALUES: [&str; 28] = [
    "0",
    "-1",
    "1",
    "0.0",
    "1e308",
    "-1e308",
    "5e-324",
    "nan",
    "inf",
    "-inf",
    "9223372036854775807",
    "-9223372036854775808",
    "true",
    "\"\"",
    "\"\\u0000\"",
    "\"../../../../../../../../etc/passwd\"",
    "\"/\"",
    "\"mlp-1048576-1048576\"",
    "\"resnet-18446744073709551616\"",
    "\"wrn-40-0\"",
    "[]",
    "[[]]",
    "[1, \"x\"]",
    "[nan]",
    "[9223372036854775807, 9223372036854775807]",
    "{}",
    "{ x = 1 }",
    "1979-05-27T07:32:00Z",
];

/// One change of a text: of a byte, a line, or the value of a key.
fn mutate(text: &mut String, random: &mut impl RngExt) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        text.push_str("[data]\n");
        return;
    }
    let at = random.random_range(0..lines.len());
    let other = random.random_range(0..lines.len());
    match random.random_range(0..6) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(other, lines[at].clone()),
        2 => lines.swap(at, other),
        3 => {
            let mut bytes = std::mem::take(&mut lines[at]).into_bytes();
            if let Some(place) = bytes.len().checked_sub(1) {
                let place = random.random_range(0..=place);
                bytes[place] = random.random_range(b' '..=b'~');
            }
            lines[at] = String::from_utf8_lossy(&bytes).into_owned();
        }
        _ => {
            let value = VALUES[random.random_range(0..VALUES.len())];
            if let Some((key, _)) = lines[at].split_once('=') {
                lines[at] = format!("{key}= {value}");
            }
        }
    }
    *text = lines.join("\n");
}

#[test]
fn recipes_are_checked_or_refused() {
    let (mut valid, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let mut random = Seed::new(1).stream("recipe", &[round]);
        let mut text = [RECIPE, SHORT][random.random_range(0..2)].to_owned();
        for _ in 0..random.random_range(1..5) {
            mutate(&mut text, &mut random);
        }
        let checked = RawRecipe::parse(&text, Path::new("/nowhere"))
            .and_then(|raw| Plan::check(&raw, "hostile"));
        match checked {
            Ok(_) => valid += 1,
            Err(Error::Recipe { problems }) => {
                assert!(!problems.is_empty());
                refused += 1;
            }
            Err(other) => panic!("{other}\n{text}"),
        }
    }
    // Both kinds occur often, or the mutations would test little.
    assert!(valid > 500 && refused > 5000, "{valid} {refused}");
}

#[test]
fn unmutated_recipes_are_valid() {
    for text in [RECIPE, SHORT] {
        let raw = RawRecipe::parse(text, Path::new("/nowhere")).unwrap();
        Plan::check(&raw, "hostile").unwrap();
    }
}

#[test]
fn overrides_are_set_or_refused() {
    for round in 0..2_000 {
        let mut random = Seed::new(2).stream("override", &[round]);
        let mut raw = RawRecipe::parse(SHORT, Path::new("/nowhere")).unwrap();
        let value = VALUES[random.random_range(0..VALUES.len())];
        let keys = [
            "train.epochs",
            "data",
            "teacher.member",
            "",
            ".",
            "..a",
            "seeds.x",
            "name",
        ];
        let key = keys[random.random_range(0..keys.len())];
        let mut assignment = format!("{key}={value}");
        if random.random_bool(0.3) {
            mutate(&mut assignment, &mut random);
        }
        if raw.set(&assignment).is_ok() {
            let _ = Plan::check(&raw, "hostile");
        }
    }
}

#[test]
fn idx_files_are_read_or_refused() {
    let (mut read, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let mut random = Seed::new(3).stream("idx", &[round]);
        let kinds = [0x08, 0x09, 0x0b, 0x0c, 0x0d, 0x0e];
        let dimensions = random.random_range(1..=4_u8);
        let mut bytes = vec![0, 0, kinds[random.random_range(0..6)], dimensions];
        for _ in 0..dimensions {
            bytes.extend(random.random_range(0..3_u32).to_be_bytes());
        }
        let values = random.random_range(0..24);
        bytes.extend((0..values).map(|_| random.random::<u8>()));
        for _ in 0..random.random_range(0..3) {
            let place = random.random_range(0..bytes.len());
            bytes[place] = [0, 1, 2, 0x7f, 0x80, 0xff][random.random_range(0..6)];
        }
        if random.random_bool(0.1) {
            bytes.truncate(random.random_range(0..bytes.len()));
        }
        match idx::parse(&bytes) {
            Ok(array) => {
                let length = match &array.values {
                    Values::U8(values) => values.len(),
                    Values::I8(values) => values.len(),
                    Values::I16(values) => values.len(),
                    Values::I32(values) => values.len(),
                    Values::F32(values) => values.len(),
                    Values::F64(values) => values.len(),
                };
                assert_eq!(length, array.dimensions.iter().product::<usize>());
                read += 1;
            }
            Err(Error::Format { .. }) => refused += 1,
            Err(other) => panic!("{other}: {bytes:?}"),
        }
    }
    assert!(read > 200 && refused > 5000, "{read} {refused}");
}
