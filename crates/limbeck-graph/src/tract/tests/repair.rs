//! What tract reads as something else than it is.

use super::*;

fn with_float(mut node: NodeProto, name: &str, value: f32) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        r#type: 1,
        f: value,
        ..AttributeProto::default()
    });
    node
}

fn with_texts(mut node: NodeProto, name: &str, values: &[&str]) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        r#type: 8,
        strings: values
            .iter()
            .map(|value| value.as_bytes().to_vec())
            .collect(),
        ..AttributeProto::default()
    });
    node
}

/// tract 0.23.9 computes `alpha * (exp(x) - 1)` below zero.
#[test]
fn celu_is_that_of_onnx() {
    let celu = with_float(node("c", "Celu", &["x"], &["y"]), "alpha", 2.0);
    let network = network(one_input(vec![celu], "y")).unwrap();
    let trace = network.forward(&rows(&[1.5, -1.0]), &Taps::none()).unwrap();
    // 2 * (exp(-1 / 2) - 1).
    close(&trace.output, &[1.5, -0.786_938_7], "output");
}

/// tract 0.23.9 makes 64-bit zeros, which it then cannot add to anything.
#[test]
fn constants_without_a_value_are_zeros() {
    let graph = one_input(
        vec![
            node("s", "Shape", &["x"], &["shape"]),
            node("c", "ConstantOfShape", &["shape"], &["zeros"]),
            node("a", "Max", &["x", "zeros"], &["y"]),
        ],
        "y",
    );
    let network = network(graph).unwrap();
    let trace = network.forward(&rows(&[1.5, -1.0]), &Taps::none()).unwrap();
    close(&trace.output, &[1.5, 0.0], "output");
}

/// A recurrent layer over sequences of two steps of one number, whose output is the input's shape.
fn recurrent(layer: NodeProto, gates: i64) -> GraphProto {
    let mut transposed = node("t", "Transpose", &["x"], &["steps"]);
    transposed.attribute = vec![AttributeProto {
        name: "perm".to_owned(),
        r#type: 7,
        ints: vec![1, 0],
        ..AttributeProto::default()
    }];
    let mut graph = one_input(
        vec![
            transposed,
            node("u", "Unsqueeze", &["steps", "last"], &["sequence"]),
            layer,
            node("q", "Squeeze", &["states", "ones"], &["z"]),
        ],
        "z",
    );
    let list = |name: &str, values: &[i64]| TensorProto {
        name: name.to_owned(),
        data_type: 7,
        dims: vec![values.len() as i64],
        raw_data: values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
        ..TensorProto::default()
    };
    graph.initializer = vec![
        list("last", &[2]),
        list("ones", &[1, 3]),
        floats("w", &[1, gates, 1], &vec![1.0; gates as usize]),
        floats("r", &[1, gates, 1], &vec![0.5; gates as usize]),
    ];
    graph.output = vec![value("z", 1, &[2, 0])];
    graph
}

/// tract 0.23.9 takes every RNN for one with tanh, and every layer for one that goes forward.
#[test]
fn recurrent_layers_have_their_activation_and_direction() {
    let layer = node("rnn", "RNN", &["sequence", "w", "r"], &["states"]);
    let relu = with_texts(layer, "activations", &["Relu"]);
    let output = |layer: &NodeProto| {
        let network = network(recurrent(layer.clone(), 1)).unwrap();
        let trace = network.forward(&rows(&[1.0, 3.0, -8.0, 2.0]), &Taps::none());
        trace.unwrap().output
    };
    // The first step of both rows, then the second.
    close(&output(&relu), &[1.0, 0.0, 3.5, 2.0], "forward");
    let mut reverse = relu;
    reverse.attribute.push(AttributeProto {
        name: "direction".to_owned(),
        r#type: 3,
        s: b"reverse".to_vec(),
        ..AttributeProto::default()
    });
    close(&output(&reverse), &[2.5, 0.0, 3.0, 2.0], "reverse");
}

#[test]
fn recurrent_layers_that_tract_takes_for_others_are_refused() {
    let layer = |kind: &str| node("rnn", kind, &["sequence", "w", "r"], &["states"]);
    let message = |layer, gates| network(recurrent(layer, gates)).unwrap_err().to_string();
    let clipped = with_float(layer("GRU"), "clip", 3.0);
    assert_eq!(
        message(clipped, 3),
        "tract cannot run `m.onnx`: node `rnn` (GRU): tract does not have clipped or coupled gates; export the model \
         with PyTorch's own layers"
    );
    let odd = with_texts(
        layer("LSTM"),
        "activations",
        &["HardSigmoid", "Tanh", "Tanh"],
    );
    assert!(message(odd, 4).contains("(LSTM): tract does not have these activations"));
    let usual = with_texts(layer("LSTM"), "activations", &["Sigmoid", "Tanh", "Tanh"]);
    network(recurrent(usual, 4)).unwrap();
}
