//! Weights: which train, and how they go back into the file.

use super::super::messages::floats;
use super::*;
use crate::ir::Op;

/// Two batch norms of `x` that share all their initialisers, as exporters leave equal ones.
fn two_norms(values: [f32; 4]) -> ModelProto {
    let shared = ["scale", "shift", "mean", "variance"];
    let inputs = |x: &'static str| -> Vec<&'static str> { [x].into_iter().chain(shared).collect() };
    let nodes = vec![
        messages::node("BatchNormalization", &inputs("x"), "h"),
        messages::node("Relu", &["h"], "r"),
        messages::node("BatchNormalization", &inputs("r"), "y"),
    ];
    let uniform = |name: &str, value: f32| floats(name, &[4], &[value; 4]);
    let initialisers = vec![
        floats("scale", &[4], &values),
        uniform("shift", 0.0),
        uniform("mean", 0.0),
        uniform("variance", 1.0),
    ];
    model(17, nodes, initialisers)
}

#[test]
fn weights_that_an_exporter_made_one_part_and_get_places_of_their_own() {
    let imported = import(&two_norms([1.0; 4])).unwrap();
    let names: Vec<&str> = imported
        .graph()
        .weights
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "mean",
        "mean~2",
        "scale",
        "scale~2",
        "shift",
        "shift~2",
        "variance",
        "variance~2",
    ];
    assert_eq!(names, expected);
    let mut weights = imported.weights().unwrap();
    weights.get_mut("mean~2").unwrap().values = vec![0.5, 1.0, 1.5, 2.0];
    weights.get_mut("scale").unwrap().values = vec![2.0, 3.0, 4.0, 5.0];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("parted.onnx");
    imported.write(&path, &weights).unwrap();
    let again = Imported::read(&path).unwrap();
    let model = again.model().graph();
    assert_eq!(model.initialisers.len(), 6);
    assert_eq!(model.nodes[0].inputs[3], "mean");
    assert_eq!(model.nodes[2].inputs[3], "mean~2");
    let values = again.weights().unwrap();
    assert_eq!(values["mean~2"].values, [0.5, 1.0, 1.5, 2.0]);
    let first = again.graph().nodes[0].weights["weight"].clone();
    assert_eq!(values[&first].values, [2.0, 3.0, 4.0, 5.0]);
    let last = again.graph().nodes[2].weights["weight"].clone();
    assert_eq!(values[&last].values, [1.0; 4]);
}

#[test]
fn a_layer_that_is_used_twice_stays_one() {
    let imported = import(&two_norms([1.0, 2.0, 3.0, 4.0])).unwrap();
    assert_eq!(imported.graph().weights.len(), 4);
}

#[test]
fn shifts_of_two_layers_that_became_equal_part() {
    let mut model = two_norms([1.0, 2.0, 3.0, 4.0]);
    let twin = floats("other", &[4], &[4.0, 3.0, 2.0, 1.0]);
    graph(&mut model).initializer.push(twin);
    graph(&mut model).initializer[1].float_data = vec![0.1, 0.2, 0.3, 0.4];
    graph(&mut model).node[2].input[1] = "other".to_owned();
    let imported = import(&model).unwrap();
    assert!(imported.graph().weights.contains_key("shift~2"));
}

