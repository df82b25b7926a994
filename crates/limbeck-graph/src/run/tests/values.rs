//! Operators on values of any kind against their definitions, for one row and for several.

use burn::tensor::{Device, Int, Tensor};

use super::reference::Array;
use super::{LAYOUTS, array, compile, expect, graph_of, named, random, weight};
use crate::build::Builder;
use crate::ir::{
    Activation, Conv2d, Dim, Fill, Linear, Pool2d, Reduction, Relation, Shape, Slice, ValueType,
};
use crate::{InputTensor, Inputs, Network, Taps};

const BATCHES: [usize; 2] = [1, 3];

/// An image network in front, so that values lie channels last where the layout says so.
fn image(
    batch: usize,
    build: impl Fn(&mut Builder, crate::build::Value) -> crate::build::Value,
    expected: impl Fn(&Array) -> Array,
) {
    let x = random("image", &[batch, 3, 4, 5]);
    let plain = graph_of(&[&[batch, 3, 4, 5]], |b, x| build(b, x[0]));
    expect(&plain, &[&x], &expected(&x));
    let pooled = graph_of(&[&[batch, 3, 4, 5]], |b, x| {
        let x = b.max_pool2d("pool", x[0], Pool2d::new(1));
        build(b, x)
    });
    expect(&pooled, &[&x], &expected(&x));
}

#[test]
fn slices_takes_and_padding_of_images() {
    for batch in BATCHES {
        let slice = Slice {
            axis: 3,
            start: 1,
            count: 2,
            step: 3,
        };
        image(
            batch,
            |b, x| b.slice("slice", x, slice.clone()),
            |x| {
                Array::from_fn(&[batch, 3, 4, 2], |at| {
                    x.at(&[at[0], at[1], at[2], 1 + 3 * at[3]])
                })
            },
        );
        for indices in [&[2, 0, 2][..], &[1]] {
            image(
                batch,
                |b, x| b.take("take", x, 1, indices),
                |x| {
                    Array::from_fn(&[batch, indices.len(), 4, 5], |at| {
                        x.at(&[at[0], indices[at[1]], at[2], at[3]])
                    })
                },
            );
        }
        // Where a padded place comes from; `None` for the constant.
        let place = |at: usize, before: usize, size: usize, fill: Fill| {
            let at = at as isize - before as isize;
            let last = size as isize - 1;
            let inside = (0..=last).contains(&at);
            match fill {
                Fill::Constant { .. } => inside.then_some(at as usize),
                Fill::Edge => Some(at.clamp(0, last) as usize),
                Fill::Reflect => Some((last - (last - at.abs()).abs()).unsigned_abs()),
            }
        };
        for fill in [
            Fill::Constant { value: 0.25 },
            Fill::Constant {
                value: f64::NEG_INFINITY,
            },
            Fill::Edge,
            Fill::Reflect,
        ] {
            image(
                batch,
                |b, x| {
                    let x = b.pad("pad", x, &[[0, 0], [1, 0], [2, 0], [1, 3]], fill);
                    b.activation(
                        "clip",
                        x,
                        Activation::Clip {
                            least: -9.0,
                            most: f64::INFINITY,
                        },
                    )
                },
                |x| {
                    Array::from_fn(&[batch, 4, 6, 9], |at| {
                        let from = (
                            place(at[1], 1, 3, fill),
                            place(at[2], 2, 4, fill),
                            place(at[3], 1, 5, fill),
                        );
                        match (from, fill) {
                            ((Some(c), Some(h), Some(w)), _) => x.at(&[at[0], c, h, w]),
                            (_, Fill::Constant { value }) => value.max(-9.0),
                            _ => f64::NAN,
                        }
                    })
                },
            );
        }
    }
}

