//! Operators on values of any kind: first derivatives against Burn's, second ones against differences.

use super::first::operator;
use super::{Mode, device, graph_of, named, network, random, second, values};
use crate::ir::{Activation, Dim, Fill, Linear, Reduction, Relation, Shape, Slice};
use crate::{Taps, each_rank};
use burn::tensor::DType;

fn shape(dims: &[Dim]) -> Shape {
    Shape(dims.to_vec())
}

const fn fixed(size: usize) -> Dim {
    Dim::Fixed(size)
}

#[test]
fn views_expansions_slices_and_listed_places() {
    operator(&[&[3, 4, 6]], |b, x| {
        let h = b.view("heads", x[0], shape(&[Dim::Batches(2), fixed(2), fixed(6)]));
        let h = b.transpose("turned", h, &[1, 0, 2]);
        b.multiply("square", h, h)
    });
    operator(&[&[3, 1, 2]], |b, x| {
        let to = shape(&[fixed(2), Dim::Batch, fixed(4), fixed(2)]);
        let h = b.expand("wide", x[0], to);
        b.multiply("square", h, h)
    });
    for (start, count, step) in [(1, 3, 1), (0, 6, 1), (1, 2, 3), (0, 3, 2)] {
        operator(&[&[2, 3, 6]], |b, x| {
            let slice = Slice {
                axis: 2,
                start,
                count,
                step,
            };
            let h = b.slice("slice", x[0], slice);
            b.multiply("square", h, h)
        });
    }
    for indices in [&[2, 0, 2][..], &[1]] {
        operator(&[&[2, 3, 4]], |b, x| {
            let h = b.take("take", x[0], 1, indices);
            b.multiply("square", h, h)
        });
    }
}

#[test]
fn padding_of_every_kind() {
    for fill in [Fill::Constant { value: 2.0 }, Fill::Reflect, Fill::Edge] {
        operator(&[&[2, 4, 5]], |b, x| {
            let h = b.pad("pad", x[0], &[[0, 0], [3, 1], [0, 4]], fill);
            b.multiply("square", h, h)
        });
    }
}

#[test]
fn summaries_of_every_kind() {
    for reduction in [
        Reduction::Sum,
        Reduction::Mean,
        Reduction::Max,
        Reduction::Min,
        Reduction::Product,
    ] {
        for axes in [&[1][..], &[1, 3], &[2, 3]] {
            operator(&[&[2, 3, 4, 2]], |b, x| {
                b.reduce("summary", x[0], reduction, axes)
            });
        }
    }
}

#[test]
fn a_product_with_zeros_has_the_product_of_the_others() {
    let graph = graph_of(&[&[3, 3]], |b, x| {
        b.reduce("product", x[0], Reduction::Product, &[1])
    });
    let network = network(&graph, Mode::Evaluation, DType::F64);
    let rows = [[2.0, 0.0, 5.0], [0.0, 0.0, 3.0], [2.0, 3.0, 4.0]];
    let rows = burn::tensor::Tensor::<2>::from_data(
        burn::tensor::TensorData::from(rows),
        (&device(), DType::F64),
    );
    let (_, gradient) = network
        .input_gradient(&named(&[rows.into()]), &Taps::none(), "a", |trace| {
            Ok(each_rank!(&trace.output, t => t.ones_like().into()))
        })
        .unwrap();
    assert_eq!(
        values(&gradient),
        [0.0, 10.0, 0.0, 0.0, 0.0, 0.0, 12.0, 8.0, 6.0]
    );
}

#[test]
fn quotients_extremes_and_choices() {
    let shapes: [&[usize]; 2] = [&[2, 3, 4], &[2, 1, 4]];
    operator(&shapes, |b, x| {
        let above = b.scale_shift("above", x[1], 1.0, 2.0);
        b.divide("quotient", x[0], above)
    });
    operator(&shapes, |b, x| b.maximum("most", x[0], x[1]));
    operator(&shapes, |b, x| b.minimum("least", x[1], x[0]));
    operator(&shapes, |b, x| {
        let yes = b.compare("yes", Relation::Greater, x[0], x[1]);
        b.choose("chosen", yes, x[1], x[0])
    });
}

