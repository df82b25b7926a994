//! Linear layers, tables and weights as values.

use super::messages::AttributeProto;
use super::writer::Step;
use crate::ir::Linear;

/// `Gemm` takes the weight as it is, but only two axes; with more of them the weight is transposed first.
pub(super) fn linear(step: &mut Step<'_, '_>, linear: &Linear) {
    let x = step.input(0);
    let weight = step.weight("weight").unwrap_or_default();
    let bias = step.weight("bias").filter(|_| linear.bias);
    if step.input_shape(0).rank() == 2 {
        let mut inputs = vec![x, &weight];
        inputs.extend(bias.as_deref());
        step.finish("Gemm", &inputs, vec![AttributeProto::int("transB", 1)]);
        return;
    }
    let transposed = step.inner(
        "transposed",
        "Transpose",
        &[&weight],
        vec![AttributeProto::ints("perm", &[1, 0])],
    );
    match bias {
        None => step.finish("MatMul", &[x, &transposed], vec![]),
        Some(bias) => {
            let product = step.inner("product", "MatMul", &[x, &transposed], vec![]);
            step.finish("Add", &[&product, &bias], vec![]);
        }
    }
}

pub(super) fn embedding(step: &mut Step<'_, '_>) {
    let table = step.weight("weight").unwrap_or_default();
    let tokens = step.input(0);
    step.finish("Gather", &[&table, tokens], vec![]);
}

/// A weight under the name of its node; where that is its own name, the initialiser is the value.
pub(super) fn value(step: &mut Step<'_, '_>) {
    let weight = step.weight("value").unwrap_or_default();
    if weight != step.node.name {
        step.finish("Identity", &[&weight], vec![]);
    }
}
