//! First derivatives against Burn's backward pass.

use burn::tensor::{DType, Int, Tensor};

use super::{
    Mode, NAMES, assert_close, device, graph_of, named, network, random, sum, times, tracked,
    values,
};
use crate::build::{Builder, Value};
use crate::ir::{
    Activation, BatchNorm, Conv1d, Conv2d, ConvTranspose2d, Embedding, Graph, LayerNorm, Linear,
    Pool1d, Pool2d,
};
use crate::{Feature, InputTensor, Inputs, Network, Taps, each_rank, zoo};

/// Compares the gradient of every input, of a network on inputs of `shapes`.
pub(super) fn check(graph: &Graph, shapes: &[&[usize]], mode: Mode, kind: DType, tolerance: f64) {
    let what = format!("{} {}", graph.name, graph.nodes[0].op.name());
    let network = network(graph, mode, kind);
    let inputs: Vec<Feature> = shapes
        .iter()
        .zip(NAMES)
        .map(|(shape, name)| tracked(random(name, shape, kind)))
        .collect();
    let output = network
        .forward(&named(&inputs), &Taps::none())
        .unwrap()
        .output;
    let vector = random("vector", &output.shape(), kind);
    let gradients = sum(times(&output, &vector)).backward();
    for (input, given) in graph.inputs.iter().zip(&inputs) {
        let (trace, gradient) = network
            .input_gradient(&named(&inputs), &Taps::none(), &input.name, |_| {
                Ok(vector.clone())
            })
            .unwrap();
        assert_close(&values(&output), &values(&trace.output), tolerance, &what);
        let expected: Feature =
            each_rank!(given, tensor => tensor.grad(&gradients).unwrap().into());
        assert_eq!(expected.shape(), gradient.shape());
        let at = format!("{what}, input {}", input.name);
        assert_close(&values(&expected), &values(&gradient), tolerance, &at);
    }
}

pub(super) fn operator(shapes: &[&[usize]], build: impl Fn(&mut Builder, &[Value]) -> Value) {
    let graph = graph_of(shapes, build);
    check(&graph, shapes, Mode::Evaluation, DType::F64, 1e-10);
}

#[test]
fn convolutions() {
    let cases = [
        Conv2d::new(4, 6, 3).padding(1),
        Conv2d::new(4, 6, 3).padding(1).stride(2).bias(false),
        Conv2d::new(4, 6, 1).stride(3),
        Conv2d::new(4, 6, 3).padding(2).dilation(2),
        Conv2d::new(4, 6, 2).stride(3).dilation([1, 2]),
        Conv2d::new(4, 6, [3, 2])
            .padding_sides([[0, 2], [1, 0]])
            .stride([1, 2]),
        Conv2d::new(4, 6, 3).groups(2).padding(1).stride(2),
        Conv2d::depthwise(4, 3).padding_sides([[1, 0], [0, 2]]),
        Conv2d::new(4, 6, 3).padding(4),
    ];
    for conv in cases {
        operator(&[&[2, 4, 8, 7]], |b, x| {
            b.conv2d("conv", x[0], conv.clone())
        });
    }
    for (stride, padding, dilation, groups) in
        [(1, [1, 1], 1, 1), (2, [0, 3], 2, 2), (3, [2, 0], 1, 1)]
    {
        let conv = Conv1d {
            stride,
            padding,
            dilation,
            groups,
            ..Conv1d::new(4, 6, 3)
        };
        operator(&[&[2, 4, 11]], |b, x| b.conv1d("conv", x[0], conv.clone()));
    }
    let cases = [
        ConvTranspose2d::new(4, 6, 2).stride(2),
        ConvTranspose2d::new(4, 6, 3)
            .stride([2, 3])
            .padding(1)
            .output_padding([1, 2]),
        ConvTranspose2d::new(4, 6, 3).dilation(2).output_padding(1),
        ConvTranspose2d::new(4, 6, 3).groups(2).padding(1),
    ];
    for conv in cases {
        operator(&[&[2, 4, 3, 4]], |b, x| {
            b.conv_transpose2d("conv", x[0], conv.clone())
        });
    }
}

