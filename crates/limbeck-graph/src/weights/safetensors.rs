//! The safetensors format: a length, a JSON header, the bytes of the tensors.
//!
//! Reading goes through the `safetensors` crate. Writing does not: the crate keeps metadata in a hash
//! map, so a file with two entries has other bytes on every run, and Limbeck compares files bit for bit.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::{Map, Value, json};

use super::element::{ByteOrder, Element};
use super::{Checkpoint, HostTensor, is_counter};
use crate::{Error, Result, files};

/// The key of the metadata in the header.
const METADATA: &str = "__metadata__";

/// Writes `tensors` as `f32` and `metadata` to `path`, in one step: the file that stood there before is
/// replaced whole or not at all. Equal tensors and metadata give equal bytes.
///
/// # Errors
/// If a tensor's shape does not hold its values, a tensor is called `__metadata__`, the folder cannot
/// be written or the disk is full.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    tensors: &BTreeMap<String, HostTensor>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let path = path.as_ref();
    let header = header(tensors, metadata).map_err(|problem| unusable(path, problem))?;
    files::replace(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for value in tensors.values().flat_map(|tensor| &tensor.values) {
            file.write_all(&value.to_le_bytes())?;
        }
        Ok(())
    })
}

/// The header, padded so that the tensors start at a multiple of 8 bytes.
fn header(
    tensors: &BTreeMap<String, HostTensor>,
    metadata: &BTreeMap<String, String>,
) -> std::result::Result<Vec<u8>, String> {
    let mut entries = Map::new();
    if !metadata.is_empty() {
        entries.insert(METADATA.to_owned(), json!(metadata));
    }
    let mut start = 0;
    for (name, tensor) in tensors {
        if name == METADATA {
            return Err(format!("a tensor cannot be called `{METADATA}`"));
        }
        HostTensor::check(&tensor.shape, tensor.values.len())
            .map_err(|error| format!("tensor `{name}`: {error}"))?;
        let end = start + size_of::<f32>() * tensor.len();
        let entry = json!({"dtype": "F32", "shape": tensor.shape, "data_offsets": [start, end]});
        entries.insert(name.clone(), entry);
        start = end;
    }
    let mut header = Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// Reads a safetensors file from memory; `path` is only named in errors.
///
/// # Errors
/// If the header is broken or does not fit the file, or a tensor has elements without a value in `f32`.
pub fn safetensors_from_bytes(bytes: &[u8], path: &Path) -> Result<Checkpoint> {
    parse(bytes).map_err(|problem| unusable(path, problem))
}

fn parse(bytes: &[u8]) -> std::result::Result<Checkpoint, String> {
    let claimed = bytes
        .first_chunk()
        .map(|length| u64::from_le_bytes(*length));
    let present = bytes.len().saturating_sub(8) as u64;
    match claimed {
        None => return Err(format!("expected at least 8 bytes, got {}", bytes.len())),
        Some(claimed) if claimed > present => {
            return Err(format!(
                "the safetensors header claims {claimed} bytes, but only {present} follow; the file is truncated \
                 or of another format"
            ));
        }
        Some(_) => {}
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| explain(&error))?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| explain(&error))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        if is_counter(name) {
            continue;
        }
        let values = element(view.dtype())
            .decode(view.data(), ByteOrder::Little)
            .map_err(|problem| format!("tensor `{name}`: {problem}"))?;
        let tensor = HostTensor::new(view.shape(), values)
            .map_err(|error| format!("tensor `{name}`: {error}"))?;
        tensors.insert(name.to_owned(), tensor);
    }
    let metadata = header.metadata().clone().unwrap_or_default();
    Ok(Checkpoint {
        tensors,
        metadata: metadata.into_iter().collect(),
        origin: "safetensors".to_owned(),
    })
}

fn unusable(path: &Path, problem: String) -> Error {
    Error::Weights {
        path: path.to_owned(),
        problem,
    }
}

fn explain(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::MetadataIncompleteBuffer => {
            "the tensors in the safetensors header do not cover the file exactly; it is truncated or has \
             bytes added"
                .to_owned()
        }
        SafeTensorError::InvalidOffset(name) => {
            format!("tensor `{name}` overlaps another or leaves a gap before it")
        }
        SafeTensorError::TensorInvalidInfo => {
            "a tensor's shape and type do not fit its bytes".to_owned()
        }
        SafeTensorError::ValidationOverflow => "a tensor's shape is too large".to_owned(),
        SafeTensorError::HeaderTooLarge => {
            "the safetensors header is larger than the format allows".to_owned()
        }
        other => format!("the safetensors header is broken: {other}"),
    }
}

