//! Operators by hand values.

use super::super::messages::floats;
use super::*;

const X: [f32; 8] = [1.0, -2.0, 3.0, 0.5, -1.0, 0.0, 2.0, 4.0];

/// `y` of one node on `x`.
fn one(node: NodeProto) -> Vec<f32> {
    answer(&model(17, vec![node], Vec::new()), &X).1
}

fn mapped(function: impl Fn(f32) -> f32) -> Vec<f32> {
    X.iter().map(|x| function(*x)).collect()
}

#[test]
fn functions_of_one_value() {
    let apply = |op: &str, attributes| one(node(op, &["x"], "y", attributes));
    close(&apply("Relu", vec![]), &mapped(|x| x.max(0.0)));
    close(&apply("Neg", vec![]), &mapped(|x| -x));
    close(&apply("Abs", vec![]), &mapped(f32::abs));
    close(&apply("Exp", vec![]), &mapped(f32::exp));
    close(&apply("Tanh", vec![]), &mapped(f32::tanh));
    close(&apply("Softsign", vec![]), &mapped(|x| x / (1.0 + x.abs())));
    close(
        &apply("Sign", vec![]),
        &mapped(|x| if x == 0.0 { 0.0 } else { x.signum() }),
    );
    let elu = |alpha: f32| move |x: f32| if x > 0.0 { x } else { alpha * x.exp_m1() };
    close(&apply("Elu", vec![number("alpha", 2.0)]), &mapped(elu(2.0)));
    let selu = |x: f32| 1.050_701 * elu(1.673_263_2)(x);
    close(&apply("Selu", vec![]), &mapped(selu));
    let celu = |x: f32| x.max(0.0) + (0.5 * (x / 0.5).exp_m1()).min(0.0);
    close(&apply("Celu", vec![number("alpha", 0.5)]), &mapped(celu));
    let hard = |x: f32| (0.2 * x + 0.5).clamp(0.0, 1.0);
    close(&apply("HardSigmoid", vec![]), &mapped(hard));
    let leaky = |x: f32| if x > 0.0 { x } else { 0.3 * x };
    close(
        &apply("LeakyRelu", vec![number("alpha", 0.3)]),
        &mapped(leaky),
    );
    let mish = |x: f32| x * x.exp().ln_1p().tanh();
    close(&apply("Mish", vec![]), &mapped(mish));
    let above = |x: f32| if x > 1.0 { x } else { 0.0 };
    close(&apply("ThresholdedRelu", vec![]), &mapped(above));
}

#[test]
fn numbers_on_either_side() {
    let with = |op: &str, inputs: &[&str]| {
        let nodes = vec![node(op, inputs, "y", vec![])];
        answer(&model(17, nodes, vec![floats("c", &[], &[2.0])]), &X).1
    };
    close(&with("Sub", &["x", "c"]), &mapped(|x| x - 2.0));
    close(&with("Sub", &["c", "x"]), &mapped(|x| 2.0 - x));
    close(&with("Div", &["x", "c"]), &mapped(|x| x / 2.0));
    close(&with("Pow", &["x", "c"]), &mapped(|x| x * x));
    close(&with("Pow", &["c", "x"]), &mapped(f32::exp2));
    close(&with("Max", &["x", "c"]), &mapped(|x| x.max(2.0)));
    close(&with("Min", &["c", "x"]), &mapped(|x| x.min(2.0)));
}

#[test]
fn a_number_with_more_axes_than_the_value_gives_it_these() {
    let nodes = vec![node("Add", &["x", "c"], "y", vec![])];
    let (shape, values) = answer(&model(17, nodes, vec![floats("c", &[1, 1, 1], &[1.0])]), &X);
    assert_eq!(shape, [1, 2, 4]);
    close(&values, &mapped(|x| x + 1.0));
}

