//! Operators on values whose batch may be anywhere, and recurrent layers.

use super::*;
use crate::ir::{
    Cell, Compare, Constant, Direction, Expand, Fill, Pad, Recurrent, Reduce, Reduction, Relation,
    Slice, Take, View,
};

/// A shape as it is displayed, such as `[4, 2 batch, 3]`.
fn shape(text: &str) -> Shape {
    let inner = text.trim_start_matches('[').trim_end_matches(']');
    let dim = |word: &str| match word.split_once(' ') {
        Some((count, "batch")) => Dim::Batches(count.parse().unwrap()),
        _ if word == "batch" => Dim::Batch,
        _ => Dim::Fixed(word.parse().unwrap()),
    };
    inner.split(", ").map(dim).collect()
}

fn of(op: &Op, inputs: &[&str]) -> Result<String, String> {
    let types: Vec<ValueType> = inputs
        .iter()
        .map(|text| ValueType::float(shape(text)))
        .collect();
    let outputs = infer(op, &types.iter().collect::<Vec<_>>())?;
    Ok(outputs
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" "))
}

fn view(to: &str) -> Op {
    Op::View(View { shape: shape(to) })
}

fn expand(to: &str) -> Op {
    Op::Expand(Expand { shape: shape(to) })
}

fn slice(axis: usize, start: usize, count: usize, step: usize) -> Op {
    Op::Slice(Slice {
        axis,
        start,
        count,
        step,
    })
}

fn take(axis: usize, indices: &[usize]) -> Op {
    let indices = indices.to_vec();
    Op::Take(Take { axis, indices })
}

fn pad(sides: &[[usize; 2]], fill: Fill) -> Op {
    let sides = sides.to_vec();
    Op::Pad(Pad { sides, fill })
}

fn mean(axes: &[usize]) -> Op {
    let (reduction, axes) = (Reduction::Mean, axes.to_vec());
    Op::Reduce(Reduce { reduction, axes })
}

fn recurrent(cell: Cell, direction: Direction) -> Op {
    Op::Recurrent(Recurrent {
        cell,
        direction,
        inputs: 5,
        hidden: 3,
        bias: true,
    })
}

const ZEROS: Fill = Fill::Constant { value: 0.0 };

