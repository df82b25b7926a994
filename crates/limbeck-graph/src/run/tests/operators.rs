//! Each operator against its definition, in both layouts.

use burn::tensor::{Device, Int, Tensor};

use super::reference::{self, Array};
use super::{LAYOUTS, array, compile, expect, feature, graph_of, random, training, weight};
use crate::build::Builder;
use crate::ir::{
    Activation, BatchNorm, Conv1d, Conv2d, ConvTranspose2d, Embedding, LayerNorm, Linear, Op,
    Pool1d, Pool2d,
};
use crate::{InputTensor, Inputs, Network, Taps};

#[test]
fn convolution_by_hand() {
    let graph = graph_of(&[&[1, 1, 3, 3]], |b, x| {
        b.conv2d("conv", x[0], Conv2d::new(1, 1, 2))
    });
    let x = Array::new(&[1, 1, 3, 3], (1..=9).map(f64::from).collect());
    for layout in LAYOUTS {
        let mut weights = compile(&graph, layout).weights();
        weights.get_mut("conv.weight").unwrap().values = vec![1.0, 2.0, 3.0, 4.0];
        weights.get_mut("conv.bias").unwrap().values = vec![0.5];
        let network = compile(&graph, layout).load(&weights).unwrap();
        let inputs = Inputs::float(feature(&x, &Device::flex()));
        let trace = network.forward(&inputs, &Taps::none()).unwrap();
        // 1*1 + 2*2 + 4*3 + 5*4 + 0.5 and so on.
        assert_eq!(trace.output.to_vec().unwrap(), [37.5, 47.5, 67.5, 77.5]);
    }
}

#[test]
fn convolutions_of_every_kind() {
    let cases = [
        Conv2d::new(4, 6, 3).padding(1),
        Conv2d::new(4, 6, 3).padding(1).stride(2).bias(false),
        Conv2d::new(4, 6, 1),
        Conv2d::new(4, 6, 1).stride(2),
        Conv2d::new(4, 6, 3).padding(2).dilation(2),
        Conv2d::new(4, 6, [1, 3]).padding([0, 1]),
        Conv2d::new(4, 6, [3, 2])
            .padding_sides([[0, 2], [1, 0]])
            .stride([1, 2]),
        Conv2d::new(4, 6, 3).groups(2).padding(1),
        Conv2d::depthwise(4, 3).padding(1).stride(2),
        Conv2d::depthwise(4, 3).padding_sides([[1, 0], [0, 2]]),
    ];
    for conv in cases {
        let graph = graph_of(&[&[2, 4, 7, 6]], |b, x| {
            b.conv2d("conv", x[0], conv.clone())
        });
        let x = random("conv", &[2, 4, 7, 6]);
        let network = compile(&graph, LAYOUTS[0]);
        let bias = conv.bias.then(|| weight(&network, "conv.bias"));
        let expected =
            reference::conv2d(&x, &weight(&network, "conv.weight"), bias.as_ref(), &conv);
        expect(&graph, &[&x], &expected);
    }
}

#[test]
fn convolution_of_a_large_image_takes_the_route_by_places() {
    let conv = Conv2d::new(8, 3, 3).padding(1).dilation([1, 2]);
    let graph = graph_of(&[&[2, 8, 24, 24]], |b, x| {
        b.conv2d("conv", x[0], conv.clone())
    });
    let x = random("large", &[2, 8, 24, 24]);
    let network = compile(&graph, LAYOUTS[0]);
    let bias = weight(&network, "conv.bias");
    expect(
        &graph,
        &[&x],
        &reference::conv2d(&x, &weight(&network, "conv.weight"), Some(&bias), &conv),
    );
}

#[test]
fn convolutions_over_sequences() {
    let cases = [
        Conv1d::new(4, 6, 3).padding(1),
        Conv1d::new(4, 6, 3)
            .stride(2)
            .padding_sides([2, 0])
            .bias(false),
        Conv1d::new(4, 4, 2).dilation(3).groups(2),
    ];
    for conv in cases {
        let graph = graph_of(&[&[2, 4, 9]], |b, x| b.conv1d("conv", x[0], conv.clone()));
        let x = random("sequence", &[2, 4, 9]);
        let network = compile(&graph, LAYOUTS[0]);
        let bias = conv.bias.then(|| weight(&network, "conv.bias"));
        let flat = Conv2d::new(conv.in_channels, conv.out_channels, [1, conv.kernel])
            .stride([1, conv.stride])
            .dilation([1, conv.dilation])
            .padding_sides([[0, 0], conv.padding])
            .groups(conv.groups);
        let w = weight(&network, "conv.weight");
        let w = w.reshaped(&[w.shape[0], w.shape[1], 1, w.shape[2]]);
        let y = reference::conv2d(&x.reshaped(&[2, 4, 1, 9]), &w, bias.as_ref(), &flat);
        expect(&graph, &[&x], &y.reshaped(&[2, y.shape[1], y.shape[3]]));
    }
}

