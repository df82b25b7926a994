//! Bad input: each a clear error with file, row, expected and got.

use std::path::Path;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field};
use image::ExtendedColorType;
use parquet::basic::Compression as Codec;
use proptest::prelude::*;

use super::super::{OpenOptions, Source, Split, idx, open};
use super::*;

fn refused(path: &Path) -> String {
    open(path.to_str().unwrap(), Split::Train)
        .unwrap_err()
        .to_string()
}

/// The message for an image and a label file.
fn refused_pair(images: &[u8], labels: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "train-images-idx3-ubyte", images);
    write(folder.path(), "train-labels-idx1-ubyte", labels);
    refused(folder.path())
}

fn check(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected `{part}` in: {message}");
    }
}

const LABELS: [u8; 6] = [0, 1, 2, 0, 1, 2];

#[test]
fn truncated_gzip() {
    let folder = tempfile::tempdir().unwrap();
    let pixels: Vec<u8> = (0..60_000_u32)
        .map(|value| (value * 31 % 251) as u8)
        .collect();
    let packed = gzip(&idx(0x08, &[6, 100, 100], &pixels));
    write(
        folder.path(),
        "train-labels-idx1-ubyte.gz",
        &gzip(&idx(0x08, &[6], &LABELS)),
    );
    // Down to where even the header of the stream is gone.
    for length in [packed.len() - 1, packed.len() / 2, 30, 12, 3] {
        write(
            folder.path(),
            "train-images-idx3-ubyte.gz",
            &packed[..length],
        );
        let message = refused(folder.path());
        check(
            &message,
            &["train-images-idx3-ubyte.gz", "not a valid IDX file"],
        );
    }
    let mut damaged = packed.clone();
    let middle = packed.len() / 2;
    damaged[middle] ^= 0xff;
    write(folder.path(), "train-images-idx3-ubyte.gz", &damaged);
    check(
        &refused(folder.path()),
        &["train-images-idx3-ubyte.gz", "not a valid IDX file"],
    );
}

#[test]
fn idx_with_a_wrong_count() {
    let labels = idx(0x08, &[6], &LABELS);
    let short = refused_pair(&idx(0x08, &[7, 2, 3], &small_pixels()), &labels);
    check(
        &short,
        &["train-images", "[7, 2, 3] promise 42 bytes", "got 36"],
    );
    let long = refused_pair(&idx(0x08, &[5, 2, 3], &small_pixels()), &labels);
    check(
        &long,
        &["train-images", "[5, 2, 3] promise 30 bytes", "got more"],
    );
    let differ = refused_pair(
        &idx(0x08, &[6, 2, 3], &small_pixels()),
        &idx(0x08, &[5], &LABELS[..5]),
    );
    check(
        &differ,
        &[
            "train-images",
            "holds 6 images",
            "train-labels",
            "holds 5 labels",
        ],
    );
    let header = refused_pair(&[0, 0, 8, 3, 0, 0], &labels);
    check(&header, &["train-images", "the file ends within them"]);
}

#[test]
fn idx_headers_do_not_allocate() {
    let huge = refused_pair(
        &idx(0x0e, &[u32::MAX; 4], &[0; 64]),
        &idx(0x08, &[6], &LABELS),
    );
    check(&huge, &["promise more than 17179869184 bytes"]);
    // 12 GiB are within the limit, but 64 bytes are there.
    let large = idx(0x08, &[3 << 20, 64, 64], &[0; 64]);
    check(
        &refused_pair(&large, &idx(0x08, &[6], &LABELS)),
        &["promise 12884901888 bytes", "got 64"],
    );
}