#[test]
fn linear_layers_products_and_softmax() {
    operator(&[&[3, 5]], |b, x| b.linear("fc", x[0], Linear::new(5, 4)));
    operator(&[&[2, 3, 5]], |b, x| {
        b.linear("fc", x[0], Linear::new(5, 4).bias(false))
    });
    operator(&[&[2, 3, 4, 5], &[2, 3, 5, 2]], |b, x| {
        b.mat_mul("product", x[0], x[1])
    });
    operator(&[&[2, 3, 4, 5], &[2, 1, 5, 2]], |b, x| {
        b.mat_mul("product", x[0], x[1])
    });
    for axis in [1, 2] {
        operator(&[&[2, 4, 3]], |b, x| b.softmax("softmax", x[0], axis));
        operator(&[&[2, 4, 3]], |b, x| b.log_softmax("softmax", x[0], axis));
    }
}

#[test]
fn normalisations() {
    let shapes: [&[usize]; 3] = [&[5, 4], &[3, 4, 5], &[3, 4, 5, 2]];
    for shape in shapes {
        for affine in [true, false] {
            let norm = BatchNorm::new(4).epsilon(0.1).affine(affine);
            let graph = graph_of(&[shape], |b, x| b.batch_norm_with("bn", x[0], norm.clone()));
            check(&graph, &[shape], Mode::Evaluation, DType::F64, 1e-10);
            check(&graph, &[shape], Mode::Training, DType::F64, 1e-9);
        }
    }
    operator(&[&[2, 3, 6]], |b, x| b.layer_norm("ln", x[0]));
    // Burn's layer norm without weights knows single precision alone.
    let graph = graph_of(&[&[2, 3, 6]], |b, x| {
        b.layer_norm_with("ln", x[0], LayerNorm::new(6).affine(false))
    });
    check(&graph, &[&[2, 3, 6]], Mode::Evaluation, DType::F32, 1e-5);
}

#[test]
fn elementwise_functions() {
    let functions = [
        Activation::Identity,
        Activation::Relu,
        Activation::Relu6,
        Activation::LeakyRelu { slope: 0.2 },
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Silu,
        Activation::HardSigmoid,
        Activation::HardSwish,
        Activation::Softplus,
        Activation::Elu { alpha: 0.7 },
    ];
    for function in functions {
        // Wide enough for every kink.
        let graph = graph_of(&[&[4, 50]], |b, x| {
            let wide = b.scale_shift("wide", x[0], 9.0, 0.5);
            b.activation("function", wide, function)
        });
        check(&graph, &[&[4, 50]], Mode::Evaluation, DType::F64, 1e-6);
    }
}

#[test]
fn pooling() {
    let pools = [
        Pool2d::new(2),
        Pool2d::new(3).stride(2).padding(1),
        Pool2d::new(3).stride(2).ceil(true),
        Pool2d::new(2).stride(2).ceil(true),
        Pool2d::new([3, 2]).stride([1, 3]).padding([1, 0]),
        Pool2d::new(3).stride(1).padding(1).count_include_pad(false),
        Pool2d::new(3)
            .stride(2)
            .padding(1)
            .ceil(true)
            .count_include_pad(false),
    ];
    for pool in pools {
        operator(&[&[2, 3, 8, 7]], |b, x| {
            b.max_pool2d("p", x[0], pool.clone())
        });
        operator(&[&[2, 3, 8, 7]], |b, x| {
            b.avg_pool2d("p", x[0], pool.clone())
        });
    }
    for pool in [
        Pool1d::new(2),
        Pool1d::new(3).stride(2).padding(1).ceil(true),
        Pool1d::new(3).stride(1).padding(1).count_include_pad(false),
    ] {
        operator(&[&[2, 3, 8]], |b, x| b.max_pool1d("p", x[0], pool.clone()));
        operator(&[&[2, 3, 8]], |b, x| b.avg_pool1d("p", x[0], pool.clone()));
    }
    let shapes: [&[usize]; 2] = [&[2, 3, 5, 4], &[2, 3, 7]];
    for shape in shapes {
        operator(&[shape], |b, x| b.global_avg_pool("p", x[0]));
        operator(&[shape], |b, x| b.global_max_pool("p", x[0]));
    }
}