#[test]
fn transposed_convolutions() {
    let cases = [
        ConvTranspose2d::new(4, 6, 2).stride(2),
        ConvTranspose2d::new(4, 6, 3)
            .stride(2)
            .padding(1)
            .output_padding(1)
            .bias(false),
        ConvTranspose2d::new(4, 6, [3, 2])
            .groups(2)
            .dilation([2, 1]),
    ];
    for conv in cases {
        let graph = graph_of(&[&[2, 4, 3, 4]], |b, x| {
            b.conv_transpose2d("up", x[0], conv.clone())
        });
        let x = random("up", &[2, 4, 3, 4]);
        let network = compile(&graph, LAYOUTS[0]);
        let bias = conv.bias.then(|| weight(&network, "up.bias"));
        expect(
            &graph,
            &[&x],
            &reference::conv_transpose2d(&x, &weight(&network, "up.weight"), bias.as_ref(), &conv),
        );
    }
}

#[test]
fn pooling_windows() {
    let cases = [
        Pool2d::new(2),
        Pool2d::new(3).stride(2).padding(1),
        Pool2d::new(3).stride(2).padding(1).count_include_pad(false),
        Pool2d::new(2).stride(2).ceil(true).count_include_pad(false),
        Pool2d::new([3, 2])
            .stride([2, 1])
            .padding([1, 0])
            .ceil(true),
        Pool2d::new([1, 3]),
    ];
    let x = random("pool", &[2, 3, 6, 9]);
    for pool in cases {
        for maximum in [true, false] {
            let graph = graph_of(&[&[2, 3, 6, 9]], |b, x| match maximum {
                true => b.max_pool2d("pool", x[0], pool.clone()),
                false => b.avg_pool2d("pool", x[0], pool.clone()),
            });
            expect(&graph, &[&x], &reference::pool2d(&x, &pool, maximum));
        }
    }
    let x = random("pool of a sequence", &[2, 3, 7]);
    let pool = Pool1d::new(3).stride(2).padding(1).count_include_pad(false);
    let flat = Pool2d::new([1, 3])
        .stride([1, 2])
        .padding([0, 1])
        .count_include_pad(false);
    for maximum in [true, false] {
        let graph = graph_of(&[&[2, 3, 7]], |b, x| match maximum {
            true => b.max_pool1d("pool", x[0], pool.clone()),
            false => b.avg_pool1d("pool", x[0], pool.clone()),
        });
        let expected = reference::pool2d(&x.reshaped(&[2, 3, 1, 7]), &flat, maximum);
        expect(
            &graph,
            &[&x],
            &expected.reshaped(&[2, 3, expected.shape[3]]),
        );
    }
}

#[test]
fn global_pooling() {
    let x = random("global", &[2, 3, 4, 5]);
    let pixels = |index: &[usize]| {
        (0..20)
            .map(|i| x.at(&[index[0], index[1], i / 5, i % 5]))
            .collect::<Vec<_>>()
    };
    let mean = Array::from_fn(&[2, 3, 1, 1], |index| {
        pixels(index).iter().sum::<f64>() / 20.0
    });
    let most = Array::from_fn(&[2, 3, 1, 1], |index| {
        pixels(index).into_iter().fold(f64::MIN, f64::max)
    });
    expect(
        &graph_of(&[&[2, 3, 4, 5]], |b, x| b.global_avg_pool("pool", x[0])),
        &[&x],
        &mean,
    );
    expect(
        &graph_of(&[&[2, 3, 4, 5]], |b, x| b.global_max_pool("pool", x[0])),
        &[&x],
        &most,
    );
    let sequence = x.reshaped(&[2, 3, 20]);
    let graph = graph_of(&[&[2, 3, 20]], |b, x| b.global_max_pool("pool", x[0]));
    expect(&graph, &[&sequence], &most.reshaped(&[2, 3, 1]));
}

