//! Operators on several values.

use burn::tensor::Tensor;

use super::arrange;
use crate::ir::Relation;
use crate::{Feature, Result};

/// Runs the expression on two tensors of the same rank.
macro_rules! same_rank {
    ($a:expr, $b:expr, $left:ident, $right:ident => $body:expr) => {
        match ($a, $b) {
            (Feature::Rank1($left), Feature::Rank1($right)) => Ok(Feature::Rank1($body)),
            (Feature::Rank2($left), Feature::Rank2($right)) => Ok(Feature::Rank2($body)),
            (Feature::Rank3($left), Feature::Rank3($right)) => Ok(Feature::Rank3($body)),
            (Feature::Rank4($left), Feature::Rank4($right)) => Ok(Feature::Rank4($body)),
            (Feature::Rank5($left), Feature::Rank5($right)) => Ok(Feature::Rank5($body)),
            (Feature::Rank6($left), Feature::Rank6($right)) => Ok(Feature::Rank6($body)),
            (left, right) => Err(crate::Error::Rank {
                expected: left.rank(),
                shape: right.shape(),
            }),
        }
    };
}

/// An elementwise operation of two values.
#[derive(Clone, Copy)]
pub(crate) enum Elementwise {
    Add,
    Subtract,
    Multiply,
    Divide,
    /// The gradient of equal values goes to the first.
    Maximum,
    /// The gradient of equal values goes to the first.
    Minimum,
    /// 1 where the relation holds, else 0.
    Compare(Relation),
}

/// `a` and `b` combined element by element; axes of size 1 are repeated, missing ones put in front.
pub(crate) fn elementwise(operation: Elementwise, a: Feature, b: Feature) -> Result<Feature> {
    let rank = a.rank().max(b.rank());
    let (a, b) = (arrange::raise(a, rank)?, arrange::raise(b, rank)?);
    match operation {
        Elementwise::Add => same_rank!(a, b, x, y => x + y),
        Elementwise::Subtract => same_rank!(a, b, x, y => x - y),
        Elementwise::Multiply => same_rank!(a, b, x, y => x * y),
        Elementwise::Divide => same_rank!(a, b, x, y => x / y),
        Elementwise::Maximum => same_rank!(a, b, x, y => {
            let (x, y) = repeated(x, y);
            x.max_pair(y)
        }),
        Elementwise::Minimum => same_rank!(a, b, x, y => {
            let (x, y) = repeated(x, y);
            x.min_pair(y)
        }),
        Elementwise::Compare(relation) => same_rank!(a, b, x, y => compare(relation, x, y)),
    }
}

/// `a` where `condition` is not 0, else `b`; axes of size 1 are repeated, missing ones put in front.
pub(crate) fn choose(condition: Feature, a: Feature, b: Feature) -> Result<Feature> {
    let rank = condition.rank().max(a.rank()).max(b.rank());
    let condition = arrange::raise(condition, rank)?;
    let (a, b) = (arrange::raise(a, rank)?, arrange::raise(b, rank)?);
    same_rank!(a, b, x, y => {
        let (x, y) = repeated(x, y);
        let (like, x) = repeated(condition.try_into()?, x);
        let (_, y) = repeated(like.clone(), y);
        let mask = like.detach().not_equal_elem(0.0);
        y.mask_where(mask, x)
    })
}

fn compare<const D: usize>(relation: Relation, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let kind = a.dtype();
    let (a, b) = repeated(a.detach(), b.detach());
    let holds = match relation {
        Relation::Equal => a.equal(b),
        Relation::Less => a.lower(b),
        Relation::LessOrEqual => a.lower_equal(b),
        Relation::Greater => a.greater(b),
        Relation::GreaterOrEqual => a.greater_equal(b),
    };
    holds.float().cast(kind)
}

/// Both with the sizes of either, axes of size 1 repeated.
fn repeated<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
    let (from, to) = (a.dims(), b.dims());
    if from == to {
        return (a, b);
    }
    let sizes: [usize; D] = std::array::from_fn(|axis| match from[axis] {
        1 => to[axis],
        size => size,
    });
    (a.expand(sizes), b.expand(sizes))
}

/// The matrix product over the last two axes; other axes of size 1 are repeated.
pub(crate) fn mat_mul(a: Feature, b: Feature) -> Result<Feature> {
    let rank = a.rank().max(b.rank());
    let (a, b) = (arrange::raise(a, rank)?, arrange::raise(b, rank)?);
    same_rank!(a, b, x, y => x.matmul(y))
}

/// Values of one rank side by side along `axis`.
pub(crate) fn concatenate(parts: Vec<Feature>, axis: usize) -> Result<Feature> {
    macro_rules! cat {
        ($($variant:ident),*) => {
            match parts.first() {
                $(Some(Feature::$variant(_)) => {
                    let parts: Result<Vec<_>> = parts.into_iter().map(TryInto::try_into).collect();
                    Ok(Feature::$variant(burn::tensor::Tensor::cat(parts?, axis)))
                })*
                None => Err(crate::Error::Rank { expected: 1, shape: Vec::new() }),
            }
        };
    }
    cat!(Rank1, Rank2, Rank3, Rank4, Rank5, Rank6)
}
