//! Activation functions and their gradients.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::map::{Map, map};
use crate::functions::{erf, exp, logarithm_above_one, sigmoid, tanh};
use crate::processor::Processor;
use crate::vector::Vector;

/// A function of one element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` where it is positive, `slope x` elsewhere.
    LeakyRelu {
        /// The factor of negative inputs; PyTorch's default is 0.01.
        slope: f32,
    },
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x (1 + erf(x / sqrt 2)) / 2`, the exact form.
    Gelu,
    /// `x / (1 + e^-x)`, also called `SiLU`.
    Swish,
    /// `x min(max(x + 3, 0), 6) / 6`.
    HardSwish,
    /// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
    GeluTanh,
    /// `min(max(x + 3, 0), 6) / 6`.
    HardSigmoid,
    /// `x` where it is positive, `alpha (e^x - 1)` elsewhere.
    Elu {
        /// The limit below zero.
        alpha: f32,
    },
    /// `ln(1 + e^x)`.
    Softplus,
    /// `min(max(x, least), most)`.
    Clip {
        /// The lower bound.
        least: f32,
        /// The upper bound.
        most: f32,
    },
    /// The error function.
    Erf,
    /// `e^x`.
    Exponential,
}

/// `output = function(input)`.
///
/// # Panics
///
/// If the lengths differ.
pub fn apply(function: Function, input: &[f32], output: &mut [f32]) {
    apply_on(Processor::best(), function, input, output);
}

/// [`apply`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`apply`], and if this machine lacks the instructions.
pub fn apply_on(processor: Processor, function: Function, input: &[f32], output: &mut [f32]) {
    macro_rules! value {
        ($function:expr) => {
            map(processor, Some(input), input, output, Value($function))
        };
    }
    match function {
        Function::Relu => value!(Relu),
        Function::Relu6 => value!(Relu6),
        Function::LeakyRelu { slope } => value!(LeakyRelu(slope)),
        Function::Sigmoid => value!(Sigmoid),
        Function::Tanh => value!(Tanh),
        Function::Gelu => value!(Gelu),
        Function::Swish => value!(Swish),
        Function::HardSwish => value!(HardSwish),
        Function::GeluTanh => value!(GeluTanh),
        Function::HardSigmoid => value!(HardSigmoid),
        Function::Elu { alpha } => value!(Elu(alpha)),
        Function::Softplus => value!(Softplus),
        Function::Clip { least, most } => value!(Clip(least, most)),
        Function::Erf => value!(Erf),
        Function::Exponential => value!(Exponential),
    }
}

/// `grad_input = grad_output function'(input)`, with PyTorch's choice of zero at corners.
///
/// # Panics
///
/// If the lengths differ.
pub fn backward(function: Function, input: &[f32], grad_output: &[f32], grad_input: &mut [f32]) {
    backward_on(Processor::best(), function, input, grad_output, grad_input);
}

/// [`backward`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`backward`], and if this machine lacks the instructions.
pub fn backward_on(
    processor: Processor,
    function: Function,
    input: &[f32],
    grad_output: &[f32],
    grad_input: &mut [f32],
) {
    macro_rules! slope {
        ($function:expr) => {
            map(
                processor,
                Some(input),
                grad_output,
                grad_input,
                Slope($function),
            )
        };
    }
    match function {
        Function::Relu => slope!(Relu),
        Function::Relu6 => slope!(Relu6),
        Function::LeakyRelu { slope } => slope!(LeakyRelu(slope)),
        Function::Sigmoid => slope!(Sigmoid),
        Function::Tanh => slope!(Tanh),
        Function::Gelu => slope!(Gelu),
        Function::Swish => slope!(Swish),
        Function::HardSwish => slope!(HardSwish),
        Function::GeluTanh => slope!(GeluTanh),
        Function::HardSigmoid => slope!(HardSigmoid),
        Function::Elu { alpha } => slope!(Elu(alpha)),
        Function::Softplus => slope!(Softplus),
        Function::Clip { least, most } => slope!(Clip(least, most)),
        Function::Erf => slope!(Erf),
        Function::Exponential => slope!(Exponential),
    }
}