#[test]
fn activations_follow_their_formulas() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    type Formula = Box<dyn Fn(f64) -> f64>;
    let cases: Vec<(Activation, Formula)> = vec![
        (Activation::Identity, Box::new(|x| x)),
        (Activation::Relu, Box::new(|x| x.max(0.0))),
        (Activation::Relu6, Box::new(|x| x.clamp(0.0, 6.0))),
        (
            Activation::LeakyRelu { slope: 0.1 },
            Box::new(|x| if x > 0.0 { x } else { 0.1 * x }),
        ),
        (
            Activation::Gelu,
            Box::new(|x| x / 2.0 * (1.0 + reference::erf(x / 2.0_f64.sqrt()))),
        ),
        (
            Activation::GeluTanh,
            Box::new(|x| {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                x / 2.0 * (1.0 + inner.tanh())
            }),
        ),
        (Activation::Sigmoid, Box::new(sigmoid)),
        (Activation::Tanh, Box::new(f64::tanh)),
        (Activation::Silu, Box::new(move |x| x * sigmoid(x))),
        (
            Activation::HardSigmoid,
            Box::new(|x| (x + 3.0).clamp(0.0, 6.0) / 6.0),
        ),
        (
            Activation::HardSwish,
            Box::new(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        ),
        (
            Activation::Softplus,
            Box::new(|x| if x > 30.0 { x } else { x.exp().ln_1p() }),
        ),
        (
            Activation::Elu { alpha: 0.7 },
            Box::new(|x| if x > 0.0 { x } else { 0.7 * (x.exp() - 1.0) }),
        ),
    ];
    let x = random("activation", &[2, 3, 4, 4]).map(|x| 4.0 * x);
    let far = Array::new(&[1, 4], vec![-100.0, -4.5, 4.5, 100.0]);
    for (activation, formula) in cases {
        let graph = graph_of(&[&[2, 3, 4, 4]], |b, x| b.activation("f", x[0], activation));
        expect(&graph, &[&x], &x.map(&formula));
        let graph = graph_of(&[&[1, 4]], |b, x| b.activation("f", x[0], activation));
        if activation != Activation::Gelu {
            expect(&graph, &[&far], &far.map(&formula));
        }
        assert_gradient_is_finite_far_out(&graph, activation);
    }
}

fn assert_gradient_is_finite_far_out(graph: &crate::ir::Graph, activation: Activation) {
    let network = training(graph, LAYOUTS[0]);
    let x = Tensor::<2>::from_floats([[-100.0, -4.5, 4.5, 100.0]], &Device::flex().autodiff())
        .require_grad();
    let trace = network
        .forward(&Inputs::float(x.clone()), &Taps::none())
        .unwrap();
    let output: Tensor<2> = trace.output.try_into().unwrap();
    let gradients = output.sum().backward();
    let gradient = x
        .grad(&gradients)
        .unwrap()
        .into_data()
        .try_to_vec::<f32>()
        .unwrap();
    assert!(
        gradient.iter().all(|slope| slope.is_finite()),
        "{activation:?}: {gradient:?}"
    );
}

#[test]
fn elementwise_operators_repeat_axes_of_size_1() {
    let (x, y) = (random("x", &[2, 3, 4, 5]), random("y", &[2, 3, 1, 1]));
    let pair = |index: &[usize]| (x.at(index), y.at(&[index[0], index[1], 0, 0]));
    let shapes: [&[usize]; 2] = [&[2, 3, 4, 5], &[2, 3, 1, 1]];
    let expected = |f: fn(f64, f64) -> f64| {
        Array::from_fn(&x.shape, |index| {
            let (a, b) = pair(index);
            f(a, b)
        })
    };
    expect(
        &graph_of(&shapes, |b, v| b.add("f", v[0], v[1])),
        &[&x, &y],
        &expected(|a, b| a + b),
    );
    expect(
        &graph_of(&shapes, |b, v| b.subtract("f", v[0], v[1])),
        &[&x, &y],
        &expected(|a, b| a - b),
    );
    expect(
        &graph_of(&shapes, |b, v| b.multiply("f", v[0], v[1])),
        &[&x, &y],
        &expected(|a, b| a * b),
    );
    let three = graph_of(&shapes, |b, v| b.node("f", Op::Add, &[v[0], v[1], v[0]]));
    expect(&three, &[&x, &y], &expected(|a, b| a + b + a));
    let line = graph_of(&[&[2, 3, 4, 5]], |b, v| b.scale_shift("f", v[0], 2.0, -0.5));
    expect(&line, &[&x], &x.map(|x| 2.0 * x - 0.5));
}

#[test]
fn a_parameter_is_the_same_for_every_row() {
    let graph = graph_of(&[&[2, 3, 4]], |b, v| {
        let p = b.parameter("position", &[3, 4]);
        b.add("sum", v[0], p)
    });
    let x = random("p", &[2, 3, 4]);
    let p = weight(&compile(&graph, LAYOUTS[0]), "position.value");
    expect(
        &graph,
        &[&x],
        &Array::from_fn(&x.shape, |i| x.at(i) + p.at(&i[1..])),
    );
}

