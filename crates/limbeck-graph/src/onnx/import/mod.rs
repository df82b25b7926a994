//! ONNX models as networks that train.
//!
//! The nodes are read in order. What depends on constants alone is computed at once, with the batch as an unknown in shapes;
//! everything else becomes a node of the graph, called as the model's value. [`simplify`] then joins what exporters took
//! apart: layer norms, GELUs, linear layers, channel shuffles.

mod activation;
mod arithmetic;
mod arrange;
mod array;
mod attention;
mod binding;
mod call;
mod constant;
mod convolution;
mod dense;
mod input;
mod lowering;
mod norm;
mod operator;
mod pool;
mod recurrent;
mod reduce;
mod rows;
mod scatter;
mod select;
mod simplify;
mod size;
mod value;
mod weights;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::edit::{Edits, Renamed};
use super::source::printable;
use super::{Model, Outcome};
use crate::error::nearest;
use crate::ir::{self, Op};
use crate::run::CompiledGraph;
use crate::weights::HostTensor;
use crate::{Error, Result};
use binding::{Binding, Origin};
use burn::tensor::Device;
use lowering::Lowering;
use value::Value;

/// An ONNX model as a graph, which knows its way back into the file.
///
/// Values, nodes and weights have ONNX's names: a node is called as the value it makes, and where a graph allows
/// other names, taps stand for them.
#[derive(Clone, Debug)]
pub struct Imported {
    model: Arc<Model>,
    graph: ir::Graph,
    bindings: Arc<BTreeMap<String, Binding>>,
    notes: Vec<Note>,
}

/// Something about a model that whoever trains it should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note(pub String);

impl Imported {
    /// Reads the model in the file at `path`.
    ///
    /// # Errors
    /// As [`Model::read`] and [`Model::import`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Model::read(path)?.import()
    }

    /// The file.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The network.
    pub const fn graph(&self) -> &ir::Graph {
        &self.graph
    }

    /// What whoever trains it should know: folded batch norms, constants that might have been weights.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The weights of the file by the names of [`graph`](Self::graph).
    ///
    /// # Errors
    /// If an external file cannot be read any more.
    pub fn weights(&self) -> Result<BTreeMap<String, HostTensor>> {
        let names = self.graph.weights.keys();
        names
            .map(|name| Ok((name.clone(), self.weight(name)?)))
            .collect()
    }

    /// The weight of the file that the graph calls `name`.
    ///
    /// # Errors
    /// If there is none, or an external file cannot be read any more.
    pub fn weight(&self, name: &str) -> Result<HostTensor> {
        match (self.bindings.get(name), self.graph.weights.get(name)) {
            (Some(binding), Some(spec)) => binding.read(&self.model, &spec.shape),
            _ => Err(Error::Unknown {
                kind: "weight",
                name: name.to_owned(),
                nearest: nearest(name, self.bindings.keys().map(String::as_str)),
            }),
        }
    }

    /// The network with the file's weights on `device`. They are decoded one by one, so that a large file takes its size
    /// once.
    ///
    /// # Errors
    /// If the file cannot be read any more.
    pub fn compile(&self, device: &Device) -> Result<CompiledGraph> {
        self.graph.compile_from(device, |name, _| self.weight(name))
    }

    /// Writes the file with other weights, in the form that evaluates: batch norms and dropouts that were kept in training
    /// form are set to evaluation, everything else but the weights keeps its bits.
    ///
    /// # Errors
    /// If the weights are not those of the graph, or as [`Model::write`].
    pub fn write(
        &self,
        path: impl AsRef<Path>,
        weights: &BTreeMap<String, HostTensor>,
    ) -> Result<()> {
        crate::weights::check(&self.graph, weights)?;
        let mut initialisers: BTreeMap<String, HostTensor> = BTreeMap::new();
        let mut edits = Edits::default();
        let mut changes = Vec::with_capacity(weights.len());
        for (name, weight) in weights {
            let binding = &self.bindings[name];
            if let Some((initialiser, host)) = binding.write(&self.model, weight) {
                changes.push((name, binding, initialiser, host));
            }
        }
        // Of weights that share an initialiser, the one with its name keeps it.
        changes.sort_by_key(|(name, _, initialiser, _)| **name != lowering::legal(initialiser));
        for (name, binding, initialiser, host) in changes {
            match initialisers.get(&initialiser) {
                None => {
                    initialisers.insert(initialiser, host);
                }
                Some(other) if other.values == host.values => {}
                // Weights that were one while they were alike part.
                Some(_) => {
                    let parted = part(&mut edits, binding, &initialiser, name, host);
                    parted.map_err(|problem| Error::Onnx {
                        path: path.as_ref().to_owned(),
                        problem,
                    })?;
                }
            }
        }
        self.model.write_evaluating(path, &initialisers, &edits)
    }
}

