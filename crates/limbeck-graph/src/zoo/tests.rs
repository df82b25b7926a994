#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;
use crate::ir::{Dim, Op};

/// Parameters with 100 classes and 3x32x32 images, as the literature has them.
const SIZES: [(&str, usize); 24] = [
    ("resnet-8", 83_892),
    ("resnet-14", 181_108),
    ("resnet-20", 278_324),
    ("resnet-32", 472_756),
    ("resnet-44", 667_188),
    ("resnet-56", 861_620),
    ("resnet-110", 1_736_564),
    ("resnet-8x4", 1_233_540),
    ("resnet-32x4", 7_433_860),
    ("resnet-50", 23_705_252),
    ("wrn-16-1", 180_916),
    ("wrn-16-2", 703_284),
    ("wrn-40-1", 569_780),
    ("wrn-40-2", 2_255_156),
    ("vgg-8", 3_965_028),
    ("vgg-11", 9_277_284),
    ("vgg-13", 9_462_180),
    ("vgg-16", 14_774_436),
    ("vgg-19", 20_086_692),
    ("mobilenet-v2", 812_836),
    ("shufflenet-v1", 949_258),
    ("shufflenet-v2", 1_355_528),
    // 3072 * 1200 + 1200 * 1200 + 1200 * 100 weights and 2500 biases.
    ("mlp-1200-1200", 5_248_900),
    // 3072 * 64 + 64 * 2048 + 2048 * 100 weights and 2148 biases.
    ("mlp-b64-2048", 534_628),
];

#[test]
fn parameter_counts_are_those_of_the_literature() {
    for (name, expected) in SIZES {
        assert_eq!(
            build(name, [3, 32, 32], 100).unwrap().parameter_count(),
            expected,
            "{name}"
        );
    }
    assert_eq!(
        build("resnet-20", [3, 32, 32], 10)
            .unwrap()
            .parameter_count(),
        272_474
    );
    // LeCun et al.'s 61,706 with all maps of the second convolution connected.
    assert_eq!(
        build("lenet5", [1, 28, 28], 10).unwrap().parameter_count(),
        61_706
    );
    assert_eq!(
        build("lenet5", [1, 32, 32], 10).unwrap().parameter_count(),
        61_706
    );
}

#[test]
fn every_listed_network_takes_any_image_and_has_its_taps() {
    for info in models() {
        for name in info.names {
            for input in [[1, 8, 8], [1, 28, 28], [4, 17, 23], [3, 64, 64]] {
                let built = build(name, input, 7);
                if input[1] < info.smallest {
                    let error = built.unwrap_err().to_string();
                    assert!(error.contains("8x8") && error.contains(name), "{error}");
                    continue;
                }
                let graph = built.unwrap_or_else(|error| panic!("{name} {input:?}: {error}"));
                let analysis = graph.validate().unwrap();
                let output = analysis.value(&graph, &graph.outputs[0]).unwrap();
                assert_eq!(output.shape.dims()[1..], [Dim::Fixed(7)], "{name}");
                for tap in info.taps.iter().filter(|tap| !tap.contains(' ')) {
                    assert!(graph.taps.contains_key(*tap), "{name} has no tap {tap}");
                }
                let pool = analysis.value(&graph, "pool").unwrap();
                assert_eq!(pool.shape.rank(), 2, "{name}");
            }
        }
    }
}

#[test]
fn stages_have_the_sizes_of_the_papers() {
    let shape = |name: &str, tap: &str| {
        let graph = build(name, [3, 32, 32], 100).unwrap();
        let analysis = graph.validate().unwrap();
        let dims = analysis.value(&graph, tap).unwrap().shape.dims().to_vec();
        let sizes = dims[1..].iter().map(|dim| match dim {
            Dim::Fixed(size) => *size,
            other => panic!("{other:?}"),
        });
        sizes.collect::<Vec<_>>()
    };
    assert_eq!(shape("resnet-20", "stem"), [16, 32, 32]);
    assert_eq!(shape("resnet-20", "stage3"), [64, 8, 8]);
    assert_eq!(shape("resnet-8x4", "stage1"), [64, 32, 32]);
    assert_eq!(shape("resnet-50", "stage4"), [2048, 4, 4]);
    assert_eq!(shape("wrn-40-2", "stage2"), [64, 16, 16]);
    assert_eq!(shape("vgg-13", "stage5"), [512, 4, 4]);
    assert_eq!(shape("mobilenet-v2", "stage1"), [12, 16, 16]);
    assert_eq!(shape("mobilenet-v2", "stage3"), [48, 4, 4]);
    assert_eq!(shape("mobilenet-v2", "pool"), [1280]);
    assert_eq!(shape("shufflenet-v1", "stage1"), [240, 16, 16]);
    assert_eq!(shape("shufflenet-v2", "stage3"), [464, 4, 4]);
    assert_eq!(shape("mlp-64-32", "stage2"), [32]);
}

