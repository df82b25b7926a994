//! Operators for values of any kind, by hand.

use super::*;
use crate::ir::{
    Activation, Compare, Constant, Expand, Fill, Pad, Parameter, Reduce, Reduction, Relation,
    Slice, Take, View,
};

/// What tract computes with a graph of one input with rows of the given sizes.
fn compute(
    sizes: &[usize],
    values: &[f32],
    build: impl Fn(&mut Builder, Value) -> Value,
) -> (Vec<usize>, Vec<f32>) {
    let graph = graph_of(&[sizes], |b, x| build(b, x[0]));
    let rows = values.len() / sizes.iter().product::<usize>();
    let shape: Vec<usize> = [rows].into_iter().chain(sizes.iter().copied()).collect();
    let inputs = Inputs::float(feature(values.to_vec(), &shape));
    let output = elsewhere(&graph, &weights(&graph), &inputs).output;
    (output.shape(), output.to_vec().unwrap())
}

fn counted(count: usize) -> Vec<f32> {
    (0..count).map(|value| value as f32).collect()
}

fn shape(dims: &[Dim]) -> Shape {
    dims.iter().copied().collect()
}

const fn fixed(size: usize) -> Dim {
    Dim::Fixed(size)
}

#[test]
fn views_keep_the_numbers_wherever_the_batch_is() {
    let view = |b: &mut Builder, name: &str, x: Value, dims: &[Dim]| {
        b.node(name, Op::View(View { shape: shape(dims) }), &[x])
    };
    for rows in [1, 3] {
        let numbers = counted(rows * 8);
        let got = compute(&[4, 2], &numbers, |b, x| {
            let x = view(b, "windows", x, &[Dim::times_batch(2), fixed(2), fixed(2)]);
            let x = b.relu("relu", x);
            let x = view(b, "first", x, &[fixed(1), Dim::times_batch(4), fixed(2)]);
            view(b, "back", x, &[Dim::Batch, fixed(8)])
        });
        assert_eq!(got, (vec![rows, 8], numbers));
    }
    // Two axes of the batch's size: one is kept or follows, the other is computed.
    let got = compute(&[1], &[1.0, 2.0, 3.0], |b, x| {
        let flipped = b.node(
            "flipped",
            Op::Transpose(ir::Transpose { axes: vec![1, 0] }),
            &[x],
        );
        let x = b.mat_mul("products", x, flipped);
        let x = view(b, "apart", x, &[Dim::Batch, fixed(1), fixed(1), Dim::Batch]);
        let x = view(
            b,
            "inside",
            x,
            &[fixed(1), Dim::Batch, Dim::Batch, fixed(1)],
        );
        view(b, "back", x, &[Dim::Batch, Dim::Batch])
    });
    let products = vec![1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 3.0, 6.0, 9.0];
    assert_eq!(got, (vec![3, 3], products));
}

#[test]
fn parameters_and_constants_are_repeated() {
    let graph = graph_of(&[&[2, 2]], |b, x| {
        let token = b.node(
            "token",
            Op::Parameter(Parameter {
                shape: vec![1, 1, 2],
            }),
            &[],
        );
        let shape = shape(&[Dim::Batch, fixed(1), fixed(2)]);
        let token = b.node("tokens", Op::Expand(Expand { shape }), &[token]);
        let x = b.concatenate("all", &[token, x[0]], 1);
        let mask = b.node("mask", Op::Constant(Constant { shape: vec![3, 1] }), &[]);
        b.multiply("masked", x, mask)
    });
    let mut weights = weights(&graph);
    weights.get_mut("token.value").unwrap().values = vec![7.0, 8.0];
    weights.get_mut("mask.value").unwrap().values = vec![1.0, 0.5, -1.0];
    let inputs = Inputs::float(feature(counted(8), &[2, 2, 2]));
    let output = elsewhere(&graph, &weights, &inputs).output;
    assert_eq!(output.shape(), [2, 3, 2]);
    assert_eq!(
        output.to_vec().unwrap(),
        [
            7.0, 8.0, 0.0, 0.5, -2.0, -3.0, 7.0, 8.0, 2.0, 2.5, -6.0, -7.0
        ]
    );
}

