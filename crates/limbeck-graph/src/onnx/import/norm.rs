//! Normalisations.

use std::collections::BTreeMap;

use super::array::Array;
use super::call::{Call, axis, size};
use super::constant::Arithmetic;
use super::lowering::Lowering;
use super::value::{Tensor, Value};
use crate::initialise::Initialiser;
use crate::ir::{Activation, BatchNorm, Dim, LayerNorm, Op, Reduce, Reduction, Shape, WeightKind};
use crate::onnx::Outcome;

impl Lowering<'_> {
    pub(super) fn batch_norm(&mut self, call: &Call<'_>) -> Outcome<Value> {
        for output in call.node.outputs.iter().skip(1) {
            if !output.is_empty() && self.is_used(output) {
                return Err(format!(
                    "its statistics `{output}` are used by other nodes, which is not known to training"
                ));
            }
        }
        if call.int("spatial", 1)? != 1 {
            return Err("expected statistics per channel (`spatial` = 1)".to_owned());
        }
        let x = self.first(call)?;
        let channels = x
            .shape
            .size(1)
            .ok_or_else(|| format!("expected [batch, channels, ...], got {}", x.shape))?;
        let norm = BatchNorm::new(channels)
            .epsilon(call.float("epsilon", 1e-5)?)
            .momentum(1.0 - call.float("momentum", 0.9)?);
        let op = Op::BatchNorm(norm);
        let mut weights = BTreeMap::new();
        for needed in op.weights() {
            let position = match needed.kind {
                WeightKind::NormScale => 1,
                WeightKind::NormShift => 2,
                WeightKind::RunningMean => 3,
                _ => 4,
            };
            let value = call.input(position)?.clone();
            let initialiser = Initialiser::default_of(&op, needed.kind);
            self.input = Some(position);
            let name = self.bind(&value, &needed.shape, needed.kind, initialiser);
            self.input = None;
            weights.insert(needed.role.to_owned(), name?);
        }
        self.emit_with(op, &[&x], weights).map(Value::Tensor)
    }

    pub(super) fn layer_norm(&mut self, call: &Call<'_>) -> Outcome<Value> {
        if (1..3).any(|output| call.wants(output) && self.is_used(&call.node.outputs[output])) {
            return Err("its mean or deviation is used, which is not known to training".to_owned());
        }
        let x = self.first(call)?;
        let axis = axis(call.int("axis", -1)?, x.shape.rank())?;
        let epsilon = call.float("epsilon", 1e-5)?;
        let (scale, shift) = (call.input(1)?.clone(), call.optional(2).cloned());
        let whole = x.shape.clone();
        let flat = self.flat_from(&x, axis)?;
        let width = flat.shape.size(axis).unwrap_or(1);
        let full = |value: &Value| value.shape().len_per_row() == width;
        if let Some(shift) = &shift
            && full(&scale)
            && full(shift)
            && held(&scale)
            && held(shift)
        {
            let op = Op::LayerNorm(LayerNorm::new(width).epsilon(epsilon));
            let weights = self.norm_weights(&op, &scale, shift)?;
            let y = self.emit_with(op, &[&flat], weights)?;
            return self.view(&y, &whole).map(Value::Tensor);
        }
        let op = Op::LayerNorm(LayerNorm::new(width).epsilon(epsilon).affine(false));
        let y = self.emit(op, &[&flat])?;
        let y = Value::Tensor(self.view(&y, &whole)?);
        let y = self.binary(Arithmetic::Multiply, &y, &scale)?;
        match shift {
            Some(shift) => self.binary(Arithmetic::Add, &y, &shift),
            None => Ok(y),
        }
    }

    fn norm_weights(
        &mut self,
        op: &Op,
        scale: &Value,
        shift: &Value,
    ) -> Outcome<BTreeMap<String, String>> {
        let mut weights = BTreeMap::new();
        for needed in op.weights() {
            let value = match needed.kind {
                WeightKind::NormScale => scale,
                _ => shift,
            };
            let initialiser = Initialiser::default_of(op, needed.kind);
            let name = self.bind(value, &needed.shape, needed.kind, initialiser)?;
            weights.insert(needed.role.to_owned(), name);
        }
        Ok(weights)
    }

    /// `x` with the axes from `axis` on made one.
    fn flat_from(&mut self, x: &Tensor, axis: usize) -> Outcome<Tensor> {
        let inner = x.shape.dims()[axis..].iter();
        if inner.clone().any(|dim| dim.batches().is_some()) {
            return Err(format!("it normalises over the batch of {}", x.shape));
        }
        let width = inner.map(|dim| dim.size(1)).product();
        let outer = x.shape.dims()[..axis].iter().copied();
        let shape: Shape = outer.chain([Dim::Fixed(width)]).collect();
        self.view(x, &shape)
    }

    /// `x / sqrt(mean of x^2 + epsilon)`, times a scale.
    pub(super) fn rms_norm(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let first = axis(call.int("axis", -1)?, x.shape.rank())?;
        let squares = self.emit(Op::Multiply, &[&x, &x])?;
        let reduce = Reduce {
            reduction: Reduction::Mean,
            axes: (first..x.shape.rank()).collect(),
        };
        let mean = self.emit(Op::Reduce(reduce), &[&squares])?;
        let mean = self.line(&mean, 1.0, call.float("epsilon", 1e-5)?)?;
        let deviation = self.emit(Op::Activation(Activation::SquareRoot), &[&mean])?;
        let y = Value::Tensor(self.emit(Op::Divide, &[&x, &deviation])?);
        self.binary(Arithmetic::Multiply, &y, &call.input(1)?.clone())
    }

    pub(super) fn instance_norm(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let y = self.normalised_in_groups(&x, None, call.float("epsilon", 1e-5)?)?;
        self.scaled_by_channel(y, call)
    }

    pub(super) fn group_norm(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let groups = size(call.int("num_groups", 0)?)?;
        let epsilon = call.float("epsilon", 1e-5)?;
        let y = self.normalised_in_groups(&x, Some(groups), epsilon)?;
        // Up to operator set 20 there is a scale per group.
        let channels = x.shape.size(1).unwrap_or(0);
        let scales = call.input(1)?.shape().len_per_row();
        if scales == channels {
            return self.scaled_by_channel(y, call);
        }
        if scales != groups {
            return Err(format!(
                "expected a scale for each of {channels} channels or {groups} groups, got {scales}"
            ));
        }
        let grouped = self.view(&y, &grouped(&x.shape, groups)?)?;
        let mut value = Value::Tensor(grouped);
        for (position, operation) in [(1, Arithmetic::Multiply), (2, Arithmetic::Add)] {
            let factor = self.tensor_at(call, position)?;
            let factor = self.view(&factor, &Shape::fixed(&[groups, 1]))?;
            value = self.binary(operation, &value, &Value::Tensor(factor))?;
        }
        let tensor = self.tensor(&value)?;
        self.view(&tensor, &x.shape).map(Value::Tensor)
    }

    /// `x` with each group of channels of each row normalised; each channel alone without `groups`.
    fn normalised_in_groups(
        &mut self,
        x: &Tensor,
        groups: Option<usize>,
        epsilon: f64,
    ) -> Outcome<Tensor> {
        let groups = groups.or(x.shape.size(1)).unwrap_or(0);
        let shape = grouped(&x.shape, groups)?;
        let width = shape.size(2).unwrap_or(1);
        let grouped = self.view(x, &shape)?;
        let op = Op::LayerNorm(LayerNorm::new(width).epsilon(epsilon).affine(false));
        let y = self.emit(op, &[&grouped])?;
        self.view(&y, &x.shape)
    }

    fn scaled_by_channel(&mut self, x: Tensor, call: &Call<'_>) -> Outcome<Value> {
        let channels = x.shape.size(1).unwrap_or(0);
        let mut per_channel = vec![1; x.shape.rank() - 1];
        per_channel[0] = channels;
        let mut value = Value::Tensor(x);
        for (position, operation) in [(1, Arithmetic::Multiply), (2, Arithmetic::Add)] {
            let factor = call.input(position)?.clone();
            let neutral = if position == 1 { 1.0 } else { 0.0 };
            if let Value::Floats(array) = &factor
                && array.values.iter().all(|value| *value == neutral)
            {
                continue;
            }
            let factor = self.tensor(&factor)?;
            let factor = self.view(&factor, &Shape::fixed(&per_channel))?;
            value = self.binary(operation, &value, &Value::Tensor(factor))?;
        }
        Ok(value)
    }

    /// `x` divided by its 1- or 2-norm along an axis.
    pub(super) fn lp_norm(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let axis = axis(call.int("axis", -1)?, x.shape.rank())?;
        let sizes = match call.int("p", 2)? {
            1 => self.emit(Op::Activation(Activation::Absolute), &[&x])?,
            2 => self.emit(Op::Multiply, &[&x, &x])?,
            other => return Err(format!("expected the 1- or 2-norm, got {other}")),
        };
        let reduce = Reduce {
            reduction: Reduction::Sum,
            axes: vec![axis],
        };
        let mut norm = self.emit(Op::Reduce(reduce), &[&sizes])?;
        if call.int("p", 2)? == 2 {
            norm = self.emit(Op::Activation(Activation::SquareRoot), &[&norm])?;
        }
        self.emit(Op::Divide, &[&x, &norm]).map(Value::Tensor)
    }

    /// `x / (bias + alpha / size * sum of the squares of near channels)^beta` (Krizhevsky et al. 2012), the sum as one
    /// of shifted copies.
    pub(super) fn local_response_norm(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let near = size(call.int("size", 0)?)?;
        let channels = x.shape.size(1).unwrap_or(0);
        if near == 0 || near > 64 || channels == 0 {
            return Err(format!("expected 1 to 64 near channels, got {near}"));
        }
        let squares = self.emit(Op::Multiply, &[&x, &x])?;
        let mut sides = vec![[0; 2]; x.shape.rank()];
        sides[1] = [(near - 1) / 2, near / 2];
        let pad = crate::ir::Pad {
            sides,
            fill: crate::ir::Fill::Constant { value: 0.0 },
        };
        let padded = self.emit(Op::Pad(pad), &[&squares])?;
        let mut parts = Vec::with_capacity(near);
        for start in 0..near {
            let slice = crate::ir::Slice {
                axis: 1,
                start,
                count: channels,
                step: 1,
            };
            parts.push(self.emit(Op::Slice(slice), &[&padded])?);
        }
        let sum = match parts.as_slice() {
            [only] => only.clone(),
            parts => self.emit(Op::Add, &parts.iter().collect::<Vec<_>>())?,
        };
        let scale = call.float("alpha", 1e-4)? / near as f64;
        let base = Value::Tensor(self.line(&sum, scale, call.float("bias", 1.0)?)?);
        let beta = Value::Floats(Array::scalar(call.float("beta", 0.75)?));
        let divisor = self.binary(Arithmetic::Power, &base, &beta)?;
        self.binary(Arithmetic::Divide, &Value::Tensor(x), &divisor)
    }
}

/// Whether the file holds the value.
const fn held(value: &Value) -> bool {
    matches!(value, Value::Weight(_) | Value::Floats(_))
}

/// `[batch, groups, rest]` of `[batch, channels, ...]`.
fn grouped(shape: &Shape, groups: usize) -> Outcome<Shape> {
    let rest = shape.dims().get(1..).unwrap_or(&[]);
    let values: usize = rest
        .iter()
        .map(|dim| dim.size(1))
        .fold(1, usize::saturating_mul);
    let channels = shape.size(1).unwrap_or(0);
    if !shape.is_batched() || groups == 0 || !channels.is_multiple_of(groups) || channels == 0 {
        return Err(format!(
            "expected [batch, channels, ...] with channels that {groups} groups divide, got {shape}"
        ));
    }
    Ok(shape.with_sizes(&[groups, values / groups]))
}