#[test]
fn equal_values_give_the_gradient_to_the_first() {
    let graph = graph_of(&[&[1, 2], &[1, 2]], |b, x| b.maximum("most", x[0], x[1]));
    let network = network(&graph, Mode::Evaluation, DType::F32);
    let same = random("same", &[1, 2], DType::F32);
    let of = |name: &str| {
        let inputs = named(&[same.clone(), same.clone()]);
        let (_, gradient) = network
            .input_gradient(&inputs, &Taps::none(), name, |trace| {
                Ok(each_rank!(&trace.output, t => t.ones_like().into()))
            })
            .unwrap();
        values(&gradient)
    };
    assert_eq!(of("a"), [1.0, 1.0]);
    assert_eq!(of("b"), [0.0, 0.0]);
}

#[test]
fn relations_and_conditions_have_none() {
    let graph = graph_of(&[&[2, 3], &[2, 3]], |b, x| {
        let yes = b.compare("yes", Relation::Less, x[0], x[1]);
        let one = b.constant("one", &[1]);
        b.choose("chosen", yes, one, yes)
    });
    let network = network(&graph, Mode::Evaluation, DType::F64);
    let inputs = [
        random("a", &[2, 3], DType::F64),
        random("b", &[2, 3], DType::F64),
    ];
    for name in ["a", "b"] {
        let (_, gradient) = network
            .input_gradient(&named(&inputs), &Taps::none(), name, |trace| {
                Ok(random("vector", &trace.output.shape(), DType::F64))
            })
            .unwrap();
        assert_eq!(values(&gradient), [0.0; 6]);
    }
}

#[test]
fn second_derivatives_of_moves_and_summaries() {
    let shapes: [&[usize]; 2] = [&[2, 4, 6], &[2, 1, 3]];
    let graph = graph_of(&shapes, |b, x| {
        let h = b.linear("in", x[0], Linear::new(6, 6));
        let heads = shape(&[Dim::Batch, fixed(4), fixed(2), fixed(3)]);
        let h = b.view("heads", h, heads);
        let h = b.transpose("turned", h, &[0, 2, 1, 3]);
        let h = b.view("merged", h, shape(&[Dim::Batches(2), fixed(4), fixed(3)]));
        let h = b.activation("tanh", h, Activation::Tanh);
        let wide = b.pad("pad", h, &[[0, 0], [2, 1], [0, 0]], Fill::Reflect);
        let odd = Slice {
            axis: 1,
            start: 1,
            count: 3,
            step: 2,
        };
        let odd = b.slice("odd", wide, odd);
        let some = b.take("some", h, 1, &[3, 0, 3]);
        let h = b.multiply("together", odd, some);
        let scale = b.reduce("scale", h, Reduction::Mean, &[1, 2]);
        let scale = b.activation("exp", scale, Activation::Exponential);
        let h = b.divide("scaled", h, scale);
        let h = b.view(
            "apart",
            h,
            shape(&[Dim::Batch, fixed(2), fixed(3), fixed(3)]),
        );
        let other = b.view(
            "other",
            x[1],
            shape(&[Dim::Batch, fixed(1), fixed(1), fixed(3)]),
        );
        let wide = b.expand(
            "wide",
            other,
            shape(&[Dim::Batch, fixed(2), fixed(3), fixed(3)]),
        );
        let h = b.subtract("difference", h, wide);
        let product = b.reduce("product", h, Reduction::Product, &[1, 3]);
        let most = b.reduce("most", h, Reduction::Max, &[1]);
        let least = b.reduce("least", h, Reduction::Min, &[1]);
        let larger = b.compare("larger", Relation::Greater, most, wide);
        let h = b.choose("chosen", larger, most, least);
        let h = b.multiply("weighed", h, h);
        let h = b.maximum("above", h, product);
        let y = b.reduce("sum", h, Reduction::Sum, &[1, 2]);
        b.flatten("flat", y)
    });
    second::check(&graph, &shapes, Mode::Evaluation);
}

#[test]
fn second_derivatives_of_the_plain_functions() {
    for function in [
        Activation::Clip {
            least: 0.3,
            most: 2.0,
        },
        Activation::Power { exponent: 3.0 },
        Activation::Power { exponent: 0.7 },
        Activation::SquareRoot,
        Activation::Reciprocal,
        Activation::Exponential,
        Activation::Logarithm,
        Activation::Absolute,
        Activation::Erf,
        Activation::Sine,
        Activation::Cosine,
    ] {
        let graph = graph_of(&[&[2, 4]], |b, x| {
            let h = b.linear("in", x[0], Linear::new(4, 6));
            let h = b.activation("positive", h, Activation::Exponential);
            let h = b.activation(function.name(), h, function);
            b.linear("out", h, Linear::new(6, 3))
        });
        second::check(&graph, &[&[2, 4]], Mode::Evaluation);
    }
}
