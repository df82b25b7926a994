//! Broken data: a sentence that names file, row, expected and got, exit code 2, and nothing written.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use support::files::{
    F32, U8, gzip, idx, image_column, labels, number_column, pixels, png, write_parquet,
};
use support::{Desk, LABELS};

const ROWS: usize = 40;

/// A desk with a recipe that trains on the folder `data`.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.write(
        "recipe.toml",
        LABELS.replace("digits", "data").replace("128", "8"),
    );
    desk
}

/// A desk with IDX files: the training images and labels as given, four good test rows.
fn idx_desk(images: &[u8], labels_file: &[u8], ending: &str) -> Desk {
    let desk = desk();
    let names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
    for (name, bytes) in names.iter().zip([images, labels_file]) {
        desk.write(&format!("data/{name}{ending}"), bytes);
    }
    desk.write(
        "data/t10k-images-idx3-ubyte",
        idx(U8, &[4, 8, 8], &pixels(4)),
    );
    desk.write("data/t10k-labels-idx1-ubyte", idx(U8, &[4], &labels(4)));
    desk
}

fn good_images() -> Vec<u8> {
    idx(U8, &[ROWS as u32, 8, 8], &pixels(ROWS))
}

fn good_labels() -> Vec<u8> {
    idx(U8, &[ROWS as u32], &labels(ROWS))
}

/// Running and planning say the same, and nothing in the folder changes.
fn refuses(desk: &Desk, words: &[&str]) {
    let before = desk.content("");
    desk.limbeck(&["run", "recipe.toml"]).failed(2, words);
    desk.limbeck(&["plan", "recipe.toml"]).failed(2, words);
    let as_program = desk.limbeck(&["--json", "plan", "recipe.toml"]);
    assert_eq!(as_program.code, 2);
    let error = as_program.json();
    assert_eq!(error["exit_code"], 2);
    let sentence = error["error"][0].as_str().unwrap();
    assert!(
        words.iter().all(|word| sentence.contains(word)),
        "{sentence}"
    );
    assert_eq!(desk.content(""), before);
}

#[test]
fn the_same_files_unbroken_are_trained_on() {
    let desk = idx_desk(&gzip(&good_images()), &gzip(&good_labels()), ".gz");
    desk.limbeck(&["run", "recipe.toml"]).succeeded();
    let evaluated = desk
        .limbeck(&["eval", "runs/labels", "--data", "data", "--json"])
        .succeeded()
        .json();
    assert_eq!(evaluated["count"], 4);
}

#[test]
fn a_truncated_gz() {
    let packed = gzip(&good_images());
    let desk = idx_desk(&packed[..packed.len() / 2], &gzip(&good_labels()), ".gz");
    refuses(
        &desk,
        &["data/train-images-idx3-ubyte.gz`", "IDX", "truncated"],
    );
}

#[test]
fn an_idx_file_with_a_wrong_count() {
    let mut images = good_images();
    images[7] = 41;
    refuses(
        &idx_desk(&images, &good_labels(), ""),
        &[
            "data/train-images-idx3-ubyte`",
            "[41, 8, 8]",
            "promise 2624 bytes",
            "got 2560",
        ],
    );
    images[7] = 39;
    refuses(
        &idx_desk(&images, &good_labels(), ""),
        &["promise 2496 bytes", "got more"],
    );
}

#[test]
fn an_idx_file_that_promises_more_than_any_memory() {
    let images = idx(U8, &[u32::MAX, u32::MAX, u32::MAX], &pixels(ROWS));
    refuses(
        &idx_desk(&images, &good_labels(), ""),
        &["train-images-idx3-ubyte`", "promise more than"],
    );
}

#[test]
fn more_images_than_labels() {
    let few = idx(U8, &[ROWS as u32 - 1], &labels(ROWS - 1));
    refuses(
        &idx_desk(&good_images(), &few, ""),
        &[
            "train-images-idx3-ubyte` holds 40 images",
            "train-labels-idx1-ubyte` holds 39 labels",
        ],
    );
}

#[test]
fn a_label_out_of_range() {
    // A lone label far above the others.
    let mut high = labels(ROWS);
    high[17] = 200;
    refuses(
        &idx_desk(&good_images(), &idx(U8, &[ROWS as u32], &high), ""),
        &[
            "row 17 of `",
            "train-labels-idx1-ubyte`",
            "label 200 would make 201 classes, but only 5 labels occur",
            "data.classes",
        ],
    );
    // One above the number that the recipe gives.
    let mut high = labels(ROWS);
    high[9] = 4;
    let desk = idx_desk(&good_images(), &idx(U8, &[ROWS as u32], &high), "");
    desk.write(
        "recipe.toml",
        LABELS
            .replace("\"digits\"", "\"data\"\nclasses = 4")
            .replace("128", "8"),
    );
    refuses(
        &desk,
        &[
            "row 9 of `",
            "train-labels-idx1-ubyte`: expected a label from 0 to 3, got 4",
        ],
    );
    // A test label that training never saw.
    let desk = idx_desk(&good_images(), &good_labels(), "");
    desk.write("data/t10k-labels-idx1-ubyte", idx(U8, &[4], &[0, 1, 7, 2]));
    refuses(
        &desk,
        &[
            "row 2 of `",
            "t10k-labels-idx1-ubyte`: expected a label from 0 to 3, got 7",
        ],
    );
}

#[test]
fn a_pixel_that_is_not_a_number() {
    let mut values: Vec<f32> = pixels(ROWS).iter().map(|&p| f32::from(p) / 255.0).collect();
    let with = |values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
        idx_desk(&idx(F32, &[ROWS as u32, 8, 8], &bytes), &good_labels(), "")
    };
    values[64 * 12 + 5] = f32::NAN;
    refuses(
        &with(&values),
        &[
            "row 12 of `",
            "train-images-idx3-ubyte`",
            "finite",
            "got NaN",
        ],
    );
    values[64 * 12 + 5] = f32::INFINITY;
    refuses(&with(&values), &["row 12 of `", "got inf"]);
}

