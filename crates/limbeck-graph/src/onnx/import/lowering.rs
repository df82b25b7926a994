//! The graph that grows while a model's nodes are read.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::binding::Binding;
use super::value::{Tensor, Value};
use super::weights::host;
use crate::ir::{self, Dim, Op, Shape, ValueType, WeightSpec};
use crate::onnx::{Model, Outcome};
use crate::shape;

/// The bytes of constants that a model may compute while it is read.
const MAX_COMPUTED: usize = 1 << 30;

/// What has been read of a model so far.
pub(super) struct Lowering<'a> {
    pub(super) model: &'a Model,
    pub(super) opset: i64,
    /// Every value by its name in the model.
    pub(super) values: HashMap<String, Value>,
    pub(super) nodes: Vec<ir::Node>,
    /// The types of the graph's values.
    pub(super) types: HashMap<String, ValueType>,
    pub(super) weights: BTreeMap<String, WeightSpec>,
    pub(super) bindings: BTreeMap<String, Binding>,
    /// The values that are 0 or 1 by their making.
    pub(super) truths: HashSet<String>,
    /// Parameters and constants that are values already, by the weight's name.
    pub(super) parameters: HashMap<String, Tensor>,
    /// The name that the present node's first output has.
    pub(super) prefix: String,
    begun: usize,
    /// The present node's position in the model.
    pub(super) position: usize,
    /// Which input of the present node is read, where one initialiser may be several of them.
    pub(super) input: Option<usize>,
    computed: usize,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(model: &'a Model, opset: i64) -> Self {
        Self {
            model,
            opset,
            values: HashMap::new(),
            nodes: Vec::new(),
            types: HashMap::new(),
            weights: BTreeMap::new(),
            bindings: BTreeMap::new(),
            truths: HashSet::new(),
            parameters: HashMap::new(),
            prefix: String::new(),
            begun: 0,
            position: 0,
            input: None,
            computed: 0,
        }
    }

    /// Begins the node at `position` in the model, which makes the value `output`.
    pub(super) fn begin(&mut self, position: usize, output: &str) {
        self.position = position;
        self.prefix = legal(output);
        self.begun = self.nodes.len();
    }

    /// Gives the value `tensor`, if the present node made it, the name of the model's value.
    pub(super) fn named_as(&mut self, tensor: Tensor, output: &str) -> Tensor {
        let name = legal(output);
        let own = self.nodes[self.begun..]
            .iter()
            .position(|node| node.name == tensor.name);
        let Some(own) = own.map(|position| position + self.begun) else {
            return tensor;
        };
        if self.types.contains_key(&name) {
            return tensor;
        }
        for node in &mut self.nodes[self.begun..] {
            for input in node
                .inputs
                .iter_mut()
                .filter(|input| **input == tensor.name)
            {
                input.clone_from(&name);
            }
        }
        self.nodes[own].name.clone_from(&name);
        if let Some(known) = self.types.remove(&tensor.name) {
            self.types.insert(name.clone(), known);
        }
        if self.truths.remove(&tensor.name) {
            self.truths.insert(name.clone());
        }
        for parameter in self.parameters.values_mut() {
            if parameter.name == tensor.name {
                parameter.name.clone_from(&name);
            }
        }
        Tensor {
            name,
            shape: tensor.shape,
        }
    }

    /// A name that no value has, after the present node's output.
    pub(super) fn free_name(&self) -> String {
        let mut number = self.nodes.len() - self.begun + 1;
        loop {
            let name = format!("{}~{number}", self.prefix);
            if !self.types.contains_key(&name) && !self.types.contains_key(&format!("{name}:0")) {
                return name;
            }
            number += 1;
        }
    }

    /// A new node with its outputs.
    pub(super) fn emit_all(
        &mut self,
        op: Op,
        inputs: &[&Tensor],
        weights: BTreeMap<String, String>,
    ) -> Outcome<Vec<Tensor>> {
        let types: Vec<ValueType> = inputs
            .iter()
            .map(|tensor| ValueType::float(tensor.shape.clone()))
            .collect();
        let names = inputs.iter().map(|tensor| tensor.name.clone()).collect();
        self.emit_typed(op, names, &types, weights)
    }

    pub(super) fn emit_typed(
        &mut self,
        op: Op,
        inputs: Vec<String>,
        types: &[ValueType],
        weights: BTreeMap<String, String>,
    ) -> Outcome<Vec<Tensor>> {
        let types = shape::infer(&op, &types.iter().collect::<Vec<_>>())?;
        let node = ir::Node {
            name: self.free_name(),
            op,
            inputs,
            weights,
        };
        let outputs: Vec<Tensor> = node
            .outputs()
            .into_iter()
            .zip(types)
            .map(|(name, kind)| {
                self.types.insert(name.clone(), kind.clone());
                Tensor {
                    name,
                    shape: kind.shape,
                }
            })
            .collect();
        self.nodes.push(node);
        Ok(outputs)
    }

    /// A new node with one output and no weights.
    pub(super) fn emit(&mut self, op: Op, inputs: &[&Tensor]) -> Outcome<Tensor> {
        self.emit_with(op, inputs, BTreeMap::new())
    }

    /// A new node with one output.
    pub(super) fn emit_with(
        &mut self,
        op: Op,
        inputs: &[&Tensor],
        weights: BTreeMap<String, String>,
    ) -> Outcome<Tensor> {
        let mut outputs = self.emit_all(op, inputs, weights)?;
        outputs.pop().ok_or_else(|| "it makes no value".to_owned())
    }

    /// Takes `count` elements from what constants may take together.
    pub(super) fn charge(&mut self, count: usize) -> Outcome<()> {
        self.computed = self.computed.saturating_add(count.saturating_mul(8));
        match self.computed <= MAX_COMPUTED {
            true => Ok(()),
            false => Err(format!(
                "the model computes more than {} MiB of constants",
                MAX_COMPUTED >> 20
            )),
        }
    }

    /// The value as one that the graph computes.
    pub(super) fn tensor(&mut self, value: &Value) -> Outcome<Tensor> {
        match value {
            Value::Tensor(tensor) => Ok(tensor.clone()),
            Value::Weight(weight) => self.parameter(weight),
            Value::Floats(array) => {
                let shape = at_least_one_axis(&array.shape);
                let host = host(array, &shape)?;
                self.constant(host)
            }
            Value::Integers(array) => {
                let numbers = super::constant::as_floats(array)?;
                self.tensor(&Value::Floats(numbers))
            }
            Value::Rows(rows) => self.rows_tensor(rows),
            Value::Tokens(tokens) => {
                let kind = ValueType::tokens(tokens.length);
                let inputs = vec![tokens.name.clone()];
                let floats =
                    self.emit_typed(Op::TokensAsFloats, inputs, &[kind], BTreeMap::new())?;
                match tokens.swapped {
                    true => self.emit(transpose(&[1, 0]), &[&floats[0]]),
                    false => Ok(floats[0].clone()),
                }
            }
        }
    }

    /// The same numbers with other axes.
    pub(super) fn view(&mut self, x: &Tensor, shape: &Shape) -> Outcome<Tensor> {
        let shape = match shape.rank() {
            0 => Shape::fixed(&[1]),
            _ => shape.clone(),
        };
        if x.shape == shape {
            return Ok(x.clone());
        }
        let fixed: Option<Vec<usize>> = (1..shape.rank()).map(|axis| shape.size(axis)).collect();
        let batches_inside = x.shape.dims()[1..]
            .iter()
            .any(|dim| dim.batches().is_some());
        let op = match fixed {
            Some(sizes)
                if x.shape.is_batched()
                    && x.shape.0[0] == shape.0[0]
                    && !batches_inside
                    && x.shape.rank() >= 2 =>
            {
                match sizes.len() {
                    1 => Op::Flatten,
                    _ => Op::Reshape(ir::Reshape { sizes }),
                }
            }
            _ => Op::View(ir::View { shape }),
        };
        self.emit(op, &[x])
    }
}

/// The shape of a constant in the graph, which has at least one axis.
pub(super) fn at_least_one_axis(shape: &[usize]) -> Vec<usize> {
    match shape {
        [] => vec![1],
        shape => shape.to_vec(),
    }
}

pub(super) fn transpose(axes: &[usize]) -> Op {
    Op::Transpose(ir::Transpose {
        axes: axes.to_vec(),
    })
}

/// The name in the graph of what a model calls `name`: a graph's names are words joined by dots.
pub(super) fn legal(name: &str) -> String {
    match name.split('.').any(str::is_empty) {
        true => format!("_{}_", name.replace('.', "_")),
        false => name.to_owned(),
    }
}

/// The last axis, if its size is known.
pub(super) fn last_size(shape: &Shape) -> Outcome<usize> {
    match shape.dims().last() {
        Some(Dim::Fixed(size)) => Ok(*size),
        _ => Err(format!("expected a last axis of known size, got {shape}")),
    }
}
