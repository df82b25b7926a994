//! Each format, from files made here.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, LargeBinaryArray};
use arrow::datatypes::{DataType, Field};
use image::ExtendedColorType;
use parquet::basic::Compression as Codec;

use super::super::{Dataset, OpenOptions, Pixels, SampleId, Source, Split, idx, open};
use super::*;

fn open_at(path: &Path, split: Split) -> Arc<dyn Dataset> {
    open(path.to_str().unwrap(), split).unwrap()
}

fn bytes(set: &dyn Dataset, row: usize) -> Vec<u8> {
    match set.sample(row).unwrap().image.pixels {
        Pixels::U8(values) => values,
        Pixels::F32(values) => panic!("expected bytes, got {values:?}"),
    }
}

fn labels(set: &dyn Dataset) -> Vec<u32> {
    (0..set.len()).map(|row| set.label(row).unwrap()).collect()
}

#[test]
fn idx_pairs_plain_and_packed() {
    let folder = tempfile::tempdir().unwrap();
    let images = idx(0x08, &[6, 2, 3], &small_pixels());
    write(folder.path(), "train-images-idx3-ubyte", &images);
    write(
        folder.path(),
        "train-labels-idx1-ubyte.gz",
        &gzip(&idx(0x08, &[6], &[0, 1, 2, 0, 1, 2])),
    );
    write(
        folder.path(),
        "t10k-images-idx3-ubyte.gz",
        &gzip(&idx(0x08, &[2, 2, 3], &[7; 12])),
    );
    write(
        folder.path(),
        "t10k-labels-idx1-ubyte",
        &idx(0x08, &[2], &[1, 0]),
    );
    // An unpacked twin, as torchvision leaves it.
    write(
        folder.path(),
        "t10k-labels-idx1-ubyte.gz",
        &gzip(&idx(0x08, &[2], &[1, 0])),
    );
    write(folder.path(), "README.md", b"not data");
    let train = open_at(folder.path(), Split::Train);
    let test = open_at(folder.path(), Split::Test);
    assert_eq!((train.len(), test.len()), (6, 2));
    assert_eq!(train.info().shape, [1, 2, 3]);
    assert_eq!(bytes(train.as_ref(), 4), [40, 41, 42, 43, 44, 45]);
    assert_eq!(labels(train.as_ref()), [0, 1, 2, 0, 1, 2]);
    // The test labels reach 1 only, but the classes are the training set's.
    assert_eq!(test.info().classes, ["0", "1", "2"]);
    assert_eq!(test.id(1), SampleId::of(Split::Test, 1));

    let one = open_at(&folder.path().join("train-images-idx3-ubyte"), Split::Test);
    assert_eq!(one.info().hash, train.info().hash);
    assert_eq!(one.id(3), train.id(3));
}

#[test]
fn idx_types_and_layouts() {
    let folder = tempfile::tempdir().unwrap();
    let floats: Vec<u8> = [0.0_f32, 0.25, 0.5, 1.0]
        .iter()
        .flat_map(|v| v.to_be_bytes())
        .collect();
    write(folder.path(), "images.idx", &idx(0x0d, &[2, 1, 2], &floats));
    let wide: Vec<u8> = [1_i32, 0].iter().flat_map(|v| v.to_be_bytes()).collect();
    write(folder.path(), "labels.idx", &idx(0x0c, &[2], &wide));
    let set = open_at(folder.path(), Split::Train);
    assert_eq!(
        set.sample(1).unwrap().image.pixels,
        Pixels::F32(vec![0.5, 1.0])
    );
    assert_eq!(labels(set.as_ref()), [1, 0]);

    // Three channels first become channels last.
    let planes: Vec<u8> = (0..12).collect();
    write(
        folder.path(),
        "images.idx",
        &idx(0x08, &[2, 3, 1, 2], &planes),
    );
    let set = open_at(folder.path(), Split::Train);
    assert_eq!(set.info().shape, [3, 1, 2]);
    assert_eq!(bytes(set.as_ref(), 0), [0, 2, 4, 1, 3, 5]);

    let shorts: Vec<u8> = [0_i16, 255, 3, 4]
        .iter()
        .flat_map(|v| v.to_be_bytes())
        .collect();
    write(folder.path(), "images.idx", &idx(0x0b, &[2, 1, 2], &shorts));
    assert_eq!(
        bytes(open_at(folder.path(), Split::Train).as_ref(), 0),
        [0, 255]
    );
}