#[test]
fn an_empty_set() {
    refuses(
        &idx_desk(&idx(U8, &[0, 8, 8], &[]), &idx(U8, &[0], &[]), ""),
        &["train-images-idx3-ubyte` holds no rows"],
    );
    let desk = desk();
    std::fs::create_dir(desk.path("data")).unwrap();
    refuses(&desk, &["data` holds no data that is recognised", "IDX"]);
}

#[test]
fn data_that_is_not_there() {
    refuses(
        &desk(),
        &["there is no file or folder `", "/data`", "`digits`"],
    );
}

#[test]
fn a_file_of_another_kind() {
    let desk = desk();
    desk.write("data/readme.txt", "not data");
    refuses(&desk, &["data` holds no data that is recognised"]);
    desk.write("data/all.zip", b"PK\x03\x04rest");
    refuses(&desk, &["all.zip` is a zip archive: unpack it"]);
}

/// Forty PNG images, the last one as given.
fn images(last: &[u8]) -> Vec<Vec<u8>> {
    let mut images: Vec<Vec<u8>> = pixels(ROWS).chunks(64).map(png).collect();
    images[ROWS - 1] = last.to_vec();
    images
}

fn whole_labels() -> Vec<i64> {
    labels(ROWS).into_iter().map(i64::from).collect()
}

fn parquet_desk(columns: Vec<(arrow::datatypes::Field, arrow::array::ArrayRef)>) -> Desk {
    let desk = desk();
    write_parquet(&desk.path("data/train-00000-of-00001.parquet"), columns);
    desk
}

#[test]
fn whole_parquet_files_are_trained_on() {
    let good = png(&pixels(1));
    let desk = parquet_desk(vec![
        image_column(&images(&good)),
        number_column("label", &whole_labels()),
    ]);
    desk.limbeck(&["run", "recipe.toml"]).succeeded();
    let summary = desk.json("runs/labels/summary.json");
    assert_eq!(summary["data"]["train_rows"], ROWS);
    // Without a test split the figures must not pass for one.
    let warning = summary["warnings"][0].as_str().unwrap();
    assert!(warning.contains("no test split"), "{warning}");
    assert!(warning.contains("training rows"), "{warning}");
}

#[test]
fn a_parquet_file_with_a_missing_column() {
    let good = png(&pixels(1));
    refuses(
        &parquet_desk(vec![image_column(&images(&good))]),
        &["train-00000-of-00001.parquet`", "label"],
    );
    refuses(
        &parquet_desk(vec![number_column("label", &whole_labels())]),
        &["train-00000-of-00001.parquet`", "image"],
    );
}

#[test]
fn a_parquet_file_with_a_broken_image() {
    let good = png(&pixels(1));
    let broken = |image: &[u8]| {
        parquet_desk(vec![
            image_column(&images(image)),
            number_column("label", &whole_labels()),
        ])
    };
    let place = ["row 39 of `", "train-00000-of-00001.parquet`", "image"];
    refuses(&broken(b"no image at all"), &place);
    refuses(&broken(&good[..good.len() / 2]), &place);
    // A damaged body behind a whole header.
    let mut damaged = good.clone();
    let middle = damaged.len() - 20;
    damaged[middle] ^= 0xff;
    refuses(&broken(&damaged), &place);
}

#[test]
fn a_parquet_file_with_a_label_out_of_range() {
    let good = png(&pixels(1));
    let mut labels = whole_labels();
    labels[3] = -2;
    refuses(
        &parquet_desk(vec![
            image_column(&images(&good)),
            number_column("label", &labels),
        ]),
        &[
            "row 3 of `",
            "parquet`: expected a label of at least 0, got -2",
        ],
    );
}

#[test]
fn a_truncated_parquet_file() {
    let good = png(&pixels(1));
    let desk = parquet_desk(vec![
        image_column(&images(&good)),
        number_column("label", &whole_labels()),
    ]);
    let name = "data/train-00000-of-00001.parquet";
    let bytes = desk.read(name);
    desk.write(name, &bytes[..bytes.len() / 2]);
    refuses(
        &desk,
        &["train-00000-of-00001.parquet` is not a valid parquet file"],
    );
}

#[test]
fn a_batch_larger_than_the_set() {
    let desk = idx_desk(&good_images(), &good_labels(), "");
    let set = ["--set", "train.batch=41"];
    let before = desk.content("");
    for command in ["run", "plan"] {
        desk.limbeck(&[command, "recipe.toml", set[0], set[1]])
            .failed(
                2,
                &["recipe key `train.batch`: expected at most the 40 training rows, got 41"],
            );
    }
    assert_eq!(desk.content(""), before);
}

#[test]
fn an_evaluation_of_broken_data_names_it_too() {
    let desk = idx_desk(&good_images(), &good_labels(), "");
    desk.limbeck(&["run", "recipe.toml"]).succeeded();
    let mut images = idx(U8, &[4, 8, 8], &pixels(4));
    images.truncate(100);
    desk.write("data/t10k-images-idx3-ubyte", &images);
    let before = desk.content("");
    desk.limbeck(&[
        "eval",
        "runs/labels",
        "--data",
        "data",
        "--predictions",
        "p.safetensors",
    ])
    .failed(
        2,
        &["t10k-images-idx3-ubyte`", "promise 256 bytes", "got 84"],
    );
    assert_eq!(desk.content(""), before);
}
