#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod values;

use super::*;
use crate::ir::{
    Activation, BatchNorm, ChannelShuffle, Concatenate, Dropout, Embedding, LayerNorm, Linear,
    Parameter, Reshape, ScaleShift, Softmax, Split, Transpose,
};

fn of(op: &Op, shapes: &[&[usize]]) -> Result<String, String> {
    let types: Vec<ValueType> = shapes
        .iter()
        .map(|sizes| ValueType::float(Shape::batched(sizes)))
        .collect();
    let outputs = infer(op, &types.iter().collect::<Vec<_>>())?;
    Ok(outputs
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" "))
}

fn refused(op: &Op, shapes: &[&[usize]]) -> String {
    of(op, shapes).unwrap_err()
}

#[test]
fn every_operator_has_a_shape() {
    let pool = Pool2d::new(3).stride(2).padding(1);
    let cases: [(Op, &[&[usize]], &str); 21] = [
        (
            Op::Conv1d(Conv1d::new(3, 5, 3).stride(2)),
            &[&[3, 9]],
            "[batch, 5, 4]",
        ),
        (
            Op::Conv2d(Conv2d::new(3, 5, 3).padding(1).stride(2)),
            &[&[3, 9, 8]],
            "[batch, 5, 5, 4]",
        ),
        (
            Op::ConvTranspose2d(ConvTranspose2d::new(3, 5, 4).stride(2).padding(1)),
            &[&[3, 4, 5]],
            "[batch, 5, 8, 10]",
        ),
        (Op::Linear(Linear::new(6, 2)), &[&[4, 6]], "[batch, 4, 2]"),
        (
            Op::BatchNorm(BatchNorm::new(4)),
            &[&[4, 6, 6]],
            "[batch, 4, 6, 6]",
        ),
        (
            Op::LayerNorm(LayerNorm::new(6)),
            &[&[4, 6]],
            "[batch, 4, 6]",
        ),
        (Op::Dropout(Dropout { rate: 0.5 }), &[&[4]], "[batch, 4]"),
        (
            Op::Activation(Activation::Relu),
            &[&[4, 2]],
            "[batch, 4, 2]",
        ),
        (
            Op::MaxPool2d(pool.clone()),
            &[&[3, 8, 7]],
            "[batch, 3, 4, 4]",
        ),
        (
            Op::AvgPool2d(pool.ceil(true)),
            &[&[3, 8, 7]],
            "[batch, 3, 5, 4]",
        ),
        (Op::GlobalAvgPool, &[&[3, 8, 7]], "[batch, 3, 1, 1]"),
        (
            Op::Add,
            &[&[3, 8, 7], &[3, 1, 7], &[1, 1, 1]],
            "[batch, 3, 8, 7]",
        ),
        (
            Op::Concatenate(Concatenate { axis: 1 }),
            &[&[3, 8], &[2, 8]],
            "[batch, 5, 8]",
        ),
        (
            Op::Split(Split {
                axis: 2,
                sizes: vec![3, 5],
            }),
            &[&[2, 8]],
            "[batch, 2, 3] [batch, 2, 5]",
        ),
        (
            Op::Reshape(Reshape { sizes: vec![4, 4] }),
            &[&[2, 8]],
            "[batch, 4, 4]",
        ),
        (
            Op::Transpose(Transpose {
                axes: vec![0, 2, 1],
            }),
            &[&[2, 8]],
            "[batch, 8, 2]",
        ),
        (
            Op::ChannelShuffle(ChannelShuffle { groups: 2 }),
            &[&[4, 3, 3]],
            "[batch, 4, 3, 3]",
        ),
        (Op::Flatten, &[&[4, 3, 3]], "[batch, 36]"),
        (Op::MatMul, &[&[2, 4, 3], &[1, 3, 5]], "[batch, 2, 4, 5]"),
        (
            Op::Softmax(Softmax { axis: 2 }),
            &[&[4, 3]],
            "[batch, 4, 3]",
        ),
        (
            Op::Parameter(Parameter { shape: vec![4, 3] }),
            &[],
            "[4, 3]",
        ),
    ];
    for (op, inputs, expected) in cases {
        assert_eq!(of(&op, inputs).as_deref(), Ok(expected), "{}", op.name());
    }
    let table = Op::Embedding(Embedding { tokens: 9, size: 5 });
    assert_eq!(
        infer(&table, &[&ValueType::tokens(7)]).unwrap()[0].to_string(),
        "[batch, 7, 5]"
    );
}

