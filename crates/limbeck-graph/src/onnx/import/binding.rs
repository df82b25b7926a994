//! Where a graph's weights are in the model's file.

use super::lowering::legal;
use super::value::Holder;
use crate::Result;
use crate::initialise::Initialiser;
use crate::onnx::{Model, Node, Outcome};
use crate::weights::HostTensor;

/// Where a weight of the graph comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Binding {
    pub(super) origin: Origin,
    /// The position of the model's node that uses it first.
    pub(super) node: usize,
    /// Which of the node's inputs it is, where one initialiser may be several.
    pub(super) input: Option<usize>,
    /// The model's node that hands the initialiser on to this one.
    pub(super) holder: Option<Holder>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    /// An initialiser with its axes in this order, and then perhaps other sizes.
    Initialiser { name: String, axes: Vec<usize> },
    /// A constant, which is not written back.
    Constant(HostTensor),
}

impl Binding {
    /// The weight's values in the file, in the graph's order.
    pub(super) fn read(&self, model: &Model, shape: &[usize]) -> Result<HostTensor> {
        match &self.origin {
            Origin::Constant(host) => Ok(host.clone()),
            Origin::Initialiser { name, axes } => {
                let host = model.graph().initialisers[name].floats()?;
                let values = match axes.is_sorted() {
                    true => host.values,
                    false => permuted(&host.values, &host.shape, axes),
                };
                HostTensor::new(shape.to_vec(), values)
            }
        }
    }

    /// The initialiser and its values for a weight of the graph; none if the file keeps what it has.
    pub(super) fn write(&self, model: &Model, weight: &HostTensor) -> Option<(String, HostTensor)> {
        let Origin::Initialiser { name, axes } = &self.origin else {
            return None;
        };
        let shape = model.graph().initialisers[name].shape.clone();
        let values = match axes.is_sorted() {
            true => weight.values.clone(),
            false => {
                let moved: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
                let mut back = vec![0; axes.len()];
                for (place, &axis) in axes.iter().enumerate() {
                    back[axis] = place;
                }
                permuted(&weight.values, &moved, &back)
            }
        };
        Some((name.clone(), HostTensor { shape, values }))
    }
}

/// `values` of `shape`, row major, with the axes in the order `axes`.
fn permuted(values: &[f32], shape: &[usize], axes: &[usize]) -> Vec<f32> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let sizes: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
    let steps: Vec<usize> = axes.iter().map(|&axis| strides[axis]).collect();
    let mut at = vec![0; axes.len()];
    let mut place = 0;
    let mut result = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        result.push(values[place]);
        for axis in (0..axes.len()).rev() {
            at[axis] += 1;
            place += steps[axis];
            if at[axis] < sizes[axis] {
                break;
            }
            place -= steps[axis] * sizes[axis];
            at[axis] = 0;
        }
    }
    result
}

/// Whether two nodes of the model are one layer that is used twice. Exporters make equal weights one initialiser, also those of
/// different layers: zeros and ones before training, and shifts that have had the same gradients since. Only
/// layers that share all their weights, and not only such, were one in the program.
pub(super) fn is_reused(model: &Model, nodes: [usize; 2]) -> bool {
    let [Some(a), Some(b)] = nodes.map(|node| model.graph().nodes.get(node)) else {
        return false;
    };
    let initialisers = &model.graph().initialisers;
    let held = |node: &Node| -> Vec<Option<String>> {
        let inputs = node.inputs.iter();
        inputs
            .map(|input| initialisers.contains_key(input).then(|| input.clone()))
            .collect()
    };
    let (held, others) = (held(a), held(b));
    let own = |name: &String| initialisers[name].element.is_float() && !is_uniform(model, name);
    a.op_type == b.op_type && held == others && held.iter().flatten().any(own)
}

/// Whether an initialiser is a list of the same value everywhere.
fn is_uniform(model: &Model, initialiser: &str) -> bool {
    let tensor = &model.graph().initialisers[initialiser];
    let list = tensor.shape.iter().filter(|size| **size != 1).count() <= 1;
    let values = || tensor.floats().map(|host| host.values).unwrap_or_default();
    list && values().windows(2).all(|pair| pair[0] == pair[1])
}

/// How a parameter that is used as a plain value starts anew, and whether it looks like a constant.
pub(super) struct Start {
    pub(super) initialiser: Initialiser,
    pub(super) constant: bool,
}

/// The distribution that the values of an initialiser seem to have, since no operator says more of it.
///
/// A mask (infinities, or zero and one other number) is taken for a constant.
pub(super) fn start_like(model: &Model, initialiser: &str) -> Outcome<Start> {
    let tensor = &model.graph().initialisers[initialiser];
    let values = tensor.floats().map_err(|error| error.to_string())?.values;
    let first = values.first().copied().unwrap_or(0.0);
    if values.iter().all(|value| *value == first) && first.is_finite() {
        let initialiser = Initialiser::Constant {
            value: f64::from(first),
        };
        return Ok(Start {
            initialiser,
            constant: values.len() == 1 && is_generated(&tensor.name),
        });
    }
    let count = values.len() as f64;
    let square = values
        .iter()
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>();
    let deviation = (square / count).sqrt();
    let other = values.iter().find(|value| **value != 0.0).copied();
    let two =
        other.is_some_and(|other| values.iter().all(|value| *value == 0.0 || *value == other));
    let constant = !deviation.is_finite() || two;
    let deviation = if constant { 0.0 } else { deviation };
    Ok(Start {
        initialiser: Initialiser::Normal { deviation },
        constant,
    })
}

/// Whether a name is one that an exporter makes up, so that what has it is no parameter of its own.
pub(super) fn is_generated(name: &str) -> bool {
    let made_up = ["onnx::", "/", "val_", "const", "Const", "scalar_tensor"];
    made_up.iter().any(|start| name.starts_with(start)) || legal(name) != name
}
