//! Shapes that depend on the batch, and operators that move values.

use super::super::messages::floats;
use super::*;

const X: [f32; 8] = [1.0, -2.0, 3.0, 0.5, -1.0, 0.0, 2.0, 4.0];

#[test]
fn a_view_by_shape_arithmetic_follows_the_batch() {
    // x.view(x.size(0) * 2, -1).view(x.size(0), 2, 2)
    let nodes = vec![
        node("Shape", &["x"], "shape", vec![]),
        node("Gather", &["shape", "zero"], "rows", vec![]),
        node("Mul", &["rows", "two"], "twice", vec![]),
        node("Unsqueeze", &["twice", "first"], "a", vec![]),
        node("Concat", &["a", "minus"], "sizes", vec![integer("axis", 0)]),
        node("Reshape", &["x", "sizes"], "halves", vec![]),
        node("Unsqueeze", &["rows", "first"], "b", vec![]),
        node(
            "Concat",
            &["b", "square"],
            "whole",
            vec![integer("axis", 0)],
        ),
        node("Reshape", &["halves", "whole"], "y", vec![]),
    ];
    let initialisers = vec![
        index("zero", 0),
        index("two", 2),
        integers("first", &[0]),
        integers("minus", &[-1]),
        integers("square", &[2, 2]),
    ];
    let model = model(17, nodes, initialisers);
    for rows in [1, 2] {
        let (shape, values) = answer(&model, &X[..4 * rows]);
        assert_eq!(shape, [rows, 2, 2]);
        close(&values, &X[..4 * rows]);
    }
}

#[test]
fn index_arithmetic_over_the_batch_is_a_view() {
    // flat[arange(batch)[:, None] * 4 + [3, 1]]: what `as_strided` is exported to.
    let nodes = vec![
        node("Reshape", &["x", "minus"], "flat", vec![]),
        node("Shape", &["x"], "shape", vec![]),
        node("Gather", &["shape", "zero"], "rows", vec![]),
        node("Range", &["zero", "rows", "one"], "count", vec![]),
        node("Mul", &["count", "four"], "starts", vec![]),
        node("Unsqueeze", &["starts", "last"], "column", vec![]),
        node("Add", &["column", "places"], "indices", vec![]),
        node("Gather", &["flat", "indices"], "y", vec![]),
    ];
    let initialisers = vec![
        integers("minus", &[-1]),
        index("zero", 0),
        index("one", 1),
        index("four", 4),
        integers("last", &[1]),
        integers("places", &[3, 1]),
    ];
    let (shape, values) = answer(&model(17, nodes.clone(), initialisers.clone()), &X);
    assert_eq!(shape, [2, 2]);
    close(&values, &[0.5, -2.0, 4.0, 0.0]);
    // With another distance between the rows one would answer for another.
    let mut other = initialisers;
    other[3] = index("four", 2);
    let (node, problem) = refusal(&model(17, nodes, other));
    assert!(node.contains("Gather"), "{node}");
    assert!(problem.contains("may depend on the row alone"), "{problem}");
}

#[test]
fn a_constant_that_is_expanded_to_the_batch_is_the_same_for_every_row() {
    let nodes = vec![
        node("Shape", &["x"], "shape", vec![]),
        node("Expand", &["token", "shape"], "tokens", vec![]),
        node("Concat", &["tokens", "x"], "y", vec![integer("axis", 1)]),
    ];
    let model = model(
        17,
        nodes,
        vec![floats("token", &[1, 4], &[9.0, 8.0, 7.0, 6.0])],
    );
    let (shape, values) = answer(&model, &X);
    assert_eq!(shape, [2, 8]);
    close(&values[..5], &[9.0, 8.0, 7.0, 6.0, 1.0]);
    close(&values[8..13], &[9.0, 8.0, 7.0, 6.0, -1.0]);
    assert!(import(&model).unwrap().graph().weights["token"].is_trained());
}

