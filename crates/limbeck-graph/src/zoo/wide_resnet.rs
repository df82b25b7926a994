//! Wide residual networks (Zagoruyko and Komodakis 2016, "Wide Residual Networks").
//!
//! `wrn-D-K` with `D = 6n + 4` has three stages of `n` pre-activation blocks (batch norm, ReLU, convolution) with `16K`, `32K` and
//! `64K` channels. A block that changes the number of channels takes its shortcut after the first ReLU,
//! through a 1x1 convolution. No dropout, as in most comparisons.

use super::{Family, ModelInfo, Request, classify, number};
use crate::Result;
use crate::build::{Builder, Value};
use crate::initialise::{Fan, Initialiser};
use crate::ir::{Conv2d, Graph};

pub(super) static FAMILY: Family = Family {
    info: ModelInfo {
        pattern: "wrn-D-K (D = 6n + 4)",
        names: &["wrn-16-1", "wrn-16-2", "wrn-40-1", "wrn-40-2", "wrn-28-10"],
        description: "residual network with K times the channels and pre-activation blocks",
        paper: "Zagoruyko and Komodakis 2016",
        taps: &["stem", "stage1", "stage2", "stage3", "pool"],
        smallest: 4,
    },
    build,
};

const DEEPEST: usize = 1000;
const WIDEST: usize = 64;

fn build(request: &Request<'_>) -> Option<Result<Graph>> {
    let (depth, factor) = request.name.strip_prefix("wrn-")?.split_once('-')?;
    Some(network(request, number(depth)?, number(factor)?))
}

fn network(request: &Request<'_>, depth: usize, factor: usize) -> Result<Graph> {
    if depth % 6 != 4 || !(10..=DEEPEST).contains(&depth) {
        return Err(request.error(format!(
            "expected a depth of 6n + 4 from 10 to {DEEPEST}, such as 40, got {depth}"
        )));
    }
    if !(1..=WIDEST).contains(&factor) {
        return Err(request.error(format!(
            "expected a widening factor from 1 to {WIDEST}, got {factor}"
        )));
    }
    request.check(4)?;
    let mut b = Builder::new(request.name);
    b.convolutions_start(Initialiser::kaiming_normal_relu(Fan::Out));
    let x = b.image(request.input);
    let conv = Conv2d::new(request.input[0], 16, 3).padding(1).bias(false);
    let mut x = b.conv2d("conv1", x, conv);
    b.tap("stem", x);
    for stage in 0..3 {
        let width = (16 << stage) * factor;
        for block in 0..(depth - 4) / 6 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = format!("block{}.layer.{block}", stage + 1);
            x = pre_activation_block(&mut b, &name, x, width, stride);
        }
        b.tap(&format!("stage{}", stage + 1), x);
    }
    let x = b.batch_norm("bn1", x);
    let x = b.relu("relu", x);
    let x = classify(&mut b, x, "fc", request.classes);
    b.weight_starts("fc.bias", Initialiser::ZEROS);
    b.finish(x)
}

fn pre_activation_block(
    b: &mut Builder,
    name: &str,
    x: Value,
    width: usize,
    stride: usize,
) -> Value {
    let part = |part: &str| format!("{name}.{part}");
    let before = b.channels(x);
    let active = b.batch_norm(&part("bn1"), x);
    let active = b.relu(&part("relu1"), active);
    let conv1 = Conv2d::new(before, width, 3)
        .stride(stride)
        .padding(1)
        .bias(false);
    let y = b.conv2d(&part("conv1"), active, conv1);
    let y = b.batch_norm(&part("bn2"), y);
    let y = b.relu(&part("relu2"), y);
    let conv2 = Conv2d::new(width, width, 3).padding(1).bias(false);
    let y = b.conv2d(&part("conv2"), y, conv2);
    let shortcut = if before == width && stride == 1 {
        x
    } else {
        let conv = Conv2d::new(before, width, 1).stride(stride).bias(false);
        b.conv2d(&part("convShortcut"), active, conv)
    };
    b.add(&part("add"), y, shortcut)
}
