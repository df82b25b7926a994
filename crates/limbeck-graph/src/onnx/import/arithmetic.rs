//! Elementwise operators of several values, comparisons and conditions.

use super::array::Array;
use super::call::Call;
use super::constant::{self, Arithmetic};
use super::lowering::Lowering;
use super::size::Size;
use super::value::{Tensor, Value};
use crate::ir::{Activation, Compare, Op, Relation, ScaleShift};
use crate::onnx::{Attribute, ElementType, Outcome};

impl Lowering<'_> {
    pub(super) fn arithmetic(&mut self, call: &Call<'_>, operation: Arithmetic) -> Outcome<Value> {
        let mut result = call.input(0)?.clone();
        if call.inputs.len() == 1 && matches!(operation, Arithmetic::Maximum | Arithmetic::Minimum)
        {
            return Ok(result);
        }
        call.input(1)?;
        for position in 1..call.inputs.len() {
            let other = call.input(position)?;
            result = self.binary(operation, &result, other)?;
        }
        Ok(result)
    }

    pub(super) fn sum(&mut self, call: &Call<'_>) -> Outcome<Value> {
        match call.inputs.len() {
            1 => Ok(call.input(0)?.clone()),
            _ => self.arithmetic(call, Arithmetic::Add),
        }
    }

    pub(super) fn mean(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let sum = self.sum(call)?;
        let count = Value::Floats(Array::scalar(call.inputs.len() as f64));
        self.binary(Arithmetic::Divide, &sum, &count)
    }

    pub(super) fn negate(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let minus = match call.input(0)? {
            Value::Integers(_) => Value::Integers(Array::scalar(Size::number(-1))),
            _ => Value::Floats(Array::scalar(-1.0)),
        };
        self.binary(Arithmetic::Multiply, call.input(0)?, &minus)
    }

    /// `a` and `b` element by element, at once if both are known.
    pub(super) fn binary(&mut self, operation: Arithmetic, a: &Value, b: &Value) -> Outcome<Value> {
        match (a, b) {
            (Value::Integers(a), Value::Integers(b)) => {
                let result = constant::integers(operation, a, b)?;
                self.charge(result.values.len())?;
                return Ok(Value::Integers(result));
            }
            (Value::Floats(_) | Value::Integers(_), Value::Floats(_) | Value::Integers(_)) => {
                let (a, b) = (self.floats(a)?, self.floats(b)?);
                let result = constant::floats(operation, &a, &b)?;
                self.charge(result.values.len())?;
                return Ok(Value::Floats(result));
            }
            _ => {}
        }
        if let Some((a, b)) = self.both_rows(a, b) {
            return self.rows_arithmetic(operation, &a, &b);
        }
        let rank = a.shape().rank().max(b.shape().rank());
        if let (Some(number), true) = (scalar(b), a.shape().rank() == rank) {
            let x = self.tensor(a)?;
            return self.with_number(operation, &x, number).map(Value::Tensor);
        }
        if let (Some(number), true) = (scalar(a), b.shape().rank() == rank) {
            let x = self.tensor(b)?;
            return self.number_with(operation, number, &x).map(Value::Tensor);
        }
        let op = match operation {
            Arithmetic::Add => Op::Add,
            Arithmetic::Subtract => Op::Subtract,
            Arithmetic::Multiply => Op::Multiply,
            Arithmetic::Divide => Op::Divide,
            Arithmetic::Maximum => Op::Maximum,
            Arithmetic::Minimum => Op::Minimum,
            Arithmetic::Power => return self.power(a, b),
            Arithmetic::Remainder { .. } => {
                return Err("remainders of computed numbers are not trained".to_owned());
            }
        };
        let (a, b) = (self.tensor(a)?, self.tensor(b)?);
        self.emit(op, &[&a, &b]).map(Value::Tensor)
    }

    /// `x` and a number.
    fn with_number(&mut self, operation: Arithmetic, x: &Tensor, number: f64) -> Outcome<Tensor> {
        let function = match operation {
            Arithmetic::Add => return self.line(x, 1.0, number),
            Arithmetic::Subtract => return self.line(x, 1.0, -number),
            Arithmetic::Multiply => return self.line(x, number, 0.0),
            Arithmetic::Divide => return self.line(x, 1.0 / number, 0.0),
            Arithmetic::Maximum => clip(number, f64::INFINITY),
            Arithmetic::Minimum => clip(f64::NEG_INFINITY, number),
            Arithmetic::Power => match number {
                1.0 => return Ok(x.clone()),
                2.0 => return self.emit(Op::Multiply, &[x, x]),
                0.5 => Activation::SquareRoot,
                -1.0 => Activation::Reciprocal,
                exponent => Activation::Power { exponent },
            },
            Arithmetic::Remainder { .. } => {
                return Err("remainders of computed numbers are not trained".to_owned());
            }
        };
        self.emit(Op::Activation(function), &[x])
    }

    /// A number and `x`.
    fn number_with(&mut self, operation: Arithmetic, number: f64, x: &Tensor) -> Outcome<Tensor> {
        match operation {
            Arithmetic::Subtract => self.line(x, -1.0, number),
            Arithmetic::Divide => {
                let inverse = self.emit(Op::Activation(Activation::Reciprocal), &[x])?;
                self.line(&inverse, number, 0.0)
            }
            Arithmetic::Power if number > 0.0 => {
                let scaled = self.line(x, number.ln(), 0.0)?;
                self.emit(Op::Activation(Activation::Exponential), &[&scaled])
            }
            Arithmetic::Power | Arithmetic::Remainder { .. } => Err(format!(
                "expected a positive base, got {number}; the exponent is computed"
            )),
            symmetric => self.with_number(symmetric, x, number),
        }
    }

    /// `x * scale + shift`.
    pub(super) fn line(&mut self, x: &Tensor, scale: f64, shift: f64) -> Outcome<Tensor> {
        match (scale, shift) {
            (1.0, 0.0) => Ok(x.clone()),
            _ => self.emit(Op::ScaleShift(ScaleShift { scale, shift }), &[x]),
        }
    }

    /// `a^b` with a base that is positive.
    fn power(&mut self, a: &Value, b: &Value) -> Outcome<Value> {
        let (base, exponent) = (self.tensor(a)?, self.tensor(b)?);
        let logarithm = self.emit(Op::Activation(Activation::Logarithm), &[&base])?;
        let product = self.emit(Op::Multiply, &[&logarithm, &exponent])?;
        self.emit(Op::Activation(Activation::Exponential), &[&product])
            .map(Value::Tensor)
    }

    pub(super) fn compare(&mut self, call: &Call<'_>, relation: Relation) -> Outcome<Value> {
        let (a, b) = (call.input(0)?.clone(), call.input(1)?.clone());
        match (&a, &b) {
            (Value::Integers(a), Value::Integers(b)) => {
                return constant::compare_integers(relation, a, b).map(Value::Integers);
            }
            (Value::Floats(_) | Value::Integers(_), Value::Floats(_) | Value::Integers(_)) => {
                let (a, b) = (self.floats(&a)?, self.floats(&b)?);
                return constant::compare_floats(relation, &a, &b).map(Value::Integers);
            }
            _ => {}
        }
        if let Some((a, b)) = self.both_rows(&a, &b) {
            return self.rows_compared(relation, &a, &b);
        }
        let (a, b) = (self.tensor(&a)?, self.tensor(&b)?);
        let result = self.emit(Op::Compare(Compare { relation }), &[&a, &b])?;
        self.truth(result)
    }

    /// A value that is 0 or 1.
    fn truth(&mut self, tensor: Tensor) -> Outcome<Value> {
        self.truths.insert(tensor.name.clone());
        Ok(Value::Tensor(tensor))
    }

    pub(super) fn negation(&mut self, call: &Call<'_>) -> Outcome<Value> {
        if let Value::Integers(array) = call.input(0)? {
            let negated = array.map(|size| Ok(Size::number(i64::from(size.known() == Some(0)))))?;
            return Ok(Value::Integers(negated));
        }
        if let Value::Rows(rows) = call.input(0)? {
            let rows = rows.clone();
            return self.rows_logic(&rows, &rows, |a, _| !a);
        }
        let x = self.first(call)?;
        let negated = self.line(&x, -1.0, 1.0)?;
        self.truth(negated)
    }

    pub(super) fn logic(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let (a, b) = (call.input(0)?.clone(), call.input(1)?.clone());
        let operator = call.node.op_type.as_str();
        let function = match operator {
            "And" => |a, b| a && b,
            "Or" => |a, b| a || b,
            _ => |a, b| a != b,
        };
        if let (Value::Integers(a), Value::Integers(b)) = (&a, &b) {
            let result = a.combine(b, |a, b| {
                let (a, b) = (a.known() != Some(0), b.known() != Some(0));
                Ok(Size::number(i64::from(function(a, b))))
            })?;
            return Ok(Value::Integers(result));
        }
        if let Some((a, b)) = self.both_rows(&a, &b) {
            return self.rows_logic(&a, &b, function);
        }
        let (a, b) = (self.tensor(&a)?, self.tensor(&b)?);
        let result = match operator {
            "And" => self.emit(Op::Multiply, &[&a, &b])?,
            "Or" => self.emit(Op::Maximum, &[&a, &b])?,
            _ => {
                let difference = self.emit(Op::Subtract, &[&a, &b])?;
                self.emit(Op::Multiply, &[&difference, &difference])?
            }
        };
        self.truth(result)
    }

    pub(super) fn condition(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let [condition, a, b] = [0, 1, 2].map(|position| call.input(position).cloned());
        let (condition, a, b) = (condition?, a?, b?);
        if let Value::Integers(condition) = &condition {
            let first = condition.values.iter().all(|size| size.known() != Some(0));
            let second = condition.values.iter().all(|size| size.known() == Some(0));
            match (&a, &b) {
                (Value::Integers(a), Value::Integers(b)) => {
                    return choose(condition, a, b).map(Value::Integers);
                }
                (Value::Floats(_) | Value::Integers(_), Value::Floats(_) | Value::Integers(_)) => {
                    let (a, b) = (self.floats(&a)?, self.floats(&b)?);
                    return choose(condition, &a, &b).map(Value::Floats);
                }
                // One side is never chosen.
                _ if first && covers(&a, &b, condition) => return Ok(a),
                _ if second && covers(&b, &a, condition) => return Ok(b),
                _ => {}
            }
        }
        let condition = self.tensor(&condition)?;
        let (a, b) = (self.tensor(&a)?, self.tensor(&b)?);
        self.emit(Op::Where, &[&condition, &a, &b])
            .map(Value::Tensor)
    }

    /// Whether a number is none: exporters ask it of softmaxes of which every entry may be masked.
    pub(super) fn is_nan(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let compare = Compare {
            relation: Relation::Equal,
        };
        let same = self.emit(Op::Compare(compare), &[&x, &x])?;
        let nan = self.line(&same, -1.0, 1.0)?;
        self.truth(nan)
    }

    pub(super) fn rounding(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let function: fn(f64) -> f64 = match call.node.op_type.as_str() {
            "Floor" => f64::floor,
            "Ceil" => f64::ceil,
            "Round" => f64::round_ties_even,
            _ => |value| if value == 0.0 { 0.0 } else { value.signum() },
        };
        match call.input(0)? {
            Value::Floats(array) => Ok(Value::Floats(array.map(|value| Ok(function(*value)))?)),
            Value::Integers(array) if call.node.op_type != "Sign" => {
                Ok(Value::Integers(array.clone()))
            }
            _ if call.node.op_type == "Sign" => self.sign(call),
            other => Err(format!(
                "it rounds {}, which has no gradient to train with",
                other.words()
            )),
        }
    }

    fn sign(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let zero = self.tensor(&Value::Floats(Array::scalar(0.0)))?;
        let mut compare = |relation| self.emit(Op::Compare(Compare { relation }), &[&x, &zero]);
        let (above, below) = (compare(Relation::Greater)?, compare(Relation::Less)?);
        self.emit(Op::Subtract, &[&above, &below])
            .map(Value::Tensor)
    }

    pub(super) fn cast(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let target = match (call.node.op_type.as_str(), call.attribute("to")) {
            ("Cast", Some(Attribute::Int(number))) => {
                let number =
                    i32::try_from(*number).map_err(|_| "its type is unknown".to_owned())?;
                Some(ElementType::from_number(number))
            }
            ("Cast", _) => return Err("expected a type to cast to".to_owned()),
            _ => match call.input(1)? {
                Value::Integers(_) | Value::Tokens(_) => Some(ElementType::I64),
                _ => Some(ElementType::F32),
            },
        };
        let target = target.unwrap_or(ElementType::F32);
        let value = call.input(0)?.clone();
        let floats = target.is_float();
        let truth = target == ElementType::Bool;
        if matches!(target, ElementType::Other(_)) {
            return Err(format!("it casts to {target}, which is not known"));
        }
        match &value {
            Value::Integers(array) if floats => constant::as_floats(array).map(Value::Floats),
            Value::Integers(array) if truth => {
                let truths = array.map(|size| Ok(Size::number(i64::from(size.known() != Some(0)))));
                truths.map(Value::Integers)
            }
            Value::Floats(array) if truth => {
                let truths = array.map(|value| Ok(Size::number(i64::from(*value != 0.0))));
                truths.map(Value::Integers)
            }
            Value::Floats(array) if !floats => constant::as_integers(array).map(Value::Integers),
            Value::Tokens(_) if floats => self.tensor(&value).map(Value::Tensor),
            Value::Tensor(tensor) if !floats && !self.truths.contains(&tensor.name) => {
                match truth {
                    true => self.is_not_zero(tensor),
                    false => Err(format!(
                        "it casts computed numbers to {target}, which has no gradient to train with"
                    )),
                }
            }
            Value::Rows(rows) if truth => {
                let rows = rows.clone();
                self.rows_logic(&rows, &rows, |a, _| a)
            }
            Value::Rows(rows) => Ok(Value::Rows(super::rows::Rows {
                integers: !floats,
                ..rows.clone()
            })),
            Value::Tokens(_) if truth => {
                let tensor = self.tensor(&value)?;
                self.is_not_zero(&tensor)
            }
            _ => Ok(value),
        }
    }

    fn is_not_zero(&mut self, tensor: &Tensor) -> Outcome<Value> {
        let zero = self.tensor(&Value::Floats(Array::scalar(0.0)))?;
        let compare = Compare {
            relation: Relation::Equal,
        };
        let zeros = self.emit(Op::Compare(compare), &[tensor, &zero])?;
        let others = self.line(&zeros, -1.0, 1.0)?;
        self.truth(others)
    }
}

