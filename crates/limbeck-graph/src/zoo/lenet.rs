//! LeNet-5 (LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", section 2.B).
//!
//! With tanh, average pooling and, as usual today, all pairs of maps connected in the second convolution and a linear
//! output layer. Images below 32 pixels are padded by 2, as the paper does with its 28x28 digits.

use super::{Family, ModelInfo, Request};
use crate::Result;
use crate::build::Builder;
use crate::initialise::{Gain, Initialiser};
use crate::ir::{Activation, Conv2d, Graph, Linear, Pool2d};

pub(super) static FAMILY: Family = Family {
    info: ModelInfo {
        pattern: "lenet5",
        names: &["lenet5"],
        description: "two convolutions and three linear layers with tanh",
        paper: "LeCun, Bottou, Bengio and Haffner 1998",
        taps: &["stem", "stage1", "stage2", "pool"],
        smallest: SMALLEST,
    },
    build: |request| (request.name == "lenet5").then(|| network(request)),
};

/// With padding 2: 12 pixels, pooled to 6, convolved to 2, pooled to 1.
const SMALLEST: usize = 12;

/// The images of the paper, which need no padding.
const UNPADDED: usize = 32;

fn network(request: &Request<'_>) -> Result<Graph> {
    request.check(SMALLEST)?;
    let [channels, height, width] = request.input;
    let padding = if height.min(width) < UNPADDED { 2 } else { 0 };
    let mut b = Builder::new(request.name);
    b.convolutions_start(Initialiser::XavierUniform { gain: Gain::Tanh });
    b.linears_start(Initialiser::XavierUniform { gain: Gain::Tanh });
    let x = b.image(request.input);
    let x = b.conv2d("conv1", x, Conv2d::new(channels, 6, 5).padding(padding));
    let x = b.activation("tanh1", x, Activation::Tanh);
    b.tap("stem", x);
    let x = b.avg_pool2d("pool1", x, Pool2d::new(2));
    b.tap("stage1", x);
    let x = b.conv2d("conv2", x, Conv2d::new(6, 16, 5));
    let x = b.activation("tanh2", x, Activation::Tanh);
    let x = b.avg_pool2d("pool2", x, Pool2d::new(2));
    b.tap("stage2", x);
    let x = b.flatten("flatten", x);
    let features = b.channels(x);
    let x = b.linear("fc1", x, Linear::new(features, 120));
    let x = b.activation("tanh3", x, Activation::Tanh);
    let x = b.linear("fc2", x, Linear::new(120, 84));
    let x = b.activation("tanh4", x, Activation::Tanh);
    b.tap("pool", x);
    b.linears_start(Initialiser::XavierUniform { gain: Gain::Linear });
    let x = b.linear("fc3", x, Linear::new(84, request.classes));
    for layer in ["conv1", "conv2", "fc1", "fc2", "fc3"] {
        b.weight_starts(&format!("{layer}.bias"), Initialiser::ZEROS);
    }
    b.finish(x)
}