#[test]
fn a_bottleneck_is_linear() {
    let graph = build("mlp-b64-2048", [1, 28, 28], 10).unwrap();
    assert_eq!(graph.weights["bottleneck1.weight"].shape, [64, 784]);
    assert_eq!(graph.weights["fc1.weight"].shape, [2048, 64]);
    assert!(!graph.weights.contains_key("bottleneck1.bias"));
    assert_eq!(graph.node("fc1").unwrap().inputs, ["bottleneck1"]);
}

#[test]
fn dropout_follows_every_hidden_layer() {
    let graph = build("mlp-32-16-d25", [1, 8, 8], 10).unwrap();
    let rates = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Dropout(dropout) => Some(dropout.rate),
        _ => None,
    });
    assert_eq!(rates.collect::<Vec<_>>(), [0.25, 0.25]);
}

#[test]
fn checkpoints_of_torchvision_find_their_names() {
    let graph = build("resnet-20", [3, 32, 32], 10).unwrap();
    for name in [
        "conv1.weight",
        "bn1.running_var",
        "layer2.0.downsample.0.weight",
        "layer2.0.downsample.1.running_mean",
        "layer3.2.bn2.bias",
        "fc.bias",
    ] {
        assert!(graph.weights.contains_key(name), "{name}");
    }
}

fn message(name: &str, input: [usize; 3], classes: usize) -> String {
    build(name, input, classes).unwrap_err().to_string()
}

#[test]
fn unknown_names_suggest_the_nearest() {
    let digits = |name| message(name, [1, 8, 8], 10);
    assert!(
        digits("resnet20").contains("did you mean one of `resnet-20`"),
        "{}",
        digits("resnet20")
    );
    assert!(digits("ResNet-20").contains("`resnet-20`"));
    assert!(digits("vgg-12").contains("`vgg-11`"));
    assert!(digits("mobilenetv2").contains("`mobilenet-v2`"));
    assert!(digits("").starts_with("there is no model ``"));
    assert!(digits("resnet-").starts_with("there is no model"));
    assert!(digits("resnet-020").starts_with("there is no model"));
}

#[test]
fn wrong_numbers_are_explained() {
    let digits = |name| message(name, [1, 8, 8], 10);
    assert!(digits("resnet-21").contains("6n + 2"));
    assert!(digits("resnet-6000002").contains("6n + 2"));
    assert!(digits("wrn-41-2").contains("6n + 4"));
    assert!(digits("wrn-40-0").starts_with("there is no model"));
    assert!(digits("wrn-40-65").contains("widening factor"));
    for name in [
        "mlp-",
        "mlp-0",
        "mlp-12-x",
        "mlp-b64",
        "mlp-b64-b32-8",
        "mlp-d50",
        "mlp-8-d50-8",
        "mlp-8-d100",
        "mlp-99999999",
    ] {
        assert!(digits(name).contains("expected"), "{name}");
    }
    let deep = format!("mlp{}", "-4".repeat(65));
    assert!(digits(&deep).contains("at most 64"));
}

#[test]
fn impossible_images_are_explained() {
    assert!(message("resnet-20", [3, 3, 32], 10).contains("at least 4x4, got 3x32"));
    assert!(message("lenet5", [1, 8, 8], 10).contains("at least 12x12"));
    assert!(message("vgg-8", [0, 32, 32], 10).contains("number of channels"));
    assert!(message("mlp-8", [1, 8, 8], 0).contains("number of classes"));
    assert!(build("mlp-8", [1 << 20, 1 << 20, 1 << 20], 1 << 20).is_err());
    assert!(build("mlp-8", [usize::MAX, usize::MAX, usize::MAX], 2).is_err());
}
