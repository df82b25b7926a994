//! Wider layers.

use burn::tensor::Device;

use super::{channels, difference, expect_same, network, network_of};
use crate::Seed;
use crate::ir::{Activation, Conv1d, Conv2d, ConvTranspose2d, Linear, Pool2d};
use crate::rewrite::{Weighted, Widening, widen};

fn to(channels: usize) -> Widening {
    Widening {
        channels,
        noise: 0.0,
        seed: Seed::new(9),
    }
}

#[test]
fn networks_of_the_zoo_keep_their_function() {
    for (name, layer, size) in [
        ("resnet-8", "layer1.0.conv1", 27),
        // Tied by shortcuts: the stem and the block's end.
        ("resnet-8", "conv1", 21),
        ("resnet-8", "layer2.0.downsample.0", 40),
        ("wrn-16-1", "block2.layer.0.conv2", 45),
        ("vgg-8", "block1.0", 150),
        ("mobilenet-v2", "blocks.2.0.conv.0", 100),
        ("mobilenet-v2", "blocks.2.0.conv.6", 23),
        ("shufflenet-v2", "layer1.1.conv1", 70),
        ("shufflenet-v2", "conv2", 1030),
        ("mlp-20-13", "fc1", 33),
        ("mlp-20-13", "fc2", 13),
        ("mlp-b5-30", "bottleneck1", 9),
    ] {
        let before = network(name);
        let after = widen(before.clone(), layer, &to(size)).unwrap();
        assert_eq!(channels(&after, layer), size, "{name}: {layer}");
        expect_same(&before, &after, &format!("{name}: {layer}"));
    }
}

#[test]
fn shortcuts_widen_all_layers_that_they_tie() {
    let before = network("resnet-8");
    let after = widen(before, "layer1.0.conv2", &to(20)).unwrap();
    for value in ["conv1", "bn1", "layer1.0.conv2", "layer1.0.add"] {
        assert_eq!(channels(&after, value), 20, "{value}");
    }
    assert_eq!(channels(&after, "layer1.0.conv1"), 16);
}

/// A network with the operators that channels pass on their way.
fn passages() -> Weighted {
    network_of(&[3, 8, 8], |b, x| {
        let conv = Conv2d::new(3, 5, 3).padding(1);
        let left = b.conv2d("left", x, conv.clone());
        let left = b.batch_norm("norm", left);
        let right = b.conv2d("right", x, conv.clone());
        let right = b.activation("tanh", right, Activation::Tanh);
        let joined = b.concatenate("joined", &[left, right, x], 1);
        let y = b.max_pool2d("max", joined, Pool2d::new(2));
        let y = b.conv2d("depthwise", y, Conv2d::depthwise(13, 3).padding(1));
        let gate = b.global_avg_pool("gate", y);
        let y = b.multiply("gated", y, gate);
        let up = b.conv_transpose2d("up", y, ConvTranspose2d::new(13, 4, 2).stride(2));
        let up = b.relu("relu", up);
        let flat = b.flatten("flat", up);
        let pooled = b.flatten("pooled", y);
        let flat = b.concatenate("both", &[flat, pooled], 1);
        let h = b.linear("fc1", flat, Linear::new(4 * 64 + 13 * 16, 9));
        let h = b.activation("silu", h, Activation::Silu);
        b.linear("fc2", h, Linear::new(9, 3))
    })
}

#[test]
fn maps_pass_concatenations_and_flattened_images() {
    let before = passages();
    for layer in ["left", "right", "up", "fc1"] {
        let after = widen(before.clone(), layer, &to(17)).unwrap();
        expect_same(&before, &after, layer);
    }
    let after = widen(before, "right", &to(8)).unwrap();
    assert_eq!(channels(&after, "joined"), 16);
    assert_eq!(channels(&after, "both"), 4 * 64 + 16 * 16);
}

#[test]
fn sequences_are_widened() {
    let before = network_of(&[4, 9], |b, x| {
        let x = b.conv1d("first", x, Conv1d::new(4, 6, 3));
        let x = b.batch_norm("norm", x);
        let x = b.relu("relu", x);
        b.conv1d("second", x, Conv1d::new(6, 2, 3))
    });
    let after = widen(before.clone(), "first", &to(11)).unwrap();
    expect_same(&before, &after, "conv1d");
}

