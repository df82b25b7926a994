//! `limbeck inspect`: what a model is made of.

use std::path::Path;

use limbeck::Result;
use limbeck::graph::cost::Cost;
use limbeck::graph::zoo;
use serde_json::json;

use super::Checkpoint;
use crate::arguments::Inspect;
use crate::output::{Output, bytes, table, thousands};

pub(crate) fn inspect(options: &Inspect, output: &Output) -> Result<()> {
    let path = Path::new(&options.model);
    let shape = options.input.map(|shape| shape.0);
    let graph = if path.exists() || is_file_name(path) {
        Checkpoint::read(path)?
            .into_model(options.arch.as_deref(), shape, options.classes)?
            .graph
    } else {
        let shape = shape.unwrap_or([3, 32, 32]);
        zoo::build(&options.model, shape, options.classes.unwrap_or(10))?
    };
    let cost = Cost::of(&graph)?;
    let value = json!({
        "model": graph.name,
        "parameters": cost.parameters,
        "buffers": cost.buffers,
        "multiply_adds": cost.multiply_adds,
        "activation_bytes": cost.activation_bytes,
        "layers": cost.layers,
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
                    layer.output.iter().map(ToString::to_string).collect::<Vec<_>>().join("x"),
                    thousands(layer.parameters as u64),
                    thousands(layer.multiply_adds as u64),
                    bytes(layer.activation_bytes as u64),
                ]
            })
            .collect();
        let layers = table(
            &["layer", "operator", "output", "parameters", "multiply-adds", "activation"],
            rows,
            &[3, 4, 5],
        );
        format!(
            "{layers}\n\n{}: {} parameters, {} multiply-adds, {} of activations for one input\ntaps: {}",
            graph.name,
            thousands(cost.parameters as u64),
            thousands(cost.multiply_adds as u64),
            bytes(cost.activation_bytes as u64),
            graph.taps.keys().cloned().collect::<Vec<_>>().join(", ")
        )
    })
}

/// Whether a file is meant although there is none, so that the error is about it and not about the zoo.
fn is_file_name(path: &Path) -> bool {
    let endings = ["safetensors", "pt", "pth"];
    let ending = path.extension().and_then(|ending| ending.to_str());
    path.components().count() > 1 || ending.is_some_and(|ending| endings.contains(&ending))
}