/// A function that knows its derivative.
trait Differentiable: Copy + Sync {
    /// The function at `x`.
    unsafe fn value<V: Vector>(self, x: V) -> V;
    /// Its derivative at `x`, times `gradient`.
    unsafe fn slope<V: Vector>(self, x: V, gradient: V) -> V;
}

#[derive(Clone, Copy)]
struct Value<F>(F);

impl<F: Differentiable> Map for Value<F> {
    #[inline(always)]
    unsafe fn apply<V: Vector>(&self, first: V, _: V) -> V {
        // SAFETY: the caller's promise.
        unsafe { self.0.value(first) }
    }
}

#[derive(Clone, Copy)]
struct Slope<F>(F);

impl<F: Differentiable> Map for Slope<F> {
    #[inline(always)]
    unsafe fn apply<V: Vector>(&self, first: V, second: V) -> V {
        // SAFETY: the caller's promise.
        unsafe { self.0.slope(first, second) }
    }
}

/// Implements [`Differentiable`] for a unit or tuple struct from two expressions. The processor has
/// the instructions of the vectors in all of them, which is what makes them safe.
macro_rules! differentiable {
    ($name:ident, $this:pat, $x:ident => $value:expr, $gradient:ident => $slope:expr) => {
        impl Differentiable for $name {
            #[inline(always)]
            unsafe fn value<V: Vector>(self, $x: V) -> V {
                let $this = self;
                // SAFETY: the caller's promise.
                unsafe { $value }
            }
            #[inline(always)]
            unsafe fn slope<V: Vector>(self, $x: V, $gradient: V) -> V {
                let $this = self;
                // SAFETY: the caller's promise.
                unsafe { $slope }
            }
        }
    };
}

#[derive(Clone, Copy)]
struct Relu;
differentiable!(Relu, _,
    x => V::zero().max(x),
    gradient => gradient.where_greater(x, V::zero()));

#[derive(Clone, Copy)]
struct Relu6;
differentiable!(Relu6, _,
    x => V::splat(6.0).min(V::zero().max(x)),
    gradient => gradient.where_greater(x, V::zero()).where_greater(V::splat(6.0), x));

#[derive(Clone, Copy)]
struct LeakyRelu(f32);
differentiable!(LeakyRelu, LeakyRelu(slope),
x => {
    let negative = x.sub(x.where_greater(x, V::zero()));
    V::zero().max(x).add(negative.mul(V::splat(slope)))
},
gradient => {
    let passed = gradient.where_greater(x, V::zero());
    gradient.sub(passed).mul_add(V::splat(slope), passed)
});

#[derive(Clone, Copy)]
struct Sigmoid;
differentiable!(Sigmoid, _,
x => sigmoid(x),
gradient => {
    let value = sigmoid(x);
    gradient.mul(value).mul(V::splat(1.0).sub(value))
});

#[derive(Clone, Copy)]
struct Tanh;
differentiable!(Tanh, _,
x => tanh(x),
gradient => {
    let value = tanh(x);
    gradient.mul(V::splat(1.0).sub(value.mul(value)))
});

#[derive(Clone, Copy)]
struct Gelu;
differentiable!(Gelu, _,
x => {
    let half = V::splat(0.5);
    x.mul(erf(x.mul(V::splat(FRAC_1_SQRT_2))).mul_add(half, half))
},
gradient => {
    let half = V::splat(0.5);
    let share = erf(x.mul(V::splat(FRAC_1_SQRT_2))).mul_add(half, half);
    let density = exp(x.mul(x).mul(V::splat(-0.5))).mul(V::splat(0.398_942_3));
    gradient.mul(x.mul_add(density, share))
});

#[derive(Clone, Copy)]
struct Swish;
differentiable!(Swish, _,
x => x.mul(sigmoid(x)),
gradient => {
    let value = sigmoid(x);
    let rest = V::splat(1.0).sub(value);
    gradient.mul(x.mul(value).mul_add(rest, value))
});

