//! Arrays on the host, for what a model computes from constants alone.

use crate::onnx::Outcome;

/// The most elements of an array that is computed while a model is read. A few bytes of a hostile file can
/// ask for any number.
pub(super) const MAX_ELEMENTS: usize = 1 << 24;

/// An array of any rank, row major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array<T> {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<T>,
}

impl<T: Clone> Array<T> {
    pub(super) fn new(shape: Vec<usize>, values: Vec<T>) -> Self {
        Self { shape, values }
    }

    pub(super) fn scalar(value: T) -> Self {
        Self::new(Vec::new(), vec![value])
    }

    pub(super) fn list(values: Vec<T>) -> Self {
        Self::new(vec![values.len()], values)
    }

    pub(super) fn filled(shape: Vec<usize>, value: T) -> Outcome<Self> {
        let count = elements(&shape)?;
        Ok(Self::new(shape, vec![value; count]))
    }

    /// The only element.
    pub(super) fn only(&self) -> Option<&T> {
        match self.values.as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }

    pub(super) fn reshape(&self, shape: Vec<usize>) -> Outcome<Self> {
        if elements(&shape)? != self.values.len() {
            return Err(format!(
                "cannot reshape {} constant values to {shape:?}",
                self.values.len()
            ));
        }
        Ok(Self::new(shape, self.values.clone()))
    }

    pub(super) fn map<U>(&self, function: impl FnMut(&T) -> Outcome<U>) -> Outcome<Array<U>> {
        Ok(Array {
            shape: self.shape.clone(),
            values: self.values.iter().map(function).collect::<Outcome<_>>()?,
        })
    }

    /// The array whose element at each place is `self`'s at the place that `place` makes of it.
    fn gather(&self, shape: Vec<usize>, place: impl Fn(&[usize]) -> usize) -> Outcome<Self> {
        let count = elements(&shape)?;
        let mut at = vec![0; shape.len()];
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(self.values[place(&at)].clone());
            for axis in (0..shape.len()).rev() {
                at[axis] += 1;
                if at[axis] < shape[axis] {
                    break;
                }
                at[axis] = 0;
            }
        }
        Ok(Self::new(shape, values))
    }

    pub(super) fn transpose(&self, axes: &[usize]) -> Outcome<Self> {
        let strides = strides(&self.shape);
        let shape = axes.iter().map(|&axis| self.shape[axis]).collect();
        self.gather(shape, |at| {
            at.iter()
                .zip(axes)
                .map(|(place, &axis)| place * strides[axis])
                .sum()
        })
    }

    /// The listed places of `axis`, which exist.
    pub(super) fn take(&self, axis: usize, indices: &[usize]) -> Outcome<Self> {
        let strides = strides(&self.shape);
        let mut shape = self.shape.clone();
        shape[axis] = indices.len();
        self.gather(shape, |at| {
            at.iter()
                .enumerate()
                .map(|(other, &place)| match other == axis {
                    true => indices[place] * strides[axis],
                    false => place * strides[other],
                })
                .sum()
        })
    }

    /// Repeated to `shape`, which it fits.
    pub(super) fn broadcast(&self, shape: &[usize]) -> Outcome<Self> {
        if self.shape == shape {
            return Ok(self.clone());
        }
        let strides = strides(&self.shape);
        let missing = shape.len() - self.shape.len();
        self.gather(shape.to_vec(), |at| {
            let own = at[missing..].iter().zip(&self.shape).zip(&strides);
            own.map(|((place, size), stride)| if *size == 1 { 0 } else { place * stride })
                .sum()
        })
    }

    /// `self` and `other` element by element; axes of size 1 are repeated.
    pub(super) fn combine<U: Clone, V>(
        &self,
        other: &Array<U>,
        function: impl Fn(&T, &U) -> Outcome<V>,
    ) -> Outcome<Array<V>> {
        let shape = common(&self.shape, &other.shape)?;
        let (a, b) = (self.broadcast(&shape)?, other.broadcast(&shape)?);
        let values = a.values.iter().zip(&b.values).map(|(a, b)| function(a, b));
        Ok(Array {
            values: values.collect::<Outcome<_>>()?,
            shape,
        })
    }

    /// `parts` side by side along `axis`.
    pub(super) fn concatenate(parts: &[Self], axis: usize) -> Outcome<Self> {
        let first = parts
            .first()
            .ok_or("expected one or more inputs, got none")?;
        let mut shape = first.shape.clone();
        if axis >= shape.len() {
            return Err(format!("expected an axis of {shape:?}, got {axis}"));
        }
        shape[axis] = 0;
        for part in parts {
            let same = part.shape.len() == shape.len()
                && (0..shape.len()).all(|other| other == axis || part.shape[other] == shape[other]);
            if !same {
                return Err(format!(
                    "expected the same sizes except along axis {axis}, got {:?} and {:?}",
                    first.shape, part.shape
                ));
            }
            shape[axis] += part.shape[axis];
        }
        let outer: usize = shape[..axis].iter().product();
        let mut values = Vec::with_capacity(elements(&shape)?);
        for row in 0..outer {
            for part in parts {
                let length: usize = part.shape[axis..].iter().product();
                values.extend_from_slice(&part.values[row * length..(row + 1) * length]);
            }
        }
        Ok(Self::new(shape, values))
    }
}

