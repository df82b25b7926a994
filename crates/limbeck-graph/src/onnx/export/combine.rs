//! Operators on several values, and summaries.

use super::messages::{AttributeProto, BOOL, FLOAT};
use super::writer::Step;
use crate::ir::{Reduce, Reduction, Relation};

/// An operator of two inputs on two or more, from the left.
pub(super) fn several(step: &mut Step<'_, '_>, op_type: &str) {
    let count = step.node.inputs.len();
    let mut left = step.input(0).to_owned();
    for place in 1..count - 1 {
        let right = step.input(place);
        left = step.inner(
            &format!("first_{}", place + 1),
            op_type,
            &[&left, right],
            vec![],
        );
    }
    step.finish(op_type, &[&left, step.input(count - 1)], vec![]);
}

pub(super) fn compare(step: &mut Step<'_, '_>, relation: Relation) {
    let op_type = match relation {
        Relation::Equal => "Equal",
        Relation::Less => "Less",
        Relation::LessOrEqual => "LessOrEqual",
        Relation::Greater => "Greater",
        Relation::GreaterOrEqual => "GreaterOrEqual",
    };
    let (left, right) = (step.input(0), step.input(1));
    let holds = step.inner("holds", op_type, &[left, right], vec![]);
    step.finish("Cast", &[&holds], vec![to(FLOAT)]);
}

pub(super) fn choose(step: &mut Step<'_, '_>) {
    let condition = step.inner("condition", "Cast", &[step.input(0)], vec![to(BOOL)]);
    step.finish("Where", &[&condition, step.input(1), step.input(2)], vec![]);
}

pub(super) fn tokens_as_floats(step: &mut Step<'_, '_>) {
    step.plain("Cast", vec![to(FLOAT)]);
}

pub(super) fn reduce(step: &mut Step<'_, '_>, reduce: &Reduce) {
    let op_type = match reduce.reduction {
        // The sum alone has its axes as an input before operator set 18.
        Reduction::Sum => {
            let axes = reduce.axes.iter().map(|&axis| axis as i64).collect();
            let axes = step.integers("axes", axes);
            let x = step.input(0);
            return step.finish(
                "ReduceSum",
                &[x, &axes],
                vec![AttributeProto::int("keepdims", 1)],
            );
        }
        Reduction::Mean => "ReduceMean",
        Reduction::Max => "ReduceMax",
        Reduction::Min => "ReduceMin",
        Reduction::Product => "ReduceProd",
    };
    step.plain(
        op_type,
        vec![
            AttributeProto::ints("axes", &reduce.axes),
            AttributeProto::int("keepdims", 1),
        ],
    );
}

fn to(element: i32) -> AttributeProto {
    AttributeProto::int("to", element as usize)
}
