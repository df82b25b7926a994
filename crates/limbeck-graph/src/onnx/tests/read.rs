//! What a model says, as values.

use super::messages::{AttributeProto, FunctionProto, floats, model, node, value};
use super::{messages, parse, problem, problem_after};
use crate::onnx::{Attribute, Dimension, ElementType, Function, ValueKind};

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        kind,
        ..Default::default()
    }
}

#[test]
fn a_small_model_is_described() {
    let mut encoded = model(|graph| graph.input.push(value("w")));
    encoded
        .metadata_props
        .push(messages::StringStringEntryProto {
            key: "author".to_owned(),
            value: "someone".to_owned(),
        });
    encoded.functions.push(FunctionProto {
        name: "Twice".to_owned(),
        domain: "own".to_owned(),
    });
    let model = parse(&encoded).unwrap();
    let header = model.header();
    assert_eq!(header.ir_version, 8);
    assert_eq!(header.opset_imports[""], 17);
    assert_eq!(header.producer_name, "test");
    assert_eq!(header.producer_version, "1.2");
    assert_eq!(header.metadata["author"], "someone");
    let function = Function {
        name: "Twice".to_owned(),
        domain: "own".to_owned(),
        overload: String::new(),
    };
    assert_eq!(header.functions, [function]);

    let graph = model.graph();
    assert_eq!(graph.name, "small");
    // `w` is an input with a default, as all weights were before version 4.
    assert_eq!(graph.inputs.len(), 1);
    assert_eq!(graph.inputs[0].name, "x");
    let shape = vec![Dimension::Symbol("batch".to_owned()), Dimension::Known(4)];
    let kind = ValueKind::Tensor {
        element: ElementType::F32,
        shape: Some(shape),
    };
    assert_eq!(graph.inputs[0].kind, kind);
    assert_eq!(graph.outputs[0].name, "y");
    assert_eq!(graph.value_infos["sum"].kind, kind);
    let names: Vec<_> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["add-sum", "relu-y"]);
    assert_eq!(graph.nodes[0].inputs, ["x", "w"]);
    assert_eq!(graph.nodes[0].outputs, ["sum"]);
    assert_eq!(graph.nodes[0].op_type, "Add");
}

#[test]
fn attributes_have_their_types() {
    let encoded = model(|graph| {
        graph.node[0].attribute = vec![
            AttributeProto {
                f: Some(0.5),
                ..attribute("alpha", 1)
            },
            AttributeProto {
                i: Some(-1),
                ..attribute("axis", 2)
            },
            attribute("zero", 2),
            AttributeProto {
                s: Some(b"SAME".to_vec()),
                ..attribute("pad", 3)
            },
            AttributeProto {
                t: Some(floats("", &[1], &[7.0])),
                ..attribute("value", 4)
            },
            AttributeProto {
                floats: vec![1.0, 2.0],
                ..attribute("scales", 6)
            },
            AttributeProto {
                ints: vec![1, -2],
                ..attribute("pads", 7)
            },
            AttributeProto {
                strings: vec![b"a".to_vec(), b"b".to_vec()],
                ..attribute("keys", 8)
            },
            AttributeProto {
                tensors: vec![floats("", &[1], &[8.0])],
                ..attribute("all", 9)
            },
        ];
    });
    let model = parse(&encoded).unwrap();
    let attributes = &model.graph().nodes[0].attributes;
    assert_eq!(attributes.len(), 9);
    assert!(matches!(attributes["alpha"], Attribute::Float(0.5)));
    assert!(matches!(attributes["axis"], Attribute::Int(-1)));
    assert!(matches!(attributes["zero"], Attribute::Int(0)));
    assert!(matches!(&attributes["pad"], Attribute::Text(text) if text == "SAME"));
    assert!(matches!(&attributes["scales"], Attribute::Floats(all) if *all == [1.0, 2.0]));
    assert!(matches!(&attributes["pads"], Attribute::Ints(all) if *all == [1, -2]));
    assert!(matches!(&attributes["keys"], Attribute::Texts(all) if *all == ["a", "b"]));
    let Attribute::Tensor(tensor) = &attributes["value"] else {
        panic!()
    };
    assert_eq!(tensor.floats().unwrap().values, [7.0]);
    let Attribute::Tensors(tensors) = &attributes["all"] else {
        panic!()
    };
    assert_eq!(tensors[0].floats().unwrap().values, [8.0]);
}

