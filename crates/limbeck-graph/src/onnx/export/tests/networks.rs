//! Every network of the zoo.

use super::*;
use crate::zoo;

#[test]
fn every_network_of_the_zoo_means_the_same_elsewhere() {
    for info in zoo::models() {
        for name in info.names {
            // The deepest ones take long and have no operator that the others lack.
            if matches!(
                *name,
                "resnet-110" | "resnet-56" | "resnet-44" | "wrn-40-2" | "vgg-19"
            ) {
                continue;
            }
            let size = info.smallest.max(12);
            let graph = zoo::build(name, [3, size, size], 5).unwrap();
            let network = graph.compile(Seed::new(1), &Device::flex()).unwrap();
            let mut weights = network.weights();
            for (weight, spec) in &graph.weights {
                // Fresh statistics are zeros and ones, which hide a mistake.
                if spec.kind.is_buffer() {
                    let values = &mut weights.get_mut(weight).unwrap().values;
                    let change = random(weight, values.len());
                    values
                        .iter_mut()
                        .zip(change)
                        .for_each(|(value, change)| *value += change / 4.0);
                }
            }
            same(&graph, &weights, name);
        }
    }
}

#[test]
fn names_are_the_graph_s() {
    let graph = zoo::build("resnet-8", [3, 16, 16], 5).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let model = exported(&graph, &weights(&graph), &folder.path().join("m.onnx"));
    let written = model.graph();
    assert_eq!(model.header().opset_imports[""], 17);
    assert_eq!(model.header().ir_version, 8);
    assert_eq!(model.header().producer_name, "limbeck");
    assert_eq!(model.header().producer_version, env!("CARGO_PKG_VERSION"));
    let mut nodes: Vec<_> = graph.nodes.iter().map(|node| &node.name).collect();
    let mut got: Vec<_> = written.nodes.iter().map(|node| &node.name).collect();
    nodes.sort();
    got.sort();
    assert_eq!(got, nodes);
    assert!(written.initialisers.keys().eq(graph.weights.keys()));
    let shape = |info: &super::super::super::ValueInfo| match &info.kind {
        super::super::super::ValueKind::Tensor { shape, .. } => shape.clone().unwrap(),
        other => panic!("{other:?}"),
    };
    use super::super::super::Dimension::{Known, Symbol};
    let batch = Symbol("batch".to_owned());
    assert_eq!(
        shape(&written.inputs[0]),
        [batch.clone(), Known(3), Known(16), Known(16)]
    );
    assert_eq!(shape(&written.outputs[0]), [batch, Known(5)]);
    assert_eq!(written.outputs[0].name, graph.outputs[0]);
}
