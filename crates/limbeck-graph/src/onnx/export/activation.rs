//! Elementwise functions.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::messages::AttributeProto;
use super::writer::Step;
use crate::ir::{Activation, ScaleShift};

pub(super) fn activation(step: &mut Step<'_, '_>, function: Activation) {
    use AttributeProto as A;
    let x = step.input(0);
    match function {
        Activation::Identity => step.plain("Identity", vec![]),
        Activation::Relu => step.plain("Relu", vec![]),
        Activation::Relu6 => clip(step, 0.0, 6.0),
        Activation::LeakyRelu { slope } => step.plain("LeakyRelu", vec![A::float("alpha", slope)]),
        Activation::Gelu => {
            let scale = step.float("scale", FRAC_1_SQRT_2);
            let scaled = step.inner("scaled", "Mul", &[x, &scale], vec![]);
            let erf = step.inner("erf", "Erf", &[&scaled], vec![]);
            half_of_one_more(step, &erf);
        }
        Activation::GeluTanh => {
            let square = step.inner("square", "Mul", &[x, x], vec![]);
            let cube = step.inner("cube", "Mul", &[&square, x], vec![]);
            let share = step.float("share", 0.044_715);
            let share = step.inner("bend", "Mul", &[&cube, &share], vec![]);
            let sum = step.inner("sum", "Add", &[x, &share], vec![]);
            let scale = step.float("scale", (2.0 / PI).sqrt());
            let scaled = step.inner("scaled", "Mul", &[&sum, &scale], vec![]);
            let tanh = step.inner("tanh", "Tanh", &[&scaled], vec![]);
            half_of_one_more(step, &tanh);
        }
        Activation::Sigmoid => step.plain("Sigmoid", vec![]),
        Activation::Tanh => step.plain("Tanh", vec![]),
        Activation::Silu => {
            let gate = step.inner("gate", "Sigmoid", &[x], vec![]);
            step.finish("Mul", &[x, &gate], vec![]);
        }
        Activation::HardSigmoid => step.plain(
            "HardSigmoid",
            vec![A::float("alpha", 1.0 / 6.0), A::float("beta", 0.5)],
        ),
        Activation::HardSwish => step.plain("HardSwish", vec![]),
        Activation::Softplus => step.plain("Softplus", vec![]),
        Activation::Elu { alpha } => step.plain("Elu", vec![A::float("alpha", alpha)]),
        Activation::Clip { least, most } => clip(step, least, most),
        Activation::Power { exponent } => {
            let exponent = step.float("exponent", exponent);
            step.finish("Pow", &[x, &exponent], vec![]);
        }
        Activation::SquareRoot => step.plain("Sqrt", vec![]),
        Activation::Reciprocal => step.plain("Reciprocal", vec![]),
        Activation::Exponential => step.plain("Exp", vec![]),
        Activation::Logarithm => step.plain("Log", vec![]),
        Activation::Absolute => step.plain("Abs", vec![]),
        Activation::Erf => step.plain("Erf", vec![]),
        Activation::Sine => step.plain("Sin", vec![]),
        Activation::Cosine => step.plain("Cos", vec![]),
    }
}

pub(super) fn scale_shift(step: &mut Step<'_, '_>, line: &ScaleShift) {
    let x = step.input(0);
    let scale = step.float("scale", line.scale);
    if line.shift == 0.0 {
        step.finish("Mul", &[x, &scale], vec![]);
        return;
    }
    let shift = step.float("shift", line.shift);
    let scaled = step.inner("scaled", "Mul", &[x, &scale], vec![]);
    step.finish("Add", &[&scaled, &shift], vec![]);
}

fn clip(step: &mut Step<'_, '_>, least: f64, most: f64) {
    let mut bound = |part: &str, value: f64| match value.is_finite() {
        true => step.float(part, value),
        false => String::new(),
    };
    let (least, most) = (bound("least", least), bound("most", most));
    let x = step.input(0);
    step.finish("Clip", &[x, &least, &most], vec![]);
}

/// `x / 2 * (1 + gate)`.
fn half_of_one_more(step: &mut Step<'_, '_>, gate: &str) {
    let one = step.float("one", 1.0);
    let gate = step.inner("gate", "Add", &[gate, &one], vec![]);
    let product = step.inner("product", "Mul", &[step.input(0), &gate], vec![]);
    let half = step.float("half", 0.5);
    step.finish("Mul", &[&product, &half], vec![]);
}