#[test]
fn training_mode_keeps_the_function_too() {
    // Copies have the statistics of what they copy, so batch norms over the batch agree as well.
    let device = Device::flex().autodiff();
    let before = network("resnet-8");
    for layer in ["conv1", "layer2.0.conv1"] {
        let after = widen(before.clone(), layer, &to(70)).unwrap();
        let far = difference(&before, &after, &device);
        assert!(far < 2e-5, "{layer}: {far:e}");
    }
}

#[test]
fn noise_disturbs_copies_alone() {
    let before = network("mlp-20-13");
    let noisy = Widening {
        noise: 0.01,
        ..to(30)
    };
    let (exact, after) = (
        widen(before.clone(), "fc1", &to(30)).unwrap(),
        widen(before.clone(), "fc1", &noisy).unwrap(),
    );
    let far = difference(&before, &after, &Device::flex());
    assert!(far > 1e-5 && far < 0.1, "{far:e}");
    let kept = 20 * 3 * 16 * 16;
    let values = |network: &Weighted| network.weights()["fc1.weight"].values.clone();
    assert_eq!(values(&exact)[..kept], values(&after)[..kept]);
    assert_ne!(values(&exact)[kept..], values(&after)[kept..]);
    assert_eq!(exact.weights()["fc2.weight"], after.weights()["fc2.weight"]);
}

#[test]
fn the_same_seed_makes_the_same_copies() {
    let wider = |seed| {
        let widening = Widening {
            seed: Seed::new(seed),
            ..to(40)
        };
        widen(network("mlp-20-13"), "fc1", &widening).unwrap()
    };
    assert_eq!(wider(1), wider(1));
    assert_ne!(wider(1), wider(2));
}

#[test]
fn what_cannot_be_widened_is_an_error() {
    for (name, layer, size, part) in [
        ("resnet-8", "fc", 9, "reach the network's output `fc`"),
        (
            "resnet-8",
            "bn1",
            20,
            "expected a convolution or a linear layer, got batch_norm",
        ),
        (
            "resnet-8",
            "conv1",
            15,
            "expected at least its 16 channels, got 15",
        ),
        ("resnet-8", "convl", 20, "there is no value `convl`"),
        (
            "shufflenet-v1",
            "layer1.1.conv1",
            100,
            "which does not treat all of them alike",
        ),
        (
            "shufflenet-v2",
            "layer1.1.conv3",
            70,
            "which does not treat all of them alike",
        ),
    ] {
        let result = widen(network(name), layer, &to(size));
        let message = result.unwrap_err().to_string();
        assert!(message.contains(part), "{name} {layer}: {message}");
    }
    let noisy = Widening {
        noise: f64::NAN,
        ..to(20)
    };
    let message = widen(network("resnet-8"), "conv1", &noisy).unwrap_err();
    assert!(
        message.to_string().contains("expected a noise"),
        "{message}"
    );
    let residual = network_of(&[4, 6, 6], |b, x| {
        let y = b.conv2d("conv", x, Conv2d::new(4, 4, 3).padding(1));
        let y = b.add("add", y, x);
        b.conv2d("last", y, Conv2d::new(4, 2, 1))
    });
    let message = widen(residual, "conv", &to(5)).unwrap_err().to_string();
    assert!(message.contains("network's input `input`"), "{message}");
    let joined = network_of(&[4, 6, 6], |b, x| {
        let left = b.conv2d("left", x, Conv2d::new(4, 2, 1));
        let pair = b.concatenate("pair", &[left, left], 1);
        let y = b.conv2d("conv", x, Conv2d::new(4, 4, 1));
        let y = b.add("add", y, pair);
        b.conv2d("last", y, Conv2d::new(4, 2, 1))
    });
    let message = widen(joined.clone(), "conv", &to(6)).unwrap_err();
    assert!(message.to_string().contains("node `pair`"), "{message}");
    let after = widen(joined.clone(), "left", &to(3)).unwrap();
    expect_same(&joined, &after, "an addition behind a concatenation");
}
