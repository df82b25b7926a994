//! The activations that other kernels apply in the same pass as their own work.

use rayon::prelude::*;

use crate::vector::Vector;

/// Elements of one task.
const CHUNK: usize = 32 * 1024;

/// A piecewise linear activation. Its derivative is known from its output, so a kernel that fuses
/// it need not keep what came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// `y = x`.
    #[default]
    None,
    /// `y = max(x, 0)`.
    Relu,
    /// `y = min(max(x, 0), 6)`.
    Relu6,
}

impl Activation {
    /// `y` of one value.
    #[must_use]
    #[inline(always)]
    pub fn apply(self, value: f32) -> f32 {
        match self {
            Self::None => value,
            Self::Relu => value.max(0.0),
            Self::Relu6 => value.clamp(0.0, 6.0),
        }
    }

    /// The interval that the activation clamps values to.
    pub(crate) const fn bounds(self) -> (f32, f32) {
        match self {
            Self::None => (f32::NEG_INFINITY, f32::INFINITY),
            Self::Relu => (0.0, f32::INFINITY),
            Self::Relu6 => (0.0, 6.0),
        }
    }

    /// Whether the gradient passes where the output is `output`. Like PyTorch, it does not at the
    /// corners 0 and 6.
    #[must_use]
    #[inline(always)]
    pub fn passes(self, output: f32) -> bool {
        match self {
            Self::None => true,
            Self::Relu => output > 0.0,
            Self::Relu6 => output > 0.0 && output < 6.0,
        }
    }
}

/// `result = gradient` where `activation` passes at `output`, zero elsewhere.
///
/// # Panics
///
/// If the lengths differ.
pub fn backward(activation: Activation, output: &[f32], gradient: &[f32], result: &mut [f32]) {
    assert_eq!(
        output.len(),
        result.len(),
        "output and result differ in length"
    );
    assert_eq!(
        gradient.len(),
        result.len(),
        "gradient and result differ in length"
    );
    let parts = output.par_chunks(CHUNK).zip(gradient.par_chunks(CHUNK));
    parts
        .zip(result.par_chunks_mut(CHUNK))
        .for_each(|((output, gradient), result)| {
            for ((output, gradient), result) in output.iter().zip(gradient).zip(result) {
                *result = if activation.passes(*output) {
                    *gradient
                } else {
                    0.0
                };
            }
        });
}

/// [`Activation::apply`] to a vector; what is not a number stays so.
///
/// # Safety
///
/// The processor has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn apply<V: Vector>(activation: Activation, value: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        match activation {
            Activation::None => value,
            Activation::Relu => V::zero().max(value),
            Activation::Relu6 => V::splat(6.0).min(V::zero().max(value)),
        }
    }
}

/// `gradient` where [`Activation::passes`] at `output`, zero elsewhere.
///
/// # Safety
///
/// The processor has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn pass<V: Vector>(activation: Activation, gradient: V, output: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        match activation {
            Activation::None => gradient,
            Activation::Relu => gradient.where_greater(output, V::zero()),
            Activation::Relu6 => gradient
                .where_greater(output, V::zero())
                .where_greater(V::splat(6.0), output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_where_gradients_pass() {
        let outputs = |activation: Activation| [-1.0, 0.0, 2.0, 7.0].map(|x| activation.apply(x));
        assert_eq!(outputs(Activation::None), [-1.0, 0.0, 2.0, 7.0]);
        assert_eq!(outputs(Activation::Relu), [0.0, 0.0, 2.0, 7.0]);
        assert_eq!(outputs(Activation::Relu6), [0.0, 0.0, 2.0, 6.0]);
        let passes = |activation: Activation| outputs(activation).map(|y| activation.passes(y));
        assert_eq!(passes(Activation::None), [true; 4]);
        assert_eq!(passes(Activation::Relu), [false, false, true, true]);
        assert_eq!(passes(Activation::Relu6), [false, false, true, false]);
    }
}
