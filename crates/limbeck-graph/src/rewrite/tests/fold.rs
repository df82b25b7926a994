//! Folded batch norms.

use super::{expect_same, network, network_of, norms, trained};
use crate::build::Builder;
use crate::ir::{BatchNorm, Conv1d, Conv2d, ConvTranspose2d, Linear};
use crate::rewrite::fold_batch_norms;

#[test]
fn networks_of_the_zoo_keep_their_function() {
    for (name, left) in [
        ("resnet-8", 0),
        ("vgg-8", 0),
        ("mobilenet-v2", 0),
        ("shufflenet-v1", 0),
        ("shufflenet-v2", 0),
        ("mlp-20-13", 0),
    ] {
        let before = network(name);
        let after = fold_batch_norms(before.clone()).unwrap();
        assert_eq!(norms(&after).len(), left, "{name}");
        expect_same(&before, &after, name);
    }
}

#[test]
fn norms_behind_shortcuts_stay() {
    let before = network("wrn-16-1");
    let after = fold_batch_norms(before.clone()).unwrap();
    expect_same(&before, &after, "wrn-16-1");
    let left = norms(&after);
    // The first norm of a block and the last of the network see a sum or the tapped stem; the second of a block a convolution.
    assert_eq!(left.len(), 7);
    assert!(left.iter().all(|name| name.ends_with("bn1")), "{left:?}");
}

#[test]
fn every_layer_takes_its_norm() {
    let image = |conv: Conv2d| {
        network_of(&[6, 7, 5], |b, x| {
            let x = b.conv2d("layer", x, conv);
            b.batch_norm_with("norm", x, BatchNorm::new(12).epsilon(0.1))
        })
    };
    let transposed = |conv: ConvTranspose2d| {
        network_of(&[6, 4, 3], |b, x| {
            let x = b.conv_transpose2d("layer", x, conv);
            b.batch_norm("norm", x)
        })
    };
    let cases = [
        image(Conv2d::new(6, 12, 3)),
        image(Conv2d::new(6, 12, [1, 3]).groups(3).bias(false)),
        transposed(ConvTranspose2d::new(6, 4, 3).stride(2)),
        transposed(ConvTranspose2d::new(6, 9, 2).groups(3).bias(false)),
        network_of(&[4, 9], |b, x| {
            let x = b.conv1d("layer", x, Conv1d::new(4, 10, 3).groups(2));
            b.batch_norm_with("norm", x, BatchNorm::new(10).affine(false))
        }),
        network_of(&[5], |b, x| {
            let x = b.linear("layer", x, Linear::new(5, 8).bias(false));
            b.batch_norm("norm", x)
        }),
        network_of(&[5], |b, x| {
            let x = b.linear("layer", x, Linear::new(5, 8));
            let x = b.batch_norm("first", x);
            b.batch_norm("norm", x)
        }),
    ];
    for (case, before) in cases.into_iter().enumerate() {
        let after = fold_batch_norms(before.clone()).unwrap();
        expect_same(&before, &after, &format!("case {case}"));
        assert_eq!(after.graph().outputs, ["norm"]);
        assert_eq!(after.graph().nodes.len(), 1);
        let names: Vec<&String> = after.weights().keys().collect();
        assert_eq!(names, ["layer.bias", "layer.weight"]);
    }
}

#[test]
fn a_value_that_is_needed_elsewhere_prevents_the_fold() {
    let conv = Conv2d::new(3, 4, 3);
    let tapped = network_of(&[3, 6, 6], |b, x| {
        let x = b.conv2d("conv", x, conv.clone());
        b.tap("before", x);
        b.batch_norm("norm", x)
    });
    let taken = network_of(&[3, 6, 6], |b, x| {
        let x = b.conv2d("conv", x, conv.clone());
        let y = b.batch_norm("norm", x);
        b.add("sum", x, y)
    });
    let tokens = network_of(&[4, 3], |b, x| {
        let x = b.linear("fc", x, Linear::new(3, 5));
        b.batch_norm("norm", x)
    });
    let mut b = Builder::new("outputs");
    let x = b.image([3, 6, 6]);
    let x = b.conv2d("conv", x, conv);
    let y = b.batch_norm("norm", x);
    let output = trained(b.finish_with(&[y, x]).unwrap());
    for before in [tapped, taken, tokens, output] {
        assert_eq!(fold_batch_norms(before.clone()).unwrap(), before);
    }
}

#[test]
fn shared_weights_prevent_the_fold() {
    let before = network_of(&[4, 6, 6], |b, x| {
        let conv = Conv2d::new(4, 4, 3).padding(1).bias(false);
        let x = b.conv2d("first", x, conv.clone());
        let x = b.batch_norm("norm1", x);
        let x = b.conv2d("second", x, conv);
        b.batch_norm("norm2", x)
    });
    let (mut graph, mut weights) = before.into_parts();
    let second = graph.nodes.iter_mut().find(|node| node.name == "second");
    let shared = "first.weight".to_owned();
    second.unwrap().weights.insert("weight".to_owned(), shared);
    graph.weights.remove("second.weight");
    weights.remove("second.weight");
    let before = crate::rewrite::Weighted::new(graph, weights).unwrap();
    assert_eq!(fold_batch_norms(before.clone()).unwrap(), before);
}