#[test]
fn labels_out_of_range() {
    let images = idx(0x08, &[6, 2, 3], &small_pixels());
    let outlier = refused_pair(&images, &idx(0x08, &[6], &[0, 1, 2, 0, 200, 2]));
    check(
        &outlier,
        &[
            "row 4",
            "train-labels",
            "label 200",
            "only 4 labels occur",
            "data.classes = 201",
        ],
    );
    let negative = refused_pair(&images, &idx(0x09, &[6], &[0, 1, 2, 0, 255, 2]));
    check(
        &negative,
        &["row 4", "expected a label of at least 0, got -1"],
    );

    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "train-images", &images);
    write(folder.path(), "train-labels", &idx(0x08, &[6], &LABELS));
    write(folder.path(), "test-images", &images);
    write(
        folder.path(),
        "test-labels",
        &idx(0x08, &[6], &[0, 1, 2, 3, 0, 0]),
    );
    let message = open(folder.path().to_str().unwrap(), Split::Test)
        .unwrap_err()
        .to_string();
    check(
        &message,
        &[
            "row 3",
            "test-labels",
            "expected a label from 0 to 2, got 3",
        ],
    );
    let options = OpenOptions {
        classes: Some(2),
        resize: None,
    };
    let source = Source::recognise(folder.path()).unwrap();
    let message = source.open(Split::Train, &options).unwrap_err().to_string();
    check(
        &message,
        &[
            "row 2",
            "train-labels",
            "expected a label from 0 to 1, got 2",
        ],
    );
    let options = OpenOptions {
        classes: Some(4),
        resize: None,
    };
    assert_eq!(
        source
            .open(Split::Test, &options)
            .unwrap()
            .info()
            .classes
            .len(),
        4
    );
}

#[test]
fn pixels_that_are_no_numbers() {
    for (bad, shown) in [
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (1.5, "1.5"),
        (-0.1, "-0.1"),
    ] {
        let mut values = [0.5_f32; 36];
        values[13] = bad;
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_be_bytes())
            .collect();
        let message = refused_pair(&idx(0x0d, &[6, 2, 3], &bytes), &idx(0x08, &[6], &LABELS));
        check(
            &message,
            &[
                "row 2",
                "train-images",
                "finite and in 0..1",
                &format!("got {shown}"),
            ],
        );
    }
    let mut values = [0_i16; 36];
    values[35] = 256;
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect();
    let message = refused_pair(&idx(0x0b, &[6, 2, 3], &bytes), &idx(0x08, &[6], &LABELS));
    check(&message, &["row 5", "expected pixels in 0..255, got 256"]);
}

#[test]
fn empty_sets() {
    check(
        &refused_pair(&idx(0x08, &[0, 2, 3], &[]), &idx(0x08, &[0], &[])),
        &["holds no rows"],
    );
    let folder = tempfile::tempdir().unwrap();
    check(
        &refused(folder.path()),
        &[
            "holds no data that is recognised",
            "IDX",
            "parquet",
            "CIFAR",
        ],
    );
    let none: [Option<&[u8]>; 0] = [];
    let columns = vec![label_column(&[]), image_column(&none)];
    let path = write_parquet(folder.path(), "train.parquet", columns, None, Codec::SNAPPY);
    check(&refused(&path), &["train.parquet", "holds no rows"]);
    let classes = tempfile::tempdir().unwrap();
    write(
        classes.path(),
        "cat/a.png",
        &png(1, 1, ExtendedColorType::L8, &[0]),
    );
    std::fs::create_dir(classes.path().join("dog")).unwrap();
    check(&refused(classes.path()), &["dog", "holds no images"]);
}

#[test]
fn unpaired_files() {
    let folder = tempfile::tempdir().unwrap();
    let images = write(
        folder.path(),
        "train-images",
        &idx(0x08, &[6, 2, 3], &small_pixels()),
    );
    let message = refused(folder.path());
    check(
        &message,
        &[
            "expected one IDX file of labels",
            "for the train split",
            "got none",
        ],
    );
    check(
        &refused(&images),
        &["expected one IDX file of labels", "got 0"],
    );
    let labels = write(folder.path(), "train-labels", &idx(0x08, &[6], &LABELS));
    check(
        &refused(&labels),
        &["holds labels", "give the image file or the folder"],
    );
    write(folder.path(), "train-labels-2", &idx(0x08, &[6], &LABELS));
    check(
        &refused(folder.path()),
        &["expected one IDX file of labels", "train-labels-2"],
    );
}