impl Model {
    /// The model as a network that trains.
    ///
    /// # Errors
    /// [`Error::Operator`] with the first node that cannot be trained; [`Error::Onnx`] if an input has no size.
    pub fn import(self) -> Result<Imported> {
        self.import_sized(None)
    }

    /// The model as a network that trains, with `sizes` (without the batch) for what its first input leaves open.
    ///
    /// # Errors
    /// As [`import`](Self::import).
    pub fn import_sized(self, sizes: Option<&[usize]>) -> Result<Imported> {
        let path = self.source.path.clone();
        let opset = self.header().opset_imports.get("").copied().unwrap_or(0);
        let model = Arc::new(self);
        let wrong = |problem: String| Error::Onnx {
            path: path.clone(),
            problem: printable(&problem),
        };
        let mut lowering = Lowering::new(&model, opset);
        let inputs = input::inputs(&mut lowering, sizes).map_err(wrong)?;
        for (position, node) in model.graph().nodes.iter().enumerate() {
            lowering
                .node(position, node)
                .map_err(|problem| Error::Operator {
                    path: path.clone(),
                    node: printable(&node.to_string()),
                    opset,
                    problem: printable(&problem),
                })?;
        }
        let outputs = outputs(&mut lowering).map_err(wrong)?;
        let mut taps = taps(&lowering);
        let Lowering {
            nodes,
            weights,
            bindings,
            types,
            ..
        } = lowering;
        let mut graph = ir::Graph {
            name: name(&model, &path),
            inputs,
            nodes,
            weights,
            outputs,
            taps: BTreeMap::new(),
        };
        simplify::simplify(&mut graph, &types);
        drop_unused(&mut graph);
        let values: BTreeSet<String> = graph
            .inputs
            .iter()
            .map(|input| input.name.clone())
            .chain(graph.nodes.iter().flat_map(ir::Node::outputs))
            .collect();
        taps.retain(|tap, value| values.contains(value) && !values.contains(tap));
        graph.taps = taps;
        graph.validate().map_err(|error| wrong(error.to_string()))?;
        let bindings = bindings
            .into_iter()
            .filter(|(name, _)| graph.weights.contains_key(name))
            .collect();
        let mut imported = Imported {
            model,
            graph,
            bindings: Arc::new(bindings),
            notes: Vec::new(),
        };
        imported.notes = notes(&imported);
        Ok(imported)
    }
}

/// Gives a weight that shared `initialiser` with another one of its own: in the place of the identity that handed it on, or
/// as another input of its node.
fn part(
    edits: &mut Edits,
    binding: &Binding,
    initialiser: &str,
    name: &str,
    host: HostTensor,
) -> Outcome<()> {
    let several = || {
        format!(
            "`{initialiser}` reaches several nodes through one, and their values differ after training; export the model \
             with a copy for each"
        )
    };
    let (node, before) = match &binding.holder {
        Some(holder) => (holder.node, holder.name.as_ref()),
        None => (binding.node, None),
    };
    if let Some(before) = before {
        if edits
            .initialisers
            .get(before)
            .is_some_and(|other| other.values != host.values)
        {
            return Err(several());
        }
        edits.replaced.insert(node);
        edits.initialisers.insert(before.clone(), host);
        return Ok(());
    }
    let renamed = edits.renamed.entry(node).or_default();
    let same = |other: &Renamed| other.from == initialiser && other.input == binding.input;
    if renamed.iter().any(same) {
        return Err(several());
    }
    renamed.push(Renamed {
        input: binding.input,
        from: initialiser.to_owned(),
        to: name.to_owned(),
    });
    edits.initialisers.insert(name.to_owned(), host);
    Ok(())
}

/// The model's own name, or that of its file.
fn name(model: &Model, path: &Path) -> String {
    let generic = [
        "",
        "main_graph",
        "main",
        "graph",
        "torch_jit",
        "torch-jit-export",
    ];
    let own = model.graph().name.as_str();
    match generic.contains(&own) {
        true => path.file_stem().map_or_else(
            || "model".to_owned(),
            |stem| stem.to_string_lossy().into_owned(),
        ),
        false => own.to_owned(),
    }
}