#[test]
fn values_are_joined_cut_and_dealt_out() {
    let (x, y) = (random("x", &[2, 4, 3, 3]), random("y", &[2, 2, 3, 3]));
    let joined = Array::from_fn(&[2, 6, 3, 3], |i| match i[1] {
        0..4 => x.at(i),
        c => y.at(&[i[0], c - 4, i[2], i[3]]),
    });
    let shapes: [&[usize]; 2] = [&[2, 4, 3, 3], &[2, 2, 3, 3]];
    let graph = graph_of(&shapes, |b, v| {
        let v = [b.batch_norm("image", v[0]), v[1]];
        b.concatenate("joined", &v, 1)
    });
    let scale = 1.0 / (1.0 + 1e-5_f64).sqrt();
    let normed = Array::from_fn(&joined.shape, |i| {
        joined.at(i) * if i[1] < 4 { scale } else { 1.0 }
    });
    expect(&graph, &[&x, &y], &normed);

    let wide = graph_of(&[&[2, 4, 3, 3], &[2, 4, 3, 3]], |b, v| {
        b.concatenate("joined", v, 3)
    });
    expect(
        &wide,
        &[&x, &x],
        &Array::from_fn(&[2, 4, 3, 6], |i| x.at(&[i[0], i[1], i[2], i[3] % 3])),
    );

    let second = graph_of(&[&[2, 4, 3, 3]], |b, v| b.split("cut", v[0], 1, [1, 3])[1]);
    expect(
        &second,
        &[&x],
        &Array::from_fn(&[2, 3, 3, 3], |i| x.at(&[i[0], i[1] + 1, i[2], i[3]])),
    );

    let shuffled = graph_of(&[&[2, 4, 3, 3]], |b, v| {
        b.channel_shuffle("shuffle", v[0], 2)
    });
    let from = [0, 2, 1, 3];
    expect(
        &shuffled,
        &[&x],
        &Array::from_fn(&x.shape, |i| x.at(&[i[0], from[i[1]], i[2], i[3]])),
    );
    let sequence = graph_of(&[&[2, 4, 9]], |b, v| b.channel_shuffle("shuffle", v[0], 2));
    let flat = x.reshaped(&[2, 4, 9]);
    expect(
        &sequence,
        &[&flat],
        &Array::from_fn(&flat.shape, |i| flat.at(&[i[0], from[i[1]], i[2]])),
    );
}

#[test]
fn axes_keep_the_order_of_channels_first() {
    let x = random("axes", &[2, 3, 2, 4]);
    // A batch norm first, so that the image lies channels last where that is the layout.
    let scale = 1.0 / (1.0 + 1e-5_f64).sqrt();
    let y = x.map(|x| x * scale);
    let graph = |f: fn(&mut Builder, crate::build::Value) -> crate::build::Value| {
        graph_of(&[&[2, 3, 2, 4]], move |b, v| {
            let image = b.batch_norm("image", v[0]);
            f(b, image)
        })
    };
    expect(
        &graph(|b, v| b.flatten("f", v)),
        &[&x],
        &y.reshaped(&[2, 24]),
    );
    expect(
        &graph(|b, v| b.reshape("r", v, &[6, 4])),
        &[&x],
        &y.reshaped(&[2, 6, 4]),
    );
    expect(
        &graph(|b, v| b.reshape("r", v, &[2, 3, 4])),
        &[&x],
        &y.reshaped(&[2, 2, 3, 4]),
    );
    let turned = Array::from_fn(&[2, 4, 3, 2], |i| y.at(&[i[0], i[2], i[3], i[1]]));
    expect(
        &graph(|b, v| b.transpose("t", v, &[0, 3, 1, 2])),
        &[&x],
        &turned,
    );
    let softmax = Array::from_fn(&y.shape, |i| {
        let sum: f64 = (0..3).map(|c| y.at(&[i[0], c, i[2], i[3]]).exp()).sum();
        y.at(i).exp() / sum
    });
    expect(&graph(|b, v| b.softmax("s", v, 1)), &[&x], &softmax);
    expect(
        &graph(|b, v| b.log_softmax("s", v, 1)),
        &[&x],
        &softmax.map(f64::ln),
    );
}

