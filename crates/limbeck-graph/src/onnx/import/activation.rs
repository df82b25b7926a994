//! Elementwise functions of one value, and softmaxes.

use super::array::Array;
use super::call::{Call, axis};
use super::constant::Arithmetic;
use super::lowering::Lowering;
use super::value::{Tensor, Value};
use crate::ir::{Activation, Dim, Dropout, Op, Shape, Softmax};
use crate::onnx::Outcome;

impl Lowering<'_> {
    pub(super) fn function(&mut self, call: &Call<'_>, function: Activation) -> Outcome<Value> {
        match call.input(0)? {
            Value::Floats(array) => {
                if let Some(known) = host(function) {
                    return Ok(Value::Floats(array.map(|value| Ok(known(*value)))?));
                }
            }
            Value::Integers(array) if function == Activation::Absolute => {
                let absolute = array.map(|size| match size.known() {
                    Some(number) => Ok(super::size::Size::number(number.saturating_abs())),
                    None => Ok(*size),
                });
                return absolute.map(Value::Integers);
            }
            _ => {}
        }
        let x = self.first(call)?;
        self.apply(function, &x).map(Value::Tensor)
    }

    fn apply(&mut self, function: Activation, x: &Tensor) -> Outcome<Tensor> {
        self.emit(Op::Activation(function), &[x])
    }

    /// Functions with parameters, and those that are put together from others.
    pub(super) fn parametric(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let operator = call.node.op_type.as_str();
        let alpha = |default: f64| call.float("alpha", default);
        let y = match operator {
            "LeakyRelu" => {
                let slope = alpha(0.01)?;
                self.apply(Activation::LeakyRelu { slope }, &x)?
            }
            "Elu" => {
                let alpha = alpha(1.0)?;
                self.apply(Activation::Elu { alpha }, &x)?
            }
            "Celu" => {
                // alpha * elu(x / alpha), elu with 1.
                let alpha = alpha(1.0)?;
                let scaled = self.line(&x, 1.0 / alpha, 0.0)?;
                let y = self.apply(Activation::Elu { alpha: 1.0 }, &scaled)?;
                self.line(&y, alpha, 0.0)?
            }
            "Selu" => {
                let alpha = alpha(1.673_263_192_176_818_8)?;
                let gamma = call.float("gamma", 1.050_701_022_148_132_3)?;
                let y = self.apply(Activation::Elu { alpha }, &x)?;
                self.line(&y, gamma, 0.0)?
            }
            "HardSigmoid" => {
                let (alpha, beta) = (alpha(0.2)?, call.float("beta", 0.5)?);
                if (alpha - 1.0 / 6.0).abs() < 1e-7 && beta == 0.5 {
                    self.apply(Activation::HardSigmoid, &x)?
                } else {
                    let line = self.line(&x, alpha, beta)?;
                    let unit = Activation::Clip {
                        least: 0.0,
                        most: 1.0,
                    };
                    self.apply(unit, &line)?
                }
            }
            "Gelu" => match call.text("approximate", "none")? {
                "tanh" => self.apply(Activation::GeluTanh, &x)?,
                _ => self.apply(Activation::Gelu, &x)?,
            },
            "PRelu" => self.prelu(call, &x)?,
            "Mish" => {
                let soft = self.apply(Activation::Softplus, &x)?;
                let gate = self.apply(Activation::Tanh, &soft)?;
                self.emit(Op::Multiply, &[&x, &gate])?
            }
            "Swish" => {
                let alpha = alpha(1.0)?;
                let scaled = self.line(&x, alpha, 0.0)?;
                let gate = self.apply(Activation::Sigmoid, &scaled)?;
                self.emit(Op::Multiply, &[&x, &gate])?
            }
            "Softsign" => {
                let size = self.apply(Activation::Absolute, &x)?;
                let divisor = self.line(&size, 1.0, 1.0)?;
                self.emit(Op::Divide, &[&x, &divisor])?
            }
            "Tan" => {
                let sine = self.apply(Activation::Sine, &x)?;
                let cosine = self.apply(Activation::Cosine, &x)?;
                self.emit(Op::Divide, &[&sine, &cosine])?
            }
            "Sinh" | "Cosh" => {
                let minus = self.line(&x, -1.0, 0.0)?;
                let grows = self.apply(Activation::Exponential, &x)?;
                let falls = self.apply(Activation::Exponential, &minus)?;
                let op = if operator == "Sinh" {
                    Op::Subtract
                } else {
                    Op::Add
                };
                let both = self.emit(op, &[&grows, &falls])?;
                self.line(&both, 0.5, 0.0)?
            }
            // x where above alpha, else 0.
            _ => {
                let bound = self.tensor(&Value::Floats(Array::scalar(alpha(1.0)?)))?;
                let compare = crate::ir::Compare {
                    relation: crate::ir::Relation::Greater,
                };
                let above = self.emit(Op::Compare(compare), &[&x, &bound])?;
                self.emit(Op::Multiply, &[&x, &above])?
            }
        };
        Ok(Value::Tensor(y))
    }

    /// `max(x, 0) + slope * min(x, 0)`, with a slope per channel that trains.
    fn prelu(&mut self, call: &Call<'_>, x: &Tensor) -> Outcome<Tensor> {
        let slope = call.input(1)?.clone();
        if let Value::Floats(array) = &slope
            && let Some(&slope) = array.only()
        {
            return self.apply(Activation::LeakyRelu { slope }, x);
        }
        let above = self.apply(Activation::Relu, x)?;
        let clip = Activation::Clip {
            least: f64::NEG_INFINITY,
            most: 0.0,
        };
        let below = Value::Tensor(self.apply(clip, x)?);
        let below = self.binary(Arithmetic::Multiply, &below, &slope)?;
        let below = self.tensor(&below)?;
        self.emit(Op::Add, &[&above, &below])
    }

    pub(super) fn clip(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let mut bounds = [f64::NEG_INFINITY, f64::INFINITY];
        for (position, name) in ["min", "max"].into_iter().enumerate() {
            let default = call.float(name, bounds[position])?;
            bounds[position] = match call.optional(position + 1) {
                Some(value) => self.number(&value.clone())?,
                None => default,
            };
        }
        let [least, most] = bounds;
        if let Value::Floats(array) = call.input(0)? {
            return Ok(Value::Floats(
                array.map(|value| Ok(value.max(least).min(most)))?,
            ));
        }
        if let Value::Integers(array) = call.input(0)? {
            let known = array.map(|size| match size.known() {
                Some(number) => {
                    let clipped = (number as f64).max(least).min(most);
                    Ok(super::size::Size::number(clipped as i64))
                }
                None if least <= 1.0 && most == f64::INFINITY => Ok(*size),
                None => Err(format!("cannot clip {size} before the batch is known")),
            });
            return known.map(Value::Integers);
        }
        let x = self.first(call)?;
        let function = match (least, most) {
            (0.0, 6.0) => Activation::Relu6,
            (0.0, f64::INFINITY) => Activation::Relu,
            (least, most) => Activation::Clip { least, most },
        };
        self.apply(function, &x).map(Value::Tensor)
    }

    pub(super) fn softmax(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let rank = x.shape.rank();
        let logarithm = call.node.op_type == "LogSoftmax";
        let op = |axis: usize| match logarithm {
            true => Op::LogSoftmax(Softmax { axis }),
            false => Op::Softmax(Softmax { axis }),
        };
        if self.opset >= 13 {
            let axis = axis(call.int("axis", -1)?, rank)?;
            return self.emit(op(axis), &[&x]).map(Value::Tensor);
        }
        // Before, all axes from the given one on were one.
        let axis = axis(call.int("axis", 1)?, rank)?;
        if axis == rank - 1 {
            return self.emit(op(axis), &[&x]).map(Value::Tensor);
        }
        let whole: Shape = x.shape.dims()[..axis]
            .iter()
            .copied()
            .chain([Dim::Fixed(
                x.shape.dims()[axis..]
                    .iter()
                    .map(|dim| dim.size(1))
                    .product(),
            )])
            .collect();
        let flat = self.view(&x, &whole)?;
        let y = self.emit(op(axis), &[&flat])?;
        self.view(&y, &x.shape).map(Value::Tensor)
    }

    pub(super) fn dropout(&mut self, call: &Call<'_>) -> Outcome<Value> {
        if call.wants(1) && self.is_used(&call.node.outputs[1]) {
            return Err("its mask is used, which is not kept; export without it".to_owned());
        }
        let value = call.input(0)?.clone();
        let rate = match call.optional(1) {
            Some(rate) => self.number(&rate.clone())?,
            None => call.float("ratio", 0.5)?,
        };
        match value {
            Value::Tensor(x) if rate > 0.0 => self
                .emit(Op::Dropout(Dropout { rate }), &[&x])
                .map(Value::Tensor),
            value => Ok(value),
        }
    }

    /// Whether a node or the model's output takes the value `name`.
    pub(super) fn is_used(&self, name: &str) -> bool {
        let graph = self.model.graph();
        let mut inputs = graph.nodes.iter().flat_map(|node| &node.inputs);
        inputs.any(|input| input == name) || graph.outputs.iter().any(|output| output.name == name)
    }
}

/// A function on the host, for those that constants are made with.
fn host(function: Activation) -> Option<fn(f64) -> f64> {
    Some(match function {
        Activation::Exponential => f64::exp,
        Activation::Logarithm => f64::ln,
        Activation::SquareRoot => f64::sqrt,
        Activation::Reciprocal => f64::recip,
        Activation::Absolute => f64::abs,
        Activation::Sine => f64::sin,
        Activation::Cosine => f64::cos,
        Activation::Tanh => f64::tanh,
        Activation::Relu => |value| value.max(0.0),
        Activation::Sigmoid => |value| 1.0 / (1.0 + (-value).exp()),
        _ => return None,
    })
}
