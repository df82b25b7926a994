//! Each operator here and elsewhere.

use super::*;
use crate::ir::{
    Activation, BatchNorm, Conv1d, Conv2d, ConvTranspose2d, Embedding, LayerNorm, Linear, Pool1d,
    Pool2d,
};

fn check(what: &str, sizes: &[&[usize]], build: impl Fn(&mut Builder, &[Value]) -> Value) {
    let graph = graph_of(sizes, build);
    same(&graph, &weights(&graph), what);
}

#[test]
fn convolutions() {
    let cases = [
        Conv2d::new(4, 6, 3).padding(1).stride(2).bias(false),
        Conv2d::new(4, 6, [3, 2])
            .padding_sides([[0, 2], [1, 0]])
            .stride([1, 2]),
        Conv2d::new(4, 6, 3).groups(2).padding(2).dilation(2),
        Conv2d::depthwise(4, 3).padding(1),
    ];
    for conv in cases {
        check("conv2d", &[&[4, 7, 6]], |b, x| {
            b.conv2d("c", x[0], conv.clone())
        });
    }
    let conv = Conv1d::new(4, 6, 3)
        .stride(2)
        .padding_sides([2, 0])
        .dilation(2)
        .groups(2);
    check("conv1d", &[&[4, 9]], |b, x| {
        b.conv1d("c", x[0], conv.clone())
    });
    let cases = [
        ConvTranspose2d::new(4, 6, 3)
            .stride(2)
            .padding(1)
            .output_padding(1),
        ConvTranspose2d::new(4, 6, [3, 2])
            .groups(2)
            .dilation([2, 1])
            .bias(false),
        ConvTranspose2d::new(4, 6, 2).stride([2, 3]).padding([1, 0]),
    ];
    for conv in cases {
        check("conv_transpose2d", &[&[4, 3, 4]], |b, x| {
            b.conv_transpose2d("c", x[0], conv.clone())
        });
    }
}

#[test]
fn pooling_windows() {
    for ceil in [false, true] {
        for include in [false, true] {
            for padding in [0, 1] {
                let what = format!("ceil {ceil} include {include} padding {padding}");
                let pool = Pool2d::new(3)
                    .stride([2, 3])
                    .padding(padding)
                    .ceil(ceil)
                    .count_include_pad(include);
                let image: &[usize] = &[2, 8, 9];
                check(&what, &[image], |b, x| {
                    b.avg_pool2d("p", x[0], pool.clone())
                });
                check(&what, &[image], |b, x| {
                    b.max_pool2d("p", x[0], pool.clone())
                });
                let pool = Pool1d::new(2)
                    .stride(3)
                    .padding(padding)
                    .ceil(ceil)
                    .count_include_pad(include);
                check(&what, &[&[2, 9]], |b, x| {
                    b.avg_pool1d("p", x[0], pool.clone())
                });
                check(&what, &[&[2, 9]], |b, x| {
                    b.max_pool1d("p", x[0], pool.clone())
                });
            }
        }
    }
    check("mean", &[&[3, 4, 5]], |b, x| b.global_avg_pool("p", x[0]));
    check("maximum", &[&[3, 4, 5]], |b, x| {
        b.global_max_pool("p", x[0])
    });
    check("mean", &[&[3, 4]], |b, x| b.global_avg_pool("p", x[0]));
}

#[test]
fn linear_layers_of_any_rank() {
    let layers = [Linear::new(4, 3), Linear::new(4, 3).bias(false)];
    for layer in layers {
        for sizes in [&[4][..], &[5, 4], &[2, 5, 4]] {
            check("linear", &[sizes], |b, x| {
                b.linear("l", x[0], layer.clone())
            });
        }
    }
    check("mat_mul", &[&[2, 3, 4], &[2, 4, 5]], |b, x| {
        b.mat_mul("m", x[0], x[1])
    });
}

#[test]
fn normalisations() {
    for affine in [true, false] {
        for sizes in [&[4][..], &[4, 5], &[4, 3, 2]] {
            let norm = BatchNorm::new(4).affine(affine).epsilon(1e-3);
            check("batch_norm", &[sizes], |b, x| {
                b.batch_norm_with("n", x[0], norm.clone())
            });
        }
        let norm = LayerNorm::new(6).affine(affine).epsilon(1e-3);
        check("layer_norm", &[&[4, 6]], |b, x| {
            b.layer_norm_with("n", x[0], norm.clone())
        });
    }
    check("dropout", &[&[4]], |b, x| b.dropout("d", x[0], 0.5));
    check("softmax", &[&[4, 3]], |b, x| b.softmax("s", x[0], 1));
    check("log_softmax", &[&[4, 3]], |b, x| {
        b.log_softmax("s", x[0], 2)
    });
}

#[test]
fn activations() {
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
        check(function.name(), &[&[40]], |b, x| {
            let x = b.scale_shift("wide", x[0], 8.0, 0.5);
            b.activation("f", x, function)
        });
    }
    check("scale", &[&[4]], |b, x| b.scale_shift("s", x[0], -3.0, 0.0));
}

#[test]
fn several_values() {
    let sizes: [&[usize]; 3] = [&[2, 3], &[1, 3], &[2, 1]];
    check("add", &sizes, |b, x| b.node("n", Op::Add, x));
    check("multiply", &sizes, |b, x| b.node("n", Op::Multiply, x));
    check("subtract", &sizes, |b, x| b.subtract("n", x[0], x[2]));
    check("concatenate", &[&[2, 3], &[2, 1]], |b, x| {
        b.concatenate("n", x, 2)
    });
}

#[test]
fn moved_values() {
    check("reshape", &[&[4, 6]], |b, x| {
        b.reshape("r", x[0], &[2, 3, 4])
    });
    check("transpose", &[&[4, 3, 2]], |b, x| {
        b.transpose("t", x[0], &[0, 3, 1, 2])
    });
    check("flatten", &[&[4, 3, 2]], |b, x| b.flatten("f", x[0]));
    check("shuffle", &[&[6, 3, 2]], |b, x| {
        b.channel_shuffle("s", x[0], 3)
    });
    check("shuffle", &[&[6, 3]], |b, x| {
        b.channel_shuffle("s", x[0], 2)
    });
    let mut b = Builder::new("split");
    let x = b.input("x", ValueType::float(Shape::batched(&[7, 2])));
    let [first, second] = b.split("s", x, 1, [3, 4]);
    let graph = b.finish_with(&[second, first]).unwrap();
    same(&graph, &weights(&graph), "split");
}

#[test]
fn tokens_and_parameters() {
    let mut b = Builder::new("text");
    let tokens = b.tokens(5);
    let x = b.embedding("table", tokens, Embedding { tokens: 4, size: 3 });
    let place = b.parameter("place", &[5, 3]);
    let x = b.add("sum", x, place);
    let graph = b.finish(x).unwrap();
    same(&graph, &weights(&graph), "text");
}