#[test]
fn gemm_in_all_its_forms() {
    let weight: Vec<f32> = (0..12).map(|value| value as f32 / 4.0 - 1.0).collect();
    let expected = |alpha: f32, beta: f32, transposed: bool, bias: [f32; 3]| -> Vec<f32> {
        let at = |input: usize, output: usize| match transposed {
            true => weight[output * 4 + input],
            false => weight[input * 3 + output],
        };
        X.chunks_exact(4)
            .flat_map(|row| {
                (0..3).map(move |output| {
                    let sum: f32 = (0..4).map(|input| row[input] * at(input, output)).sum();
                    alpha * sum + beta * bias[output]
                })
            })
            .collect()
    };
    let run = |transposed: bool, attributes: Vec<AttributeProto>, bias: TensorProto| {
        let dims = if transposed { [3, 4] } else { [4, 3] };
        let mut attributes = attributes;
        attributes.push(integer("transB", i64::from(transposed)));
        let nodes = vec![node("Gemm", &["x", "w", "b"], "y", attributes)];
        answer(
            &model(17, nodes, vec![floats("w", &dims, &weight), bias]),
            &X,
        )
        .1
    };
    let bias = [0.5, -1.0, 2.0];
    for transposed in [true, false] {
        let vector = floats("b", &[3], &bias);
        close(
            &run(transposed, vec![], vector.clone()),
            &expected(1.0, 1.0, transposed, bias),
        );
        let scaled = vec![number("alpha", 0.5), number("beta", 2.0)];
        close(
            &run(transposed, scaled, vector),
            &expected(0.5, 2.0, transposed, bias),
        );
        let row = floats("b", &[1, 3], &bias);
        close(
            &run(transposed, vec![], row),
            &expected(1.0, 1.0, transposed, bias),
        );
        let one = floats("b", &[1], &[3.0]);
        close(
            &run(transposed, vec![], one),
            &expected(1.0, 1.0, transposed, [3.0; 3]),
        );
    }
}

#[test]
fn a_linear_layer_keeps_the_weight_of_the_file_and_is_one_node() {
    let weight: Vec<f32> = (0..12).map(|value| value as f32).collect();
    let nodes = vec![
        node("MatMul", &["x", "w"], "product", vec![]),
        node("Add", &["b", "product"], "y", vec![]),
    ];
    let initialisers = vec![
        floats("w", &[4, 3], &weight),
        floats("b", &[3], &[1.0, 2.0, 3.0]),
    ];
    let imported = import(&model(17, nodes, initialisers)).unwrap();
    assert_eq!(imported.graph().nodes.len(), 1);
    assert_eq!(imported.graph().weights["w"].shape, [3, 4]);
    let values = &imported.weights().unwrap()["w"].values;
    assert_eq!(values[..4], [0.0, 3.0, 6.0, 9.0]);
}

#[test]
fn tied_weights_stay_one() {
    // A product with a matrix and one with its transpose.
    let weight: Vec<f32> = (0..16).map(|value| value as f32 / 8.0).collect();
    let nodes = vec![
        node("MatMul", &["x", "w"], "h", vec![]),
        node("Transpose", &["w"], "t", vec![]),
        node("MatMul", &["h", "t"], "y", vec![]),
    ];
    let model = model(17, nodes, vec![floats("w", &[4, 4], &weight)]);
    let imported = import(&model).unwrap();
    assert_eq!(imported.graph().weights.len(), 1);
    let product = |x: &[f32], transposed: bool| -> Vec<f32> {
        let at = |i: usize, o: usize| {
            if transposed {
                weight[o * 4 + i]
            } else {
                weight[i * 4 + o]
            }
        };
        x.chunks_exact(4)
            .flat_map(|row| (0..4).map(move |o| (0..4).map(|i| row[i] * at(i, o)).sum()))
            .collect()
    };
    close(&answer(&model, &X).1, &product(&product(&X, false), true));
}

#[test]
fn einsum_is_a_product_or_a_sum() {
    let weight: Vec<f32> = (0..12).map(|value| value as f32 / 6.0).collect();
    let run = |equation: &str, inputs: &[&str]| {
        let nodes = vec![node(
            "Einsum",
            inputs,
            "y",
            vec![text("equation", equation)],
        )];
        answer(&model(17, nodes, vec![floats("w", &[3, 4], &weight)]), &X)
    };
    let (shape, values) = run("bi, oi -> bo", &["x", "w"]);
    assert_eq!(shape, [2, 3]);
    let expected: Vec<f32> = X
        .chunks_exact(4)
        .flat_map(|row| {
            weight
                .chunks_exact(4)
                .map(move |w| row.iter().zip(w).map(|(a, b)| a * b).sum())
        })
        .collect();
    close(&values, &expected);
    let (shape, values) = run("bi->b", &["x"]);
    assert_eq!(shape, [2]);
    close(&values, &[2.5, 5.0]);
    let (node, problem) = refusal(&model(
        17,
        vec![node(
            "Einsum",
            &["x"],
            "y",
            vec![text("equation", "...i->...")],
        )],
        Vec::new(),
    ));
    assert!(
        node.contains("Einsum") && problem.contains("...i->..."),
        "{problem}"
    );
}