#[test]
fn summaries_of_any_axes() {
    let combine = |reduction: Reduction, values: &[f64]| match reduction {
        Reduction::Sum => values.iter().sum(),
        Reduction::Mean => values.iter().sum::<f64>() / values.len() as f64,
        Reduction::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Reduction::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        Reduction::Product => values.iter().product(),
    };
    for batch in BATCHES {
        for reduction in [
            Reduction::Sum,
            Reduction::Mean,
            Reduction::Max,
            Reduction::Min,
            Reduction::Product,
        ] {
            for axes in [&[2, 3][..], &[1], &[1, 3], &[1, 2, 3], &[3]] {
                image(
                    batch,
                    |b, x| b.reduce("summary", x, reduction, axes),
                    |x| {
                        let shape: Vec<usize> = (0..4)
                            .map(|axis| match axes.contains(&axis) {
                                true => 1,
                                false => x.shape[axis],
                            })
                            .collect();
                        Array::from_fn(&shape, |at| {
                            let mut values = Vec::new();
                            Array::from_fn(&x.shape, |from| {
                                let same = (0..4)
                                    .all(|axis| axes.contains(&axis) || from[axis] == at[axis]);
                                f64::from(u8::from(same))
                            })
                            .values
                            .iter()
                            .zip(&x.values)
                            .for_each(|(same, value)| {
                                if *same == 1.0 {
                                    values.push(*value);
                                }
                            });
                            combine(reduction, &values)
                        })
                    },
                );
            }
        }
    }
}

#[test]
fn quotients_extremes_relations_and_choices() {
    type Pair = fn(f64, f64) -> f64;
    for batch in BATCHES {
        let x = random("x", &[batch, 3, 4]).map(|x| (x * 3.0).round() / 2.0);
        let y = random("y", &[batch, 1, 4]).map(|y| (y * 3.0).round() / 2.0 + 0.25);
        let y = Array::from_fn(&y.shape, |at| match at[2] {
            // Equal values occur too.
            0 => {
                x.at(&[at[0], 0, 0])
                    + if x.at(&[at[0], 0, 0]) == 0.0 {
                        0.5
                    } else {
                        0.0
                    }
            }
            _ => y.at(at),
        });
        let cases: [(&str, Pair); 8] = [
            ("divide", |a, b| a / b),
            ("maximum", f64::max),
            ("minimum", f64::min),
            ("equal", |a, b| f64::from(u8::from(a == b))),
            ("less", |a, b| f64::from(u8::from(a < b))),
            ("less or equal", |a, b| f64::from(u8::from(a <= b))),
            ("greater", |a, b| f64::from(u8::from(a > b))),
            ("greater or equal", |a, b| f64::from(u8::from(a >= b))),
        ];
        for (name, function) in cases {
            let graph = graph_of(&[&[batch, 3, 4], &[batch, 1, 4]], |b, v| match name {
                "divide" => b.divide("pair", v[0], v[1]),
                "maximum" => b.maximum("pair", v[0], v[1]),
                "minimum" => b.minimum("pair", v[0], v[1]),
                "equal" => b.compare("pair", Relation::Equal, v[0], v[1]),
                "less" => b.compare("pair", Relation::Less, v[0], v[1]),
                "less or equal" => b.compare("pair", Relation::LessOrEqual, v[0], v[1]),
                "greater" => b.compare("pair", Relation::Greater, v[0], v[1]),
                _ => b.compare("pair", Relation::GreaterOrEqual, v[0], v[1]),
            });
            let expected = Array::from_fn(&[batch, 3, 4], |at| {
                function(x.at(at), y.at(&[at[0], 0, at[2]]))
            });
            expect(&graph, &[&x, &y], &expected);
        }
        let graph = graph_of(&[&[batch, 3, 4], &[batch, 1, 4]], |b, v| {
            let yes = b.compare("yes", Relation::Less, v[0], v[1]);
            let other = b.constant("other", &[1]);
            b.choose("chosen", yes, v[1], other)
        });
        let expected = Array::from_fn(&[batch, 3, 4], |at| {
            let y = y.at(&[at[0], 0, at[2]]);
            if x.at(at) < y { y } else { 0.0 }
        });
        expect(&graph, &[&x, &y], &expected);
    }
}