#[test]
fn mistakes_say_what_was_expected() {
    let conv = Op::Conv2d(Conv2d::new(3, 4, 3));
    let cases: Vec<(String, &str)> = vec![
        (refused(&conv, &[]), "expected 1 input, got 0"),
        (refused(&Op::Subtract, &[&[2]]), "expected 2 inputs, got 1"),
        (
            refused(&Op::Add, &[&[2]]),
            "expected 2 or more inputs, got 1",
        ),
        (
            refused(&conv, &[&[4, 8, 8]]),
            "expected 3 input channels, got 4 in [batch, 4, 8, 8]",
        ),
        (
            refused(&conv, &[&[3, 8]]),
            "expected a shape of rank 4 that starts with the batch, got [batch, 3, 8]",
        ),
        (
            refused(&Op::Conv2d(Conv2d::new(3, 4, 3).groups(2)), &[&[3, 8, 8]]),
            "expected a number of input channels that 2 groups divide, got 3",
        ),
        (
            refused(&Op::Conv2d(Conv2d::new(3, 4, 3).stride(0)), &[&[3, 8, 8]]),
            "expected a positive `stride`, got 0",
        ),
        (
            refused(&Op::Conv2d(Conv2d::new(3, 4, 3).groups(0)), &[&[3, 8, 8]]),
            "expected a positive `groups`, got 0",
        ),
        (
            refused(&Op::MaxPool2d(Pool2d::new(2).padding(2)), &[&[3, 8, 8]]),
            "expected a padding of at most half the window (1), got 2",
        ),
        (
            refused(
                &Op::ConvTranspose2d(ConvTranspose2d::new(3, 4, 2).stride(2).output_padding(2)),
                &[&[3, 8, 8]],
            ),
            "expected an `output_padding` below the stride 2 or the dilation 1, got 2",
        ),
        (
            refused(&Op::Linear(Linear::new(5, 2)), &[&[4]]),
            "expected a last axis of size 5, got [batch, 4]",
        ),
        (
            refused(&Op::Dropout(Dropout { rate: 1.0 }), &[&[4]]),
            "expected `rate` from 0 up to but not including 1, got 1",
        ),
        (
            refused(&Op::Dropout(Dropout { rate: f64::NAN }), &[&[4]]),
            "expected `rate` from 0 up to but not including 1, got NaN",
        ),
        (
            refused(&Op::BatchNorm(BatchNorm::new(4).epsilon(0.0)), &[&[4]]),
            "expected `epsilon` above 0, got 0",
        ),
        (
            refused(&Op::BatchNorm(BatchNorm::new(4).momentum(1.5)), &[&[4]]),
            "expected `momentum` from 0 to 1, got 1.5",
        ),
        (
            refused(
                &Op::ScaleShift(ScaleShift {
                    scale: f64::INFINITY,
                    shift: 0.0,
                }),
                &[&[4]],
            ),
            "expected finite numbers, got scale inf and shift 0",
        ),
        (
            refused(&Op::Add, &[&[2, 3], &[2, 4]]),
            "cannot combine [batch, 2, 3] and [batch, 2, 4]: axis 2 differs and neither side is 1",
        ),
        (
            refused(
                &Op::Concatenate(Concatenate { axis: 1 }),
                &[&[2, 3], &[2, 4]],
            ),
            "expected the same sizes except along axis 1, got [batch, 2, 3] and [batch, 2, 4]",
        ),
        (
            refused(&Op::Concatenate(Concatenate { axis: 0 }), &[&[2, 3]]),
            "expected an axis of [batch, 2, 3] other than the batch, got axis 0",
        ),
        (
            refused(
                &Op::Split(Split {
                    axis: 1,
                    sizes: vec![2, 3],
                }),
                &[&[4]],
            ),
            "expected sizes that sum to 4 along axis 1, got [2, 3]",
        ),
        (
            refused(&Op::Reshape(Reshape { sizes: vec![5] }), &[&[2, 3]]),
            "cannot reshape [batch, 2, 3] with 6 values per row to [batch, 5] with 5",
        ),
        (
            refused(&Op::Transpose(Transpose { axes: vec![0, 0] }), &[&[2]]),
            "expected the axes of [batch, 2] in another order, got [0, 0]",
        ),
        (
            refused(&Op::MatMul, &[&[2, 3], &[2, 3]]),
            "cannot multiply [batch, 2, 3] and [batch, 2, 3]: 3 columns against 2 rows",
        ),
        (
            refused(
                &Op::ChannelShuffle(ChannelShuffle { groups: 2 }),
                &[&[3, 4, 4]],
            ),
            "expected a number of channels that 2 groups divide, got 3",
        ),
        (
            refused(&Op::Embedding(Embedding { tokens: 3, size: 2 }), &[&[4]]),
            "expected token ids, got floats [batch, 4]",
        ),
        (
            refused(&Op::Parameter(Parameter { shape: vec![] }), &[]),
            "expected a shape of 1 to 6 sizes, got []",
        ),
    ];
    for (got, expected) in cases {
        assert_eq!(got, expected);
    }
    let tokens = infer(&Op::Flatten, &[&ValueType::tokens(4)]).unwrap_err();
    assert_eq!(
        tokens,
        "expected floats, got token ids: they need an embedding first"
    );
}

#[test]
fn absurd_sizes_are_refused_and_do_not_overflow() {
    let huge = usize::MAX;
    assert!(
        of(
            &Op::Conv2d(Conv2d::new(3, 4, 3).dilation(huge)),
            &[&[3, 8, 8]]
        )
        .is_err()
    );
    assert!(
        of(
            &Op::Conv2d(Conv2d::new(3, 4, 3).padding(huge)),
            &[&[3, 8, 8]]
        )
        .is_err()
    );
    assert!(
        of(
            &Op::Conv2d(Conv2d::new(3, 4, 1).stride(huge)),
            &[&[3, 8, 8]]
        )
        .is_ok()
    );
    let up = ConvTranspose2d::new(3, 4, 3).stride(huge).padding(huge);
    assert!(of(&Op::ConvTranspose2d(up), &[&[3, 8, 8]]).is_err());
    assert!(
        of(
            &Op::Split(Split {
                axis: 1,
                sizes: vec![huge, 5]
            }),
            &[&[4]]
        )
        .is_err()
    );
    assert!(
        of(
            &Op::Reshape(Reshape {
                sizes: vec![huge, huge]
            }),
            &[&[4]]
        )
        .is_err()
    );
    assert!(
        of(
            &Op::Concatenate(Concatenate { axis: 1 }),
            &[&[huge], &[huge]]
        )
        .is_err()
    );
}