#[test]
fn unknown_content() {
    let folder = tempfile::tempdir().unwrap();
    let text = write(folder.path(), "data.csv", b"pixel,label\n1,2\n");
    check(
        &refused(&text),
        &[
            "data.csv",
            "holds no data that is recognised",
            "IDX",
            "class",
        ],
    );
    let zip = write(folder.path(), "train.zip", b"PK\x03\x04rest");
    check(&refused(&zip), &["zip archive: unpack it"]);
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    write(folder.path(), "cifar-10-binary.tar.gz", &gzip(&tar));
    check(
        &refused(&folder.path().join("cifar-10-binary.tar.gz")),
        &["tar archive: unpack it"],
    );
    let picture = write(
        folder.path(),
        "cat.png",
        &png(1, 1, ExtendedColorType::L8, &[0]),
    );
    check(&refused(&picture), &["a single image"]);
    let missing = folder.path().join("missing");
    check(
        &refused(&missing),
        &["there is no file or folder", "missing"],
    );
}

#[test]
fn cifar_batches() {
    let folder = tempfile::tempdir().unwrap();
    let mut batch = vec![0; 3073 * 3];
    batch[3073 * 2] = 10;
    let path = write(folder.path(), "data_batch_1.bin", &batch);
    check(
        &refused(&path),
        &[
            "row 2",
            "data_batch_1.bin",
            "expected a label from 0 to 9, got 10",
        ],
    );
    write(folder.path(), "data_batch_1.bin", &batch[..5000]);
    check(
        &refused(&path),
        &["CIFAR-10 binary", "rows of 3073 bytes, got 5000 bytes"],
    );
    write(folder.path(), "data_batch_1.bin", &[]);
    check(&refused(&path), &["CIFAR-10 binary", "got 0 bytes"]);
}

#[test]
fn parquet_columns() {
    let folder = tempfile::tempdir().unwrap();
    let image = png(1, 1, ExtendedColorType::L8, &[0]);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["zero"]));
    let (field, images) = image_column(&[Some(&image)]);
    let write =
        |columns| write_parquet(folder.path(), "train.parquet", columns, None, Codec::SNAPPY);
    let path = write(vec![
        (field.with_name("picture"), images.clone()),
        label_column(&[0]),
    ]);
    check(
        &refused(&path),
        &[
            "an image column named `image` or `img`",
            "`picture`, `label`",
        ],
    );
    let path = write(vec![image_column(&[Some(&image)])]);
    check(
        &refused(&path),
        &["a label column named `label`", "its columns are `image`"],
    );
    let named = |name: &str| (Field::new(name, DataType::Utf8, true), text.clone());
    let path = write(vec![image_column(&[Some(&image)]), named("label")]);
    check(
        &refused(&path),
        &["expected whole numbers in column `label`, got Utf8"],
    );
    let path = write(vec![named("image"), label_column(&[0])]);
    check(
        &refused(&path),
        &["expected encoded images in column `image`, got Utf8"],
    );
}

#[test]
fn parquet_rows() {
    let folder = tempfile::tempdir().unwrap();
    let image = png(1, 1, ExtendedColorType::L8, &[0]);
    let good = Some(image.as_slice());
    let refuse = |images: &[Option<&[u8]>], labels: &[i64], metadata: Option<&str>| {
        let columns = vec![image_column(images), label_column(labels)];
        let path = write_parquet(
            folder.path(),
            "train.parquet",
            columns,
            metadata,
            Codec::SNAPPY,
        );
        refused(&path)
    };
    let names = r#"{"info": {"features": {"label": {"names": ["cat", "dog"]}}}}"#;
    let message = refuse(&[good, good], &[0, 2], Some(names));
    check(
        &message,
        &[
            "row 1",
            "train.parquet",
            "expected a label from 0 to 1, got 2",
        ],
    );
    let message = refuse(&[good, good], &[0, -1], Some(names));
    check(
        &message,
        &["row 1", "expected a label of at least 0, got -1"],
    );
    let message = refuse(&[good, None], &[0, 0], None);
    check(&message, &["row 1", "column `image` holds no image bytes"]);
    let message = refuse(&[good, good, Some(b"no image")], &[0; 3], None);
    check(
        &message,
        &["row 2", "expected a PNG, JPEG", "start with 6e 6f"],
    );
    let message = refuse(&[good, Some(&image[..20])], &[0; 2], None);
    check(&message, &["row 1", "broken image"]);
    let wide = png(1, 2, ExtendedColorType::L8, &[0, 0]);
    let message = refuse(&[good, Some(&wide)], &[0; 2], None);
    check(
        &message,
        &["row 1", "expected 1x1 pixels as in the first row, got 1x2"],
    );
}

