//! Sums, means and other summaries of axes.

use super::call::{Call, axes};
use super::lowering::Lowering;
use super::size::Size;
use super::value::{Tensor, Value};
use crate::ir::{Activation, Op, Reduce, Reduction, Shape};
use crate::onnx::Outcome;

impl Lowering<'_> {
    pub(super) fn reduce(&mut self, call: &Call<'_>, reduction: Reduction) -> Outcome<Value> {
        if let Value::Integers(array) = call.input(0)?
            && array.shape.len() <= 1
            && matches!(reduction, Reduction::Product | Reduction::Sum)
        {
            let mut result = Size::number(i64::from(reduction == Reduction::Product));
            for size in &array.values {
                let next = match reduction {
                    Reduction::Product => result.multiply(*size),
                    _ => result.add(*size),
                };
                result = next.ok_or("cannot compute this before the batch is known")?;
            }
            let shape = match call.flag("keepdims", true)? {
                true => vec![1; array.shape.len()],
                false => Vec::new(),
            };
            return Ok(Value::Integers(super::array::Array::new(
                shape,
                vec![result],
            )));
        }
        let x = self.first(call)?;
        let Some(axes) = self.reduced_axes(call, x.shape.rank())? else {
            return Ok(call.input(0)?.clone());
        };
        let reduced = self.reduced(&x, reduction, &axes)?;
        self.without(call, &reduced, &axes)
    }

    /// The 1-norm and its like.
    pub(super) fn norm_of(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let Some(axes) = self.reduced_axes(call, x.shape.rank())? else {
            return Err("expected axes, got none".to_owned());
        };
        let mut apply = |function, x: &Tensor| self.emit(Op::Activation(function), &[x]);
        let operator = call.node.op_type.as_str();
        let result = match operator {
            "ReduceL1" => {
                let sizes = apply(Activation::Absolute, &x)?;
                self.reduced(&sizes, Reduction::Sum, &axes)?
            }
            "ReduceL2" | "ReduceSumSquare" => {
                let squares = self.emit(Op::Multiply, &[&x, &x])?;
                let sum = self.reduced(&squares, Reduction::Sum, &axes)?;
                match operator {
                    "ReduceL2" => self.emit(Op::Activation(Activation::SquareRoot), &[&sum])?,
                    _ => sum,
                }
            }
            "ReduceLogSum" => {
                let sum = self.reduced(&x, Reduction::Sum, &axes)?;
                self.emit(Op::Activation(Activation::Logarithm), &[&sum])?
            }
            _ => {
                // The largest is taken out first, so that nothing overflows.
                let largest = self.reduced(&x, Reduction::Max, &axes)?;
                let below = self.emit(Op::Subtract, &[&x, &largest])?;
                let powers = self.emit(Op::Activation(Activation::Exponential), &[&below])?;
                let sum = self.reduced(&powers, Reduction::Sum, &axes)?;
                let logarithm = self.emit(Op::Activation(Activation::Logarithm), &[&sum])?;
                self.emit(Op::Add, &[&largest, &logarithm])?
            }
        };
        self.without(call, &result, &axes)
    }

    /// The axes of a summary; `None` if there are none and that means all stay.
    fn reduced_axes(&mut self, call: &Call<'_>, rank: usize) -> Outcome<Option<Vec<usize>>> {
        let given = self.ints_of(call, "axes", 1)?.unwrap_or_default();
        if !given.is_empty() {
            return axes(&given, rank).map(Some);
        }
        match call.flag("noop_with_empty_axes", false)? {
            true => Ok(None),
            false => Ok(Some((0..rank).collect())),
        }
    }

    fn reduced(&mut self, x: &Tensor, reduction: Reduction, axes: &[usize]) -> Outcome<Tensor> {
        let batches = axes.iter().any(|&axis| x.shape.size(axis).is_none());
        if batches {
            return Err(format!(
                "it summarises the batch of {}; a row's answer may depend on the row alone",
                x.shape
            ));
        }
        let image = x.shape.is_batched() && (3..=4).contains(&x.shape.rank());
        let spatial = axes.iter().copied().eq(2..x.shape.rank());
        let op = match reduction {
            Reduction::Mean if image && spatial => Op::GlobalAvgPool,
            Reduction::Max if image && spatial => Op::GlobalMaxPool,
            reduction => Op::Reduce(Reduce {
                reduction,
                axes: axes.to_vec(),
            }),
        };
        self.emit(op, &[x])
    }

    /// `x` without the axes, unless they are to stay with size 1.
    fn without(&mut self, call: &Call<'_>, x: &Tensor, axes: &[usize]) -> Outcome<Value> {
        if call.flag("keepdims", true)? {
            return Ok(Value::Tensor(x.clone()));
        }
        let dims = x.shape.dims().iter().enumerate();
        let kept: Shape = dims
            .filter(|(axis, _)| !axes.contains(axis))
            .map(|(_, dim)| *dim)
            .collect();
        self.view(x, &kept).map(Value::Tensor)
    }
}
