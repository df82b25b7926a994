//! Every element type, in every field that may hold it.

use half::{bf16, f16};
use proptest::prelude::*;

use super::messages::{TensorProto, floats, raw};
use super::{initialiser, messages, parse};
use crate::onnx::ElementType;

fn typed(data_type: i32, count: i64) -> TensorProto {
    TensorProto {
        name: "t".to_owned(),
        dims: vec![count],
        data_type,
        ..Default::default()
    }
}

fn check_floats(tensor: TensorProto, element: ElementType, values: &[f32]) {
    let read = initialiser(tensor).unwrap();
    assert_eq!(read.element, element);
    let host = read.floats().unwrap();
    assert_eq!(
        (host.shape.as_slice(), host.values.as_slice()),
        (read.shape.as_slice(), values)
    );
    assert!(
        read.integers()
            .unwrap_err()
            .to_string()
            .contains("expected integers")
    );
}

fn check_integers(tensor: TensorProto, element: ElementType, values: &[i64]) {
    let read = initialiser(tensor).unwrap();
    assert_eq!(read.element, element);
    assert_eq!(read.integers().unwrap(), values);
    assert!(
        read.floats()
            .unwrap_err()
            .to_string()
            .contains("expected real numbers")
    );
}

#[test]
fn real_numbers() {
    let values = [1.5f32, -2.0, 0.25];
    let f32s: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    check_floats(floats("t", &[3, 1], &values), ElementType::F32, &values);
    check_floats(raw("t", 1, &[3], &f32s), ElementType::F32, &values);

    let doubles = values.map(f64::from);
    let f64s: Vec<u8> = doubles
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let double_data = TensorProto {
        double_data: doubles.to_vec(),
        ..typed(11, 3)
    };
    check_floats(double_data, ElementType::F64, &values);
    check_floats(raw("t", 11, &[3], &f64s), ElementType::F64, &values);

    let halves = values.map(|value| f16::from_f32(value).to_bits());
    let f16s: Vec<u8> = halves.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let int32_data = TensorProto {
        int32_data: halves.map(i32::from).to_vec(),
        ..typed(10, 3)
    };
    check_floats(int32_data, ElementType::F16, &values);
    check_floats(raw("t", 10, &[3], &f16s), ElementType::F16, &values);

    let brains = values.map(|value| bf16::from_f32(value).to_bits());
    let bf16s: Vec<u8> = brains.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let int32_data = TensorProto {
        int32_data: brains.map(i32::from).to_vec(),
        ..typed(16, 3)
    };
    check_floats(int32_data, ElementType::BF16, &values);
    check_floats(raw("t", 16, &[3], &bf16s), ElementType::BF16, &values);
}

#[test]
fn integers_and_truth_values() {
    let int32_data = |data_type, values: &[i32]| TensorProto {
        int32_data: values.to_vec(),
        ..typed(data_type, values.len() as i64)
    };
    check_integers(
        int32_data(6, &[-7, i32::MAX]),
        ElementType::I32,
        &[-7, i64::from(i32::MAX)],
    );
    check_integers(int32_data(5, &[-7, 300]), ElementType::I16, &[-7, 300]);
    check_integers(int32_data(3, &[-128, 127]), ElementType::I8, &[-128, 127]);
    check_integers(int32_data(4, &[0, 65535]), ElementType::U16, &[0, 65535]);
    check_integers(int32_data(2, &[0, 255]), ElementType::U8, &[0, 255]);
    check_integers(int32_data(9, &[0, 1]), ElementType::Bool, &[0, 1]);
    let int64_data = TensorProto {
        int64_data: vec![i64::MIN, 5],
        ..typed(7, 2)
    };
    check_integers(int64_data, ElementType::I64, &[i64::MIN, 5]);
    for (number, element) in [(12, ElementType::U32), (13, ElementType::U64)] {
        let uint64_data = TensorProto {
            uint64_data: vec![9, 1 << 31],
            ..typed(number, 2)
        };
        check_integers(uint64_data, element, &[9, 1 << 31]);
    }

    check_integers(
        raw("t", 7, &[1], &(-3i64).to_le_bytes()),
        ElementType::I64,
        &[-3],
    );
    check_integers(
        raw("t", 6, &[1], &(-3i32).to_le_bytes()),
        ElementType::I32,
        &[-3],
    );
    check_integers(
        raw("t", 5, &[1], &(-3i16).to_le_bytes()),
        ElementType::I16,
        &[-3],
    );
    check_integers(raw("t", 3, &[2], &[0xff, 1]), ElementType::I8, &[-1, 1]);
    check_integers(
        raw("t", 13, &[1], &9u64.to_le_bytes()),
        ElementType::U64,
        &[9],
    );
    check_integers(
        raw("t", 12, &[1], &u32::MAX.to_le_bytes()),
        ElementType::U32,
        &[0xffff_ffff],
    );
    check_integers(raw("t", 4, &[1], &[0xff, 0xff]), ElementType::U16, &[65535]);
    check_integers(raw("t", 2, &[2], &[0xff, 1]), ElementType::U8, &[255, 1]);
    check_integers(raw("t", 9, &[3], &[0, 1, 2]), ElementType::Bool, &[0, 1, 1]);
}

#[test]
fn scalars_and_empty_tensors() {
    check_floats(floats("t", &[], &[3.0]), ElementType::F32, &[3.0]);
    check_floats(floats("t", &[0, 5], &[]), ElementType::F32, &[]);
    check_integers(raw("t", 7, &[2, 0], &[]), ElementType::I64, &[]);
}

#[test]
fn values_that_do_not_fit_are_named() {
    let wide = TensorProto {
        int32_data: vec![300],
        ..typed(2, 1)
    };
    let message = initialiser(wide)
        .unwrap()
        .integers()
        .unwrap_err()
        .to_string();
    assert!(
        message.ends_with("tensor `t` (uint8): the value 300 does not fit"),
        "{message}"
    );
    let half = TensorProto {
        int32_data: vec![-1],
        ..typed(10, 1)
    };
    let message = initialiser(half).unwrap().floats().unwrap_err().to_string();
    assert!(message.contains("not a pattern of 16 bits"), "{message}");
    let large = raw("t", 13, &[1], &u64::MAX.to_le_bytes());
    let message = initialiser(large)
        .unwrap()
        .integers()
        .unwrap_err()
        .to_string();
    assert!(message.contains("does not fit"), "{message}");
}

#[test]
fn other_types_are_kept_but_not_decoded() {
    let tensor = initialiser(raw("t", 22, &[3], &[0x21, 0x03])).unwrap();
    assert_eq!(tensor.element, ElementType::Other(22));
    assert!(tensor.floats().unwrap_err().to_string().contains("(int4)"));
    assert!(tensor.integers().is_err());
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        values in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 0..20),
        integers in prop::collection::vec(any::<i64>(), 0..20),
        names in prop::collection::btree_set("[a-z./]{1,9}", 2),
    ) {
        let names: Vec<_> = names.into_iter().map(|name| format!("{name}!")).collect();
        let encoded = messages::model(|graph| {
            graph.initializer.push(floats(&names[0], &[values.len() as i64], &values));
            let mut tensor = typed(7, integers.len() as i64);
            tensor.name.clone_from(&names[1]);
            tensor.int64_data.clone_from(&integers);
            graph.initializer.push(tensor);
        });
        let model = parse(&encoded).unwrap();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let read = model.graph().initialisers[&names[0]].floats().unwrap();
        prop_assert_eq!(bits(&read.values), bits(&values));
        prop_assert_eq!(model.graph().initialisers[&names[1]].integers().unwrap(), integers);
    }
}
