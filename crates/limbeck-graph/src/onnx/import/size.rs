//! Whole numbers that may depend on the batch: what models compute shapes from.

use std::fmt;

use crate::ir::Dim;

/// `fixed + batches * batch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) fixed: i64,
    pub(super) batches: i64,
}

impl Size {
    /// A number.
    pub(super) const fn number(fixed: i64) -> Self {
        Self { fixed, batches: 0 }
    }

    /// The number, if it does not depend on the batch.
    pub(super) const fn known(self) -> Option<i64> {
        match self.batches {
            0 => Some(self.fixed),
            _ => None,
        }
    }

    /// The size as one of an axis.
    pub(super) fn dim(self) -> Option<Dim> {
        match (self.fixed, self.batches) {
            (0, batches @ 1..) => usize::try_from(batches).ok().map(Dim::times_batch),
            (fixed @ 0.., 0) => usize::try_from(fixed).ok().map(Dim::Fixed),
            _ => None,
        }
    }

    pub(super) fn add(self, other: Self) -> Option<Self> {
        Some(Self {
            fixed: self.fixed.checked_add(other.fixed)?,
            batches: self.batches.checked_add(other.batches)?,
        })
    }

    pub(super) fn subtract(self, other: Self) -> Option<Self> {
        Some(Self {
            fixed: self.fixed.checked_sub(other.fixed)?,
            batches: self.batches.checked_sub(other.batches)?,
        })
    }

    /// The product, unless both factors depend on the batch.
    pub(super) fn multiply(self, other: Self) -> Option<Self> {
        let (factor, size) = match (self.known(), other.known()) {
            (Some(factor), _) => (factor, other),
            (_, Some(factor)) => (factor, self),
            _ => return None,
        };
        Some(Self {
            fixed: size.fixed.checked_mul(factor)?,
            batches: size.batches.checked_mul(factor)?,
        })
    }

    /// The quotient, rounded towards zero as ONNX does, if it is the same expression for every batch.
    pub(super) fn divide(self, other: Self) -> Option<Self> {
        if self.batches != 0 && self.fixed == 0 && other.fixed == 0 && other.batches != 0 {
            let whole = self.batches % other.batches == 0;
            return whole.then(|| Self::number(self.batches / other.batches));
        }
        let divisor = other.known().filter(|divisor| *divisor != 0)?;
        if self.batches != 0 && (self.batches % divisor != 0 || self.fixed % divisor != 0) {
            return None;
        }
        Some(Self {
            fixed: self.fixed.checked_div(divisor)?,
            batches: self.batches.checked_div(divisor)?,
        })
    }
}

impl From<Dim> for Size {
    fn from(dim: Dim) -> Self {
        let number = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        match dim {
            Dim::Fixed(size) => Self::number(number(size)),
            rows => Self {
                fixed: 0,
                batches: number(rows.batches().unwrap_or(1)),
            },
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.fixed, self.batches) {
            (fixed, 0) => write!(f, "{fixed}"),
            (0, 1) => f.write_str("batch"),
            (0, batches) => write!(f, "{batches} batch"),
            (fixed, batches) => write!(f, "{batches} batch + {fixed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    const BATCH: Size = Size {
        fixed: 0,
        batches: 1,
    };

    #[test]
    fn arithmetic_keeps_the_batch_apart() {
        let four = Size::number(4);
        let rows = BATCH.multiply(four).unwrap();
        assert_eq!(rows.to_string(), "4 batch");
        assert_eq!(rows.dim(), Some(Dim::Batches(4)));
        assert_eq!(rows.divide(four), Some(BATCH));
        assert_eq!(rows.divide(BATCH), Some(four));
        assert_eq!(rows.subtract(rows).unwrap().known(), Some(0));
        assert_eq!(BATCH.add(four).unwrap().to_string(), "1 batch + 4");
        assert_eq!(BATCH.add(four).unwrap().dim(), None);
    }

    #[test]
    fn what_has_no_expression_is_refused() {
        assert_eq!(BATCH.multiply(BATCH), None);
        assert_eq!(BATCH.divide(Size::number(2)), None);
        assert_eq!(BATCH.divide(Size::number(0)), None);
        assert_eq!(Size::number(i64::MAX).add(Size::number(1)), None);
        assert_eq!(Size::number(i64::MIN).divide(Size::number(-1)), None);
        assert_eq!(
            Size::number(-7).divide(Size::number(2)),
            Some(Size::number(-3))
        );
        assert_eq!(Size::number(-1).dim(), None);
    }
}
