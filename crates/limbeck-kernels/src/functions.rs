//! Transcendental functions of vectors, from polynomials fitted by Chebyshev interpolation.
//!
//! [`exp`] is within 2e-7 of the true value, relative to it, the others within 4e-7 ([`erf`]:
//! absolutely). What is not a number stays so.

use crate::vector::Vector;

/// A polynomial at `x`, highest coefficient first.
///
/// # Safety
///
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn polynomial<V: Vector, const TERMS: usize>(x: V, coefficients: [f32; TERMS]) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let mut value = V::splat(coefficients[0]);
        for term in 1..TERMS {
            value = value.mul_add(x, V::splat(coefficients[term]));
        }
        value
    }
}

/// `below` where `size <= limit`, `above` elsewhere; `below` must be finite where `size > limit`.
///
/// # Safety
///
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn choose<V: Vector>(size: V, limit: V, below: V, above: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let below = below.sub(below.where_greater(size, limit));
        below.add(above.where_greater(size, limit))
    }
}

/// `size` with the sign of `x`.
///
/// # Safety
///
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn with_sign<V: Vector>(size: V, x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::zero();
        size.where_greater(x, zero).sub(size.where_greater(zero, x))
    }
}

/// `e^x`: zero below -104, infinite above 88.73.
///
/// With `n` the whole number nearest `x / ln 2` and `r = x - n ln 2` it is `2^n e^r`, and `e^r` is
/// a polynomial for `|r| <= ln 2 / 2`. `ln 2` is taken in two parts so that `r` is exact, and the
/// power in two steps so that it may underflow.
///
/// # Safety
///
/// The processor has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn exp<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let x = V::splat(89.0).min(V::splat(-104.0).max(x));
        let power = x.mul(V::splat(std::f32::consts::LOG2_E)).round();
        let rest = power.mul_add(V::splat(-0.693_359_4), x);
        let rest = power.mul_add(V::splat(2.121_944_4e-4), rest);
        let tail = polynomial(
            rest,
            [
                1.392_625_1e-3,
                8.363_233e-3,
                4.166_655_4e-2,
                1.666_657_7e-1,
                0.5,
            ],
        );
        let value = tail.mul_add(rest.mul(rest), rest).add(V::splat(1.0));
        let half = power.mul(V::splat(0.5)).round();
        value.scale(half).scale(power.sub(half))
    }
}

/// `1 / (1 + e^-x)`.
///
/// # Safety
///
/// The processor has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn sigmoid<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let one = V::splat(1.0);
        one.div(one.add(exp(V::zero().sub(x))))
    }
}

/// `ln(1 + x)` for `x` from 0 to 1: `2 artanh(x / (2 + x))` by its series.
///
/// # Safety
///
/// The processor has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn logarithm_above_one<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let share = x.div(x.add(V::splat(2.0)));
        let series = polynomial(
            share.mul(share),
            [
                2.0 / 13.0,
                2.0 / 11.0,
                2.0 / 9.0,
                2.0 / 7.0,
                2.0 / 5.0,
                2.0 / 3.0,
                2.0,
            ],
        );
        share.mul(series)
    }
}

/// The hyperbolic tangent: an odd polynomial up to 0.625, `(1 - e^-2x) / (1 + e^-2x)` above.
///
/// # Safety
///
/// The processor has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn tanh<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let one = V::splat(1.0);
        let size = x.max(V::zero().sub(x));
        let limit = V::splat(0.625);
        let near = limit.min(V::splat(-0.625).max(x));
        let square = near.mul(near);
        let tail = polynomial(
            square,
            [
                2.220_888e-3,
                -8.278_155e-3,
                2.174_806_4e-2,
                -5.395_659_8e-2,
                1.333_329_2e-1,
                -3.333_333_3e-1,
            ],
        );
        let below = tail.mul(square).mul_add(near, near);
        let power = exp(size.mul(V::splat(-2.0)));
        let above = one.sub(power).div(one.add(power));
        choose(size, limit, below, with_sign(above, x))
    }
}