/// The number of elements of a shape, if it is not too large.
pub(super) fn elements(shape: &[usize]) -> Outcome<usize> {
    let count = shape
        .iter()
        .try_fold(1_usize, |count, &size| count.checked_mul(size));
    count
        .filter(|count| *count <= MAX_ELEMENTS)
        .ok_or_else(|| format!("a constant of shape {shape:?} has more than {MAX_ELEMENTS} values"))
}

/// The shape that two shapes are repeated to.
pub(super) fn common(a: &[usize], b: &[usize]) -> Outcome<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], axis: usize| {
        (axis + shape.len())
            .checked_sub(rank)
            .map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (left, right) if left == right => Ok(left),
            (1, size) | (size, 1) => Ok(size),
            _ => Err(format!(
                "cannot combine constants of shapes {a:?} and {b:?}"
            )),
        })
        .collect()
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn numbers(shape: &[usize]) -> Array<i64> {
        let count: usize = shape.iter().product();
        Array::new(shape.to_vec(), (0..count as i64).collect())
    }

    #[test]
    fn values_move_as_their_axes_do() {
        let x = numbers(&[2, 3]);
        assert_eq!(x.transpose(&[1, 0]).unwrap().values, [0, 3, 1, 4, 2, 5]);
        assert_eq!(x.take(1, &[2, 0]).unwrap().values, [2, 0, 5, 3]);
        assert_eq!(
            numbers(&[3, 1]).broadcast(&[2, 3, 2]).unwrap().values,
            [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]
        );
        let both = Array::concatenate(&[x.clone(), numbers(&[2, 1])], 1).unwrap();
        assert_eq!(both.values, [0, 1, 2, 0, 3, 4, 5, 1]);
        let sums = x.combine(&numbers(&[2, 1]), |a, b| Ok(a + b)).unwrap();
        assert_eq!(sums.values, [0, 1, 2, 4, 5, 6]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let x = numbers(&[2, 3]);
        assert!(x.reshape(vec![4]).is_err());
        assert!(x.combine(&numbers(&[4]), |a, b| Ok(a + b)).is_err());
        assert!(Array::concatenate(&[x.clone(), numbers(&[3, 1])], 1).is_err());
        assert!(Array::concatenate(&[x], 2).is_err());
        assert!(Array::filled(vec![1 << 13, 1 << 13], 0).is_err());
        assert!(Array::filled(vec![usize::MAX, 2], 0).is_err());
    }
}
