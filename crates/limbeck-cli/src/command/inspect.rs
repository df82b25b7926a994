//! `limbeck inspect`: what a model is made of.

use std::collections::BTreeMap;
use std::path::Path;

use limbeck::graph::cost::{Cost, LayerCost};
use limbeck::graph::ir::{Graph, WeightSpec};
use limbeck::graph::onnx::{Dimension, Note, ValueInfo, ValueKind};
use limbeck::graph::zoo;
use limbeck::model::{Hints, ModelFile, OnnxModel};
use limbeck::{Error, Result};
use serde_json::{Value, json};

use crate::arguments::Inspect;
use crate::output::{Output, bytes, table, thousands};

pub(crate) fn inspect(options: &Inspect, output: &Output) -> Result<()> {
    let path = Path::new(&options.model);
    let shape = options.input.map(|shape| shape.0);
    if !path.exists() && !is_file_name(path) {
        let shape = shape.unwrap_or([3, 32, 32]);
        let graph = zoo::build(&options.model, shape, options.classes.unwrap_or(10))?;
        return of_graph(&graph, None, output);
    }
    let hints = Hints {
        arch: options.arch.as_deref(),
        shape,
        classes: options.classes,
    };
    let model = ModelFile::read_sized(path, shape.as_ref().map(<[usize; 3]>::as_slice))?
        .into_model(hints)?;
    match (&model.graph, &model.onnx) {
        (Some(graph), onnx) => of_graph(graph, onnx.as_ref(), output),
        (None, Some(onnx)) => of_foreign(onnx, output),
        (None, None) => Err(Error::Data(format!(
            "`{}` holds no network",
            path.display()
        ))),
    }
}

/// What gradients would do to the values of some weights.
#[derive(Clone, Copy, Default)]
struct Trained {
    trained: usize,
    frozen: usize,
    statistics: usize,
    constants: usize,
}

impl Trained {
    fn of<'a>(specs: impl Iterator<Item = &'a WeightSpec>) -> Self {
        use limbeck::graph::ir::WeightKind::{Constant, RunningMean, RunningVariance};
        specs.fold(Self::default(), |mut sum, spec| {
            let place = match spec.kind {
                RunningMean | RunningVariance => &mut sum.statistics,
                Constant => &mut sum.constants,
                _ if spec.is_trained() => &mut sum.trained,
                _ => &mut sum.frozen,
            };
            *place += spec.len();
            sum
        })
    }

    /// The word for a layer.
    const fn mark(self) -> &'static str {
        match (self.trained, self.frozen) {
            (0, 0) => "",
            (0, _) => "frozen",
            (_, 0) => "yes",
            _ => "partly",
        }
    }
}

fn trained_of(graph: &Graph, layer: &LayerCost) -> Trained {
    let weights = graph.node(&layer.name).map(|node| &node.weights);
    let names = weights.into_iter().flat_map(BTreeMap::values);
    Trained::of(names.filter_map(|name| graph.weights.get(name)))
}

fn of_graph(graph: &Graph, onnx: Option<&OnnxModel>, output: &Output) -> Result<()> {
    let cost = Cost::of(graph)?;
    let total = Trained::of(graph.weights.values());
    let notes: Vec<&str> = onnx
        .and_then(OnnxModel::imported)
        .map(|imported| {
            imported
                .notes()
                .iter()
                .map(|Note(text)| text.as_str())
                .collect()
        })
        .unwrap_or_default();
    let layers: Vec<Value> = cost
        .layers
        .iter()
        .map(|layer| {
            let mut value = json!(layer);
            value["trained"] = json!(trained_of(graph, layer).trained);
            value
        })
        .collect();
    let value = json!({
        "model": graph.name,
        "runs_on": "limbeck",
        "file": onnx.map(header),
        "notes": notes,
        "parameters": cost.parameters,
        "trained": total.trained,
        "frozen": total.frozen,
        "constants": total.constants,
        "buffers": cost.buffers,
        "multiply_adds": cost.multiply_adds,
        "activation_bytes": cost.activation_bytes,
        "layers": layers,
        "taps": graph.taps,
        "nodes": graph.nodes.iter().map(|node| &node.name).collect::<Vec<_>>(),
        "graph": graph,
    });
    output.result(&value, || {
        let rows = cost
            .layers
            .iter()
            .map(|layer| {
                vec![
                    layer.name.clone(),
                    layer.op.clone(),
                    layer
                        .output
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("x"),
                    thousands(layer.parameters as u64),
                    trained_of(graph, layer).mark().to_owned(),
                    thousands(layer.multiply_adds as u64),
                    bytes(layer.activation_bytes as u64),
                ]
            })
            .collect();
        let layers = table(
            &[
                "layer",
                "operator",
                "output",
                "parameters",
                "trains",
                "multiply-adds",
                "activation",
            ],
            rows,
            &[3, 5, 6],
        );
        let mut text = String::new();
        if let Some(onnx) = onnx {
            text.push_str(&header_text(onnx));
            text.push('\n');
        }
        text.push_str(&format!(
            "{layers}\n\n{}: {} parameters, {} multiply-adds, {} of activations for one input\n\
             would train: {} values; frozen {}, running statistics {}, constants {}\ntaps: {}",
            graph.name,
            thousands(cost.parameters as u64),
            thousands(cost.multiply_adds as u64),
            bytes(cost.activation_bytes as u64),
            thousands(total.trained as u64),
            thousands(total.frozen as u64),
            thousands(total.statistics as u64),
            thousands(total.constants as u64),
            graph.taps.keys().cloned().collect::<Vec<_>>().join(", ")
        ));
        for note in &notes {
            text.push_str(&format!("\nnote: {note}"));
        }
        text
    })
}