#[test]
fn attributes_of_another_type_are_told() {
    let with =
        |attribute: AttributeProto| problem_after(|graph| graph.node[0].attribute.push(attribute));
    let message = with(AttributeProto {
        i: Some(1),
        ..attribute("axis", 1)
    });
    assert_eq!(
        message,
        "node `add-sum` (Add): attribute `axis` declares FLOAT but holds INT"
    );
    let message = with(AttributeProto {
        i: Some(1),
        ..attribute("axis", 0)
    });
    assert_eq!(
        message,
        "node `add-sum` (Add): attribute `axis` declares the unknown type 0"
    );
    assert!(with(attribute("value", 4)).ends_with("declares TENSOR but holds 0"));
    assert!(with(attribute("type", 13)).ends_with("is a TYPE_PROTO, which is not supported"));
    let graph = Some(model(|_| {}).graph.unwrap());
    let message = with(AttributeProto {
        g: graph,
        ..attribute("then_branch", 5)
    });
    assert!(
        message.contains("branches and loops (If, Loop, Scan) are not supported"),
        "{message}"
    );
    let reference = AttributeProto {
        ref_attr_name: "outer".to_owned(),
        ..attribute("axis", 2)
    };
    assert!(with(reference).contains("refers to an attribute of a function"));
    let message = with(AttributeProto {
        s: Some(vec![0xff]),
        ..attribute("text", 3)
    });
    assert!(message.contains("is not UTF-8"), "{message}");
    let message = problem_after(|graph| graph.node[0].attribute = vec![attribute("axis", 2); 2]);
    assert_eq!(
        message,
        "node `add-sum` (Add): attribute `axis` occurs twice"
    );
}

#[test]
fn nodes_are_put_in_order() {
    let encoded = model(|graph| {
        graph.node.push(node("Neg", &["x"], "z"));
        graph.node.reverse();
    });
    let model = parse(&encoded).unwrap();
    let names: Vec<_> = model
        .graph()
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(names, ["neg-z", "add-sum", "relu-y"]);
}

#[test]
fn a_cycle_is_told() {
    let message = problem_after(|graph| graph.node[0].input[1] = "y".to_owned());
    assert_eq!(
        message,
        "node `add-sum` (Add): it needs, through other nodes or itself, its own output"
    );
    let message = problem_after(|graph| graph.node[0].input[1] = "sum".to_owned());
    assert!(message.contains("its own output"), "{message}");
}

#[test]
fn names_are_defined_once() {
    let twice = problem_after(|graph| graph.node[1].output[0] = "sum".to_owned());
    assert_eq!(
        twice,
        "node `relu-y` (Relu): its output `sum` is defined twice"
    );
    let input = problem_after(|graph| graph.node[1].output[0] = "x".to_owned());
    assert!(
        input.ends_with("its output `x` is also an input or an initialiser"),
        "{input}"
    );
    let weight = problem_after(|graph| graph.node[1].output[0] = "w".to_owned());
    assert!(
        weight.ends_with("its output `w` is also an input or an initialiser"),
        "{weight}"
    );
    let same = problem_after(|graph| graph.input.push(value("x")));
    assert_eq!(same, "input `x` is defined twice");
    let same = problem_after(|graph| graph.output.push(value("y")));
    assert_eq!(same, "output `y` is listed twice");
    let same = problem_after(|graph| graph.initializer.push(floats("w", &[1], &[0.0])));
    assert_eq!(same, "initialiser `w` occurs twice");
    let same = problem_after(|graph| graph.value_info.push(value("sum")));
    assert_eq!(same, "value info `sum` occurs twice");
    let same = problem_after(|graph| graph.node[1].name = "add-sum".to_owned());
    assert_eq!(same, "two nodes are called `add-sum`");
    let missing = problem_after(|graph| graph.node[1].input[0] = "nothing".to_owned());
    assert_eq!(
        missing,
        "node `relu-y` (Relu): its input `nothing` is not defined"
    );
    let missing = problem_after(|graph| graph.output[0].name = "nothing".to_owned());
    assert_eq!(missing, "output `nothing` is not defined");
}

#[test]
fn versions_that_are_not_known_are_told() {
    let mut encoded = model(|_| {});
    for (version, known) in [(10, false), (11, true), (28, true), (29, false)] {
        encoded.opset_import[0].version = version;
        if known {
            assert_eq!(parse(&encoded).unwrap().header().opset_imports[""], version);
        } else {
            let message = problem(&encoded);
            let start = format!("it uses operator set {version}, known are 11 to 28");
            assert!(message.starts_with(&start), "{message}");
        }
    }
    encoded.opset_import.clear();
    assert!(problem(&encoded).contains("names no version"));
    encoded.ir_version = 15;
    assert_eq!(
        problem(&encoded),
        "it is of file format version 15, known are 3 to 14"
    );
}

#[test]
fn other_kinds_of_values_are_named() {
    let encoded = model(|graph| {
        graph.value_info[0].kind = Some(messages::TypeProto {
            sequence_type: Some(Box::default()),
            ..Default::default()
        });
        graph.output[0].kind = None;
        let dimension = messages::DimensionProto {
            dim_value: Some(-1),
            dim_param: None,
        };
        let kind = graph.input[0].kind.as_mut().unwrap();
        kind.tensor_type
            .as_mut()
            .unwrap()
            .shape
            .as_mut()
            .unwrap()
            .dim[0] = dimension;
    });
    let model = parse(&encoded).unwrap();
    assert_eq!(
        model.graph().value_infos["sum"].kind,
        ValueKind::Other("sequence")
    );
    assert_eq!(model.graph().outputs[0].kind, ValueKind::Unknown);
    let ValueKind::Tensor {
        shape: Some(shape), ..
    } = &model.graph().inputs[0].kind
    else {
        panic!()
    };
    assert_eq!(shape[0], Dimension::Unknown);
}