fn element(dtype: Dtype) -> Element {
    match dtype {
        Dtype::F64 => Element::F64,
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::BF16,
        Dtype::I64 => Element::I64,
        Dtype::I32 => Element::I32,
        Dtype::I16 => Element::I16,
        Dtype::I8 => Element::I8,
        Dtype::U64 => Element::U64,
        Dtype::U32 => Element::U32,
        Dtype::U16 => Element::U16,
        Dtype::U8 => Element::U8,
        Dtype::BOOL => Element::Bool,
        Dtype::C64 => Element::Unsupported("complex64", 8),
        _ => Element::Unsupported("float8 or smaller", 1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Checkpoint> {
        safetensors_from_bytes(bytes, Path::new("model.safetensors"))
    }

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [
            &(header.len() as u64).to_le_bytes(),
            header.as_bytes(),
            data,
        ]
        .concat()
    }

    fn problem(bytes: &[u8]) -> String {
        let message = read(bytes).unwrap_err().to_string();
        assert!(message.contains("`model.safetensors`"), "{message}");
        message
    }

    fn some() -> BTreeMap<String, HostTensor> {
        BTreeMap::from([
            (
                "fc.weight".to_owned(),
                HostTensor::new([2, 3], vec![0.5, -1.0, 2.0, 3.5, 1e-40, f32::MAX]).unwrap(),
            ),
            (
                "fc.bias".to_owned(),
                HostTensor::new([2], vec![f32::NEG_INFINITY, -0.0]).unwrap(),
            ),
            ("scale".to_owned(), HostTensor::new([], vec![7.0]).unwrap()),
            ("none".to_owned(), HostTensor::new([0, 4], vec![]).unwrap()),
        ])
    }

    fn about() -> BTreeMap<String, String> {
        ["arch", "epoch", "b", "z", "a"]
            .iter()
            .map(|key| ((*key).to_owned(), format!("{key} \"é\"")))
            .collect()
    }

    #[test]
    fn what_is_written_is_read_and_has_the_same_bytes_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        write_safetensors(&path, &some(), &about()).unwrap();
        let first = std::fs::read(&path).unwrap();
        for _ in 0..4 {
            write_safetensors(&path, &some(), &about()).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), first);
        }
        let read = read(&first).unwrap();
        assert_eq!(read.tensors, some());
        assert_eq!(read.metadata, about());
        assert_eq!((first.len() - 4 * 9) % 8, 0, "the tensors start aligned");
    }

    #[test]
    fn other_readers_accept_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        write_safetensors(&path, &some(), &about()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor("fc.weight").unwrap().shape(), [2, 3]);
    }

    #[test]
    fn half_precision_and_integers_become_f32() {
        let header = r#"{"b":{"dtype":"BF16","shape":[1],"data_offsets":[2,4]},"h":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"i":{"dtype":"I64","shape":[1],"data_offsets":[4,12]},"bn.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[12,20]}}"#;
        let data = [
            0x00, 0x3c, 0x80, 0x3f, 5, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,
        ];
        let read = read(&file(header, &data)).unwrap().tensors;
        let values: Vec<f32> = read.values().map(|tensor| tensor.values[0]).collect();
        assert_eq!(values, [1.0, 1.0, 5.0]);
        assert!(!read.contains_key("bn.num_batches_tracked"));
    }

    #[test]
    fn broken_files_are_explained() {
        let huge = [&(1u64 << 63).to_le_bytes()[..], b"{\"a\":1}"].concat();
        assert!(problem(&huge).contains("claims 9223372036854775808 bytes, but only 7 follow"));
        assert!(problem(b"abc").contains("at least 8 bytes, got 3"));
        let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
        assert!(problem(&file(overlap, &[0; 12])).contains("overlaps"));
        let short = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        assert!(problem(&file(short, &[0; 7])).contains("truncated"));
        let wrong = r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#;
        assert!(problem(&file(wrong, &[0; 8])).contains("do not fit its bytes"));
        let overflow = format!(
            r#"{{"a":{{"dtype":"F32","shape":[{0},{0}],"data_offsets":[0,8]}}}}"#,
            usize::MAX
        );
        assert!(problem(&file(&overflow, &[0; 8])).contains("too large"));
        let float8 = r#"{"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}"#;
        assert!(problem(&file(float8, &[0; 8])).contains("float8"));
        assert!(problem(&file("{not json", &[])).contains("header is broken"));
    }

    #[test]
    fn what_cannot_be_written_is_refused_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let broken = HostTensor {
            shape: vec![2],
            values: vec![1.0],
        };
        let tensors = BTreeMap::from([("fc.bias".to_owned(), broken)]);
        let error = write_safetensors(&path, &tensors, &BTreeMap::new())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`fc.bias`") && error.contains("[2] does not hold 1"),
            "{error}"
        );
        let reserved =
            BTreeMap::from([(METADATA.to_owned(), HostTensor::new([], vec![1.0]).unwrap())]);
        assert!(write_safetensors(&path, &reserved, &BTreeMap::new()).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    fn any_tensors() -> impl Strategy<Value = BTreeMap<String, HostTensor>> {
        let tensor = prop::collection::vec(0usize..4, 0..4).prop_flat_map(|shape| {
            let count = shape.iter().product::<usize>();
            prop::collection::vec(
                any::<f32>().prop_filter("equal to itself", |x| !x.is_nan()),
                count,
            )
            .prop_map(move |values| HostTensor::new(shape.clone(), values).unwrap())
        });
        prop::collection::btree_map("[a-z\"\\\\é.0-9]{0,12}", tensor, 0..5)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_tensors_survive(
            tensors in any_tensors(),
            metadata in prop::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.safetensors");
            write_safetensors(&path, &tensors, &metadata).unwrap();
            let read = read(&std::fs::read(&path).unwrap()).unwrap();
            prop_assert_eq!(read.tensors, tensors);
            prop_assert_eq!(read.metadata, metadata);
        }

        #[test]
        fn damaged_files_never_panic(
            tensors in any_tensors(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = header(&tensors, &about()).unwrap();
            bytes.splice(..0, (bytes.len() as u64).to_le_bytes());
            bytes.extend(tensors.values().flat_map(|tensor| &tensor.values).flat_map(|x| x.to_le_bytes()));
            prop_assert!(read(&bytes).is_ok());
            for (place, byte) in damage {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let _ = read(&bytes);
        }
    }
}