#[test]
fn images_are_pooled_with_every_padding() {
    // One row of four values as an image of 2 x 2.
    let run = |op: &str, attributes: Vec<AttributeProto>| {
        let nodes = vec![
            node("Reshape", &["x", "shape"], "image", vec![]),
            node(op, &["image"], "pooled", attributes),
            node("Flatten", &["pooled"], "y", vec![]),
        ];
        answer(
            &model(17, nodes, vec![integers("shape", &[-1, 1, 2, 2])]),
            &X[..4],
        )
        .1
    };
    let window = || list("kernel_shape", &[2, 2]);
    let same = || text("auto_pad", "SAME_UPPER");
    // The image is [[1, -2], [3, 0.5]]; windows hang over the right and the lower side.
    close(
        &run("MaxPool", vec![window(), same()]),
        &[3.0, 0.5, 3.0, 0.5],
    );
    let mean = [2.5 / 4.0, -1.5 / 2.0, 3.5 / 2.0, 0.5];
    close(&run("AveragePool", vec![window(), same()]), &mean);
    let include = integer("count_include_pad", 1);
    let mean = [2.5 / 4.0, -1.5 / 4.0, 3.5 / 4.0, 0.5 / 4.0];
    close(&run("AveragePool", vec![window(), same(), include]), &mean);
    let pads = list("pads", &[1, 1, 1, 1]);
    let spread = list("dilations", &[2, 2]);
    let (dilated, plain) = (vec![window(), pads.clone(), spread], vec![window(), pads]);
    close(&run("MaxPool", dilated), &[0.5, 3.0, -2.0, 1.0]);
    close(
        &run("MaxPool", plain),
        &[1.0, 1.0, -2.0, 3.0, 3.0, 0.5, 3.0, 3.0, 0.5],
    );
}

#[test]
fn attention_is_a_softmax_of_products() {
    // Two heads of width 2 over one place: the softmax of one score is 1, so that the value comes out.
    let nodes = vec![
        node("Unsqueeze", &["x", "one"], "sequence", vec![]),
        node(
            "Attention",
            &["sequence", "sequence", "sequence"],
            "mixed",
            vec![integer("q_num_heads", 2), integer("kv_num_heads", 2)],
        ),
        node("Squeeze", &["mixed", "one"], "y", vec![]),
    ];
    let (_, values) = answer(&model(23, nodes, vec![integers("one", &[1])]), &X);
    close(&values, &X);
    // Two places of width 2 and one head, without looking ahead.
    let nodes = vec![
        node("Reshape", &["x", "shape"], "sequence", vec![]),
        node(
            "Attention",
            &["sequence", "sequence", "sequence"],
            "mixed",
            vec![
                integer("q_num_heads", 1),
                integer("kv_num_heads", 1),
                integer("is_causal", 1),
                number("scale", 1.0),
            ],
        ),
        node("Flatten", &["mixed"], "y", vec![]),
    ];
    let (_, values) = answer(
        &model(23, nodes, vec![integers("shape", &[0, 2, 2])]),
        &X[..4],
    );
    let [a, b] = [[1.0_f32, -2.0], [3.0, 0.5]];
    let scores = [a[0] * b[0] + a[1] * b[1], b[0] * b[0] + b[1] * b[1]];
    let share = 1.0 / (1.0 + (scores[1] - scores[0]).exp());
    let mixed = [0, 1].map(|at| share * a[at] + (1.0 - share) * b[at]);
    close(&values, &[a[0], a[1], mixed[0], mixed[1]]);
}

#[test]
fn an_operator_that_does_not_train_is_named_with_what_to_do() {
    let nodes = vec![node("TopK", &["x", "k"], "y", vec![])];
    let model = model(17, nodes, vec![integers("k", &[1])]);
    let message = import(&model).unwrap_err().to_string();
    for part in [
        "`model.onnx`",
        "topk-y",
        "TopK",
        "operator set 17",
        "as a teacher it runs",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let mut model = super::model(17, vec![messages::node("Fancy", &["x"], "y")], Vec::new());
    graph(&mut model).node[0].domain = "com.example".to_owned();
    let (node, problem) = refusal(&model);
    assert!(
        node.contains("Fancy") && problem.contains("com.example"),
        "{problem}"
    );
}
