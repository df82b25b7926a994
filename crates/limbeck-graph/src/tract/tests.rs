#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use prost::Message;
use safetensors::SafeTensors;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::{self, Value};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

use super::*;
use crate::{Feature, InputTensor};

/// The shared models, if this machine has them.
fn models() -> Option<PathBuf> {
    let shared = std::env::var_os("LIMBECK_SHARED")?;
    Some(PathBuf::from(shared).join("models/onnx"))
}

/// The first `rows` rows of the inputs in a safetensors file, and its `logits`.
fn expectation(path: &Path, rows: usize) -> (Inputs, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let device = Device::flex();
    let mut inputs = Inputs::default();
    let mut logits = Vec::new();
    for (name, tensor) in tensors.tensors() {
        let mut shape = tensor.shape().to_vec();
        let per_row: usize = shape[1..].iter().product();
        shape[0] = rows;
        if tensor.dtype() == safetensors::Dtype::I64 {
            let ids = tensor.data().as_chunks::<8>().0.iter();
            let ids = ids
                .map(|bytes| i64::from_le_bytes(*bytes))
                .take(rows * per_row);
            let data = TensorData::new(ids.collect::<Vec<_>>(), shape);
            inputs = inputs.with(&name, InputTensor::Tokens(Tensor::from_data(data, &device)));
            continue;
        }
        let values = tensor.data().as_chunks::<4>().0.iter();
        let values = values
            .map(|bytes| f32::from_le_bytes(*bytes))
            .take(rows * per_row);
        if name == "logits" {
            logits = values.collect();
            continue;
        }
        let feature = Feature::from_vec(values.collect(), &shape, &device).unwrap();
        inputs = inputs.with(&name, InputTensor::Float(feature));
    }
    (inputs, logits)
}

fn close(got: &Feature, expected: &[f32], what: &str) {
    let got = got.to_vec().unwrap();
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() < 1e-4, "{what}: {got} {expected}");
    }
}

#[test]
fn shared_models_answer_as_in_pytorch() {
    let Some(models) = models() else { return };
    let names = [
        ("lenet5", 4),
        ("mobilenet-v2-035-bn-kept", 4),
        ("resnet20-trained", 8),
        ("resnet20-trained-bn-kept", 8),
        ("text-cnn", 4),
        ("vit-tiny", 4),
    ];
    for (name, rows) in names {
        let path = models.join(format!("{name}.onnx"));
        let network = TractNetwork::read(&path, &Device::flex()).unwrap();
        for rows in [rows, 1] {
            let (inputs, logits) = expectation(&path.with_extension("safetensors"), rows);
            let trace = network.forward(&inputs, &Taps::none()).unwrap();
            close(&trace.output, &logits, &format!("{name} with {rows} rows"));
            let expected = Feature::from_vec(logits, &trace.output.shape(), &Device::flex());
            let parity = parity(&path, &inputs, &expected.unwrap()).unwrap();
            assert_eq!((parity.rows, parity.passes()), (rows, true), "{parity:?}");
        }
    }
}

#[test]
fn taps_of_a_shared_model_have_both_names() {
    let Some(models) = models() else { return };
    let path = models.join("resnet20-trained.onnx");
    let network = TractNetwork::read(&path, &Device::flex()).unwrap();
    let names = network.tap_names();
    assert_eq!(
        names[..5],
        [
            "input",
            "/conv1/Conv_output_0",
            "/conv1/Conv",
            "/Relu_output_0",
            "/Relu"
        ]
    );
    let (inputs, logits) = expectation(&path.with_extension("safetensors"), 2);
    let taps = Taps::new(["/Relu", "/conv1/Conv_output_0", "logits", "input"]);
    let trace = network.forward(&inputs, &taps).unwrap();
    close(trace.feature("logits").unwrap(), &logits, "logits");
    let before = trace.feature("/conv1/Conv_output_0").unwrap();
    assert_eq!(before.shape(), [2, 16, 32, 32]);
    let relu = before.to_vec().unwrap().into_iter().map(|x| x.max(0.0));
    let after = trace.feature("/Relu").unwrap().to_vec().unwrap();
    assert_eq!(relu.collect::<Vec<_>>(), after);
    let message = network
        .forward(&inputs, &Taps::new(["/Rely"]))
        .unwrap_err()
        .to_string();
    assert_eq!(message, "there is no tap `/Rely`; did you mean `/Relu`?");
}

