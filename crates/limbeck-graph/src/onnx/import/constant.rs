//! What is computed while a model is read: shapes, and constants from constants.

use super::array::Array;
use super::size::Size;
use super::value::Value;
use crate::ir::{Dim, Relation, Shape};
use crate::onnx::Outcome;

/// An operation of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Maximum,
    Minimum,
    Power,
    /// The remainder, with the sign of the divisor, or of the dividend.
    Remainder {
        truncates: bool,
    },
}

/// `a` and `b` element by element.
pub(super) fn integers(
    operation: Arithmetic,
    a: &Array<Size>,
    b: &Array<Size>,
) -> Outcome<Array<Size>> {
    a.combine(b, |&a, &b| {
        let known = a.known().zip(b.known());
        let result = match operation {
            Arithmetic::Add => a.add(b),
            Arithmetic::Subtract => a.subtract(b),
            Arithmetic::Multiply => a.multiply(b),
            Arithmetic::Divide => a.divide(b),
            Arithmetic::Maximum => known.map(|(a, b)| Size::number(a.max(b))),
            Arithmetic::Minimum => known.map(|(a, b)| Size::number(a.min(b))),
            Arithmetic::Power => known.and_then(|(a, b)| {
                let power = u32::try_from(b).ok()?;
                a.checked_pow(power).map(Size::number)
            }),
            Arithmetic::Remainder { truncates } => match known {
                Some((a, b)) => match truncates {
                    true => a.checked_rem(b),
                    false => a.checked_rem(b).map(|rest| {
                        let other_sign = rest != 0 && (rest < 0) != (b < 0);
                        if other_sign { rest + b } else { rest }
                    }),
                }
                .map(Size::number),
                None => a.divide(b).map(|_| Size::number(0)),
            },
        };
        result.ok_or_else(|| format!("cannot compute with {a} and {b} before the batch is known"))
    })
}

/// `a` and `b` element by element.
pub(super) fn floats(operation: Arithmetic, a: &Array<f64>, b: &Array<f64>) -> Outcome<Array<f64>> {
    a.combine(b, |&a, &b| {
        Ok(match operation {
            Arithmetic::Add => a + b,
            Arithmetic::Subtract => a - b,
            Arithmetic::Multiply => a * b,
            Arithmetic::Divide => a / b,
            Arithmetic::Maximum => a.max(b),
            Arithmetic::Minimum => a.min(b),
            Arithmetic::Power => a.powf(b),
            Arithmetic::Remainder { truncates: true } => a % b,
            Arithmetic::Remainder { truncates: false } => a - b * (a / b).floor(),
        })
    })
}

/// 1 where `a` stands so to `b`, else 0.
pub(super) fn compare_integers(
    relation: Relation,
    a: &Array<Size>,
    b: &Array<Size>,
) -> Outcome<Array<Size>> {
    a.combine(b, |&a, &b| {
        // The batch is at least 1, so that a multiple of it stands in a known relation to numbers below.
        let difference = a.subtract(b);
        let holds = difference.and_then(|difference| match difference.known() {
            Some(difference) => Some(holds(relation, difference as f64, 0.0)),
            None => {
                let least = difference.batches.checked_add(difference.fixed)?;
                match (difference.batches > 0, least > 0, least < 0) {
                    (true, true, _) => Some(self::holds(relation, 1.0, 0.0)),
                    (false, _, true) => Some(self::holds(relation, -1.0, 0.0)),
                    _ => None,
                }
            }
        });
        match holds {
            Some(holds) => Ok(Size::number(i64::from(holds))),
            None => Err(format!(
                "cannot compare {a} with {b} before the batch is known"
            )),
        }
    })
}

pub(super) fn compare_floats(
    relation: Relation,
    a: &Array<f64>,
    b: &Array<f64>,
) -> Outcome<Array<Size>> {
    a.combine(b, |&a, &b| {
        Ok(Size::number(i64::from(holds(relation, a, b))))
    })
}

pub(super) fn holds(relation: Relation, a: f64, b: f64) -> bool {
    match relation {
        Relation::Equal => a == b,
        Relation::Less => a < b,
        Relation::LessOrEqual => a <= b,
        Relation::Greater => a > b,
        Relation::GreaterOrEqual => a >= b,
    }
}

/// Whole numbers as real ones.
pub(super) fn as_floats(array: &Array<Size>) -> Outcome<Array<f64>> {
    array.map(|size| {
        size.known().map(|number| number as f64).ok_or_else(|| {
            format!("expected a number that does not depend on the batch, got {size}")
        })
    })
}

/// Real numbers as whole ones, rounded towards zero.
pub(super) fn as_integers(array: &Array<f64>) -> Outcome<Array<Size>> {
    array.map(|&value| match value.is_finite() {
        true => Ok(Size::number(value as i64)),
        false => Err(format!("expected a finite number, got {value}")),
    })
}

/// The sizes that a list of whole numbers names.
pub(super) fn sizes(value: &Value) -> Outcome<Vec<Size>> {
    match value {
        Value::Integers(array) if array.shape.len() <= 1 => Ok(array.values.clone()),
        other => Err(format!(
            "expected a shape that is known but for the batch, got {}",
            other.words()
        )),
    }
}

/// The shape that sizes are.
pub(super) fn shape(sizes: &[Size]) -> Outcome<Shape> {
    let dim = |size: &Size| {
        size.dim()
            .ok_or_else(|| format!("expected the size of an axis, got {size}"))
    };
    sizes.iter().map(dim).collect()
}

/// The numbers of a shape, if it does not depend on the batch.
pub(super) fn fixed(shape: &Shape) -> Option<Vec<usize>> {
    let number = |dim: &Dim| match dim {
        Dim::Fixed(size) => Some(*size),
        _ => None,
    };
    shape.dims().iter().map(number).collect()
}