#[test]
fn values_combined_and_rearranged() {
    let gate: [&[usize]; 2] = [&[2, 3, 4, 5], &[2, 3, 1, 1]];
    operator(&gate, |b, x| b.add("sum", x[0], x[1]));
    operator(&gate, |b, x| b.subtract("difference", x[0], x[1]));
    operator(&gate, |b, x| b.subtract("difference", x[1], x[0]));
    operator(&gate, |b, x| b.multiply("product", x[0], x[1]));
    operator(&[&[2, 3]], |b, x| b.multiply("square", x[0], x[0]));
    operator(&[&[2, 3, 4]], |b, x| {
        let position = b.parameter("position", &[3, 4]);
        let sum = b.add("sum", x[0], position);
        b.multiply("product", sum, position)
    });
    operator(&[&[2, 3, 4], &[2, 2, 4]], |b, x| {
        let joined = b.concatenate("joined", &[x[0], x[1], x[0]], 1);
        b.multiply("square", joined, joined)
    });
    operator(&[&[2, 5, 3]], |b, x| {
        let parts = b.split("parts", x[0], 1, [2, 1, 2]);
        b.multiply("ends", parts[0], parts[2])
    });
    operator(&[&[2, 6, 2, 2]], |b, x| {
        b.channel_shuffle("shuffle", x[0], 2)
    });
    operator(&[&[2, 6, 2, 2]], |b, x| b.reshape("r", x[0], &[3, 8]));
    operator(&[&[2, 6, 2, 2]], |b, x| b.flatten("flat", x[0]));
    operator(&[&[2, 6, 2, 3]], |b, x| {
        b.transpose("t", x[0], &[0, 3, 1, 2])
    });
    operator(&[&[2, 3]], |b, x| b.dropout("dropout", x[0], 0.5));
}

#[test]
fn dropout_has_the_same_mask_backwards() {
    let graph = graph_of(&[&[8, 40]], |b, x| b.dropout("dropout", x[0], 0.4));
    let network = network(&graph, Mode::Training, DType::F64);
    let (x, vector) = (
        random("a", &[8, 40], DType::F64),
        random("vector", &[8, 40], DType::F64),
    );
    let (trace, gradient) = network
        .input_gradient(&named(std::slice::from_ref(&x)), &Taps::none(), "a", |_| {
            Ok(vector.clone())
        })
        .unwrap();
    let kept = values(&gradient).iter().filter(|g| **g != 0.0).count();
    assert!((100..280).contains(&kept), "{kept} of 320");
    assert_close(
        &values(&times(&trace.output, &vector)),
        &values(&times(&gradient, &x)),
        1e-12,
        "dropout",
    );
}

/// The gradient of a table is that of its rows, added up over the places where each stands.
#[test]
fn gradients_of_embedded_tokens() {
    let mut b = Builder::new("text");
    let tokens = b.tokens(3);
    let rows = b.embedding("table", tokens, Embedding { tokens: 5, size: 2 });
    let y = b.activation("tanh", rows, Activation::Tanh);
    let network = network(&b.finish(y).unwrap(), Mode::Evaluation, DType::F32);
    let ids = [[0_i32, 4, 2], [3, 3, 1]];
    let tokens = Tensor::<2, Int>::from_ints(ids, &device());
    let inputs = Inputs::default().with("input", InputTensor::Tokens(tokens));
    let vector = random("vector", &[2, 3, 2], DType::F32);
    let (trace, gradient) = network
        .input_gradient(&inputs, &Taps::none(), "table", |_| Ok(vector.clone()))
        .unwrap();
    let backward = sum(times(&trace.output, &vector)).backward();
    let table = super::second::gradients(&network, &backward);
    let mut expected = vec![0.0; 10];
    for (place, pair) in values(&gradient).chunks(2).enumerate() {
        let row = ids[place / 3][place % 3] as usize;
        expected[2 * row] += pair[0];
        expected[2 * row + 1] += pair[1];
    }
    assert_close(&expected, &table["table.weight"], 1e-5, "table");
}

#[test]
fn networks_of_the_zoo() {
    for name in [
        "resnet-8",
        "wrn-16-1",
        "mobilenet-v2",
        "shufflenet-v2",
        "vgg-8",
        "mlp-20-13",
    ] {
        let mut graph = zoo::build(name, [3, 32, 32], 7).unwrap();
        graph.name = name.to_owned();
        let shape: [&[usize]; 1] = [&[2, 3, 32, 32]];
        check(&graph, &shape, Mode::Evaluation, DType::F32, 1e-4);
    }
}