/// A model that only tract runs.
fn of_foreign(onnx: &OnnxModel, output: &Output) -> Result<()> {
    let mut operators: BTreeMap<String, usize> = BTreeMap::new();
    for node in &onnx.file().graph().nodes {
        let name = match node.domain.as_str() {
            "" | "ai.onnx" => node.op_type.clone(),
            domain => format!("{domain}.{}", node.op_type),
        };
        *operators.entry(name).or_default() += 1;
    }
    let reason = onnx.reason().unwrap_or_default();
    let sentence = "it cannot be a student, but it can teach: as a teacher it runs on tract";
    let value = json!({
        "model": onnx.name(),
        "runs_on": "tract",
        "because": reason,
        "file": header(onnx),
        "notes": [sentence],
        "initialiser_values": onnx.initialiser_values(),
        "operators": operators,
    });
    output.result(&value, || {
        let mut rows: Vec<(&String, &usize)> = operators.iter().collect();
        rows.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let rows = rows
            .into_iter()
            .map(|(name, count)| vec![name.clone(), thousands(*count as u64)])
            .collect();
        format!(
            "{}\n{}\n\n{} values in real initialisers\nnot trained here: {reason}\nnote: {sentence}",
            header_text(onnx),
            table(&["operator", "nodes"], rows, &[1]),
            thousands(onnx.initialiser_values()),
        )
    })
}

/// What a file says of itself.
fn header(onnx: &OnnxModel) -> Value {
    let header = onnx.file().header();
    let graph = onnx.file().graph();
    let values = |infos: &[ValueInfo]| -> Vec<Value> {
        let described = infos
            .iter()
            .map(|info| json!({ "name": info.name, "type": type_text(&info.kind) }));
        described.collect()
    };
    json!({
        "path": onnx.path(),
        "ir_version": header.ir_version,
        "opsets": header.opset_imports,
        "producer": header.producer_name,
        "producer_version": header.producer_version,
        "metadata": header.metadata,
        "inputs": values(&graph.inputs),
        "outputs": values(&graph.outputs),
    })
}

fn header_text(onnx: &OnnxModel) -> String {
    let header = onnx.file().header();
    let graph = onnx.file().graph();
    let opsets: Vec<String> = header
        .opset_imports
        .iter()
        .map(|(domain, version)| match domain.as_str() {
            "" => version.to_string(),
            domain => format!("{domain} {version}"),
        })
        .collect();
    let producer = format!("{} {}", header.producer_name, header.producer_version);
    let mut text = format!(
        "{}: ONNX, operator set {}, written by {}\n",
        onnx.path().display(),
        opsets.join(", "),
        match producer.trim() {
            "" => "an unnamed program",
            named => named,
        }
    );
    for (what, infos) in [("input", &graph.inputs), ("output", &graph.outputs)] {
        for info in infos {
            text.push_str(&format!(
                "{what} {}: {}\n",
                info.name,
                type_text(&info.kind)
            ));
        }
    }
    text
}

fn type_text(kind: &ValueKind) -> String {
    match kind {
        ValueKind::Tensor { element, shape } => {
            let sizes = shape.iter().flatten().map(|dimension| match dimension {
                Dimension::Known(size) => size.to_string(),
                Dimension::Symbol(name) => name.clone(),
                _ => "?".to_owned(),
            });
            format!("{element} [{}]", sizes.collect::<Vec<_>>().join(", "))
        }
        ValueKind::Other(what) => (*what).to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// Whether a file is meant although there is none, so that the error is about it and not about the zoo.
fn is_file_name(path: &Path) -> bool {
    let endings = ["safetensors", "pt", "pth", "onnx"];
    let ending = path.extension().and_then(|ending| ending.to_str());
    path.components().count() > 1 || ending.is_some_and(|ending| endings.contains(&ending))
}
