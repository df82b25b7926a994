//! The files themselves.

use super::super::super::Model;
use super::*;
use crate::ir::Linear;

fn small() -> (Graph, BTreeMap<String, HostTensor>) {
    let graph = graph_of(&[&[40]], |b, x| {
        let x = b.linear("first", x[0], Linear::new(40, 30));
        let x = b.relu("relu", x);
        b.linear("second", x, Linear::new(30, 3))
    });
    let weights = weights(&graph);
    (graph, weights)
}

fn read_weights(model: &Model) -> BTreeMap<String, HostTensor> {
    let initialisers = model.graph().initialisers.iter();
    initialisers
        .map(|(name, tensor)| (name.clone(), tensor.floats().unwrap()))
        .collect()
}

#[test]
fn weights_and_texts_are_kept() {
    let (graph, weights) = small();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let metadata = [("teacher", "resnet-20"), ("note", "ü\n")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let metadata = BTreeMap::from(metadata);
    export(&graph, &weights, &metadata, &path).unwrap();
    let model = Model::read(&path).unwrap();
    assert_eq!(model.header().metadata, metadata);
    assert_eq!(read_weights(&model), weights);
    let first = std::fs::read(&path).unwrap();
    export(&graph, &weights, &metadata, &path).unwrap();
    assert!(std::fs::read(&path).unwrap() == first);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn large_models_have_their_weights_beside_them() {
    let (graph, weights) = small();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let analysis = graph.validate().unwrap();
    let contents = contents(&graph, &analysis, &weights, &BTreeMap::new());
    contents.write(&path, 1 << 20).unwrap();
    assert!(!folder.path().join("m.onnx.data").exists());
    let length = path.metadata().unwrap().len();
    // The limit is exact: a file of as many bytes is too large.
    contents.write(&path, length + 1).unwrap();
    assert!(!folder.path().join("m.onnx.data").exists());
    contents.write(&path, length).unwrap();
    let data = folder.path().join("m.onnx.data");
    // 30 * 40 floats; all other tensors are small.
    assert_eq!(data.metadata().unwrap().len(), 4800);
    assert!(path.metadata().unwrap().len() < length - 4700);
    let model = Model::read(&path).unwrap();
    assert_eq!(read_weights(&model), weights);
    let network = graph.compile(Seed::new(3), &Device::flex()).unwrap();
    let network = network.load(&weights).unwrap();
    let inputs = inputs(&graph, 2);
    let expected = network.forward(&inputs, &Taps::none()).unwrap().output;
    assert!(parity(&path, &inputs, &expected).unwrap().passes());
}

#[test]
fn wrong_weights_and_folders_are_errors() {
    let (graph, mut weights) = small();
    let none = BTreeMap::new();
    let path = Path::new("/no/such/folder/m.onnx");
    let message = export(&graph, &weights, &none, path)
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("cannot write `/no/such/folder/m.onnx`: "),
        "{message}"
    );
    weights.remove("second.bias");
    let message = export(&graph, &weights, &none, path)
        .unwrap_err()
        .to_string();
    assert!(message.contains("second.bias"), "{message}");
}