fn clip(least: f64, most: f64) -> Activation {
    Activation::Clip { least, most }
}

/// The number that a value is everywhere, if it is small enough to repeat without a new shape.
fn scalar(value: &Value) -> Option<f64> {
    match value {
        Value::Floats(array) => array.only().copied(),
        Value::Integers(array) => array.only()?.known().map(|number| number as f64),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

/// Whether repeating `other` and `condition` to the shape of `chosen` changes nothing of it.
fn covers(chosen: &Value, other: &Value, condition: &Array<Size>) -> bool {
    let shape = chosen.shape();
    let fits = |small: &crate::ir::Shape| {
        let missing = shape.rank().checked_sub(small.rank());
        missing.is_some_and(|missing| {
            let pairs = small.dims().iter().zip(&shape.dims()[missing..]);
            pairs
                .into_iter()
                .all(|(a, b)| *a == crate::ir::Dim::Fixed(1) || a == b)
        })
    };
    fits(&other.shape()) && fits(&crate::ir::Shape::fixed(&condition.shape))
}

fn choose<T: Clone>(condition: &Array<Size>, a: &Array<T>, b: &Array<T>) -> Outcome<Array<T>> {
    let pairs = a.combine(b, |a, b| Ok((a.clone(), b.clone())))?;
    condition.combine(&pairs, |condition, (a, b)| {
        Ok(match condition.known() {
            Some(0) => b.clone(),
            _ => a.clone(),
        })
    })
}
