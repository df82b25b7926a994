//! Which operator is read where.

use super::array::Array;
use super::call::Call;
use super::constant::Arithmetic;
use super::lowering::Lowering;
use super::size::Size;
use super::value::{Holder, Value, Weight};
use crate::ir::{Activation, Reduction, Relation};
use crate::onnx::node::{Attribute, Node};
use crate::onnx::{Outcome, Tensor};

/// The names of ONNX's own operator set.
const OWN_DOMAINS: [&str; 2] = ["", "ai.onnx"];

/// What operators do that nothing can be trained through.
pub(super) const CHOOSES: &str = "it chooses by computed positions or values, which is not trained here; a model that gives \
                                  logits without it trains";

impl Lowering<'_> {
    /// Reads a node: its outputs become values.
    pub(super) fn node(&mut self, position: usize, node: &Node) -> Outcome<()> {
        let Some(first) = node.outputs.iter().find(|output| !output.is_empty()) else {
            return Ok(());
        };
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            inputs.push(match input.as_str() {
                "" => None,
                name => Some(self.value(name)?),
            });
        }
        self.begin(position, first);
        let outputs = self.operator(&Call { node, inputs })?;
        for (output, value) in node.outputs.iter().zip(outputs) {
            if !output.is_empty() {
                let value = match value {
                    Value::Tensor(tensor) => Value::Tensor(self.named_as(tensor, output)),
                    Value::Weight(weight) => Value::Weight(Weight {
                        holder: weight.holder.or_else(|| {
                            Some(Holder {
                                node: position,
                                name: (node.op_type == "Identity").then(|| output.clone()),
                            })
                        }),
                        ..weight
                    }),
                    other => other,
                };
                self.values.insert(output.clone(), value);
            }
        }
        Ok(())
    }

    /// The value that the model calls `name`.
    pub(super) fn value(&mut self, name: &str) -> Outcome<Value> {
        if let Some(known) = self.values.get(name) {
            return Ok(known.clone());
        }
        let Some(tensor) = self.model.graph().initialisers.get(name) else {
            return Err(format!(
                "`{name}` is an output that is not computed here; only the first outputs of its node are"
            ));
        };
        let scalar = tensor.len() == 1
            && (tensor.shape.is_empty() || super::binding::is_generated(&tensor.name));
        let value = match tensor.element.is_float() && !scalar {
            true => Value::Weight(Weight::new(name, &tensor.shape)),
            false => self.decoded(tensor)?,
        };
        self.values.insert(name.to_owned(), value.clone());
        Ok(value)
    }

    /// A tensor that the file holds as a known value.
    fn decoded(&mut self, tensor: &Tensor) -> Outcome<Value> {
        super::array::elements(&tensor.shape)?;
        self.charge(tensor.len())?;
        let text = |error: crate::Error| error.to_string();
        if tensor.element.is_float() {
            let host = tensor.floats().map_err(text)?;
            let values = host.values.into_iter().map(f64::from).collect();
            return Ok(Value::Floats(Array::new(tensor.shape.clone(), values)));
        }
        let values = tensor.integers().map_err(text)?;
        let values = values.into_iter().map(Size::number).collect();
        Ok(Value::Integers(Array::new(tensor.shape.clone(), values)))
    }

    fn operator(&mut self, call: &Call<'_>) -> Outcome<Vec<Value>> {
        let node = call.node;
        if !OWN_DOMAINS.contains(&node.domain.as_str()) {
            let functions = &self.model.header().functions;
            let own = functions
                .iter()
                .any(|function| function.name == node.op_type && function.domain == node.domain);
            return Err(match own {
                true => "it calls a function that the model defines itself; inline it with `onnx.inliner.inline_local_functions`"
                    .to_owned(),
                false => format!(
                    "its operator is of the set `{}`, known is ONNX's own; export without it",
                    node.domain
                ),
            });
        }
        if call.inputs.iter().flatten().count() == 0 && node.op_type != "Constant" {
            return Err("expected one or more inputs, got none".to_owned());
        }
        if let Some(outputs) = self.several(call)? {
            return Ok(outputs);
        }
        self.one(call).map(|value| vec![value])
    }

    /// Operators with several outputs.
    fn several(&mut self, call: &Call<'_>) -> Outcome<Option<Vec<Value>>> {
        Ok(Some(match call.node.op_type.as_str() {
            "Split" => self.split(call)?,
            "LSTM" | "GRU" | "RNN" => self.recurrent(call)?,
            "Dropout" => {
                let output = self.dropout(call)?;
                vec![output]
            }
            _ => return Ok(None),
        }))
    }

    fn one(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let operator = call.node.op_type.as_str();
        if let Some(operation) = arithmetic(operator) {
            return self.arithmetic(call, operation);
        }
        if let Some(function) = function(operator) {
            return self.function(call, function);
        }
        if let Some(relation) = relation(operator) {
            return self.compare(call, relation);
        }
        if let Some(reduction) = reduction(operator) {
            return self.reduce(call, reduction);
        }
        match operator {
            "Constant" => self.constant_node(call),
            "Identity" => Ok(call.input(0)?.clone()),
            "Cast" | "CastLike" => self.cast(call),
            "Mod" => {
                let truncates = call.flag("fmod", false)?;
                self.arithmetic(call, Arithmetic::Remainder { truncates })
            }
            "Sum" => self.sum(call),
            "Mean" => self.mean(call),
            "Neg" => self.negate(call),
            "Not" => self.negation(call),
            "And" | "Or" | "Xor" => self.logic(call),
            "Where" => self.condition(call),
            "IsNaN" => self.is_nan(call),
            "Sign" | "Floor" | "Ceil" | "Round" => self.rounding(call),
            "LeakyRelu" | "Elu" | "Celu" | "Selu" | "HardSigmoid" | "Gelu" | "PRelu" | "Mish"
            | "Softsign" | "ThresholdedRelu" | "Swish" | "Tan" | "Sinh" | "Cosh" => {
                self.parametric(call)
            }
            "Clip" => self.clip(call),
            "Softmax" | "LogSoftmax" => self.softmax(call),
            "Conv" => self.convolution(call),
            "ConvTranspose" => self.transposed_convolution(call),
            "Gemm" => self.gemm(call),
            "MatMul" => self.mat_mul(call),
            "Einsum" => self.einsum(call),
            "BatchNormalization" => self.batch_norm(call),
            "LayerNormalization" => self.layer_norm(call),
            "RMSNormalization" => self.rms_norm(call),
            "InstanceNormalization" => self.instance_norm(call),
            "GroupNormalization" => self.group_norm(call),
            "LpNormalization" => self.lp_norm(call),
            "LRN" => self.local_response_norm(call),
            "MaxPool" | "AveragePool" => self.pool(call),
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(call),
            "ReduceL1" | "ReduceL2" | "ReduceSumSquare" | "ReduceLogSum" | "ReduceLogSumExp" => {
                self.norm_of(call)
            }
            "Shape" => self.shape_of(call),
            "Size" => self.size_of(call),
            "Reshape" => self.reshape(call),
            "Flatten" => self.flatten(call),
            "Squeeze" => self.squeeze(call),
            "Unsqueeze" => self.unsqueeze(call),
            "Transpose" => self.transpose(call),
            "Concat" => self.concatenate(call),
            "Expand" => self.expand(call),
            "Tile" => self.tile(call),
            "Pad" => self.pad(call),
            "DepthToSpace" => self.depth_to_space(call),
            "SpaceToDepth" => self.space_to_depth(call),
            "Slice" => self.slice(call),
            "Gather" => self.gather(call),
            "Range" => self.range(call),
            "ConstantOfShape" => self.constant_of_shape(call),
            "Trilu" => self.triangle(call),
            "CumSum" => self.cumulative_sum(call),
            "GatherND" => self.gather_pairs(call),
            "GatherElements" => self.gather_elements(call),
            "ScatterND" => self.scatter(call),
            "Attention" => self.attention(call),
            "EyeLike" | "OneHot" | "ArgMax" | "ArgMin" | "TopK" | "NonZero" | "ScatterElements" => {
                Err(CHOOSES.to_owned())
            }
            _ => Err(format!(
                "the operator `{operator}` is not known to training; replace it in the model before the export"
            )),
        }
    }

    fn constant_node(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let number = |value: f64| Value::Floats(Array::scalar(value));
        let first = call.node.attributes.iter().next();
        let (name, attribute) = first.ok_or("expected a value, got none")?;
        match (name.as_str(), attribute) {
            ("value", Attribute::Tensor(tensor)) => self.decoded(tensor),
            ("value_float", Attribute::Float(value)) => Ok(number(f64::from(*value))),
            ("value_int", Attribute::Int(value)) => {
                Ok(Value::Integers(Array::scalar(Size::number(*value))))
            }
            ("value_floats", Attribute::Floats(values)) => {
                let values = values.iter().map(|value| f64::from(*value)).collect();
                Ok(Value::Floats(Array::list(values)))
            }
            ("value_ints", Attribute::Ints(values)) => {
                let values = values.iter().map(|value| Size::number(*value)).collect();
                Ok(Value::Integers(Array::list(values)))
            }
            _ => Err(format!("expected a constant of numbers, got `{name}`")),
        }
    }
}

