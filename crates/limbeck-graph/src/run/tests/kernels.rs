//! Operators on values through the CPU kernels against Burn's own operations, gradients included.

use burn::tensor::{Device, Tensor};

use super::reference::Array;
use super::{LAYOUTS, array, compile, feature, graph_of, named, random, training};
use crate::ir::{Activation, Graph, Pool2d, Reduction};
use crate::{Feature, InputTensor, Inputs, Network, Taps, each_rank};

/// The output and the gradients of the inputs, weighed by noise, in both layouts: through Burn's operations and through the
/// kernels.
fn expect_kernels_to_agree(shapes: &[&[usize]], what: &str, graph: &Graph) {
    let device = Device::flex().autodiff();
    let outcomes = LAYOUTS.map(|layout| {
        let network = training(graph, layout);
        let mut inputs = Inputs::default();
        let mut tracked = Vec::new();
        for (name, shape) in ["a", "b"].into_iter().zip(shapes) {
            let input = feature(&random(name, shape), &device);
            let input: Feature = each_rank!(input, t => t.require_grad().into());
            tracked.push(input.clone());
            inputs = inputs.with(name, InputTensor::Float(input));
        }
        let output = network.forward(&inputs, &Taps::none()).unwrap().output;
        let noise = feature(&random("noise", &output.shape()), &device);
        let weighed: Tensor<1> = each_rank!(output.clone(), t => {
            t.mul(noise.try_into().unwrap()).sum()
        });
        let gradients = weighed.backward();
        let mut arrays = vec![array(&output)];
        for input in tracked {
            let gradient: Feature = each_rank!(&input, t => t.grad(&gradients).unwrap().into());
            arrays.push(array(&gradient));
        }
        arrays
    });
    let [slow, fast] = outcomes;
    for (slow, fast) in slow.iter().zip(&fast) {
        slow.assert_close(fast, 2e-5, what);
    }
}

#[test]
fn every_function() {
    for function in [
        Activation::Relu,
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
        Activation::Clip {
            least: -0.5,
            most: f64::INFINITY,
        },
        Activation::Power { exponent: 2.0 },
        Activation::Power { exponent: 3.0 },
        Activation::Power { exponent: -1.5 },
        Activation::SquareRoot,
        Activation::Reciprocal,
        Activation::Exponential,
        Activation::Logarithm,
        Activation::Absolute,
        Activation::Erf,
        Activation::Sine,
        Activation::Cosine,
    ] {
        let roots = matches!(
            function,
            Activation::SquareRoot
                | Activation::Logarithm
                | Activation::Reciprocal
                | Activation::Power { exponent: -1.5 }
        );
        // Some functions are there for positive numbers only.
        let (scale, shift) = if roots { (1.0, 1.5) } else { (4.0, 0.1) };
        for shape in [&[2, 3, 5][..], &[2, 3, 4, 5]] {
            let graph = graph_of(&[shape], |b, x| {
                let x = match shape.len() {
                    4 => b.max_pool2d("pool", x[0], Pool2d::new(1)),
                    _ => x[0],
                };
                let x = b.scale_shift("line", x, scale, shift);
                b.activation("function", x, function)
            });
            expect_kernels_to_agree(&[shape], function.name(), &graph);
        }
    }
}

#[test]
fn products_and_turns() {
    let pairs: [[&[usize]; 2]; 5] = [
        [&[2, 3, 4], &[2, 4, 5]],
        [&[2, 6, 3, 4], &[2, 6, 4, 5]],
        // One side is repeated.
        [&[2, 6, 3, 4], &[2, 1, 4, 5]],
        [&[2, 1, 3, 4], &[2, 6, 4, 5]],
        [&[1, 2, 3, 4], &[1, 1, 4, 5]],
    ];
    for shapes in pairs {
        let graph = graph_of(&shapes, |b, x| b.mat_mul("product", x[0], x[1]));
        expect_kernels_to_agree(&shapes, &format!("{shapes:?}"), &graph);
    }
    let graph = graph_of(&[&[2, 3, 4]], |b, x| {
        let matrix = b.parameter("matrix", &[4, 5]);
        let left = b.parameter("left", &[6, 3]);
        let h = b.mat_mul("right", x[0], matrix);
        b.mat_mul("both", left, h)
    });
    expect_kernels_to_agree(&[&[2, 3, 4]], "parameters", &graph);
    let axes: [&[usize]; 4] = [
        &[0, 2, 1, 3, 4],
        &[2, 0, 3, 1, 4],
        &[0, 1, 2, 4, 3],
        &[4, 1, 0, 3, 2],
    ];
    for axes in axes {
        let shape: &[usize] = &[2, 3, 4, 1, 5];
        let graph = graph_of(&[shape], |b, x| b.transpose("turned", x[0], axes));
        expect_kernels_to_agree(&[shape], &format!("{axes:?}"), &graph);
        let x = random("a", shape);
        let to: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
        let expected = Array::from_fn(&to, |at| {
            let mut from = [0; 5];
            for (place, &axis) in axes.iter().enumerate() {
                from[axis] = at[place];
            }
            x.at(&from)
        });
        for layout in LAYOUTS {
            let network = compile(&graph, layout);
            let inputs = named(&[("a", &x)], &Device::flex());
            let trace = network.forward(&inputs, &Taps::none()).unwrap();
            expected.assert_close(&array(&trace.output), 1e-7, &format!("{axes:?}"));
        }
    }
}

#[test]
fn summaries_of_pixels() {
    let shape: &[usize] = &[2, 3, 4, 5];
    for reduction in [Reduction::Mean, Reduction::Max, Reduction::Sum] {
        let graph = graph_of(&[shape], |b, x| {
            let x = b.max_pool2d("pool", x[0], Pool2d::new(1));
            b.reduce("summary", x, reduction, &[2, 3])
        });
        expect_kernels_to_agree(&[shape], &format!("{reduction:?}"), &graph);
    }
}
