//! Models that PyTorch exported, found through `LIMBECK_SHARED`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::onnx::{Attribute, Dimension, ElementType, Model, ValueKind};
use crate::weights::{self, HostTensor};

/// The folder of shared models, where there is one.
fn models() -> Option<PathBuf> {
    let shared = std::env::var_os("LIMBECK_SHARED");
    if shared.is_none() {
        println!("skipped: LIMBECK_SHARED is not set");
    }
    Some(PathBuf::from(shared?).join("models"))
}

/// File, operator set, nodes, initialisers and parameters, counted by the `onnx` package of Python.
const FILES: [(&str, i64, usize, usize, usize); 6] = [
    ("lenet5", 13, 12, 10, 61_706),
    ("mobilenet-v2-035-bn-kept", 17, 302, 182, 413_626),
    ("resnet20-trained-bn-kept", 17, 74, 105, 273_946),
    ("resnet20-trained", 17, 51, 44, 271_690),
    ("text-cnn", 17, 6, 5, 105_410),
    ("vit-tiny", 17, 179, 24, 107_594),
];

fn values(model: &Model) -> BTreeMap<String, HostTensor> {
    let initialisers = model.graph().initialisers.iter();
    initialisers
        .map(|(name, tensor)| (name.clone(), tensor.floats().unwrap()))
        .collect()
}

#[test]
fn exported_models_are_read() {
    let Some(models) = models() else { return };
    for (name, opset, nodes, initialisers, parameters) in FILES {
        let model = Model::read(models.join(format!("onnx/{name}.onnx"))).unwrap();
        assert_eq!(model.header().producer_name, "pytorch", "{name}");
        assert_eq!(model.header().opset_imports[""], opset, "{name}");
        assert_eq!(model.graph().nodes.len(), nodes, "{name}");
        assert_eq!(model.graph().initialisers.len(), initialisers, "{name}");
        let count: usize = values(&model).values().map(HostTensor::len).sum();
        assert_eq!(count, parameters, "{name}");
    }
}

#[test]
fn a_convolution_has_its_attributes() {
    let Some(models) = models() else { return };
    let model = Model::read(models.join("onnx/resnet20-trained-bn-kept.onnx")).unwrap();
    let graph = model.graph();
    let convolution = graph
        .nodes
        .iter()
        .find(|node| node.op_type == "Conv")
        .unwrap();
    let ints = |name: &str| match &convolution.attributes[name] {
        Attribute::Ints(all) => all.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(ints("kernel_shape"), [3, 3]);
    assert_eq!(ints("pads"), [1, 1, 1, 1]);
    assert!(matches!(convolution.attributes["group"], Attribute::Int(1)));
    let ValueKind::Tensor {
        element,
        shape: Some(shape),
    } = &graph.inputs[0].kind
    else {
        panic!()
    };
    assert_eq!(*element, ElementType::F32);
    assert!(matches!(shape[0], Dimension::Symbol(_)), "{shape:?}");
    assert_eq!(shape[1..], [3, 32, 32].map(Dimension::Known));
}

#[test]
fn initialisers_are_the_checkpoint_s_weights() {
    let Some(models) = models() else { return };
    let model = Model::read(models.join("onnx/resnet20-trained-bn-kept.onnx")).unwrap();
    let weights = weights::read(models.join("resnet20-cifar10.pth")).unwrap();
    let exported = values(&model);
    assert_eq!(exported["conv1.weight"], weights["conv1.weight"]);
}

#[test]
fn unchanged_initialisers_give_the_same_file() {
    let Some(models) = models() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, ..) in FILES {
        let old = models.join(format!("onnx/{name}.onnx"));
        let new = folder.path().join("new.onnx");
        let model = Model::read(&old).unwrap();
        model.write(&new, &values(&model)).unwrap();
        assert!(fs::read(&new).unwrap() == fs::read(&old).unwrap(), "{name}");
    }
}

#[test]
fn one_changed_value_changes_its_bytes_alone() {
    let Some(models) = models() else { return };
    let old = models.join("onnx/lenet5.onnx");
    let model = Model::read(&old).unwrap();
    let mut changed = values(&model);
    let weight = changed.get_mut("n.0.weight").unwrap();
    weight.values[7] = -weight.values[7];
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new.onnx");
    model.write(&new, &changed).unwrap();
    let (before, after) = (fs::read(&old).unwrap(), fs::read(&new).unwrap());
    assert_eq!(before.len(), after.len());
    let different = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after);
    assert_eq!(different.count(), 1);
    assert_eq!(values(&Model::read(&new).unwrap()), changed);
}