/// An imported model calls the node of a weight as the weight; ONNX has one name for both.
#[test]
fn a_parameter_may_be_called_as_its_weight() {
    let mut graph = graph_of(&[&[2]], |b, x| {
        let shape = vec![1, 2];
        let bias = b.node("bias", Op::Parameter(Parameter { shape }), &[]);
        b.add("sum", x[0], bias)
    });
    let spec = graph.weights.remove("bias.value").unwrap();
    let run = |graph: &Graph, weight: &str| {
        let values = HostTensor::new([1, 2], vec![0.5, 1.5]).unwrap();
        let weights = BTreeMap::from([(weight.to_owned(), values)]);
        let inputs = Inputs::float(feature(counted(2), &[1, 2]));
        let output = elsewhere(graph, &weights, &inputs).output;
        assert_eq!(output.to_vec().unwrap(), [0.5, 2.5], "{weight}");
    };
    // Also where another node's value is in the way.
    for weight in ["bias", "sum"] {
        let mut graph = graph.clone();
        graph.weights.insert(weight.to_owned(), spec.clone());
        let node = graph.nodes.iter_mut().find(|node| node.name == "bias");
        let roles = &mut node.unwrap().weights;
        roles.insert("value".to_owned(), weight.to_owned());
        run(&graph, weight);
    }
}

#[test]
fn places_are_chosen_and_added() {
    let slice = Slice {
        axis: 1,
        start: 1,
        count: 2,
        step: 3,
    };
    let got = compute(&[5], &counted(10), |b, x| {
        b.node("n", Op::Slice(slice.clone()), &[x])
    });
    assert_eq!(got, (vec![2, 2], vec![1.0, 4.0, 6.0, 9.0]));
    let take = Take {
        axis: 2,
        indices: vec![2, 0, 2],
    };
    let got = compute(&[1, 3], &counted(3), |b, x| {
        b.node("n", Op::Take(take.clone()), &[x])
    });
    assert_eq!(got, (vec![1, 1, 3], vec![2.0, 0.0, 2.0]));
    for (fill, before, after) in [
        (Fill::Constant { value: -1.5 }, [-1.5, -1.5], -1.5),
        (Fill::Reflect, [3.0, 2.0], 2.0),
        (Fill::Edge, [1.0, 1.0], 3.0),
    ] {
        let pad = Pad {
            sides: vec![[0, 0], [2, 1]],
            fill,
        };
        let got = compute(&[3], &[1.0, 2.0, 3.0], |b, x| {
            b.node("n", Op::Pad(pad.clone()), &[x])
        });
        let expected = vec![before[0], before[1], 1.0, 2.0, 3.0, after];
        assert_eq!(got, (vec![1, 6], expected), "{fill:?}");
    }
}

#[test]
fn summaries() {
    let numbers = [1.0, -2.0, 4.0, 3.0, 0.5, 2.0, 1.0, 1.0];
    for (reduction, expected) in [
        (Reduction::Sum, [6.0, 4.5]),
        (Reduction::Mean, [1.5, 1.125]),
        (Reduction::Max, [4.0, 2.0]),
        (Reduction::Min, [-2.0, 0.5]),
        (Reduction::Product, [-24.0, 1.0]),
    ] {
        let got = compute(&[2, 2], &numbers, |b, x| {
            let axes = vec![1, 2];
            b.node("n", Op::Reduce(Reduce { reduction, axes }), &[x])
        });
        assert_eq!(got, (vec![2, 1, 1], expected.to_vec()), "{reduction:?}");
    }
}

