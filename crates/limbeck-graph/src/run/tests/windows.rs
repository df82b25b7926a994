//! Shapes and values of windows over random sizes: what is inferred is what is computed.

use proptest::prelude::*;

use super::reference::{self, Array};
use super::{LAYOUTS, compile, expect, graph_of, random, weight};
use crate::build::Builder;
use crate::ir::{Conv1d, Conv2d, ConvTranspose2d, Graph, Pool2d, Shape, ValueType};

/// The finished graph, or nothing if the window does not fit.
fn fitting(
    shape: &[usize],
    build: impl Fn(&mut Builder, crate::build::Value) -> crate::build::Value,
) -> Option<Graph> {
    let mut b = Builder::new("test");
    let x = b.input("a", ValueType::float(Shape::batched(&shape[1..])));
    let y = build(&mut b, x);
    b.finish(y).ok()
}

fn convolution() -> impl Strategy<Value = (Conv2d, [usize; 4])> {
    let axis = || {
        (
            1_usize..4,
            1_usize..4,
            (0_usize..3, 0_usize..3),
            1_usize..3,
            1_usize..9,
        )
    };
    (
        1_usize..3,
        1_usize..4,
        1_usize..4,
        1_usize..3,
        axis(),
        axis(),
        any::<bool>(),
    )
        .prop_map(
            |(batch, inputs, outputs, groups, vertical, horizontal, bias)| {
                let conv = Conv2d::new(
                    inputs * groups,
                    outputs * groups,
                    [vertical.0, horizontal.0],
                )
                .stride([vertical.1, horizontal.1])
                .padding_sides([vertical.2.into(), horizontal.2.into()])
                .dilation([vertical.3, horizontal.3])
                .groups(groups)
                .bias(bias);
                (conv, [batch, inputs * groups, vertical.4, horizontal.4])
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_of_any_size((conv, shape) in convolution()) {
        let x = random("x", &shape);
        match fitting(&shape, |b, x| b.conv2d("conv", x, conv.clone())) {
            Some(graph) => {
                let network = compile(&graph, LAYOUTS[0]);
                let bias = conv.bias.then(|| weight(&network, "conv.bias"));
                let expected = reference::conv2d(&x, &weight(&network, "conv.weight"), bias.as_ref(), &conv);
                expect(&graph, &[&x], &expected);
            }
            None => {
                let too_small = |axis: usize| {
                    let padded = shape[axis + 2] + conv.padding[axis].iter().sum::<usize>();
                    padded < conv.dilation[axis] * (conv.kernel[axis] - 1) + 1
                };
                prop_assert!(too_small(0) || too_small(1));
            }
        }
    }

    #[test]
    fn transposed_convolutions_of_any_size(
        (conv, shape) in convolution(),
        extra in (0_usize..2, 0_usize..2),
    ) {
        let up = ConvTranspose2d {
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: [conv.padding[0][0], conv.padding[1][0]],
            output_padding: [extra.0, extra.1],
            dilation: conv.dilation,
            groups: conv.groups,
            bias: conv.bias,
        };
        if let Some(graph) = fitting(&shape, |b, x| b.conv_transpose2d("up", x, up.clone())) {
            let x = random("x", &shape);
            let network = compile(&graph, LAYOUTS[0]);
            let bias = up.bias.then(|| weight(&network, "up.bias"));
            let expected = reference::conv_transpose2d(&x, &weight(&network, "up.weight"), bias.as_ref(), &up);
            expect(&graph, &[&x], &expected);
        }
    }

    #[test]
    fn pooling_of_any_size(
        kernel in (1_usize..4, 1_usize..4),
        stride in (1_usize..4, 1_usize..4),
        padding in (0_usize..2, 0_usize..2),
        size in (1_usize..9, 1_usize..9),
        flags in (any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        let (maximum, ceil, include) = flags;
        let pool = Pool2d::new([kernel.0, kernel.1])
            .stride([stride.0, stride.1])
            .padding([padding.0, padding.1])
            .ceil(ceil)
            .count_include_pad(include);
        let shape = [2, 3, size.0, size.1];
        let graph = fitting(&shape, |b, x| match maximum {
            true => b.max_pool2d("pool", x, pool.clone()),
            false => b.avg_pool2d("pool", x, pool.clone()),
        });
        if let Some(graph) = graph {
            let x = random("x", &shape);
            expect(&graph, &[&x], &reference::pool2d(&x, &pool, maximum));
        }
    }

    #[test]
    fn sequences_of_any_size(
        kernel in 1_usize..4,
        stride in 1_usize..4,
        padding in (0_usize..3, 0_usize..3),
        dilation in 1_usize..3,
        length in 1_usize..12,
    ) {
        let conv = Conv1d::new(2, 4, kernel).stride(stride).padding_sides(padding.into()).dilation(dilation).groups(2);
        let shape = [2, 2, length];
        if let Some(graph) = fitting(&shape, |b, x| b.conv1d("conv", x, conv.clone())) {
            let x = random("x", &shape);
            let network = compile(&graph, LAYOUTS[0]);
            let flat = Conv2d::new(2, 4, [1, kernel])
                .stride([1, stride])
                .padding_sides([[0, 0], padding.into()])
                .dilation([1, dilation])
                .groups(2);
            let w = weight(&network, "conv.weight").reshaped(&[4, 1, 1, kernel]);
            let bias = weight(&network, "conv.bias");
            let y: Array = reference::conv2d(&x.reshaped(&[2, 2, 1, length]), &w, Some(&bias), &flat);
            expect(&graph, &[&x], &y.reshaped(&[2, 4, y.shape[3]]));
        }
    }
}

#[test]
fn a_window_larger_than_the_image_is_an_error() {
    let mut b = Builder::new("test");
    let x = b.image([3, 4, 4]);
    let y = b.conv2d("conv", x, Conv2d::new(3, 4, 5));
    assert_eq!(
        b.finish(y).unwrap_err().to_string(),
        "node `conv` (conv2d): the window reaches over 5 places, but only 4 are there with padding"
    );
    let graph = graph_of(&[&[1, 3, 4, 4]], |b, x| {
        b.conv2d("conv", x[0], Conv2d::new(3, 4, 5).padding(1))
    });
    assert_eq!(
        graph.validate().unwrap().values["conv"].shape,
        Shape::batched(&[4, 2, 2])
    );
}
