//! Models that ask for too much, or for what cannot be.

use super::super::messages::floats;
use super::*;

#[test]
fn constants_of_any_size_are_not_made() {
    let huge = 1_i64 << 40;
    let cases: Vec<(NodeProto, Vec<TensorProto>)> = vec![
        (
            node("ConstantOfShape", &["n"], "c", vec![]),
            vec![integers("n", &[huge])],
        ),
        (
            node("ConstantOfShape", &["n"], "c", vec![]),
            vec![integers("n", &[1 << 20, 1 << 20])],
        ),
        (
            node("Expand", &["one", "n"], "c", vec![]),
            vec![floats("one", &[1], &[1.0]), integers("n", &[huge])],
        ),
        (
            node("Range", &["a", "b", "d"], "c", vec![]),
            vec![index("a", 0), index("b", huge), index("d", 1)],
        ),
        (
            node("Tile", &["one", "n"], "c", vec![]),
            vec![integers("one", &[1, 1, 1, 1]), integers("n", &[huge])],
        ),
        (
            node("Pad", &["x", "n"], "c", vec![]),
            vec![integers("n", &[0, i64::MAX, 0, i64::MAX])],
        ),
    ];
    for (maker, initialisers) in cases {
        let op = maker.op_type.clone();
        let nodes = vec![maker, node("Add", &["x", "c"], "y", vec![])];
        let (node, _) = refusal(&model(17, nodes, initialisers));
        assert!(node.contains(&op), "{node}");
    }
}

#[test]
fn a_slice_of_a_huge_axis_is_not_listed() {
    let mut huge = model(
        17,
        vec![node("Slice", &["x", "s", "e", "a"], "y", vec![])],
        Vec::new(),
    );
    let kind = graph(&mut huge).input[0].kind.as_mut().unwrap();
    let dims = &mut kind
        .tensor_type
        .as_mut()
        .unwrap()
        .shape
        .as_mut()
        .unwrap()
        .dim;
    dims[1].dim_value = Some(1 << 33);
    let bounds = vec![
        integers("s", &[1]),
        integers("e", &[i64::MAX]),
        integers("a", &[1]),
    ];
    graph(&mut huge).initializer = bounds;
    let imported = import(&huge).unwrap();
    assert_eq!(imported.graph().nodes[0].op.name(), "slice");
    // Backwards, each place would be listed.
    graph(&mut huge).node[0].input.push("d".to_owned());
    graph(&mut huge).initializer = vec![
        integers("s", &[-1]),
        integers("e", &[i64::MIN]),
        integers("a", &[1]),
        integers("d", &[-1]),
    ];
    assert!(refusal(&huge).0.contains("Slice"));
}

#[test]
fn many_constants_together_are_not_made_either() {
    let mut nodes = vec![node("ConstantOfShape", &["n"], "c0", vec![])];
    let names: Vec<String> = (0..200).map(|number| format!("c{number}")).collect();
    for pair in names.windows(2) {
        nodes.push(node("Add", &[&pair[0], &pair[0]], &pair[1], vec![]));
    }
    nodes.push(node("Add", &["x", names[199].as_str()], "y", vec![]));
    let (_, problem) = refusal(&model(17, nodes, vec![integers("n", &[1 << 22])]));
    assert!(problem.contains("MiB"), "{problem}");
}

#[test]
fn attributes_and_inputs_out_of_range_are_refused() {
    let cases: Vec<(NodeProto, Vec<TensorProto>)> = vec![
        (
            node("Softmax", &["x"], "y", vec![integer("axis", 9)]),
            vec![],
        ),
        (
            node("Concat", &["x", "x"], "y", vec![integer("axis", i64::MIN)]),
            vec![],
        ),
        (
            node("Flatten", &["x"], "y", vec![integer("axis", 7)]),
            vec![],
        ),
        (
            node("Transpose", &["x"], "y", vec![list("perm", &[0, 0])]),
            vec![],
        ),
        (
            node("Squeeze", &["x", "a"], "y", vec![]),
            vec![integers("a", &[1])],
        ),
        (
            node("Unsqueeze", &["x", "a"], "y", vec![]),
            vec![integers("a", &[0, 0])],
        ),
        (
            node("Reshape", &["x", "a"], "y", vec![]),
            vec![integers("a", &[-1, -1])],
        ),
        (
            node("Reshape", &["x", "a"], "y", vec![]),
            vec![integers("a", &[3, 5])],
        ),
        (
            node("Reshape", &["x", "a"], "y", vec![]),
            vec![integers("a", &[-7, 4])],
        ),
        (
            node(
                "Split",
                &["x"],
                "y",
                vec![integer("axis", 1), integer("num_outputs", 0)],
            ),
            vec![],
        ),
        (
            node("Gather", &["x", "a"], "y", vec![integer("axis", 1)]),
            vec![integers("a", &[4])],
        ),
        (
            node("Conv", &["x", "w"], "y", vec![list("strides", &[0, 0])]),
            vec![floats("w", &[1, 1, 1, 1], &[1.0])],
        ),
        (
            node("Gemm", &["x", "w"], "y", vec![]),
            vec![floats("w", &[3, 3], &[0.0; 9])],
        ),
        (
            node("MatMul", &["x", "w"], "y", vec![]),
            vec![floats("w", &[3], &[0.0; 3])],
        ),
        (
            node("LSTM", &["x", "w", "w"], "y", vec![]),
            vec![floats("w", &[1, 1, 1], &[1.0])],
        ),
        (node("Add", &["x"], "y", vec![]), vec![]),
        (node("Where", &["x", "x"], "y", vec![]), vec![]),
        (node("Cast", &["x"], "y", vec![integer("to", 8)]), vec![]),
        (node("Cast", &["x"], "y", vec![integer("to", 7)]), vec![]),
        (node("BatchNormalization", &["x"], "y", vec![]), vec![]),
        (
            node(
                "LayerNormalization",
                &["x", "x"],
                "y",
                vec![integer("axis", 0)],
            ),
            vec![],
        ),
        (node("Clip", &["x", "x"], "y", vec![]), vec![]),
        (node("Relu", &[], "y", vec![]), vec![]),
    ];
    for (node, initialisers) in cases {
        let op = node.op_type.clone();
        let (named, problem) = refusal(&model(17, vec![node], initialisers));
        assert!(named.contains(&op), "{named}");
        assert!(
            !problem.contains('\n') && !problem.is_empty(),
            "{op}: {problem}"
        );
    }
}

#[test]
fn an_output_that_is_no_number_per_row_is_refused() {
    let nodes = vec![messages::node("Shape", &["x"], "y")];
    let message = import(&model(17, nodes, Vec::new()))
        .unwrap_err()
        .to_string();
    assert!(message.contains('y'), "{message}");
}

#[test]
fn names_may_be_anything() {
    let nodes = vec![
        messages::node("Relu", &["x"], "a..b"),
        messages::node("Sigmoid", &["a..b"], "."),
        messages::node("Add", &[".", "w."], "y"),
    ];
    let model = model(17, nodes, vec![floats("w.", &[4], &[1.0, 2.0, 3.0, 4.5])]);
    let imported = import(&model).unwrap();
    let taps = &imported.graph().taps;
    assert!(
        taps.contains_key("a..b") && taps.contains_key("."),
        "{taps:?}"
    );
    close(&answer(&model, &[0.0; 4]).1, &[1.5, 2.5, 3.5, 5.0]);
}
