#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytorch")
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{name}.pt"))).unwrap()
}

fn read(name: &str) -> Checkpoint {
    super::super::read_checkpoint(folder().join(format!("{name}.pt")))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn problem(bytes: &[u8]) -> String {
    let message = pytorch_from_bytes(bytes, Path::new("model.pt"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("`model.pt`"), "{message}");
    message
}

/// The values that PyTorch saw when it wrote the fixtures.
fn expected(name: &str) -> BTreeMap<String, HostTensor> {
    let text = std::fs::read_to_string(folder().join("values.json")).unwrap();
    let all: Json = serde_json::from_str(&text).unwrap();
    let numbers = |list: &Json| list.as_array().unwrap().clone();
    let tensors = all[name].as_object().unwrap().iter().map(|(name, tensor)| {
        let shape: Vec<usize> = numbers(&tensor["shape"])
            .iter()
            .map(|size| size.as_u64().unwrap() as usize)
            .collect();
        let values = numbers(&tensor["values"])
            .iter()
            .map(|value| value.as_f64().unwrap() as f32)
            .collect();
        (name.clone(), HostTensor::new(shape, values).unwrap())
    });
    tensors.collect()
}

#[test]
fn checkpoints_have_the_values_that_pytorch_saw() {
    for name in [
        "zip-nested",
        "zip-compressed",
        "zip-average",
        "zip-protocol4",
        "zip-whole",
        "zip-dtypes",
        "zip-views",
        "zip-big-endian",
        "legacy-nested",
        "legacy-whole",
        "legacy-dtypes",
        "legacy-views",
    ] {
        let read = read(name).tensors;
        let expected = expected(name);
        assert!(!expected.is_empty());
        assert_eq!(
            read.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "{name}"
        );
        for (tensor, values) in &expected {
            assert_eq!(&read[tensor], values, "{name} {tensor}");
        }
    }
}

#[test]
fn the_place_of_the_weights_is_told() {
    assert_eq!(read("zip-nested").origin, "PyTorch, `state_dict`");
    assert_eq!(
        read("legacy-nested").origin,
        "PyTorch before 1.6, `state_dict`"
    );
    assert_eq!(read("zip-average").origin, "PyTorch, `nets.model`");
    assert_eq!(read("zip-whole").origin, "PyTorch, `net`");
    assert_eq!(read("zip-views").origin, "PyTorch");
}

#[test]
fn attacks_are_refused_by_name() {
    for (name, global) in [
        ("hostile-system", "`posix.system`"),
        ("hostile-eval", "`builtins.eval`"),
        ("hostile-legacy", "`__builtin__.exec`"),
        ("hostile-plain", "`posix.system`"),
    ] {
        let message = problem(&bytes(name));
        assert!(
            message.contains(global) && message.contains("nothing was executed"),
            "{message}"
        );
    }
}

#[test]
fn what_is_not_read_is_named() {
    for (name, words) in [
        ("zip-complex", ["`a`", "complex64"]),
        ("zip-float8", ["`a`", "float8"]),
        ("zip-sparse", ["`a`", "_rebuild_sparse_tensor"]),
        (
            "zip-none",
            ["`epoch`, `lr`", "torch.save(model.state_dict(), path)"],
        ),
    ] {
        let message = problem(&bytes(name));
        assert!(
            words.iter().all(|word| message.contains(word)),
            "{name}: {message}"
        );
    }
}

#[test]
fn small_files_cannot_ask_for_all_memory() {
    assert!(problem(&bytes("zip-bomb")).contains("out of proportion"));
    assert!(problem(&bytes("zip-endless-view")).contains("out of proportion"));
}

/// A zip checkpoint around a hand-written pickle, with a storage `0` of two values.
fn around(pickle: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, data) in [
        ("a/data.pkl", pickle),
        ("a/data/0", &[0, 0, 128, 63, 0, 0, 0, 64]),
    ] {
        zip.start_file(name, options).unwrap();
        zip.write_all(data).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The pickle of `{"w": tensor}` for a view of the storage, written with one-byte sizes.
fn view(offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let tuple = |sizes: &[u8]| {
        let items = sizes.iter().flat_map(|&size| [b'K', size]);
        std::iter::once(b'(')
            .chain(items)
            .chain([b't'])
            .collect::<Vec<u8>>()
    };
    [
        b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x02tQ",
        &[b'K', offset][..],
        &tuple(shape),
        &tuple(strides),
        b"\x89NtRs.",
    ]
    .concat()
}

#[test]
fn views_stay_within_their_storage() {
    let read = |pickle: &[u8]| pytorch_from_bytes(&around(pickle), Path::new("model.pt"));
    assert_eq!(
        read(&view(0, &[2], &[1])).unwrap().tensors["w"].values,
        [1.0, 2.0]
    );
    assert_eq!(
        read(&view(1, &[1, 1], &[200, 255])).unwrap().tensors["w"].values,
        [2.0]
    );
    assert_eq!(
        read(&view(9, &[0], &[1])).unwrap().tensors["w"].values,
        [0.0; 0]
    );
    for pickle in [
        view(0, &[3], &[1]),
        view(0, &[2], &[2]),
        view(2, &[], &[]),
        view(255, &[255, 255], &[255, 1]),
    ] {
        let message = read(&pickle).unwrap_err().to_string();
        assert!(
            message.contains("`w`") && message.contains("truncated"),
            "{message}"
        );
    }
    let message = read(&view(0, &[2, 1], &[1])).unwrap_err().to_string();
    assert!(message.contains("strides"), "{message}");
}

#[test]
fn broken_pickles_are_explained() {
    for (pickle, words) in [
        (&b"\x80\x02"[..], "ends early"),
        (b"\x80\x09.", "protocol"),
        (b"\x80\x02.", "nothing on the stack"),
        (b"\x80\x02(.", "nothing on the stack"),
        (b"\x80\x02h\x05.", "never stored"),
        (b"\x80\x02\xfe.", "opcode 0xfe at byte 2"),
        (b"\x80\x02\x82\x01.", "opcode 0x82"),
        (b"\x80\x02X\xff\xff\xff\x7fa.", "ends early"),
        (b"\x80\x02}K\x01a.", "an item for no list"),
        (b"\x80\x02}(K\x01u.", "a key without a value"),
        (b"\x80\x02K\x01K\x02Q.", "storage"),
        (b"\x80\x02U\x01\xff.", "no dictionary"),
    ] {
        let message = problem(&around(pickle));
        assert!(
            message.contains(words),
            "{}: {message}",
            pickle.escape_ascii()
        );
    }
}

#[test]
fn cycles_and_deep_nesting_end() {
    let cycle = b"\x80\x02}q\x00U\x01ah\x00s.";
    assert!(problem(&around(cycle)).contains("no dictionary"));
    let deep = [
        &b"\x80\x02"[..],
        &vec![b']'; 100_000],
        &vec![b'a'; 99_999],
        b".",
    ]
    .concat();
    assert!(problem(&around(&deep)).contains("no dictionary"));
    let nested = [&b"\x80\x02N"[..], &vec![0x85; 100_000], b"."].concat();
    assert!(problem(&around(&nested)).contains("no dictionary"));
}

#[test]
fn a_dictionary_copied_over_and_over_is_refused() {
    let pairs: Vec<u8> = (0..1000).flat_map(|_| *b"K\x00K\x00\x86").collect();
    let copies: Vec<u8> = (0..1000).flat_map(|_| *b"h\x00h\x01R0").collect();
    let pickle = [
        &b"\x80\x02ccollections\nOrderedDict\nq\x00("[..],
        &pairs,
        b"l\x85q\x01",
        &copies,
        b".",
    ];
    assert!(problem(&around(&pickle.concat())).contains("over and over"));
}

#[test]
fn python2_texts_and_escapes_are_read() {
    let pickle = view(0, &[1], &[1]);
    let text = |name: &[u8]| {
        let at = pickle
            .windows(3)
            .position(|part| part == b"U\x01w")
            .unwrap();
        [&pickle[..at], name, &pickle[at + 3..]].concat()
    };
    for (name, expected) in [
        (&b"S'w.b'\n"[..], "w.b"),
        (b"V\\u00e9\\U0001f600\\q\n", "é😀\\q"),
        (b"\x8c\x03abc", "abc"),
        (b"T\x01\x00\x00\x00t", "t"),
    ] {
        let read = pytorch_from_bytes(&around(&text(name)), Path::new("m")).unwrap();
        assert_eq!(read.tensors.keys().collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn files_cut_anywhere_are_errors() {
    for name in ["zip-nested", "legacy-nested", "legacy-views"] {
        let whole = bytes(name);
        let cut = pytorch_from_bytes(&whole[..whole.len() - 1], Path::new("m"));
        assert!(cut.is_err(), "{name}");
        for length in (0..whole.len()).step_by(7) {
            assert!(
                pytorch_from_bytes(&whole[..length], Path::new("m")).is_err(),
                "{name} {length}"
            );
        }
    }
}

fn real_files() -> Vec<Vec<u8>> {
    [
        "zip-nested",
        "zip-views",
        "zip-whole",
        "zip-protocol4",
        "zip-compressed",
        "legacy-nested",
        "legacy-whole",
        "legacy-dtypes",
    ]
    .map(bytes)
    .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic(
        file in prop::sample::select(real_files()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut file = file;
        for (place, byte) in damage {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let _ = pytorch_from_bytes(&file, Path::new("m"));
    }

    #[test]
    fn damaged_pickles_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut pickle = view(0, &[2, 1], &[1, 1]);
        for (place, byte) in damage {
            let place = place.index(pickle.len());
            pickle[place] = byte;
        }
        let _ = pytorch_from_bytes(&around(&pickle), Path::new("m"));
    }

    #[test]
    fn any_opcodes_never_panic(opcodes in prop::collection::vec(prop::sample::select(
        b"\x80\x02N\x88KMJ\x8aI\nF\x8cXVUTSCB(012)]t\x85\x86l\x8faeds}uqr\x94phjgc\x93QR\x81\x92iob.".to_vec()
    ), 0..60)) {
        let pickle = [&b"\x80\x02"[..], &opcodes, b"."].concat();
        let _ = parse(&pickle);
    }
}
