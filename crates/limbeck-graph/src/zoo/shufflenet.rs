//! Networks of grouped and depthwise convolutions that exchange channels.
//!
//! Version 1: Zhang et al. 2018, "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices"
//! (table 1, 3 groups). Version 2: Ma et al. 2018, "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture
//! Design" (table 5, 1x). Both for small images: a 1x1 first layer without stride and no max pooling.

use super::{Family, ModelInfo, Request, classify, conv_norm};
use crate::Result;
use crate::build::{Builder, Value};
use crate::ir::{Conv2d, Graph, Pool2d};

pub(super) static V1: Family = Family {
    info: ModelInfo {
        pattern: "shufflenet-v1",
        names: &["shufflenet-v1"],
        description: "grouped 1x1 convolutions with channel shuffle, 3 groups",
        paper: "Zhang, Zhou, Lin and Sun 2018",
        taps: &["stem", "stage1", "stage2", "stage3", "pool"],
        smallest: 8,
    },
    build: |request| (request.name == "shufflenet-v1").then(|| version1(request)),
};

pub(super) static V2: Family = Family {
    info: ModelInfo {
        pattern: "shufflenet-v2",
        names: &["shufflenet-v2"],
        description: "half of the channels pass each block untouched, then channels are shuffled",
        paper: "Ma, Zhang, Zheng and Sun 2018",
        taps: &["stem", "stage1", "stage2", "stage3", "pool"],
        smallest: 8,
    },
    build: |request| (request.name == "shufflenet-v2").then(|| version2(request)),
};

const STEM: usize = 24;
const GROUPS: usize = 3;

/// Blocks per stage in both versions.
const BLOCKS: [usize; 3] = [4, 8, 4];

fn start(request: &Request<'_>) -> (Builder, Value) {
    let mut b = Builder::new(request.name);
    let x = b.image(request.input);
    let x = conv_norm(
        &mut b,
        "conv1",
        "bn1",
        x,
        Conv2d::new(request.input[0], STEM, 1),
    );
    let x = b.relu("relu1", x);
    b.tap("stem", x);
    (b, x)
}

fn version1(request: &Request<'_>) -> Result<Graph> {
    request.check(8)?;
    let (mut b, mut x) = start(request);
    for (stage, (channels, blocks)) in [240, 480, 960].into_iter().zip(BLOCKS).enumerate() {
        for block in 0..blocks {
            let name = format!("layer{}.{block}", stage + 1);
            x = grouped_block(&mut b, &name, x, channels, block == 0);
        }
        b.tap(&format!("stage{}", stage + 1), x);
    }
    let x = classify(&mut b, x, "linear", request.classes);
    b.finish(x)
}

/// Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1. A block with a stride appends the pooled input in place of
/// adding it. The first block's input has too few channels to be grouped (section 3.2).
fn grouped_block(b: &mut Builder, name: &str, x: Value, channels: usize, strided: bool) -> Value {
    let part = |part: &str| format!("{name}.{part}");
    let before = b.channels(x);
    let (stride, own) = if strided {
        (2, channels - before)
    } else {
        (1, channels)
    };
    let inner = own / 4;
    let groups = if before == STEM { 1 } else { GROUPS };
    let conv1 = Conv2d::new(before, inner, 1).groups(groups);
    let y = conv_norm(b, &part("conv1"), &part("bn1"), x, conv1);
    let mut y = b.relu(&part("relu1"), y);
    if groups > 1 {
        y = b.channel_shuffle(&part("shuffle1"), y, groups);
    }
    let conv2 = Conv2d::depthwise(inner, 3).stride(stride).padding(1);
    let y = conv_norm(b, &part("conv2"), &part("bn2"), y, conv2);
    let y = b.relu(&part("relu2"), y);
    let conv3 = Conv2d::new(inner, own, 1).groups(GROUPS);
    let y = conv_norm(b, &part("conv3"), &part("bn3"), y, conv3);
    let joined = if strided {
        let pooled = b.avg_pool2d(&part("shortcut"), x, Pool2d::new(3).stride(2).padding(1));
        b.concatenate(&part("concatenate"), &[y, pooled], 1)
    } else {
        b.add(&part("add"), y, x)
    };
    b.relu(&part("relu"), joined)
}

fn version2(request: &Request<'_>) -> Result<Graph> {
    request.check(8)?;
    let (mut b, mut x) = start(request);
    for (stage, (channels, blocks)) in [116, 232, 464].into_iter().zip(BLOCKS).enumerate() {
        for block in 0..blocks {
            let name = format!("layer{}.{block}", stage + 1);
            x = if block == 0 {
                halving_block(&mut b, &name, x, channels / 2)
            } else {
                split_block(&mut b, &name, x, channels / 2)
            };
        }
        b.tap(&format!("stage{}", stage + 1), x);
    }
    let last = Conv2d::new(b.channels(x), 1024, 1);
    let x = conv_norm(&mut b, "conv2", "bn2", x, last);
    let x = b.relu("relu2", x);
    let x = classify(&mut b, x, "linear", request.classes);
    b.finish(x)
}

/// One half of the channels passes, the other goes through 1x1, depthwise 3x3 and 1x1 convolutions.
fn split_block(b: &mut Builder, name: &str, x: Value, half: usize) -> Value {
    let part = |part: &str| format!("{name}.{part}");
    let [kept, y] = b.split(&part("split"), x, 1, [half, half]);
    let y = conv_norm(
        b,
        &part("conv1"),
        &part("bn1"),
        y,
        Conv2d::new(half, half, 1),
    );
    let y = b.relu(&part("relu1"), y);
    let depthwise = Conv2d::depthwise(half, 3).padding(1);
    let y = conv_norm(b, &part("conv2"), &part("bn2"), y, depthwise);
    let y = conv_norm(
        b,
        &part("conv3"),
        &part("bn3"),
        y,
        Conv2d::new(half, half, 1),
    );
    let y = b.relu(&part("relu3"), y);
    let joined = b.concatenate(&part("concatenate"), &[kept, y], 1);
    b.channel_shuffle(&part("shuffle"), joined, 2)
}

/// Both branches see all channels, halve the image and make half of the new channels.
fn halving_block(b: &mut Builder, name: &str, x: Value, half: usize) -> Value {
    let part = |part: &str| format!("{name}.{part}");
    let before = b.channels(x);
    let depthwise = |channels| Conv2d::depthwise(channels, 3).stride(2).padding(1);
    let left = conv_norm(b, &part("conv1"), &part("bn1"), x, depthwise(before));
    let left = conv_norm(
        b,
        &part("conv2"),
        &part("bn2"),
        left,
        Conv2d::new(before, half, 1),
    );
    let left = b.relu(&part("relu2"), left);
    let right = conv_norm(
        b,
        &part("conv3"),
        &part("bn3"),
        x,
        Conv2d::new(before, half, 1),
    );
    let right = b.relu(&part("relu3"), right);
    let right = conv_norm(b, &part("conv4"), &part("bn4"), right, depthwise(half));
    let right = conv_norm(
        b,
        &part("conv5"),
        &part("bn5"),
        right,
        Conv2d::new(half, half, 1),
    );
    let right = b.relu(&part("relu5"), right);
    let joined = b.concatenate(&part("concatenate"), &[left, right], 1);
    b.channel_shuffle(&part("shuffle"), joined, 2)
}
