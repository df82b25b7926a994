//! Written models differ from what was read in the new values alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use proptest::prelude::*;
use prost::Message;

use super::messages::{ModelProto, external, floats, model, raw};
use crate::onnx::Model;
use crate::weights::HostTensor;

fn new(name: &str, values: &[f32]) -> BTreeMap<String, HostTensor> {
    let tensor = HostTensor::new([values.len()], values.to_vec()).unwrap();
    BTreeMap::from([(name.to_owned(), tensor)])
}

/// Writes `before` with new values of `name`: the model's bytes.
fn written(before: &ModelProto, name: &str, values: &[f32]) -> crate::Result<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.onnx");
    let model = Model::from_bytes(before.encode_to_vec(), Path::new("old.onnx")).unwrap();
    let result = model.write(&path, &new(name, values));
    assert_eq!(path.exists(), result.is_ok());
    result.map(|()| fs::read(&path).unwrap())
}

fn problem(before: &ModelProto, name: &str, values: &[f32]) -> String {
    written(before, name, values).unwrap_err().to_string()
}

#[test]
fn only_the_values_change() {
    let values = [9.0f32, -0.0, f32::NAN, 1e-40];
    let bytes = values.map(f32::to_le_bytes).concat();
    for (old, replaced) in [
        (floats("w", &[4], &[0.5; 4]), floats("w", &[4], &values)),
        (raw("w", 1, &[4], &[0; 16]), raw("w", 1, &[4], &bytes)),
    ] {
        let [mut before, mut after] = [old, replaced].map(|mut tensor| {
            tensor.unknown = "kept".to_owned();
            model(|graph| graph.initializer[0] = tensor)
        });
        before.unknown = vec![1, 2, 3];
        after.unknown = vec![1, 2, 3];
        assert_eq!(
            written(&before, "w", &values).unwrap(),
            after.encode_to_vec()
        );
    }
}

#[test]
fn unpacked_values_are_replaced() {
    // A tensor of two dimensions with each float in a field of its own, as older writers leave it.
    let one = |value: f32| [&[0x25][..], &value.to_le_bytes()].concat();
    let file = |first, second| {
        let tensor = [
            &[0x08, 2, 0x10, 1, 0x42, 1, b'w'][..],
            &one(first),
            &one(second),
        ]
        .concat();
        let graph = [&[0x2a, tensor.len() as u8][..], &tensor].concat();
        [
            &[0x08, 8, 0x42, 2, 0x10, 17, 0x3a, graph.len() as u8][..],
            &graph,
        ]
        .concat()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.onnx");
    let model = Model::from_bytes(file(1.0, 2.0), Path::new("old.onnx")).unwrap();
    assert_eq!(
        model.graph().initialisers["w"].floats().unwrap().values,
        [1.0, 2.0]
    );
    model.write(&path, &new("w", &[1.0, 5.0])).unwrap();
    assert_eq!(fs::read(&path).unwrap(), file(1.0, 5.0));
}

#[test]
fn other_float_types_are_rounded_and_keep_what_is_equal() {
    let tenth = 0.1f64;
    let doubles = |values: [f64; 2]| {
        let bytes = values.map(f64::to_le_bytes).concat();
        model(|graph| graph.initializer.push(raw("t", 11, &[2], &bytes)))
    };
    let after = written(&doubles([tenth, 2.0]), "t", &[0.1, 3.0]).unwrap();
    assert_eq!(after, doubles([tenth, 3.0]).encode_to_vec());

    let halves = |bits: [u16; 2]| {
        let bytes = bits.map(u16::to_le_bytes).concat();
        model(|graph| graph.initializer.push(raw("t", 10, &[2], &bytes)))
    };
    let before = halves([0x7e01, 0x3c00]);
    let nan = f16::from_bits(0x7e01).to_f32();
    let after = written(&before, "t", &[nan, 0.1]).unwrap();
    assert_eq!(
        after,
        halves([0x7e01, f16::from_f32(0.1).to_bits()]).encode_to_vec()
    );
    assert!(problem(&before, "t", &[0.0, 1e6]).ends_with("the new value 1000000 is too large"));
}

#[test]
fn what_cannot_be_replaced_is_told() {
    let mut halves = raw("h", 10, &[1], &[]);
    halves.raw_data = None;
    halves.int32_data = vec![0x3c00];
    let before = model(|graph| {
        graph.initializer.push(raw("i", 7, &[1], &[0; 8]));
        graph.initializer.push(halves);
    });
    let message = problem(&before, "v", &[0.0]);
    assert!(
        message.starts_with("there is no initialiser `v`"),
        "{message}"
    );
    assert!(problem(&before, "w", &[0.0]).contains("expected new values of shape [4], got [1]"));
    assert!(problem(&before, "i", &[0.0]).contains("tensor `i` (int64): expected real numbers"));
    assert!(problem(&before, "h", &[2.0]).contains("variable length"));
    assert_eq!(
        written(&before, "h", &[1.0]).unwrap(),
        before.encode_to_vec()
    );
}

/// A model in `folder` with the weights `w` and `v`, one after the other, in a file of 36 bytes.
fn with_external(folder: &Path, offset: &str) -> PathBuf {
    fs::create_dir_all(folder.join("sub")).unwrap();
    let bytes: Vec<u8> = (0..36).collect();
    fs::write(folder.join("sub/data"), bytes).unwrap();
    let place = |offset| [("location", "./sub/data"), ("offset", offset)];
    let encoded = model(|graph| {
        graph.initializer[0] = external("w", &[4], &place("0"));
        graph.initializer.push(external("v", &[4], &place(offset)));
    });
    let path = folder.join("old.onnx");
    fs::write(&path, encoded.encode_to_vec()).unwrap();
    path
}

#[test]
fn external_files_are_written_beside_the_new_model() {
    let outer = tempfile::tempdir().unwrap();
    let old = with_external(outer.path(), "16");
    let before = fs::read(outer.path().join("sub/data")).unwrap();
    let model = Model::read(&old).unwrap();
    let values = [1.0f32, 2.0, 3.0, 4.0];

    let folder = outer.path().join("new");
    fs::create_dir(&folder).unwrap();
    model
        .write(folder.join("new.onnx"), &new("v", &values))
        .unwrap();
    assert_eq!(
        fs::read(folder.join("new.onnx")).unwrap(),
        fs::read(&old).unwrap()
    );
    let expected = [
        &before[..16],
        &values.map(f32::to_le_bytes).concat(),
        &before[32..],
    ]
    .concat();
    assert_eq!(fs::read(folder.join("sub/data")).unwrap(), expected);
    assert_eq!(fs::read(outer.path().join("sub/data")).unwrap(), before);
    let read = Model::read(folder.join("new.onnx")).unwrap();
    assert_eq!(
        read.graph().initialisers["v"].floats().unwrap().values,
        values
    );

    let beside = outer.path().join("beside.onnx");
    let message = model
        .write(&beside, &new("v", &values))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("would replace the original model's"),
        "{message}"
    );
    assert!(!beside.exists());
    model.write(&beside, &BTreeMap::new()).unwrap();
    assert_eq!(fs::read(outer.path().join("sub/data")).unwrap(), before);

    model.write(&old, &new("v", &values)).unwrap();
    assert_eq!(fs::read(outer.path().join("sub/data")).unwrap(), expected);
}