#[test]
fn idx_values_of_every_type() {
    let parse = |kind, values: &[u8]| idx::parse(&idx(kind, &[2], values)).unwrap().values;
    assert_eq!(parse(0x08, &[1, 255]), idx::Values::U8(vec![1, 255]));
    assert_eq!(parse(0x09, &[1, 255]), idx::Values::I8(vec![1, -1]));
    assert_eq!(
        parse(0x0b, &[1, 0, 255, 255]),
        idx::Values::I16(vec![256, -1])
    );
    assert_eq!(
        parse(0x0c, &[0, 0, 1, 0, 255, 255, 255, 254]),
        idx::Values::I32(vec![256, -2])
    );
    assert_eq!(
        parse(0x0d, &[0x3f, 0x80, 0, 0, 0xbf, 0, 0, 0]),
        idx::Values::F32(vec![1.0, -0.5])
    );
    let doubles = [1.0_f64.to_be_bytes(), 0.1_f64.to_be_bytes()].concat();
    assert_eq!(parse(0x0e, &doubles), idx::Values::F64(vec![1.0, 0.1]));
}

/// Rows of CIFAR's layout: labels, then planes whose values are `10 * channel + row`.
fn cifar(labels: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (row, labels) in labels.iter().enumerate() {
        bytes.extend_from_slice(labels);
        for channel in 0..3 {
            bytes.extend(vec![10 * channel + row as u8; 1024]);
        }
    }
    bytes
}

#[test]
fn cifar_binary_batches() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "data_batch_1.bin", &cifar(&[&[3], &[9]]));
    write(folder.path(), "data_batch_2.bin", &cifar(&[&[0]]));
    write(folder.path(), "test_batch.bin", &cifar(&[&[1]]));
    write(
        folder.path(),
        "batches.meta.txt",
        b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n",
    );
    let train = open_at(folder.path(), Split::Train);
    assert_eq!(labels(train.as_ref()), [3, 9, 0]);
    assert_eq!(train.info().shape, [3, 32, 32]);
    assert_eq!(train.info().classes[3], "cat");
    assert_eq!(bytes(train.as_ref(), 1)[..6], [1, 11, 21, 1, 11, 21]);
    assert_eq!(open_at(folder.path(), Split::Test).len(), 1);

    let hundred = tempfile::tempdir().unwrap();
    // Coarse 4, fine 99: the fine label counts.
    write(hundred.path(), "train.bin", &cifar(&[&[4, 99], &[0, 7]]));
    let train = open_at(hundred.path(), Split::Train);
    assert_eq!(labels(train.as_ref()), [99, 7]);
    assert_eq!(train.info().classes[99], "worm");
    assert_eq!(train.info().classes.len(), 100);
    // Recognised by its size under any name.
    let renamed = write(hundred.path(), "renamed", &cifar(&[&[4, 99]]));
    assert_eq!(
        Source::recognise(&renamed).unwrap().format(),
        "CIFAR-100 binary"
    );
}

const NAMES: &str = r#"{"info": {"features": {"image": {"_type": "Image"},
    "label": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"}}}}"#;