fn value(name: &str, element: i32, sizes: &[i64]) -> ValueInfoProto {
    let dim = sizes.iter().map(|&size| Dimension {
        value: Some(match size {
            0 => dimension::Value::DimParam("batch".to_owned()),
            size => dimension::Value::DimValue(size),
        }),
        ..Dimension::default()
    });
    let shape = TensorShapeProto { dim: dim.collect() };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(Value::TensorType(type_proto::Tensor {
                elem_type: element,
                shape: Some(shape),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn node(name: &str, op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    NodeProto {
        name: name.to_owned(),
        op_type: op_type.to_owned(),
        input: own(inputs),
        output: own(outputs),
        ..NodeProto::default()
    }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: 1,
        dims: dims.to_vec(),
        raw_data: values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
        ..TensorProto::default()
    }
}

/// A network of the given graph, read from memory.
fn network(graph: GraphProto) -> Result<TractNetwork> {
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            version: 17,
            ..OperatorSetIdProto::default()
        }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    let path = Path::new("m.onnx");
    let model = Model::from_bytes(model.encode_to_vec(), path)?;
    TractNetwork::new(model, path, &Device::flex())
}

fn one_input(nodes: Vec<NodeProto>, output: &str) -> GraphProto {
    GraphProto {
        name: "g".to_owned(),
        node: nodes,
        input: vec![value("x", 1, &[0, 2])],
        output: vec![value(output, 1, &[0, 2])],
        ..GraphProto::default()
    }
}

fn rows(values: &[f32]) -> Inputs {
    let shape = [values.len() / 2, 2];
    Inputs::float(Feature::from_vec(values.to_vec(), &shape, &Device::flex()).unwrap())
}

/// PyTorch keeps batch norms and dropouts in this form with `training=TrainingMode.TRAINING`; onnxruntime uses the batch's
/// statistics then, a frozen teacher must not.
#[test]
fn nodes_in_training_form_are_evaluated() {
    let mut norm = node(
        "norm",
        "BatchNormalization",
        &["x", "scale", "shift", "mean", "variance"],
        &["y", "new_mean", "new_variance"],
    );
    let attribute = |name: &str, kind: i32, i: i64, f: f32| AttributeProto {
        name: name.to_owned(),
        r#type: kind,
        i,
        f,
        ..AttributeProto::default()
    };
    norm.attribute = vec![
        attribute("epsilon", 1, 0, 0.0),
        attribute("training_mode", 2, 1, 0.0),
    ];
    let drop = node("drop", "Dropout", &["y", "rate", "train"], &["z"]);
    let mut graph = one_input(vec![norm, drop], "z");
    graph.initializer = vec![
        floats("scale", &[2], &[2.0, 3.0]),
        floats("shift", &[2], &[0.5, -1.0]),
        floats("mean", &[2], &[1.0, 2.0]),
        floats("variance", &[2], &[4.0, 9.0]),
        floats("rate", &[], &[0.5]),
        TensorProto {
            name: "train".to_owned(),
            data_type: 9,
            raw_data: vec![1],
            ..TensorProto::default()
        },
    ];
    let network = network(graph).unwrap();
    let trace = network
        .forward(&rows(&[3.0, 5.0, 1.0, -1.0]), &Taps::new(["norm"]))
        .unwrap();
    // (3 - 1) / 2 * 2 + 0.5 and (5 - 2) / 3 * 3 - 1, and so on.
    let expected = [2.5, 2.0, 0.5, -4.0];
    close(&trace.output, &expected, "output");
    close(trace.feature("norm").unwrap(), &expected, "tap");
}

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

#[test]
fn several_inputs_and_outputs_go_by_name() {
    let graph = GraphProto {
        node: vec![
            node("cast", "Cast", &["ids"], &["numbers"]),
            node("sum", "Add", &["x", "numbers"], &["y"]),
            node("twice", "Add", &["y", "y"], &["z"]),
        ],
        input: vec![value("x", 1, &[0, 2]), value("ids", 6, &[0, 2])],
        output: vec![value("y", 1, &[0, 2]), value("z", 1, &[0, 2])],
        ..one_input(Vec::new(), "y")
    };
    let mut graph = graph;
    graph.node[0].attribute = vec![AttributeProto {
        name: "to".to_owned(),
        r#type: 2,
        i: 1,
        ..AttributeProto::default()
    }];
    let network = network(graph).unwrap();
    assert_eq!(network.input_names().collect::<Vec<_>>(), ["x", "ids"]);
    assert_eq!(network.output_names(), ["y", "z"]);
    let x = rows(&[0.5, 1.0]).get_float("x").unwrap().clone();
    let ids = Tensor::<2, Int>::from_data([[3, 4]], &Device::flex());
    let x = Inputs::default().with("x", InputTensor::Float(x));
    let both = x.clone().with("ids", InputTensor::Tokens(ids.clone()));
    let trace = network.forward(&both, &Taps::none()).unwrap();
    close(&trace.output, &[3.5, 5.0], "first");
    close(trace.feature("z").unwrap(), &[7.0, 10.0], "second");
    assert_eq!(trace.features.len(), 1);
    let error = network.forward(&x, &Taps::none()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no input `ids`; did you mean `x`?"
    );
    let three = Tensor::<2, Int>::from_data([[3, 4], [5, 6]], &Device::flex());
    let message = |inputs: Inputs| {
        let result = network.forward(&inputs, &Taps::none());
        result.unwrap_err().to_string()
    };
    assert_eq!(
        message(x.clone().with("ids", InputTensor::Tokens(three))),
        "input `ids`: expected token ids [batch, 2], got [2, 2], but `batch` is 1 in another place"
    );
    let swapped = Inputs::default().with("x", InputTensor::Tokens(ids));
    assert_eq!(
        message(swapped),
        "input `x`: expected float values [batch, 2], got token ids [1, 2]"
    );
}

#[test]
fn wrong_sizes_are_named() {
    let network = network(one_input(vec![node("r", "Relu", &["x"], &["y"])], "y")).unwrap();
    let message = |shape: &[usize]| {
        let values = vec![0.0; shape.iter().product()];
        let input = Feature::from_vec(values, shape, &Device::flex()).unwrap();
        let result = network.forward(&Inputs::float(input), &Taps::none());
        result.unwrap_err().to_string()
    };
    let expected = "input `x`: expected float values [batch, 2], got ";
    assert_eq!(message(&[3, 4]), format!("{expected}[3, 4]"));
    assert_eq!(message(&[2]), format!("{expected}[2]"));
    assert_eq!(message(&[1, 2, 2]), format!("{expected}[1, 2, 2]"));
}

#[test]
fn a_fixed_batch_is_explained() {
    let mut graph = one_input(vec![node("r", "Relu", &["x"], &["y"])], "y");
    graph.input = vec![value("x", 1, &[1, 2])];
    let network = network(graph).unwrap();
    let trace = network.forward(&rows(&[-1.0, 2.0]), &Taps::none()).unwrap();
    close(&trace.output, &[0.0, 2.0], "one row");
    let error = network.forward(&rows(&[0.0; 4]), &Taps::none());
    assert_eq!(
        error.unwrap_err().to_string(),
        "input `x`: expected float values [1, 2], got [2, 2]; the model was exported for batches of 1 alone, \
         export it with a dynamic batch"
    );
}

#[test]
fn what_tract_does_not_know_is_named() {
    let message = |graph| network(graph).unwrap_err().to_string();
    let graph = one_input(vec![node("s", "SequenceEmpty", &["x"], &["y"])], "y");
    assert_eq!(
        message(graph),
        "tract cannot run `m.onnx`: node `s` (SequenceEmpty): tract does not have this operator; export the model with \
         simpler operators"
    );
    let mut custom = node("c", "Relu", &["x"], &["y"]);
    custom.domain = "my.domain".to_owned();
    let words = message(one_input(vec![custom], "y"));
    assert!(
        words.contains("node `c` (Relu): tract does not have this operator of `my.domain`"),
        "{words}"
    );
    let mut graph = one_input(vec![node("m", "MatMul", &["x", "w"], &["y"])], "y");
    graph.initializer = vec![floats("w", &[3, 1], &[1.0; 3])];
    let words = message(graph);
    assert!(words.contains("MatMul") && !words.contains('\n'), "{words}");
    let mut graph = one_input(vec![node("r", "Relu", &["x"], &["y"])], "y");
    graph.input = vec![value("x", 8, &[0, 2])];
    assert!(message(graph).contains("its input `x` is a tensor of type string"));
}

/// Our own reader checks the file first, so tract never opens what lies outside.
#[test]
fn external_data_outside_the_folder_is_refused() {
    let mut graph = one_input(vec![node("a", "Add", &["x", "w"], &["y"])], "y");
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    graph.initializer = vec![TensorProto {
        raw_data: Vec::new(),
        data_location: Some(1),
        external_data: vec![entry("location", "../secret"), entry("length", "8")],
        ..floats("w", &[2], &[])
    }];
    let message = network(graph).unwrap_err().to_string();
    assert_eq!(
        message,
        "cannot use `m.onnx` as an ONNX model: tensor `w` (float32): its external data `../secret` is outside the \
         model's folder"
    );
}

#[test]
fn external_data_in_the_folder_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut graph = one_input(vec![node("a", "Add", &["x", "w"], &["y"])], "y");
    graph.initializer = vec![TensorProto {
        raw_data: Vec::new(),
        data_location: Some(1),
        external_data: vec![StringStringEntryProto {
            key: "location".to_owned(),
            value: "weights".to_owned(),
        }],
        ..floats("w", &[2], &[])
    }];
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            version: 17,
            ..OperatorSetIdProto::default()
        }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    let path = folder.path().join("m.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    let bytes: Vec<u8> = [1.5f32, -2.0]
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    std::fs::write(folder.path().join("weights"), bytes).unwrap();
    let network = TractNetwork::read(&path, &Device::flex()).unwrap();
    let trace = network.forward(&rows(&[1.0, 1.0]), &Taps::none()).unwrap();
    close(&trace.output, &[2.5, -1.0], "output");
}

#[test]
fn clones_run_at_the_same_time_with_any_number_of_rows() {
    let network = network(one_input(vec![node("r", "Relu", &["x"], &["y"])], "y")).unwrap();
    std::thread::scope(|scope| {
        for start in 0..3 {
            let network = network.clone();
            scope.spawn(move || {
                for count in (1..8).chain(start + 1..8) {
                    let values: Vec<f32> = (0..2 * count).map(|place| place as f32 - 3.0).collect();
                    let trace = network.forward(&rows(&values), &Taps::none()).unwrap();
                    let expected: Vec<f32> = values.iter().map(|value| value.max(0.0)).collect();
                    close(&trace.output, &expected, "output");
                }
            });
        }
    });
}

#[test]
fn it_is_a_module_without_parameters() {
    let network = network(one_input(vec![node("r", "Relu", &["x"], &["y"])], "y")).unwrap();
    assert_eq!(network.num_params(), 0);
    assert_eq!(network.devices(), [Device::flex()]);
    let moved = network.to_device(&Device::flex().autodiff());
    let trace = moved.forward(&rows(&[1.0, 2.0]), &Taps::none()).unwrap();
    assert!(trace.output.device().is_autodiff());
}