#[test]
fn slices_count_from_the_end_and_backwards() {
    let run = |start: i64, end: i64, step: i64| {
        let nodes = vec![node("Slice", &["x", "s", "e", "a", "d"], "y", vec![])];
        let initialisers = vec![
            integers("s", &[start]),
            integers("e", &[end]),
            integers("a", &[-1]),
            integers("d", &[step]),
        ];
        answer(&model(17, nodes, initialisers), &X[..4]).1
    };
    close(&run(1, 3, 1), &[-2.0, 3.0]);
    close(&run(-2, i64::MAX, 1), &[3.0, 0.5]);
    close(&run(0, 4, 2), &[1.0, 3.0]);
    close(&run(-1, i64::MIN, -1), &[0.5, 3.0, -2.0, 1.0]);
    close(&run(3, 0, -2), &[0.5, -2.0]);
}

#[test]
fn tiles_pads_and_takes() {
    let run = |node: NodeProto, initialisers: Vec<TensorProto>| {
        answer(&model(17, vec![node], initialisers), &X[..4])
    };
    let (shape, values) = run(
        node("Tile", &["x", "n"], "y", vec![]),
        vec![integers("n", &[1, 2])],
    );
    assert_eq!(shape, [1, 8]);
    close(&values, &[1.0, -2.0, 3.0, 0.5, 1.0, -2.0, 3.0, 0.5]);
    let pads = |mode: &str| {
        let node = node("Pad", &["x", "p"], "y", vec![text("mode", mode)]);
        run(node, vec![integers("p", &[0, 1, 0, 2])]).1
    };
    close(&pads("constant"), &[0.0, 1.0, -2.0, 3.0, 0.5, 0.0, 0.0]);
    close(&pads("reflect"), &[-2.0, 1.0, -2.0, 3.0, 0.5, 3.0, -2.0]);
    close(&pads("edge"), &[1.0, 1.0, -2.0, 3.0, 0.5, 0.5, 0.5]);
    let cut = node("Pad", &["x", "p"], "y", vec![]);
    close(
        &run(cut, vec![integers("p", &[0, -1, 0, -1])]).1,
        &[-2.0, 3.0],
    );
    let take = node("Gather", &["x", "i"], "y", vec![integer("axis", 1)]);
    let (shape, values) = run(take, vec![integers("i", &[-1, 0, 0])]);
    assert_eq!(shape, [1, 3]);
    close(&values, &[0.5, 1.0, 1.0]);
}

#[test]
fn what_mixes_rows_is_refused() {
    let refused = |node: NodeProto, initialisers: Vec<TensorProto>| {
        let (_, problem) = refusal(&model(17, vec![node], initialisers));
        assert!(problem.contains("row alone"), "{problem}");
    };
    let axes = vec![list("axes", &[0])];
    refused(node("ReduceMean", &["x"], "y", axes), vec![]);
    refused(
        node("Gather", &["x", "i"], "y", vec![]),
        vec![integers("i", &[0])],
    );
    refused(
        node("Slice", &["x", "s", "e", "a"], "y", vec![]),
        vec![
            integers("s", &[0]),
            integers("e", &[1]),
            integers("a", &[0]),
        ],
    );
}

#[test]
fn a_size_that_the_model_leaves_open_is_asked_for() {
    let mut open = model(17, vec![messages::node("Relu", &["x"], "y")], Vec::new());
    let kind = graph(&mut open).input[0].kind.as_mut().unwrap();
    let dims = &mut kind
        .tensor_type
        .as_mut()
        .unwrap()
        .shape
        .as_mut()
        .unwrap()
        .dim;
    dims[1].dim_value = None;
    dims[1].dim_param = Some("width".to_owned());
    let message = import(&open).unwrap_err().to_string();
    assert!(
        message.contains("`width`") && message.contains("give the size"),
        "{message}"
    );
    let read = Model::from_bytes(open.encode_to_vec(), Path::new("model.onnx")).unwrap();
    let imported = read.import_sized(Some(&[7])).unwrap();
    assert_eq!(
        imported.graph().inputs[0].value.shape.to_string(),
        "[batch, 7]"
    );
}