#[test]
fn matrix_products_and_linear_layers() {
    let (x, y) = (random("x", &[2, 3, 4, 5]), random("y", &[2, 1, 5, 2]));
    let graph = graph_of(&[&[2, 3, 4, 5], &[2, 1, 5, 2]], |b, v| {
        b.mat_mul("product", v[0], v[1])
    });
    let product = Array::from_fn(&[2, 3, 4, 2], |i| {
        (0..5)
            .map(|k| x.at(&[i[0], i[1], i[2], k]) * y.at(&[i[0], 0, k, i[3]]))
            .sum()
    });
    expect(&graph, &[&x, &y], &product);

    for bias in [true, false] {
        let graph = graph_of(&[&[2, 3, 5]], |b, v| {
            b.linear("fc", v[0], Linear::new(5, 4).bias(bias))
        });
        let x = random("rows", &[2, 3, 5]);
        let network = compile(&graph, LAYOUTS[0]);
        let w = weight(&network, "fc.weight");
        let expected = Array::from_fn(&[2, 3, 4], |i| {
            let sum: f64 = (0..5)
                .map(|k| x.at(&[i[0], i[1], k]) * w.at(&[i[2], k]))
                .sum();
            sum + if bias {
                weight(&network, "fc.bias").at(&[i[2]])
            } else {
                0.0
            }
        });
        expect(&graph, &[&x], &expected);
    }
}

#[test]
fn layer_norm_uses_the_last_axis() {
    let x = random("layer norm", &[2, 3, 6]);
    for affine in [true, false] {
        let norm = LayerNorm::new(6).epsilon(1e-3).affine(affine);
        let graph = graph_of(&[&[2, 3, 6]], |b, v| {
            b.layer_norm_with("norm", v[0], norm.clone())
        });
        let expected = Array::from_fn(&x.shape, |i| {
            let row: Vec<f64> = (0..6).map(|k| x.at(&[i[0], i[1], k])).collect();
            let mean = row.iter().sum::<f64>() / 6.0;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 6.0;
            (x.at(i) - mean) / (variance + 1e-3).sqrt()
        });
        expect(&graph, &[&x], &expected);
    }
}

#[test]
fn embeddings_look_up_rows_and_check_ids() {
    let mut b = Builder::new("text");
    let tokens = b.tokens(3);
    let rows = b.embedding("table", tokens, Embedding { tokens: 5, size: 2 });
    let graph = b.finish(rows).unwrap();
    let network = compile(&graph, LAYOUTS[0]);
    let table = weight(&network, "table.weight");
    let run = |ids: [[i32; 3]; 2]| {
        let tokens = Tensor::<2, Int>::from_ints(ids, &Device::flex());
        network.forward(
            &Inputs::default().with("input", InputTensor::Tokens(tokens)),
            &Taps::none(),
        )
    };
    let ids = [[0, 4, 2], [3, 3, 1]];
    let expected = Array::from_fn(&[2, 3, 2], |i| table.at(&[ids[i[0]][i[1]] as usize, i[2]]));
    expected.assert_close(&array(&run(ids).unwrap().output), 0.0, "embedding");
    let message = run([[0, 5, 2], [3, -1, 1]]).unwrap_err().to_string();
    assert_eq!(
        message,
        "node `table` (embedding): expected token ids from 0 to 4, got -1 to 5"
    );
}

#[test]
fn batch_norm_evaluates_with_its_running_statistics() {
    let graph = graph_of(&[&[2, 2, 2, 1]], |b, v| {
        b.batch_norm_with("bn", v[0], BatchNorm::new(2).epsilon(0.5))
    });
    let mut weights = compile(&graph, LAYOUTS[0]).weights();
    weights.get_mut("bn.weight").unwrap().values = vec![2.0, -1.0];
    weights.get_mut("bn.bias").unwrap().values = vec![0.25, 1.0];
    weights.get_mut("bn.running_mean").unwrap().values = vec![1.0, -2.0];
    weights.get_mut("bn.running_var").unwrap().values = vec![3.5, 0.5];
    let x = Array::new(
        &[2, 2, 2, 1],
        vec![1.0, 3.0, -2.0, 0.0, 5.0, 1.0, 4.0, -3.0],
    );
    for layout in LAYOUTS {
        let network = compile(&graph, layout).load(&weights).unwrap();
        let trace = network
            .forward(&Inputs::float(feature(&x, &Device::flex())), &Taps::none())
            .unwrap();
        // (x - 1) / 2 * 2 + 0.25 for the first channel, 1 - (x + 2) / 1 for the second.
        let expected = Array::new(
            &[2, 2, 2, 1],
            vec![0.25, 2.25, 1.0, -1.0, 4.25, 0.25, -5.0, 2.0],
        );
        expected.assert_close(&array(&trace.output), 1e-6, "batch norm");
    }
}