#[test]
fn a_row_of_every_rank_expands() {
    for batch in BATCHES {
        let x = random("x", &[batch, 1, 4]);
        let shape = Shape(vec![
            Dim::Fixed(2),
            Dim::Batch,
            Dim::Fixed(3),
            Dim::Fixed(1),
        ]);
        let graph = graph_of(&[&[batch, 1, 4]], |b, x| {
            b.expand("wide", x[0], shape.clone())
        });
        let expected = Array::from_fn(&[2, batch, 3, 4], |at| x.at(&[at[1], 0, at[3]]));
        expect(&graph, &[&x], &expected);
    }
}

/// Windows of a feature map, attention heads and a class token: the batch is merged with others, moved and split again.
#[test]
fn the_batch_may_be_merged_and_moved() {
    for batch in BATCHES {
        let x = random("tokens", &[batch, 4, 6]);
        let graph = graph_of(&[&[batch, 4, 6]], |b, x| {
            let fixed = Dim::Fixed;
            let h = b.view(
                "heads",
                x[0],
                Shape(vec![Dim::Batch, fixed(4), fixed(2), fixed(3)]),
            );
            let h = b.transpose("turned", h, &[0, 2, 1, 3]);
            let h = b.view(
                "merged",
                h,
                Shape(vec![Dim::Batches(2), fixed(4), fixed(3)]),
            );
            let t = b.transpose("keys", h, &[0, 2, 1]);
            let scores = b.mat_mul("scores", h, t);
            let scores = b.softmax("attention", scores, 2);
            let h = b.mat_mul("mixed", scores, h);
            let h = b.flatten("rows", h);
            let h = b.view(
                "apart",
                h,
                Shape(vec![Dim::Batch, fixed(2), fixed(4), fixed(3)]),
            );
            let h = b.transpose("front", h, &[2, 0, 1, 3]);
            b.view("places", h, Shape(vec![fixed(4), Dim::Batch, fixed(6)]))
        });
        let head = |b: usize, h: usize, t: usize, i: usize| x.at(&[b, t, 3 * h + i]);
        let expected = Array::from_fn(&[4, batch, 6], |at| {
            let (t, b, h, i) = (at[0], at[1], at[2] / 3, at[2] % 3);
            let score = |other: usize| {
                (0..3)
                    .map(|k| head(b, h, t, k) * head(b, h, other, k))
                    .sum::<f64>()
                    .exp()
            };
            let whole: f64 = (0..4).map(score).sum();
            (0..4)
                .map(|other| score(other) * head(b, h, other, i))
                .sum::<f64>()
                / whole
        });
        let network = compile(&graph, LAYOUTS[0]);
        let trace = network
            .forward(&named(&[("a", &x)], &Device::flex()), &Taps::none())
            .unwrap();
        expected.assert_close(&array(&trace.output), 2e-5, "windows");
        assert_eq!(
            network.analysis().values["places"].shape.sizes(batch),
            trace.output.shape()
        );
    }
}