#[derive(Clone, Copy)]
struct HardSwish;
differentiable!(HardSwish, _,
x => {
    let shifted = V::splat(6.0).min(V::zero().max(x.add(V::splat(3.0))));
    x.mul(shifted).mul(V::splat(1.0 / 6.0))
},
gradient => {
    let slope = x.mul_add(V::splat(1.0 / 3.0), V::splat(0.5));
    let one = V::splat(1.0);
    let inside = slope.where_greater(V::splat(3.0), x).where_greater(x, V::splat(-3.0));
    let above = one.sub(one.where_greater(V::splat(3.0), x));
    gradient.mul(inside.add(above))
});

const CUBIC: f32 = 0.044_715;
/// `sqrt(2 / pi)`.
const GELU_SCALE: f32 = 0.797_884_6;

#[derive(Clone, Copy)]
struct GeluTanh;
differentiable!(GeluTanh, _,
x => {
    // Beyond 10 the tangent is one, and powers of huge values would overflow.
    let near = V::splat(10.0).min(V::splat(-10.0).max(x));
    let bend = near.mul(near).mul_add(V::splat(CUBIC), V::splat(1.0));
    let share = tanh(near.mul(bend).mul(V::splat(GELU_SCALE)));
    let half = V::splat(0.5);
    x.mul(share.mul_add(half, half))
},
gradient => {
    let (half, one) = (V::splat(0.5), V::splat(1.0));
    let near = V::splat(10.0).min(V::splat(-10.0).max(x));
    let square = near.mul(near);
    let bend = square.mul_add(V::splat(CUBIC), one);
    let share = tanh(near.mul(bend).mul(V::splat(GELU_SCALE)));
    let steep = square.mul_add(V::splat(3.0 * CUBIC), one).mul(V::splat(GELU_SCALE));
    let rest = one.sub(share.mul(share)).mul(steep).mul(near);
    gradient.mul(half).mul(share.add(one).add(rest))
});

#[derive(Clone, Copy)]
struct HardSigmoid;
differentiable!(HardSigmoid, _,
x => V::splat(6.0).min(V::zero().max(x.add(V::splat(3.0)))).mul(V::splat(1.0 / 6.0)),
gradient => {
    let slope = gradient.mul(V::splat(1.0 / 6.0));
    slope.where_greater(V::splat(3.0), x).where_greater(x, V::splat(-3.0))
});

#[derive(Clone, Copy)]
struct Elu(f32);
differentiable!(Elu, Elu(alpha),
x => {
    let below = exp(V::zero().min(x)).sub(V::splat(1.0)).mul(V::splat(alpha));
    V::zero().max(x).add(below)
},
gradient => {
    let passed = gradient.where_greater(x, V::zero());
    let below = exp(V::zero().min(x)).mul(V::splat(alpha));
    gradient.sub(passed).mul_add(below, passed)
});

#[derive(Clone, Copy)]
struct Softplus;
differentiable!(Softplus, _,
x => {
    let size = x.max(V::zero().sub(x));
    V::zero().max(x).add(logarithm_above_one(exp(V::zero().sub(size))))
},
gradient => gradient.mul(sigmoid(x)));

#[derive(Clone, Copy)]
struct Clip(f32, f32);
differentiable!(Clip, Clip(least, most),
x => V::splat(most).min(V::splat(least).max(x)),
gradient => {
    let above = gradient.where_greater(x, V::splat(most));
    gradient.sub(above).sub(gradient.where_greater(V::splat(least), x))
});

#[derive(Clone, Copy)]
struct Erf;
differentiable!(Erf, _,
x => erf(x),
gradient => gradient.mul(exp(x.mul(V::zero().sub(x)))).mul(V::splat(FRAC_2_SQRT_PI)));

#[derive(Clone, Copy)]
struct Exponential;
differentiable!(Exponential, _,
x => exp(x),
gradient => gradient.mul(exp(x)));