#[test]
fn parquet_shards_codecs_and_names() {
    let folder = tempfile::tempdir().unwrap();
    let image = |value: u8| png(2, 2, ExtendedColorType::Rgb8, &[value; 12]);
    let (one, two, three) = (image(1), image(2), image(3));
    let shard = |name: &str, images: &[Option<&[u8]>], labels: &[i64], codec| {
        let columns = vec![label_column(labels), image_column(images)];
        write_parquet(folder.path(), name, columns, Some(NAMES), codec)
    };
    let zstd = Codec::ZSTD(Default::default());
    shard(
        "data/train-00001-of-00002.parquet",
        &[Some(&three)],
        &[2],
        Codec::SNAPPY,
    );
    shard(
        "data/train-00000-of-00002.parquet",
        &[Some(&one), Some(&two)],
        &[1, 0],
        zstd,
    );
    shard(
        "data/test-00000-of-00001.parquet",
        &[Some(&two)],
        &[0],
        Codec::UNCOMPRESSED,
    );
    let train = open_at(folder.path(), Split::Train);
    assert_eq!(labels(train.as_ref()), [1, 0, 2]);
    assert_eq!(train.info().classes, ["cat", "dog", "owl"]);
    assert_eq!(train.info().shape, [3, 2, 2]);
    assert_eq!(bytes(train.as_ref(), 2), [3; 12]);
    assert_eq!(train.id(2).0, 2);
    let source = Source::recognise(folder.path()).unwrap();
    assert_eq!(source.splits(), [Split::Train, Split::Test]);
    assert_eq!(source.format(), "parquet");
}

#[test]
fn parquet_columns_of_other_types() {
    let folder = tempfile::tempdir().unwrap();
    let image = png(1, 2, ExtendedColorType::L8, &[5, 6]);
    let column: ArrayRef = Arc::new(LargeBinaryArray::from(vec![Some(image.as_slice()); 2]));
    let columns = vec![
        (Field::new("img", DataType::LargeBinary, false), column),
        (
            Field::new("fine_label", DataType::Int32, true),
            Arc::new(Int32Array::from(vec![Some(0), None])) as ArrayRef,
        ),
    ];
    let path = write_parquet(folder.path(), "any.parquet", columns, None, Codec::SNAPPY);
    let set = open_at(&path, Split::Test);
    assert_eq!(set.info().shape, [1, 1, 2]);
    assert_eq!((set.label(0), set.label(1)), (Some(0), None));
    assert_eq!(bytes(set.as_ref(), 1), [5, 6]);
    assert_eq!(set.id(1), SampleId::of(Split::Test, 1));
}

#[test]
fn parquet_hash_is_over_rows_not_files() {
    let folder = tempfile::tempdir().unwrap();
    let image = png(1, 1, ExtendedColorType::L8, &[5]);
    let write = |name: &str, rows: usize, codec| {
        let columns = vec![
            label_column(&vec![0; rows]),
            image_column(&vec![Some(&image[..]); rows]),
        ];
        write_parquet(folder.path(), name, columns, None, codec)
    };
    write("one/train-0.parquet", 2, Codec::SNAPPY);
    write("two/train-0.parquet", 1, Codec::UNCOMPRESSED);
    write("two/train-1.parquet", 1, Codec::UNCOMPRESSED);
    write("three/train-0.parquet", 3, Codec::SNAPPY);
    let hash = |name| {
        open_at(&folder.path().join(name), Split::Train)
            .info()
            .hash
            .clone()
    };
    assert_eq!(hash("one"), hash("two"));
    assert_ne!(hash("one"), hash("three"));
}