#[test]
fn channels_that_go_to_the_back_and_return_are_the_same() {
    for batch in BATCHES {
        let graph = graph_of(&[&[batch, 3, 5, 4]], |b, x| {
            let h = b.conv2d("conv", x[0], Conv2d::new(3, 3, 1));
            let h = b.transpose("back", h, &[0, 2, 3, 1]);
            let h = b.linear("mix", h, Linear::new(3, 3));
            let h = b.transpose("front", h, &[0, 3, 1, 2]);
            let scale = b.parameter("scale", &[3, 1, 1]);
            let h = b.multiply("scaled", scale, h);
            b.add("shortcut", x[0], h)
        });
        let x = random("image", &[batch, 3, 5, 4]);
        let network = compile(&graph, LAYOUTS[0]);
        let (conv, conv_bias) = (
            weight(&network, "conv.weight"),
            weight(&network, "conv.bias"),
        );
        let (mix, mix_bias) = (weight(&network, "mix.weight"), weight(&network, "mix.bias"));
        let scale = weight(&network, "scale.value");
        let expected = Array::from_fn(&[batch, 3, 5, 4], |at| {
            let channel = |c: usize| {
                (0..3).fold(conv_bias.at(&[c]), |sum, i| {
                    sum + conv.at(&[c, i, 0, 0]) * x.at(&[at[0], i, at[2], at[3]])
                })
            };
            let mixed = (0..3).fold(mix_bias.at(&[at[1]]), |sum, c| {
                sum + mix.at(&[at[1], c]) * channel(c)
            });
            x.at(at) + scale.at(&[at[1], 0, 0]) * mixed
        });
        expect(&graph, &[&x], &expected);
        let plan = compile(&graph, LAYOUTS[1]).plan().clone();
        let last: Vec<&str> = plan.channels_last().collect();
        assert_eq!(last, ["conv", "front", "scaled", "shortcut"]);
    }
}

#[test]
fn token_ids_become_numbers() {
    let mut b = Builder::new("mask");
    let tokens = b.tokens(3);
    let numbers = b.tokens_as_floats("numbers", tokens);
    let none = b.constant("none", &[1]);
    let mask = b.compare("mask", Relation::Greater, numbers, none);
    let sum = b.multiply("kept", mask, numbers);
    let graph = b.finish(sum).unwrap();
    for device in [Device::flex(), Device::flex().autodiff()] {
        let network = graph.compile(crate::Seed::new(0), &device).unwrap();
        let tokens = Tensor::<2, Int>::from_ints([[0, 7, 300], [-2, 1, 0]], &Device::flex());
        let inputs = Inputs::default().with("input", InputTensor::Tokens(tokens));
        let trace = network.forward(&inputs, &Taps::new(["numbers"])).unwrap();
        assert_eq!(
            trace.output.to_vec().unwrap(),
            [0.0, 7.0, 300.0, 0.0, 1.0, 0.0]
        );
        assert_eq!(
            trace.feature("numbers").unwrap().to_vec().unwrap(),
            [0.0, 7.0, 300.0, -2.0, 1.0, 0.0]
        );
    }
}

#[test]
fn parameters_and_constants_have_up_to_six_axes() {
    for rank in 1..=6 {
        let shape: Vec<usize> = (0..rank).map(|axis| 1 + axis % 2).collect();
        let mut b = Builder::new("ranks");
        let x = b.input("a", ValueType::float(Shape::batched(&[1, 1, 1, 1, 2])));
        let parameter = b.parameter("parameter", &shape);
        let constant = b.constant("constant", &shape);
        let h = b.multiply("scaled", x, parameter);
        let h = b.add("moved", h, constant);
        let graph = b.finish(h).unwrap();
        let network = compile(&graph, LAYOUTS[0]);
        let mut weights = network.weights();
        for (place, value) in weights
            .get_mut("constant.value")
            .unwrap()
            .values
            .iter_mut()
            .enumerate()
        {
            *value = place as f32;
        }
        let network = network.load(&weights).unwrap();
        let parameter = weight(&network, "parameter.value");
        let x = random("a", &[2, 1, 1, 1, 1, 2]);
        let trace = network
            .forward(&named(&[("a", &x)], &Device::flex()), &Taps::none())
            .unwrap();
        let got = array(&trace.output);
        assert_eq!(got.shape.len(), 6);
        let expected = Array::from_fn(&got.shape, |at| {
            let own: Vec<usize> = (0..rank)
                .map(|axis| at[6 - rank + axis].min(shape[axis] - 1))
                .collect();
            let place = own
                .iter()
                .zip(&shape)
                .fold(0, |place, (at, size)| place * size + at);
            let row = [at[0].min(1), 0, 0, 0, 0, at[5]];
            x.at(&row) * parameter.at(&own) + place as f64
        });
        expected.assert_close(&got, 1e-6, &format!("rank {rank}"));
    }
}