#[test]
fn weights_that_became_one_inside_a_norm_part() {
    // Fresh: the scale is the variance, the shift is the mean.
    let nodes = vec![messages::node(
        "BatchNormalization",
        &["x", "ones", "zeros", "zeros", "ones"],
        "y",
    )];
    let initialisers = vec![
        floats("ones", &[4], &[1.0; 4]),
        floats("zeros", &[4], &[0.0; 4]),
    ];
    let imported = import(&model(17, nodes, initialisers)).unwrap();
    let mut weights = imported.weights().unwrap();
    let names: Vec<&str> = weights.keys().map(String::as_str).collect();
    assert_eq!(names, ["ones", "ones~2", "zeros", "zeros~2"]);
    for (number, weight) in weights.values_mut().enumerate() {
        weight.values = vec![number as f32; 4];
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("parted.onnx");
    imported.write(&path, &weights).unwrap();
    let again = Imported::read(&path).unwrap();
    let inputs = &again.model().graph().nodes[0].inputs;
    assert_eq!(inputs[1..], ["ones", "zeros", "zeros~2", "ones~2"]);
    assert_eq!(again.weights().unwrap(), weights);
}

#[test]
fn training_form_is_read_and_evaluation_form_written() {
    let inputs = ["x", "scale", "shift", "mean", "variance"];
    let mut norm = node(
        "BatchNormalization",
        &inputs,
        "h",
        vec![integer("training_mode", 1), number("momentum", 0.8)],
    );
    norm.output
        .extend(["new_mean".to_owned(), "new_variance".to_owned()]);
    let mut dropout = messages::node("Dropout", &["h", "rate", "train"], "y");
    dropout.output.push("mask".to_owned());
    let initialisers = vec![
        floats("scale", &[4], &[1.0, 2.0, 3.0, 4.0]),
        floats("shift", &[4], &[0.1, 0.2, 0.3, 0.4]),
        floats("mean", &[4], &[0.5, 0.6, 0.7, 0.8]),
        floats("variance", &[4], &[1.5, 1.6, 1.7, 1.8]),
        floats("rate", &[], &[0.25]),
        messages::raw("train", 9, &[], &[1]),
    ];
    let imported = import(&model(15, vec![norm, dropout], initialisers)).unwrap();
    let ops: Vec<&Op> = imported.graph().nodes.iter().map(|node| &node.op).collect();
    let [Op::BatchNorm(norm), Op::Dropout(dropout)] = ops.as_slice() else {
        panic!("{ops:?}");
    };
    assert!((norm.momentum - 0.2).abs() < 1e-6 && dropout.rate == 0.25);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evaluates.onnx");
    imported.write(&path, &imported.weights().unwrap()).unwrap();
    let written = Model::read(&path).unwrap();
    let [norm, dropout] = written.graph().nodes.as_slice() else {
        panic!("two nodes were written");
    };
    assert_eq!(norm.outputs, ["h"]);
    assert_eq!(norm.attributes.keys().collect::<Vec<_>>(), ["momentum"]);
    assert_eq!((dropout.inputs.len(), dropout.outputs.len()), (2, 1));
    assert_eq!(norm.name, "batchnormalization-h");
}

#[test]
fn masks_stay_and_parameters_train() {
    let run = |values: [f32; 4]| {
        let nodes = vec![messages::node("Add", &["x", "w"], "y")];
        let imported = import(&model(17, nodes, vec![floats("w", &[4], &values)])).unwrap();
        let trained = imported.graph().weights["w"].is_trained();
        (trained, imported.notes().len())
    };
    assert_eq!(run([0.0, f32::NEG_INFINITY, 0.0, 0.0]), (false, 1));
    assert_eq!(run([0.0, -100.0, -100.0, 0.0]), (false, 1));
    assert_eq!(run([0.0; 4]), (true, 0));
    assert_eq!(run([0.1, 0.2, -0.3, 0.0]), (true, 0));
}

#[test]
fn a_weight_in_a_constant_node_runs_and_stays() {
    let mut constant = messages::node("Constant", &[], "w");
    constant.attribute.push(AttributeProto {
        name: "value".to_owned(),
        t: Some(floats("", &[4, 1], &[1.0, 2.0, 3.0, 4.0])),
        kind: 4,
        ..Default::default()
    });
    let nodes = vec![constant, messages::node("MatMul", &["x", "w"], "y")];
    let model = model(17, nodes, Vec::new());
    close(&answer(&model, &[1.0, 1.0, 1.0, 2.0]).1, &[14.0]);
    let imported = import(&model).unwrap();
    assert!(
        imported
            .graph()
            .weights
            .values()
            .all(|spec| !spec.is_trained())
    );
    assert!(imported.notes()[0].0.contains("Constant nodes"));
}

#[test]
fn writing_checks_the_weights() {
    let imported = import(&two_norms([1.0; 4])).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.onnx");
    let mut weights = imported.weights().unwrap();
    weights.remove("shift");
    assert!(
        imported
            .write(&path, &weights)
            .unwrap_err()
            .to_string()
            .contains("shift")
    );
    assert!(!path.exists());
}

#[test]
fn weights_that_reach_a_layer_through_an_identity_part_there() {
    let mut model = two_norms([1.0; 4]);
    let graph = graph(&mut model);
    graph
        .node
        .insert(0, messages::node("Identity", &["shift"], "other_shift"));
    graph.node[3].input[2] = "other_shift".to_owned();
    let imported = import(&model).unwrap();
    let mut weights = imported.weights().unwrap();
    weights.get_mut("other_shift").unwrap().values = vec![1.0, 2.0, 3.0, 4.0];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("parted.onnx");
    imported.write(&path, &weights).unwrap();
    let again = Imported::read(&path).unwrap();
    assert_eq!(again.model().graph().nodes.len(), 3);
    assert!(
        again
            .model()
            .graph()
            .initialisers
            .contains_key("other_shift")
    );
    assert_eq!(again.graph().nodes[2].weights["bias"], "other_shift");
    assert_eq!(again.weights().unwrap(), weights);
}