#[test]
fn values_are_moved_wherever_their_batch_is() {
    let compare = Op::Compare(Compare {
        relation: Relation::Less,
    });
    let transpose = |axes: &[usize]| {
        Op::Transpose(Transpose {
            axes: axes.to_vec(),
        })
    };
    let parameter = |shape: Vec<usize>| Op::Parameter(Parameter { shape });
    let constant = |shape: Vec<usize>| Op::Constant(Constant { shape });
    let softmax = Op::Softmax(Softmax { axis: 0 });
    let cases: Vec<(Op, &[&str], &str)> = vec![
        (view("[4 batch, 3]"), &["[batch, 4, 3]"], "[4 batch, 3]"),
        (
            view("[2, batch, 2, 3]"),
            &["[4 batch, 3]"],
            "[2, batch, 2, 3]",
        ),
        (view("[6]"), &["[2, 3]"], "[6]"),
        (
            view("[batch, batch]"),
            &["[1, batch, batch]"],
            "[batch, batch]",
        ),
        (expand("[batch, 4, 3]"), &["[1, 3]"], "[batch, 4, 3]"),
        (expand("[1, 1, 1]"), &["[batch, 4, 3]"], "[batch, 4, 3]"),
        (expand("[2 batch, 3]"), &["[1, 1]"], "[2 batch, 3]"),
        (slice(1, 1, 3, 2), &["[batch, 6]"], "[batch, 3]"),
        (take(0, &[1, 1, 0]), &["[2, batch]"], "[3, batch]"),
        (
            pad(&[[0, 0], [1, 2]], Fill::Reflect),
            &["[batch, 3]"],
            "[batch, 6]",
        ),
        (pad(&[[3, 0], [0, 0]], ZEROS), &["[1, batch]"], "[4, batch]"),
        (mean(&[0, 2]), &["[4, batch, 6, 7]"], "[1, batch, 1, 7]"),
        (Op::Divide, &["[batch, 4]", "[4]"], "[batch, 4]"),
        (Op::Maximum, &["[3, 1]", "[batch, 1, 2]"], "[batch, 3, 2]"),
        (Op::Minimum, &["[2 batch, 4]", "[1]"], "[2 batch, 4]"),
        (compare, &["[batch, 4]", "[batch, 1]"], "[batch, 4]"),
        (Op::Where, &["[batch, 1]", "[4]", "[1]"], "[batch, 4]"),
        (transpose(&[2, 0, 1]), &["[batch, 4, 3]"], "[3, batch, 4]"),
        (
            Op::MatMul,
            &["[2 batch, 4, 3]", "[2 batch, 3, 5]"],
            "[2 batch, 4, 5]",
        ),
        (Op::MatMul, &["[batch, 3]", "[3, batch]"], "[batch, batch]"),
        (softmax, &["[4, batch]"], "[4, batch]"),
        (Op::Flatten, &["[3 batch, 4, 2]"], "[3 batch, 8]"),
        (
            Op::Conv2d(Conv2d::new(3, 4, 1)),
            &["[9 batch, 3, 2, 2]"],
            "[9 batch, 4, 2, 2]",
        ),
        (parameter(vec![1, 2, 1, 2, 1, 2]), &[], "[1, 2, 1, 2, 1, 2]"),
        (constant(vec![4]), &[], "[4]"),
        (
            recurrent(Cell::Lstm, Direction::Both),
            &["[7, batch, 5]", "[2, batch, 3]", "[2, 1, 3]"],
            "[7, 2, batch, 3] [2, batch, 3] [2, batch, 3]",
        ),
        (
            recurrent(Cell::Gru { reset_after: true }, Direction::Reverse),
            &["[7, 2 batch, 5]"],
            "[7, 1, 2 batch, 3] [1, 2 batch, 3]",
        ),
        (
            recurrent(Cell::Tanh, Direction::Forward),
            &["[1, batch, 5]", "[1, batch, 3]"],
            "[1, 1, batch, 3] [1, batch, 3]",
        ),
    ];
    for (op, inputs, expected) in cases {
        assert_eq!(of(&op, inputs).as_deref(), Ok(expected), "{op:?}");
    }
    let floats = infer(&Op::TokensAsFloats, &[&ValueType::tokens(7)]).unwrap();
    assert_eq!(floats, [ValueType::float(shape("[batch, 7]"))]);
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let lstm = recurrent(Cell::Lstm, Direction::Forward);
    let cases: Vec<(Op, &[&str], &str)> = vec![
        (
            view("[batch, 5]"),
            &["[batch, 6]"],
            "cannot view [batch, 6] as [batch, 5], which holds another number of values",
        ),
        (
            view("[2, 3]"),
            &["[batch, 6]"],
            "cannot view [batch, 6] as [2, 3], which holds another number of values",
        ),
        (
            view("[2 batch, 6]"),
            &["[batch, 6]"],
            "cannot view [batch, 6] as [2 batch, 6], which holds another number of values",
        ),
        (
            view("[batch, 6, 0]"),
            &["[batch, 6]"],
            "expected 1 to 6 positive sizes, got [batch, 6, 0]",
        ),
        (
            expand("[2, 4]"),
            &["[batch, 4]"],
            "cannot combine [batch, 4] and [2, 4]: axis 0 differs and neither side is 1",
        ),
        (
            slice(1, 1, 3, 2),
            &["[batch, 5]"],
            "expected places below 5 along axis 1 of [batch, 5], got 3 from 1 on in steps of 2",
        ),
        (
            slice(0, 0, 1, 1),
            &["[batch, 5]"],
            "expected an axis of [batch, 5] of fixed size, got 0",
        ),
        (
            slice(1, 0, 1, 0),
            &["[batch, 5]"],
            "expected a positive `step`, got 0",
        ),
        (
            slice(1, usize::MAX, 2, usize::MAX),
            &["[batch, 5]"],
            "expected places below 5 along axis 1 of [batch, 5], got 2 from 18446744073709551615 on in steps of 18446744073709551615",
        ),
        (
            take(1, &[0, 5]),
            &["[batch, 5]"],
            "expected indices below 5 along axis 1 of [batch, 5], got 5",
        ),
        (
            take(1, &[]),
            &["[batch, 5]"],
            "expected a positive `number of indices`, got 0",
        ),
        (
            pad(&[[1, 0], [0, 0]], ZEROS),
            &["[batch, 5]"],
            "expected an axis of [batch, 5] of fixed size, got 0",
        ),
        (
            pad(&[[0, 0]], ZEROS),
            &["[batch, 5]"],
            "expected two sides for each axis of [batch, 5], got [[0, 0]]",
        ),
        (
            pad(&[[0, 0], [5, 0]], Fill::Reflect),
            &["[batch, 5]"],
            "expected to mirror fewer than 5 places along axis 1 of [batch, 5], got [5, 0]",
        ),
        (
            pad(&[[0, 0], [1, 0]], Fill::Constant { value: f64::NAN }),
            &["[batch, 5]"],
            "expected a number to pad with, got NaN",
        ),
        (
            pad(&[[0, 0], [usize::MAX, 1]], ZEROS),
            &["[batch, 5]"],
            "the padding [18446744073709551615, 1] is too large",
        ),
        (
            mean(&[]),
            &["[batch, 5]"],
            "expected different axes in ascending order, got []",
        ),
        (
            mean(&[2, 1]),
            &["[batch, 5, 2]"],
            "expected different axes in ascending order, got [2, 1]",
        ),
        (
            mean(&[0]),
            &["[batch, 5]"],
            "expected an axis of [batch, 5] of fixed size, got 0",
        ),
        (Op::Where, &["[1]", "[1]"], "expected 3 inputs, got 2"),
        (
            Op::Divide,
            &["[batch, 3]", "[2]"],
            "cannot combine [batch, 3] and [2]: axis 1 differs and neither side is 1",
        ),
        (
            Op::MatMul,
            &["[3, batch]", "[batch, 3]"],
            "cannot multiply [3, batch] and [batch, 3]: batch columns against batch rows",
        ),
        (
            Op::TokensAsFloats,
            &["[batch, 3]"],
            "expected token ids, got floats [batch, 3]",
        ),
        (
            Op::Constant(Constant { shape: vec![1; 7] }),
            &[],
            "expected a shape of 1 to 6 sizes, got [1, 1, 1, 1, 1, 1, 1]",
        ),
        (
            lstm.clone(),
            &["[batch, 7, 5]"],
            "expected a sequence [length, batch, 5], got [batch, 7, 5]",
        ),
        (
            lstm.clone(),
            &["[7, batch, 4]"],
            "expected a sequence [length, batch, 5], got [7, batch, 4]",
        ),
        (
            lstm.clone(),
            &["[7, batch, 5]", "[2, batch, 3]"],
            "expected a first state [1, batch, 3], got [2, batch, 3]",
        ),
        (lstm, &[], "expected 1 to 3 inputs, got 0"),
        (
            recurrent(Cell::Relu, Direction::Forward),
            &["[7, batch, 5]", "[1, batch, 3]", "[1, batch, 3]"],
            "expected 1 to 2 inputs, got 3",
        ),
    ];
    for (op, inputs, expected) in cases {
        assert_eq!(of(&op, inputs), Err(expected.to_owned()), "{op:?}");
    }
}

#[test]
fn a_batch_on_two_axes_is_not_taken_for_a_size() {
    // Flattening, pooling and reshaping count fixed sizes behind the first axis.
    for op in [
        Op::Flatten,
        Op::GlobalAvgPool,
        Op::Reshape(Reshape { sizes: vec![3] }),
    ] {
        let error = of(&op, &["[batch, 3, batch]"]).unwrap_err();
        assert!(
            error.ends_with(
                "that starts with the batch and has it nowhere else, got [batch, 3, batch]"
            ),
            "{error}"
        );
    }
}