#[test]
fn comparisons_and_choices() {
    let numbers = [-1.0, 0.5, 2.0];
    for (relation, expected) in [
        (Relation::Equal, [0.0, 1.0, 0.0]),
        (Relation::Less, [1.0, 0.0, 0.0]),
        (Relation::LessOrEqual, [1.0, 1.0, 0.0]),
        (Relation::Greater, [0.0, 0.0, 1.0]),
        (Relation::GreaterOrEqual, [0.0, 1.0, 1.0]),
    ] {
        let got = compute(&[1], &numbers, |b, x| {
            let half = b.scale_shift("half", x, 0.0, 0.5);
            b.node("n", Op::Compare(Compare { relation }), &[x, half])
        });
        assert_eq!(got, (vec![3, 1], expected.to_vec()), "{relation:?}");
    }
    for (op, expected) in [
        (Op::Maximum, [1.0, 0.875, 2.0]),
        (Op::Minimum, [-1.0, 0.5, 0.0]),
        (Op::Divide, [-1.0, 0.5 / 0.875, f32::INFINITY]),
        (Op::Subtract, [-2.0, -0.375, 2.0]),
    ] {
        let got = compute(&[1], &numbers, |b, x| {
            // 1 where x is -1, 0.875 where it is 0.5, 0 where it is 2.
            let square = b.multiply("square", x, x);
            let bent = b.scale_shift("bent", square, -1.0 / 6.0, 0.0);
            let slope = b.scale_shift("slope", x, -1.0 / 6.0, 1.0);
            let line = b.add("line", bent, slope);
            b.node("n", op.clone(), &[x, line])
        });
        let near = |(got, expected): (&f32, &f32)| {
            got == expected || (got - expected).abs() < 1e-5 || got.abs() > 1e6
        };
        assert!(got.1.iter().zip(&expected).all(near), "{op:?}: {got:?}");
    }
    let got = compute(&[1], &[-1.0, 0.0, 0.25], |b, x| {
        let other = b.scale_shift("other", x, 0.0, 9.0);
        b.node("n", Op::Where, &[x, x, other])
    });
    assert_eq!(got, (vec![3, 1], vec![-1.0, 9.0, 0.25]));
}

#[test]
fn functions_of_one_number() {
    let numbers = [0.25f64, 0.5, 1.0, 2.0, 3.5];
    let erf = [
        0.276_326_4,
        0.520_499_9,
        0.842_700_8,
        0.995_322_3,
        0.999_999_3,
    ];
    let functions: [(Activation, &dyn Fn(f64) -> f64); 11] = [
        (
            Activation::Clip {
                least: 0.4,
                most: f64::INFINITY,
            },
            &|x| x.max(0.4),
        ),
        (
            Activation::Clip {
                least: f64::NEG_INFINITY,
                most: 1.5,
            },
            &|x| x.min(1.5),
        ),
        (
            Activation::Clip {
                least: 0.5,
                most: 1.5,
            },
            &|x| x.clamp(0.5, 1.5),
        ),
        (Activation::Power { exponent: 1.5 }, &|x| x.powf(1.5)),
        (Activation::SquareRoot, &f64::sqrt),
        (Activation::Reciprocal, &f64::recip),
        (Activation::Exponential, &f64::exp),
        (Activation::Logarithm, &f64::ln),
        (Activation::Sine, &f64::sin),
        (Activation::Cosine, &f64::cos),
        (Activation::Absolute, &f64::abs),
    ];
    let inputs = numbers.map(|x| x as f32);
    let run = |function: Activation, inputs: &[f32]| {
        compute(&[1], inputs, |b, x| b.activation("f", x, function)).1
    };
    let close = |got: &[f32], expected: &[f64], what: &str| {
        for (got, expected) in got.iter().zip(expected) {
            let difference = (f64::from(*got) - expected).abs();
            assert!(
                difference < 1e-5 * expected.abs().max(1.0),
                "{what}: {got} {expected}"
            );
        }
    };
    for (function, expected) in functions {
        close(
            &run(function, &inputs),
            &numbers.map(expected),
            function.name(),
        );
    }
    close(&run(Activation::Erf, &inputs), &erf, "erf");
    close(
        &run(Activation::Absolute, &[-0.5, -3.0]),
        &[0.5, 3.0],
        "absolute",
    );
}

#[test]
fn tokens_become_numbers() {
    let mut b = Builder::new("tokens");
    let tokens = b.tokens(3);
    let x = b.node("floats", Op::TokensAsFloats, &[tokens]);
    let graph = b.finish(x).unwrap();
    let ids = Tensor::<2, Int>::from_data([[3, 0, 70_000]], &Device::flex());
    let inputs = Inputs::default().with("tokens", InputTensor::Tokens(ids));
    let output = elsewhere(&graph, &weights(&graph), &inputs).output;
    assert_eq!(output.to_vec().unwrap(), [3.0, 0.0, 70_000.0]);
}