/// The values that the graph hands out, each under the model's name.
fn outputs(lowering: &mut Lowering<'_>) -> Outcome<Vec<String>> {
    let model = lowering.model;
    let mut outputs: Vec<String> = Vec::new();
    for info in &model.graph().outputs {
        let wrong = |problem: String| format!("output `{}`: {problem}", info.name);
        let value = lowering.value(&info.name).map_err(wrong)?;
        lowering.begin(model.graph().nodes.len(), &info.name);
        let tensor = lowering.tensor(&value).map_err(wrong)?;
        let tensor = match tensor.name == lowering::legal(&info.name) {
            true => tensor,
            false => {
                let op = Op::Activation(ir::Activation::Identity);
                let copy = lowering.emit(op, &[&tensor]).map_err(wrong)?;
                lowering.named_as(copy, &info.name)
            }
        };
        outputs.push(tensor.name);
    }
    Ok(outputs)
}

/// Names of the model that no value of the graph has: of nodes, and of values that are another's.
fn taps(lowering: &Lowering<'_>) -> BTreeMap<String, String> {
    let mut taps = BTreeMap::new();
    for node in &lowering.model.graph().nodes {
        let first = node
            .outputs
            .first()
            .and_then(|output| lowering.values.get(output));
        if let Some(Value::Tensor(tensor)) = first
            && !node.name.is_empty()
        {
            taps.insert(node.name.clone(), tensor.name.clone());
        }
    }
    for (name, value) in &lowering.values {
        if let Value::Tensor(tensor) = value
            && *name != tensor.name
        {
            taps.insert(name.clone(), tensor.name.clone());
        }
    }
    taps
}

/// Leaves out the nodes that no output needs, and the weights that no node needs.
fn drop_unused(graph: &mut ir::Graph) {
    let mut needed: BTreeSet<String> = graph.outputs.iter().cloned().collect();
    let mut kept = vec![false; graph.nodes.len()];
    // The nodes are in an order in which they can run.
    for (position, node) in graph.nodes.iter().enumerate().rev() {
        if node.outputs().iter().any(|output| needed.contains(output)) {
            kept[position] = true;
            needed.extend(node.inputs.iter().cloned());
        }
    }
    let mut kept = kept.into_iter();
    graph.nodes.retain(|_| kept.next().unwrap_or(false));
    let used: BTreeSet<&String> = graph
        .nodes
        .iter()
        .flat_map(|node| node.weights.values())
        .collect();
    let unused: Vec<String> = graph
        .weights
        .keys()
        .filter(|name| !used.contains(name))
        .cloned()
        .collect();
    for name in unused {
        graph.weights.remove(&name);
    }
}

/// What whoever trains the network should know.
fn notes(imported: &Imported) -> Vec<Note> {
    let mut notes = Vec::new();
    let nodes = &imported.graph.nodes;
    let has = |op: fn(&Op) -> bool| nodes.iter().any(|node| op(&node.op));
    let convolves = has(|op| matches!(op, Op::Conv1d(_) | Op::Conv2d(_)));
    let normalises = has(|op| matches!(op, Op::BatchNorm(_) | Op::LayerNorm(_)));
    if convolves && !normalises {
        notes.push(Note(
            "it has convolutions and no norms: batch norms were probably folded when it was exported, so that it trains as it \
             is; to keep them, export with `training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False`"
                .to_owned(),
        ));
    }
    let constants: Vec<&str> = imported
        .graph
        .weights
        .iter()
        .filter(|(name, spec)| {
            spec.frozen && matches!(imported.bindings[*name].origin, Origin::Initialiser { .. })
        })
        .map(|(name, _)| name.as_str())
        .collect();
    if !constants.is_empty() {
        notes.push(Note(format!(
            "{} look like constants (masks, scales) and stay as they are unless `student.train` names them: `{}`",
            constants.len(),
            constants.iter().take(5).copied().collect::<Vec<_>>().join("`, `")
        )));
    }
    let inside = imported.graph.weights.iter().filter(|(name, spec)| {
        spec.kind.is_parameter() && matches!(imported.bindings[*name].origin, Origin::Constant(_))
    });
    let inside = inside.count();
    if inside > 0 {
        notes.push(Note(format!(
            "{inside} weights are in Constant nodes and stay as they are; save the model with initialisers to train them"
        )));
    }
    notes
}
