//! Normalisations, dropout and softmaxes, in the form that evaluates.

use super::messages::AttributeProto;
use super::writer::Step;
use crate::ir::{BatchNorm, Dropout, LayerNorm, Softmax};

pub(super) fn batch_norm(step: &mut Step<'_, '_>, norm: &BatchNorm) {
    let scale = weight_or(step, "weight", norm.channels, 1.0);
    let shift = weight_or(step, "bias", norm.channels, 0.0);
    let mean = weight_or(step, "running_mean", norm.channels, 0.0);
    let variance = weight_or(step, "running_var", norm.channels, 1.0);
    let x = step.input(0);
    step.finish(
        "BatchNormalization",
        &[x, &scale, &shift, &mean, &variance],
        vec![
            AttributeProto::float("epsilon", norm.epsilon),
            // ONNX's momentum is the share of the old statistics.
            AttributeProto::float("momentum", 1.0 - norm.momentum),
        ],
    );
}

pub(super) fn layer_norm(step: &mut Step<'_, '_>, norm: &LayerNorm) {
    let axis = step.input_shape(0).rank() - 1;
    let scale = weight_or(step, "weight", norm.size, 1.0);
    let shift = step.weight("bias");
    let mut inputs = vec![step.input(0), &scale];
    inputs.extend(shift.as_deref());
    step.finish(
        "LayerNormalization",
        &inputs,
        vec![
            AttributeProto::int("axis", axis),
            AttributeProto::float("epsilon", norm.epsilon),
        ],
    );
}

/// Without its third input it passes everything on; the rate is kept for whoever trains the model further.
pub(super) fn dropout(step: &mut Step<'_, '_>, dropout: &Dropout) {
    let rate = step.float("rate", dropout.rate);
    let x = step.input(0);
    step.finish("Dropout", &[x, &rate], vec![]);
}

pub(super) fn softmax(step: &mut Step<'_, '_>, op_type: &str, softmax: &Softmax) {
    step.plain(op_type, vec![AttributeProto::int("axis", softmax.axis)]);
}

/// The weight in a role, or a constant in its place.
fn weight_or(step: &mut Step<'_, '_>, role: &str, size: usize, value: f32) -> String {
    match step.weight(role) {
        Some(weight) => weight,
        None => step.floats(role, &[size], vec![value; size]),
    }
}
