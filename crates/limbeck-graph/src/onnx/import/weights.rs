//! The weights and constants of the graph that grows, each with its place in the file.

use std::collections::BTreeMap;

use super::array::Array;
use super::binding::{Binding, Origin};
use super::lowering::{Lowering, at_least_one_axis, legal, transpose};
use super::value::{Tensor, Value, Weight};
use crate::initialise::Initialiser;
use crate::ir::{self, Op, Shape, WeightKind, WeightSpec};
use crate::onnx::Outcome;
use crate::weights::HostTensor;

impl Lowering<'_> {
    /// The name of a weight with `shape` for an operator: an initialiser, or a constant of the model, which then
    /// stays as it is.
    pub(super) fn bind(
        &mut self,
        value: &Value,
        shape: &[usize],
        kind: WeightKind,
        initialiser: Initialiser,
    ) -> Outcome<String> {
        match value {
            Value::Weight(weight) => self.bind_weight(weight, shape, kind, initialiser),
            Value::Floats(array) => {
                let host = host(array, shape)?;
                Ok(self.bind_constant(host, kind))
            }
            Value::Rows(_) | Value::Integers(_) | Value::Tensor(_) | Value::Tokens(_) => {
                Err(format!(
                    "expected an initialiser as weight, got {}; export with constant folding",
                    value.words()
                ))
            }
        }
    }

    fn bind_constant(&mut self, host: HostTensor, kind: WeightKind) -> String {
        let name = self.free_weight(&format!("{}~{}", self.prefix, kind_word(kind)));
        let mut spec = WeightSpec::new(host.shape.clone(), kind, Initialiser::ZEROS);
        spec.frozen = kind.is_parameter();
        self.weights.insert(name.clone(), spec);
        let binding = Binding {
            origin: Origin::Constant(host),
            node: self.position,
            input: None,
            holder: None,
        };
        self.bindings.insert(name.clone(), binding);
        name
    }

    fn bind_weight(
        &mut self,
        weight: &Weight,
        shape: &[usize],
        kind: WeightKind,
        initialiser: Initialiser,
    ) -> Outcome<String> {
        if weight.shape.iter().product::<usize>() != shape.iter().product::<usize>() {
            return Err(format!(
                "expected the weight `{}` to have shape {shape:?}, got {:?}",
                weight.initialiser, weight.shape
            ));
        }
        let name = legal(&weight.initialiser);
        let origin = Origin::Initialiser {
            name: weight.initialiser.clone(),
            axes: weight.axes.clone(),
        };
        let known = self.weights.get(&name).zip(self.bindings.get(&name));
        let name = match known {
            None => name,
            Some((spec, binding)) => {
                let same = spec.shape == shape
                    && binding.origin == origin
                    && spec.kind.is_buffer() == kind.is_buffer();
                let elsewhere = binding.node != self.position;
                let apart = (elsewhere || binding.input != self.input)
                    && is_list(&weight.shape)
                    && !(elsewhere
                        && super::binding::is_reused(self.model, [binding.node, self.position]));
                match (apart, same) {
                    (true, _) => self.own_name(weight),
                    (false, true) => return Ok(name),
                    (false, false) => {
                        return Err(format!(
                            "the weight `{}` is used in two ways at once",
                            weight.initialiser
                        ));
                    }
                }
            }
        };
        let spec = WeightSpec::new(shape.to_vec(), kind, initialiser);
        self.insert(&name, spec, origin, weight);
        Ok(name)
    }

    fn insert(&mut self, name: &str, spec: WeightSpec, origin: Origin, weight: &Weight) {
        self.weights.insert(name.to_owned(), spec);
        let binding = Binding {
            origin,
            node: self.position,
            // What is handed on is an input of the other node.
            input: self.input.filter(|_| weight.holder.is_none()),
            holder: weight.holder.clone(),
        };
        self.bindings.insert(name.to_owned(), binding);
    }

    /// The name of a weight that parts from another one of the same initialiser.
    fn own_name(&self, weight: &Weight) -> String {
        let before = weight
            .holder
            .as_ref()
            .and_then(|holder| holder.name.as_ref());
        self.free_weight(&legal(before.unwrap_or(&weight.initialiser)))
    }

    fn free_weight(&self, name: &str) -> String {
        if !self.weights.contains_key(name) {
            return name.to_owned();
        }
        let names = (2_usize..).map(|number| format!("{name}~{number}"));
        let mut free = names.filter(|name| !self.weights.contains_key(name));
        free.next().unwrap_or_default()
    }

    /// Whether an initialiser is a weight in this order of axes, or not yet one at all.
    pub(super) fn can_bind(&self, weight: &Weight, shape: &[usize]) -> bool {
        let name = legal(&weight.initialiser);
        match (self.weights.get(&name), self.bindings.get(&name)) {
            (
                Some(spec),
                Some(Binding {
                    origin: Origin::Initialiser { axes, .. },
                    ..
                }),
            ) => spec.shape == shape && *axes == weight.axes && !spec.kind.is_buffer(),
            (None, _) => true,
            _ => false,
        }
    }

    pub(super) fn constant(&mut self, host: HostTensor) -> Outcome<Tensor> {
        let shape = host.shape.clone();
        let weight = self.bind_constant(host, WeightKind::Constant);
        let weights = BTreeMap::from([("value".to_owned(), weight)]);
        self.emit_with(Op::Constant(ir::Constant { shape }), &[], weights)
    }

    pub(super) fn parameter(&mut self, weight: &Weight) -> Outcome<Tensor> {
        let mut name = legal(&weight.initialiser);
        let apart = self.bindings.get(&name).is_some_and(|binding| {
            let nodes = [binding.node, self.position];
            binding.node != self.position && !super::binding::is_reused(self.model, nodes)
        });
        if apart && is_list(&weight.shape) {
            name = self.own_name(weight);
        }
        let first = match (self.bindings.get(&name), self.weights.get(&name)) {
            (
                Some(Binding {
                    origin: Origin::Initialiser { axes, .. },
                    ..
                }),
                Some(spec),
            ) => (axes.clone(), spec.shape.clone()),
            _ => {
                let own = &self.model.graph().initialisers[&weight.initialiser].shape;
                let straight = Weight::new(&weight.initialiser, own);
                let shape = at_least_one_axis(own);
                let start = super::binding::start_like(self.model, &weight.initialiser)?;
                let origin = Origin::Initialiser {
                    name: weight.initialiser.clone(),
                    axes: straight.axes.clone(),
                };
                let spec = WeightSpec::new(shape.clone(), WeightKind::Weight, start.initialiser);
                self.insert(&name, spec, origin, weight);
                if let Some(spec) = self.weights.get_mut(&name) {
                    spec.frozen = start.constant;
                }
                (straight.axes, shape)
            }
        };
        let (bound, shape) = first;
        let stored = match self.parameters.get(&name) {
            Some(known) => known.clone(),
            None => {
                let weights = BTreeMap::from([("value".to_owned(), name.clone())]);
                let op = match self.weights[&name].kind.is_buffer() {
                    true => {
                        return Err(format!(
                            "the running statistic `{}` is also used as a value",
                            weight.initialiser
                        ));
                    }
                    false => Op::Parameter(ir::Parameter {
                        shape: shape.clone(),
                    }),
                };
                let tensor = self.emit_with(op, &[], weights)?;
                self.parameters.insert(name, tensor.clone());
                tensor
            }
        };
        let own = &self.model.graph().initialisers[&weight.initialiser].shape;
        let moved: Vec<usize> = bound.iter().map(|&axis| own[axis]).collect();
        let moved = match moved.is_empty() {
            true => vec![1],
            false => moved,
        };
        let mut tensor = stored;
        if tensor.shape != Shape::fixed(&moved) {
            tensor = self.view(&tensor, &Shape::fixed(&moved))?;
        }
        // From the order in the graph to that of this use.
        let order: Option<Vec<usize>> = weight
            .axes
            .iter()
            .map(|axis| bound.iter().position(|other| other == axis))
            .collect();
        match order {
            Some(order) if !order.is_sorted() => self.emit(transpose(&order), &[&tensor]),
            _ => Ok(tensor),
        }
    }
}

/// Whether at most one axis has more than one place.
fn is_list(shape: &[usize]) -> bool {
    shape.iter().filter(|size| **size != 1).count() <= 1
}

pub(super) fn host(array: &Array<f64>, shape: &[usize]) -> Outcome<HostTensor> {
    if array.values.len() != shape.iter().product::<usize>() {
        return Err(format!(
            "expected a constant of shape {shape:?}, got {:?}",
            array.shape
        ));
    }
    Ok(HostTensor {
        shape: shape.to_vec(),
        values: array.values.iter().map(|value| *value as f32).collect(),
    })
}

const fn kind_word(kind: WeightKind) -> &'static str {
    match kind {
        WeightKind::Weight | WeightKind::NormScale => "weight",
        WeightKind::Bias | WeightKind::NormShift => "bias",
        WeightKind::RunningMean => "mean",
        WeightKind::RunningVariance => "variance",
        WeightKind::Constant => "constant",
    }
}