#[test]
fn images_that_break_off_are_found_when_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let whole = jpeg(16);
    let cut = &whole[..whole.len() - 40];
    let columns = vec![
        image_column(&[Some(&whole), Some(cut)]),
        label_column(&[0, 0]),
    ];
    let path = write_parquet(folder.path(), "train.parquet", columns, None, Codec::SNAPPY);
    let set = open(path.to_str().unwrap(), Split::Train).unwrap();
    set.sample(0).unwrap();
    let message = set.sample(1).unwrap_err().to_string();
    check(
        &message,
        &["row 1", "train.parquet", "broken image", "cut off"],
    );
}

#[test]
fn damaged_parquet() {
    let folder = tempfile::tempdir().unwrap();
    let image = png(1, 1, ExtendedColorType::L8, &[0]);
    let columns = vec![image_column(&[Some(&image)]), label_column(&[0])];
    let path = write_parquet(folder.path(), "train.parquet", columns, None, Codec::SNAPPY);
    let bytes = std::fs::read(&path).unwrap();
    for length in [4, 8, 40, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        check(
            &refused(&path),
            &["train.parquet", "not a valid parquet file"],
        );
    }
}

#[test]
fn a_changed_byte_of_a_parquet_file_is_refused_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let image = png(1, 1, ExtendedColorType::L8, &[0]);
    let columns = vec![image_column(&[Some(&image)]), label_column(&[0])];
    let path = write_parquet(folder.path(), "train.parquet", columns, None, Codec::SNAPPY);
    let bytes = std::fs::read(&path).unwrap();
    for at in (0..bytes.len()).step_by(5) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, &damaged).unwrap();
        if let Ok(set) = open(path.to_str().unwrap(), Split::Train) {
            for row in 0..set.len() {
                let _ = set.sample(row);
            }
        }
    }
}

#[test]
fn image_folder_contents() {
    let folder = tempfile::tempdir().unwrap();
    let image = png(1, 1, ExtendedColorType::L8, &[0]);
    write(folder.path(), "train/cat/a.png", &image);
    write(folder.path(), "train/cat/b.png", b"");
    check(
        &refused(folder.path()),
        &["train/cat/b.png", "expected an image, got no bytes"],
    );
    write(folder.path(), "train/cat/b.png", &image);
    write(folder.path(), "test/owl/a.png", &image);
    let message = open(folder.path().to_str().unwrap(), Split::Test)
        .unwrap_err()
        .to_string();
    check(
        &message,
        &[
            "test/owl",
            "not one of the 1 classes of the training split: `cat`",
        ],
    );
}

#[test]
fn mixed_formats_and_splits() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "train-images",
        &idx(0x08, &[6, 2, 3], &small_pixels()),
    );
    write(folder.path(), "data_batch_1.bin", &vec![0; 3073]);
    check(
        &refused(folder.path()),
        &["several formats (CIFAR-10 binary, IDX)"],
    );
    let folder = tempfile::tempdir().unwrap();
    let image = png(1, 1, ExtendedColorType::L8, &[0]);
    for name in ["train-0.parquet", "more.parquet"] {
        let columns = vec![image_column(&[Some(&image)]), label_column(&[0])];
        write_parquet(folder.path(), name, columns, None, Codec::SNAPPY);
    }
    check(
        &refused(folder.path()),
        &["cannot tell which split", "more.parquet"],
    );
}

proptest! {
    #[test]
    fn any_bytes_parse_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = idx::parse(&bytes);
    }

    #[test]
    fn any_idx_header_parses_or_is_refused(
        kind: u8, sizes in prop::collection::vec(any::<u32>(), 0..6), values in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        if let Ok(array) = idx::parse(&idx(kind, &sizes, &values)) {
            prop_assert_eq!(array.dimensions.len(), sizes.len());
        }
    }
}