#[test]
fn shared_bytes_are_not_replaced() {
    let outer = tempfile::tempdir().unwrap();
    let old = with_external(outer.path(), "12");
    let folder = outer.path().join("new");
    fs::create_dir(&folder).unwrap();
    let model = Model::read(&old).unwrap();
    let written = model.write(folder.join("new.onnx"), &new("v", &[1.0; 4]));
    let message = written.unwrap_err().to_string();
    assert!(
        message.contains("shares bytes of its external data with `w`"),
        "{message}"
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn external_files_are_not_written_through_a_link() {
    let outer = tempfile::tempdir().unwrap();
    let old = with_external(outer.path(), "16");
    let [folder, away] = ["new", "away"].map(|name| outer.path().join(name));
    fs::create_dir(&folder).unwrap();
    fs::create_dir(&away).unwrap();
    std::os::unix::fs::symlink(&away, folder.join("sub")).unwrap();
    let written = Model::read(&old)
        .unwrap()
        .write(folder.join("new.onnx"), &BTreeMap::new());
    let message = written.unwrap_err().to_string();
    assert!(message.contains("would be written outside"), "{message}");
    assert_eq!(fs::read_dir(&away).unwrap().count(), 0);
}

proptest! {
    #[test]
    fn unchanged_values_give_the_same_bytes(
        number in prop::sample::select(vec![(1, 4), (10, 2), (11, 8), (16, 2)]),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let (data_type, size) = number;
        let count = bytes.len() / size;
        let tensor = raw("t", data_type, &[count as i64], &bytes[..count * size]);
        let encoded = model(|graph| graph.initializer.push(tensor)).encode_to_vec();
        let model = Model::from_bytes(encoded.clone(), Path::new("m")).unwrap();
        let initialisers = &model.graph().initialisers;
        let all = initialisers.iter().map(|(name, tensor)| (name.clone(), tensor.floats().unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.onnx");
        model.write(&path, &all.collect()).unwrap();
        prop_assert_eq!(fs::read(&path).unwrap(), encoded);
    }

    #[test]
    fn new_values_are_read_again(
        values in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 4),
    ) {
        let bytes = written(&model(|_| {}), "w", &values).unwrap();
        let read = Model::from_bytes(bytes, Path::new("m")).unwrap();
        let read = read.graph().initialisers["w"].floats().unwrap();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read.values), bits(&values));
    }
}
