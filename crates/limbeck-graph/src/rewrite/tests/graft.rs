//! Inserted chains and replaced blocks.

use super::{channels, difference, expect_same, network, network_of};
use crate::ir::{Activation, Conv2d, Linear, Op};
use crate::rewrite::{Weighted, insert, replace_block};
use burn::tensor::Device;

/// A chain over images of `[channels, size, size]` that hands on what it gets.
fn doing_nothing(channels: usize, size: usize) -> Weighted {
    network_of(&[channels, size, size], |b, x| {
        let x = b.scale_shift("double", x, 2.0, 1.0);
        let x = b.scale_shift("halve", x, 0.5, -0.5);
        b.tap("end", x);
        x
    })
}

#[test]
fn a_chain_stands_before_all_that_took_the_value() {
    let before = network("resnet-8");
    let after = insert(before.clone(), "stage1", doing_nothing(16, 16), "new").unwrap();
    expect_same(&before, &after, "identity");
    let tapped = &before.graph().taps["stage1"];
    let takes: Vec<&str> = after
        .graph()
        .nodes
        .iter()
        .filter(|node| node.inputs.contains(tapped))
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(takes, ["new.double"]);
    assert_eq!(after.graph().taps["stage1"], *tapped);
    assert_eq!(after.graph().taps["new.end"], "new.halve");
}

#[test]
fn a_chain_behind_the_output_becomes_the_output() {
    let before = network("mlp-20-13");
    let chain = network_of(&[7], |b, x| b.scale_shift("negate", x, -1.0, 0.0));
    let after = insert(before.clone(), "fc", chain, "last").unwrap();
    assert_eq!(after.graph().outputs, ["last.negate"]);
    assert!(difference(&before, &after, &Device::flex()) > 0.5);
    let chain = network_of(&[3, 16, 16], |b, x| b.scale_shift("same", x, 1.0, 0.0));
    let after = insert(before.clone(), "input", chain, "first").unwrap();
    expect_same(&before, &after, "behind the input");
}

#[test]
fn a_chain_that_does_not_fit_is_an_error() {
    let error = |value: &str, chain: Weighted, prefix: &str| {
        insert(network("resnet-8"), value, chain, prefix)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error("stage1", doing_nothing(8, 16), "new"),
        "cannot insert behind `stage1`: the input `input` of `test` is [batch, 8, 16, 16], expected \
         [batch, 16, 16, 16] as `layer1.0.relu` is"
    );
    let message = error("stage11", doing_nothing(16, 16), "new");
    assert!(
        message.starts_with("there is no value `stage11`"),
        "{message}"
    );
    let message = error("stage1", doing_nothing(16, 16), "");
    assert!(message.contains("cannot be a node's name"), "{message}");
    let conv = Conv2d::new(16, 16, 3).padding(1);
    let clash = network_of(&[16, 16, 16], |b, x| b.conv2d("conv1", x, conv));
    let message = error("stage1", clash, "layer1.0");
    assert!(message.contains("choose another prefix"), "{message}");
    let narrow = network_of(&[16, 16, 16], |b, x| {
        b.conv2d("conv", x, Conv2d::new(16, 5, 1))
    });
    let message = error("stage1", narrow, "new");
    assert!(message.contains("got 5"), "{message}");
}

/// A depthwise and a pointwise convolution.
fn separable(inputs: usize, outputs: usize, size: usize) -> Weighted {
    network_of(&[inputs, size, size], |b, x| {
        let x = b.conv2d("depthwise", x, Conv2d::depthwise(inputs, 3).padding(1));
        b.conv2d("pointwise", x, Conv2d::new(inputs, outputs, 1))
    })
}

#[test]
fn a_convolution_becomes_a_cheaper_pair() {
    let before = network("vgg-8");
    let output = before.graph().node("block1.0").unwrap().clone();
    let value = output.inputs[0].clone();
    let after = replace_block(
        before.clone(),
        &[&value],
        "block1.0",
        separable(64, 128, 8),
        "cheap",
    )
    .unwrap();
    assert!(after.graph().parameter_count() < before.graph().parameter_count() - 60_000);
    assert!(!after.weights().contains_key("block1.0.weight"));
    assert!(after.weights().contains_key("cheap.pointwise.weight"));
    assert_eq!(channels(&after, "block1.0"), 128);
    assert!(difference(&before, &after, &Device::flex()) > 1e-3);
}

#[test]
fn a_block_replaced_by_itself_computes_the_same() {
    let before = network("resnet-8");
    let mut block = network_of(&[16, 16, 16], |b, x| {
        let conv = Conv2d::new(16, 16, 3).padding(1).bias(false);
        let y = b.conv2d("conv1", x, conv.clone());
        let y = b.batch_norm("bn1", y);
        let y = b.relu("relu1", y);
        let y = b.conv2d("conv2", y, conv);
        let y = b.batch_norm("bn2", y);
        b.add("add", y, x)
    });
    for (name, host) in &mut block.weights {
        *host = before.weights()[&format!("layer1.0.{name}")].clone();
    }
    // The old names are free once the old block is gone.
    for prefix in ["other", "layer1.0"] {
        let after = replace_block(
            before.clone(),
            &["stem"],
            "layer1.0.add",
            block.clone(),
            prefix,
        );
        let after = after.unwrap();
        expect_same(&before, &after, prefix);
        assert_eq!(after.weights().len(), before.weights().len());
        assert!(after.graph().node("layer1.0.add").is_some());
    }
}

#[test]
fn a_block_that_does_not_fit_is_an_error() {
    let error = |inputs: &[&str], output: &str, replacement: Weighted| {
        replace_block(network("resnet-8"), inputs, output, replacement, "new")
            .unwrap_err()
            .to_string()
    };
    let same = || separable(16, 16, 16);
    assert_eq!(
        error(&["stem"], "layer1.0.conv1", separable(16, 8, 16)),
        "cannot replace the block before `layer1.0.conv1`: the output of `test` is [batch, 8, 16, 16], expected \
         [batch, 16, 16, 16]"
    );
    for (inputs, output, part) in [
        (
            &["stem", "stem"][..],
            "stage1",
            "expected a graph with 2 inputs",
        ),
        (
            &["layer1.0.conv1"],
            "stage1",
            "also takes the network's input",
        ),
        (&["stem"], "stem", "expected an output behind the inputs"),
        (&["conv1"], "stage1", "stands behind the tap `stem`"),
        (
            &["bn1"],
            "layer1.0.conv1",
            "also goes to node `layer1.0.add`",
        ),
    ] {
        let message = error(inputs, output, same());
        assert!(message.contains(part), "{message}");
    }
    let split = network_of(&[16, 16, 16], |b, x| b.split("split", x, 1, [8, 8])[0]);
    let message = error(&["stem"], "stage1", split);
    assert!(message.contains("the only value of a node"), "{message}");
}

#[test]
fn a_head_is_exchanged() {
    let before = network("resnet-8");
    let head = network_of(&[64], |b, x| {
        let x = b.linear("narrow", x, Linear::new(64, 3));
        let x = b.activation("gelu", x, Activation::Gelu);
        b.linear("wide", x, Linear::new(3, 7))
    });
    let after = replace_block(before, &["pool"], "fc", head, "head").unwrap();
    assert_eq!(after.graph().outputs, ["fc"]);
    let last = after.graph().node("fc").unwrap();
    assert!(matches!(&last.op, Op::Linear(linear) if linear.inputs == 3));
}