#[test]
fn image_folders() {
    let folder = tempfile::tempdir().unwrap();
    let grey = png(2, 3, ExtendedColorType::L8, &[1, 2, 3, 4, 5, 6]);
    let colour = png(2, 3, ExtendedColorType::Rgb8, &[9; 18]);
    write(folder.path(), "train/dog/b.png", &grey);
    write(folder.path(), "train/dog/a.PNG", &colour);
    write(folder.path(), "train/cat/no-ending", &grey);
    write(folder.path(), "train/cat/notes.txt", b"not an image");
    write(folder.path(), "train/cat/.hidden", b"not an image");
    write(folder.path(), "test/dog/x.png", &colour);
    let train = open_at(folder.path(), Split::Train);
    assert_eq!(train.info().classes, ["cat", "dog"]);
    assert_eq!(labels(train.as_ref()), [0, 1, 1]);
    assert_eq!(train.info().shape, [3, 2, 3]);
    // Grey is repeated where another row is in colour.
    assert_eq!(bytes(train.as_ref(), 0)[..6], [1, 1, 1, 2, 2, 2]);
    assert_eq!(bytes(train.as_ref(), 1), [9; 18]);
    // `cat` has no test images, yet `dog` keeps its number.
    assert_eq!(labels(open_at(folder.path(), Split::Test).as_ref()), [1]);

    // Without split folders the whole is given for any split.
    let whole = open_at(&folder.path().join("train"), Split::Test);
    assert_eq!(whole.len(), 3);
    assert!(
        Source::recognise(&folder.path().join("train"))
            .unwrap()
            .splits()
            .is_empty()
    );
}

#[test]
fn images_of_several_sizes_are_scaled_on_request() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "cat/a.png",
        &png(2, 2, ExtendedColorType::L8, &[10; 4]),
    );
    write(
        folder.path(),
        "dog/b.png",
        &png(4, 6, ExtendedColorType::L8, &[20; 24]),
    );
    let error = open(folder.path().to_str().unwrap(), Split::Train)
        .unwrap_err()
        .to_string();
    assert!(error.contains("dog/b.png"), "{error}");
    assert!(
        error.contains("expected 2x2 pixels as in the first row, got 4x6"),
        "{error}"
    );
    assert!(error.contains("`data.resize`"), "{error}");
    let options = OpenOptions {
        resize: Some([3, 5]),
        classes: None,
    };
    let set = Source::recognise(folder.path())
        .unwrap()
        .open(Split::Train, &options)
        .unwrap();
    assert_eq!(set.info().shape, [1, 3, 5]);
    assert_eq!(bytes(set.as_ref(), 1), [20; 15]);

    let digits = Source::recognise(Path::new("digits")).unwrap();
    let options = OpenOptions {
        resize: Some([16, 16]),
        classes: None,
    };
    let (small, large) = (
        open("digits", Split::Test).unwrap(),
        digits.open(Split::Test, &options).unwrap(),
    );
    assert_eq!(large.info().shape, [1, 16, 16]);
    assert_ne!(large.info().hash, small.info().hash);
    let mean = |set: &dyn Dataset| {
        let values = set.sample(0).unwrap().image.pixels.into_unit();
        values.iter().sum::<f32>() / values.len() as f32
    };
    assert!((mean(small.as_ref()) - mean(large.as_ref())).abs() < 0.02);
}

#[test]
fn decoded_pixels_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        folder.path(),
        "cat/a.png",
        &png(2, 2, ExtendedColorType::L8, &[10; 4]),
    );
    write(
        folder.path(),
        "dog/b.png",
        &png(2, 2, ExtendedColorType::L8, &[20; 4]),
    );
    let set = open_at(folder.path(), Split::Train);
    assert_eq!(bytes(set.as_ref(), 0), [10; 4]);
    std::fs::remove_file(path).unwrap();
    assert_eq!(bytes(set.as_ref(), 0), [10; 4]);
}

#[test]
fn rows_of_different_splits_never_share_an_identity() {
    let ids =
        |split| -> BTreeSet<SampleId> { (0..5).map(|row| SampleId::of(split, row)).collect() };
    let all: BTreeSet<_> = [Split::Train, Split::Validation, Split::Test]
        .into_iter()
        .flat_map(ids)
        .collect();
    assert_eq!(all.len(), 15);
    // They survive a reader that keeps numbers as doubles.
    assert!(all.iter().all(|id| id.0 < 1 << 53));
}