fn arithmetic(operator: &str) -> Option<Arithmetic> {
    Some(match operator {
        "Add" => Arithmetic::Add,
        "Sub" => Arithmetic::Subtract,
        "Mul" => Arithmetic::Multiply,
        "Div" => Arithmetic::Divide,
        "Max" => Arithmetic::Maximum,
        "Min" => Arithmetic::Minimum,
        "Pow" => Arithmetic::Power,
        _ => return None,
    })
}

fn function(operator: &str) -> Option<Activation> {
    Some(match operator {
        "Relu" => Activation::Relu,
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "Erf" => Activation::Erf,
        "Exp" => Activation::Exponential,
        "Log" => Activation::Logarithm,
        "Sqrt" => Activation::SquareRoot,
        "Reciprocal" => Activation::Reciprocal,
        "Abs" => Activation::Absolute,
        "Sin" => Activation::Sine,
        "Cos" => Activation::Cosine,
        "HardSwish" => Activation::HardSwish,
        "Softplus" => Activation::Softplus,
        _ => return None,
    })
}

fn relation(operator: &str) -> Option<Relation> {
    Some(match operator {
        "Equal" => Relation::Equal,
        "Less" => Relation::Less,
        "LessOrEqual" => Relation::LessOrEqual,
        "Greater" => Relation::Greater,
        "GreaterOrEqual" => Relation::GreaterOrEqual,
        _ => return None,
    })
}

fn reduction(operator: &str) -> Option<Reduction> {
    Some(match operator {
        "ReduceSum" => Reduction::Sum,
        "ReduceMean" => Reduction::Mean,
        "ReduceMax" => Reduction::Max,
        "ReduceMin" => Reduction::Min,
        "ReduceProd" => Reduction::Product,
        _ => return None,
    })
}