/// The error function: an odd polynomial up to 1, `1 - e^(-x^2) q(1 / (x + 2))` above.
///
/// # Safety
///
/// The processor has the instructions of `V`.
#[inline(always)]
pub(crate) unsafe fn erf<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let one = V::splat(1.0);
        let size = x.max(V::zero().sub(x));
        let near = one.min(V::splat(-1.0).max(x));
        let below = near.mul(polynomial(
            near.mul(near),
            [
                7.875_875e-5,
                -8.016_864_3e-4,
                5.189_087_4e-3,
                -2.685_421_2e-2,
                1.128_359_5e-1,
                -3.761_262_7e-1,
                std::f32::consts::FRAC_2_SQRT_PI,
            ],
        ));
        // Beyond 4.2 the function rounds to one.
        let far = V::splat(4.2).min(size);
        let inverse = one.div(far.add(V::splat(2.0)));
        let factor = polynomial(
            inverse,
            [
                -3.852_445,
                -1.183_309_4,
                6.050_273_2,
                9.470_590_4e-1,
                1.297_996_7,
                5.497_145_4e-1,
                5.066_877e-4,
            ],
        );
        let power = exp(V::zero().sub(far.mul(far)));
        let above = one.sub(power.mul(factor));
        choose(size, one, below, with_sign(above, x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{self, Kernel};
    use crate::processor::Processor;

    struct All<'a> {
        input: &'a [f32],
        output: &'a mut [Vec<f32>; 4],
    }

    impl Kernel for All<'_> {
        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            for index in (0..self.input.len()).step_by(V::LANES) {
                // SAFETY: the lengths are multiples of 16.
                unsafe {
                    let x = V::load(self.input[index..].as_ptr());
                    exp(x).store(self.output[0][index..].as_mut_ptr());
                    sigmoid(x).store(self.output[1][index..].as_mut_ptr());
                    tanh(x).store(self.output[2][index..].as_mut_ptr());
                    erf(x).store(self.output[3][index..].as_mut_ptr());
                }
            }
        }
    }

    /// The error function by its series, or by its continued fraction where that converges.
    fn true_erf(x: f64) -> f64 {
        if x.abs() > 3.0 {
            let mut fraction = 0.0;
            for k in (1..60).rev() {
                fraction = f64::from(k) / 2.0 / (x.abs() + fraction);
            }
            let rest = (-x * x).exp() / std::f64::consts::PI.sqrt() / (x.abs() + fraction);
            return (1.0 - rest) * x.signum();
        }
        let (mut term, mut sum) = (x, x);
        for k in 1..100 {
            term *= -x * x / f64::from(k);
            sum += term / f64::from(2 * k + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn functions_are_close_to_the_truth() {
        let even = |from: f32, to: f32| {
            (0..40_000).map(move |index| from + (to - from) * index as f32 / 40_000.0)
        };
        let mut input: Vec<f32> = even(-110.0, 95.0).chain(even(-2.0, 2.0)).collect();
        input.extend([
            0.0,
            -0.0,
            1e-30,
            -1e-30,
            1e4,
            -1e4,
            f32::INFINITY,
            f32::NEG_INFINITY,
        ]);
        input.resize(input.len().next_multiple_of(16), 0.625);
        for processor in Processor::available() {
            let mut output: [Vec<f32>; 4] = std::array::from_fn(|_| vec![0.0; input.len()]);
            let kernel = All {
                input: &input,
                output: &mut output,
            };
            // SAFETY: the slices are equally long.
            unsafe { dispatch::run(processor, kernel) };
            for (index, &x) in input.iter().enumerate() {
                let wide = f64::from(x);
                let check = |which: usize, truth: f64, tolerance: f64, floor: f64| {
                    let found = output[which][index];
                    if truth > f64::from(f32::MAX) {
                        assert_eq!(found, f32::INFINITY, "function {which} of {x}");
                    } else {
                        let error = (f64::from(found) - truth).abs();
                        let allowed = (tolerance * truth.abs()).max(floor);
                        assert!(
                            error <= allowed,
                            "function {which} of {x}: {found}, not {truth}"
                        );
                    }
                };
                check(0, wide.exp(), 2e-7, 2e-45);
                check(1, 1.0 / (1.0 + (-wide).exp()), 4e-7, 1e-38);
                check(2, wide.tanh(), 4e-7, 1e-45);
                check(3, true_erf(wide), 0.0, 4e-7);
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        for processor in Processor::available() {
            let mut output: [Vec<f32>; 4] = std::array::from_fn(|_| vec![0.0; 16]);
            let kernel = All {
                input: &[f32::NAN; 16],
                output: &mut output,
            };
            // SAFETY: the slices are equally long.
            unsafe { dispatch::run(processor, kernel) };
            assert!(output.iter().flatten().all(|value| value.is_nan()));
        }
    }
}
