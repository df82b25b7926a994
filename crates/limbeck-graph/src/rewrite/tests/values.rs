//! Rewrites of networks with operators on values of any kind.

use burn::tensor::Device;

use super::{channels, difference, expect_same, network_of};
use crate::Seed;
use crate::ir::{
    Activation, Cell, Conv2d, Dim, Direction, Fill, Linear, Recurrent, Reduction, Relation, Shape,
    Slice,
};
use crate::rewrite::{Deepening, Weighted, Widening, deepen, fold_batch_norms, widen};

const fn to(channels: usize) -> Widening {
    Widening {
        channels,
        noise: 0.0,
        seed: Seed::new(9),
    }
}

/// What treats all channels alike, up to a head over viewed pixels.
fn passages() -> Weighted {
    network_of(&[3, 6, 6], |b, x| {
        let left = b.conv2d("left", x, Conv2d::new(3, 4, 3));
        let right = b.conv2d("right", x, Conv2d::new(3, 4, 3));
        let right = b.activation("positive", right, Activation::Exponential);
        let h = b.divide("quotient", left, right);
        let above = b.maximum("above", h, left);
        let larger = b.compare("larger", Relation::Greater, above, right);
        let h = b.choose("chosen", larger, above, h);
        let h = b.pad("pad", h, &[[0, 0], [0, 0], [1, 0], [0, 1]], Fill::Reflect);
        let odd = Slice {
            axis: 2,
            start: 0,
            count: 3,
            step: 2,
        };
        let h = b.slice("odd", h, odd);
        let h = b.take("some", h, 3, &[4, 0]);
        let squeezed = b.reduce("squeezed", h, Reduction::Mean, &[2, 3]);
        let h = b.multiply("excited", h, squeezed);
        let h = b.view("rows", h, Shape::batched(&[4, 6]));
        let h = b.view("row", h, Shape::batched(&[24]));
        let pooled = b.view("pooled", squeezed, Shape::batched(&[4]));
        let h = b.concatenate("features", &[h, pooled], 1);
        b.linear("fc", h, Linear::new(28, 5))
    })
}

#[test]
fn channels_pass_through_what_treats_them_alike() {
    let before = passages();
    let after = widen(before.clone(), "left", &to(7)).unwrap();
    assert_eq!(channels(&after, "right"), 7);
    assert_eq!(channels(&after, "row"), 42);
    assert_eq!(channels(&after, "features"), 49);
    expect_same(&before, &after, "passages");
}

#[test]
fn channels_that_are_moved_or_mixed_refuse_to_widen() {
    let refused =
        |build: &dyn Fn(&mut crate::build::Builder, crate::build::Value) -> crate::build::Value| {
            let network = network_of(&[3, 4, 4], |b, x| {
                let h = b.conv2d("conv", x, Conv2d::new(3, 4, 1));
                let h = build(b, h);
                let size = b.last_size(h);
                b.linear("fc", h, Linear::new(size, 2))
            });
            widen(network, "conv", &to(6)).unwrap_err().to_string()
        };
    let heads = refused(&|b, h| {
        let fixed = Dim::Fixed;
        b.view("heads", h, Shape(vec![Dim::Batches(4), fixed(4), fixed(4)]))
    });
    assert!(heads.contains("reach node `heads` (view)"), "{heads}");
    let mean = refused(&|b, h| b.reduce("mean", h, Reduction::Mean, &[1]));
    assert!(mean.contains("reach node `mean` (reduce)"), "{mean}");
    let taken = refused(&|b, h| b.take("first", h, 1, &[0]));
    assert!(taken.contains("reach node `first` (take)"), "{taken}");
    let own = refused(&|b, h| {
        let scale = b.parameter("scale", &[4, 1, 1]);
        b.multiply("scaled", h, scale)
    });
    assert!(own.contains("reach node `scale` (parameter)"), "{own}");
    let recurrent = refused(&|b, h| {
        let h = b.view("rows", h, Shape::batched(&[4, 16]));
        let h = b.transpose("steps", h, &[2, 0, 1]);
        let layer = Recurrent {
            cell: Cell::Gru { reset_after: true },
            direction: Direction::Forward,
            inputs: 4,
            hidden: 3,
            bias: true,
        };
        let last = b.recurrent("gru", h, &[], layer)[1];
        b.view("last", last, Shape::batched(&[3]))
    });
    assert!(recurrent.contains("reach node `steps`"), "{recurrent}");
}

#[test]
fn a_bound_is_deepened_and_a_root_is_not() {
    let of = |function: Activation| {
        network_of(&[3, 4, 4], |b, x| {
            let h = b.conv2d("conv", x, Conv2d::new(3, 4, 1));
            let h = b.activation("function", h, function);
            let h = b.reduce("mean", h, Reduction::Mean, &[2, 3]);
            let h = b.view("row", h, Shape::batched(&[4]));
            b.linear("fc", h, Linear::new(4, 2))
        })
    };
    let layer = Deepening {
        prefix: "more".to_owned(),
        kernel: 3,
        statistics: None,
    };
    for function in [
        Activation::Clip {
            least: -0.2,
            most: 0.3,
        },
        Activation::Absolute,
    ] {
        let before = of(function);
        let after = deepen(before.clone(), "function", &layer).unwrap();
        assert!(difference(&before, &after, &Device::flex()) < 1e-5);
    }
    let before = of(Activation::Clip {
        least: 0.3,
        most: -0.2,
    });
    assert!(deepen(before, "function", &layer).is_err());
    assert!(deepen(of(Activation::SquareRoot), "function", &layer).is_err());
}

#[test]
fn a_norm_behind_a_frozen_layer_is_folded_into_a_frozen_bias() {
    let before = network_of(&[3, 4, 4], |b, x| {
        let h = b.conv2d("conv", x, Conv2d::new(3, 4, 1).bias(false));
        let h = b.batch_norm("norm", h);
        b.reduce("mean", h, Reduction::Mean, &[2, 3])
    });
    let (mut graph, weights) = before.into_parts();
    graph.weights.get_mut("conv.weight").unwrap().frozen = true;
    let before = Weighted::new(graph, weights).unwrap();
    let after = fold_batch_norms(before.clone()).unwrap();
    assert!(after.graph().weights["conv.bias"].frozen);
    expect_same(&before, &after, "frozen");
}
