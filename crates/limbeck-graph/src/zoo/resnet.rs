//! Residual networks for small images (He et al. 2016, "Deep Residual Learning for Image Recognition").
//!
//! `resnet-D` with `D = 6n + 2` has three stages of `n` blocks with 16, 32 and 64 channels (section 4.2); `resnet-Dx4`
//! has 64, 128 and 256 after a first layer of 32. Where a block changes the shape, a 1x1 convolution with batch norm adapts
//! the shortcut. `resnet-50` is the ImageNet network of section 4.1 with a 3x3 first layer of stride 1 and no
//! max pooling, as usual for 32x32 images.

use super::{Family, ModelInfo, Request, classify, conv_norm, number};
use crate::Result;
use crate::build::{Builder, Value};
use crate::initialise::{Fan, Initialiser};
use crate::ir::{Conv2d, Graph};

pub(super) static FAMILY: Family = Family {
    info: ModelInfo {
        pattern: "resnet-D, resnet-Dx4 (D = 6n + 2), resnet-50",
        names: &[
            "resnet-8",
            "resnet-14",
            "resnet-20",
            "resnet-32",
            "resnet-44",
            "resnet-56",
            "resnet-110",
            "resnet-8x4",
            "resnet-32x4",
            "resnet-50",
        ],
        description: "residual network for small images; x4 is four times as wide, 50 has bottleneck blocks",
        paper: "He, Zhang, Ren and Sun 2016",
        taps: &[
            "stem",
            "stage1",
            "stage2",
            "stage3",
            "stage4 (resnet-50)",
            "pool",
        ],
        smallest: 4,
    },
    build,
};

/// The deepest network that is built: the deepest one of the paper.
const DEEPEST: usize = 1202;

fn build(request: &Request<'_>) -> Option<Result<Graph>> {
    let size = request.name.strip_prefix("resnet-")?;
    if size == "50" {
        return Some(bottleneck_network(request));
    }
    let (depth, widths) = match size.strip_suffix("x4") {
        Some(depth) => (depth, [32, 64, 128, 256]),
        None => (size, [16, 16, 32, 64]),
    };
    Some(basic_network(request, number(depth)?, widths))
}

fn start(request: &Request<'_>, width: usize) -> (Builder, Value) {
    let mut b = Builder::new(request.name);
    b.convolutions_start(Initialiser::kaiming_normal_relu(Fan::Out));
    let x = b.image(request.input);
    let conv = Conv2d::new(request.input[0], width, 3).padding(1);
    let x = conv_norm(&mut b, "conv1", "bn1", x, conv);
    let x = b.relu("relu", x);
    b.tap("stem", x);
    (b, x)
}

fn basic_network(request: &Request<'_>, depth: usize, widths: [usize; 4]) -> Result<Graph> {
    if depth % 6 != 2 || !(8..=DEEPEST).contains(&depth) {
        return Err(request.error(format!(
            "expected a depth of 6n + 2 from 8 to {DEEPEST}, such as 20, got {depth}"
        )));
    }
    request.check(4)?;
    let (mut b, mut x) = start(request, widths[0]);
    for (stage, &width) in widths[1..].iter().enumerate() {
        for block in 0..(depth - 2) / 6 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            x = basic_block(
                &mut b,
                &format!("layer{}.{block}", stage + 1),
                x,
                width,
                stride,
            );
        }
        b.tap(&format!("stage{}", stage + 1), x);
    }
    let x = classify(&mut b, x, "fc", request.classes);
    b.finish(x)
}

/// Two 3x3 convolutions; the stride is in the first.
fn basic_block(b: &mut Builder, name: &str, x: Value, width: usize, stride: usize) -> Value {
    let part = |part: &str| format!("{name}.{part}");
    let conv1 = Conv2d::new(b.channels(x), width, 3)
        .stride(stride)
        .padding(1);
    let y = conv_norm(b, &part("conv1"), &part("bn1"), x, conv1);
    let y = b.relu(&part("relu1"), y);
    let conv2 = Conv2d::new(width, width, 3).padding(1);
    let y = conv_norm(b, &part("conv2"), &part("bn2"), y, conv2);
    finish_block(b, name, x, y, stride)
}

fn bottleneck_network(request: &Request<'_>) -> Result<Graph> {
    request.check(8)?;
    let (mut b, mut x) = start(request, 64);
    for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
        let width = 64 << stage;
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            x = bottleneck_block(
                &mut b,
                &format!("layer{}.{block}", stage + 1),
                x,
                width,
                stride,
            );
        }
        b.tap(&format!("stage{}", stage + 1), x);
    }
    let x = classify(&mut b, x, "fc", request.classes);
    b.finish(x)
}

/// 1x1, 3x3 and 1x1 convolutions, the last four times as wide; the stride is in the 3x3.
fn bottleneck_block(b: &mut Builder, name: &str, x: Value, width: usize, stride: usize) -> Value {
    let part = |part: &str| format!("{name}.{part}");
    let conv1 = Conv2d::new(b.channels(x), width, 1);
    let y = conv_norm(b, &part("conv1"), &part("bn1"), x, conv1);
    let y = b.relu(&part("relu1"), y);
    let conv2 = Conv2d::new(width, width, 3).stride(stride).padding(1);
    let y = conv_norm(b, &part("conv2"), &part("bn2"), y, conv2);
    let y = b.relu(&part("relu2"), y);
    let conv3 = Conv2d::new(width, 4 * width, 1);
    let y = conv_norm(b, &part("conv3"), &part("bn3"), y, conv3);
    finish_block(b, name, x, y, stride)
}

/// Adds the shortcut of `x` to `y` and rectifies the sum.
fn finish_block(b: &mut Builder, name: &str, x: Value, y: Value, stride: usize) -> Value {
    let (before, after) = (b.channels(x), b.channels(y));
    let shortcut = if stride == 1 && before == after {
        x
    } else {
        let conv = Conv2d::new(before, after, 1).stride(stride);
        let (conv_name, norm_name) = (
            format!("{name}.downsample.0"),
            format!("{name}.downsample.1"),
        );
        conv_norm(b, &conv_name, &norm_name, x, conv)
    };
    let sum = b.add(&format!("{name}.add"), y, shortcut);
    b.relu(&format!("{name}.relu"), sum)
}
