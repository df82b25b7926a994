//! Inverted residuals (Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks").
//!
//! The half-width version that distillation papers use on small images: expansion 6, the
//! first stage unstrided beyond the first layer, an expanding convolution in the first block too, and ReLU where the paper has
//! ReLU6.

use super::{Family, ModelInfo, Request, classify, conv_norm};
use crate::Result;
use crate::build::{Builder, Value};
use crate::initialise::{Fan, Initialiser};
use crate::ir::{Conv2d, Graph};

pub(super) static FAMILY: Family = Family {
    info: ModelInfo {
        pattern: "mobilenet-v2",
        names: &["mobilenet-v2"],
        description: "inverted residuals with depthwise convolutions, half width",
        paper: "Sandler, Howard, Zhu, Zhmoginov and Chen 2018",
        taps: &["stem", "stage1", "stage2", "stage3", "stage4", "pool"],
        smallest: 16,
    },
    build: |request| (request.name == "mobilenet-v2").then(|| network(request)),
};

/// Expansion, channels at full width, blocks, stride of the first block (table 2, strides for small
/// images).
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// The stages whose end has a tap: those before a stride, and the last.
const TAPPED: [usize; 4] = [1, 2, 4, 6];

/// Channels before the classifier, not scaled with the width.
const EMBEDDING: usize = 1280;

fn network(request: &Request<'_>) -> Result<Graph> {
    request.check(16)?;
    let mut b = Builder::new(request.name);
    b.convolutions_start(Initialiser::kaiming_normal_relu(Fan::Out));
    b.linears_start(Initialiser::Normal { deviation: 0.01 });
    let x = b.image(request.input);
    let stem = Conv2d::new(request.input[0], 16, 3).stride(2).padding(1);
    let x = conv_norm(&mut b, "conv1.0", "conv1.1", x, stem);
    let mut x = b.relu("conv1.2", x);
    b.tap("stem", x);
    for (stage, (expansion, channels, blocks, stride)) in STAGES.into_iter().enumerate() {
        for block in 0..blocks {
            let stride = if block == 0 { stride } else { 1 };
            let name = format!("blocks.{stage}.{block}");
            x = inverted_residual(&mut b, &name, x, channels / 2, expansion, stride);
        }
        if let Some(tap) = TAPPED.iter().position(|&tapped| tapped == stage) {
            b.tap(&format!("stage{}", tap + 1), x);
        }
    }
    let last = Conv2d::new(b.channels(x), EMBEDDING, 1);
    let x = conv_norm(&mut b, "conv2.0", "conv2.1", x, last);
    let x = b.relu("conv2.2", x);
    let x = classify(&mut b, x, "classifier.0", request.classes);
    b.weight_starts("classifier.0.bias", Initialiser::ZEROS);
    b.finish(x)
}

/// Expand, filter each channel, project without activation; the shortcut joins the narrow ends.
fn inverted_residual(
    b: &mut Builder,
    name: &str,
    x: Value,
    channels: usize,
    expansion: usize,
    stride: usize,
) -> Value {
    let part = |index: usize| format!("{name}.conv.{index}");
    let before = b.channels(x);
    let inner = before * expansion;
    let y = conv_norm(b, &part(0), &part(1), x, Conv2d::new(before, inner, 1));
    let y = b.relu(&part(2), y);
    let depthwise = Conv2d::depthwise(inner, 3).stride(stride).padding(1);
    let y = conv_norm(b, &part(3), &part(4), y, depthwise);
    let y = b.relu(&part(5), y);
    let y = conv_norm(b, &part(6), &part(7), y, Conv2d::new(inner, channels, 1));
    if stride == 1 && before == channels {
        b.add(&format!("{name}.add"), y, x)
    } else {
        y
    }
}
