//! Plain stacks of 3x3 convolutions (Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale
//! Image Recognition").
//!
//! For small images: batch norm after every convolution, global average pooling and one linear layer in place of the
//! three large ones, max pooling after the first three of five stages, and after the fourth too where images have
//! 64 pixels or more. `vgg-8` has one convolution per stage (Tian et al. 2020).

use super::{Family, ModelInfo, Request, classify};
use crate::Result;
use crate::build::Builder;
use crate::initialise::{Fan, Initialiser};
use crate::ir::{Conv2d, Graph, Pool2d};

pub(super) static FAMILY: Family = Family {
    info: ModelInfo {
        pattern: "vgg-D",
        names: &["vgg-8", "vgg-11", "vgg-13", "vgg-16", "vgg-19"],
        description: "plain stack of 3x3 convolutions with batch norm and max pooling",
        paper: "Simonyan and Zisserman 2015",
        taps: &[
            "stem", "stage1", "stage2", "stage3", "stage4", "stage5", "pool",
        ],
        smallest: 8,
    },
    build,
};

const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];

/// Images from this height and width on are pooled four times.
const LARGE_IMAGE: usize = 64;

fn build(request: &Request<'_>) -> Option<Result<Graph>> {
    let convolutions = match request.name {
        "vgg-8" => [1, 1, 1, 1, 1],
        "vgg-11" => [1, 1, 2, 2, 2],
        "vgg-13" => [2, 2, 2, 2, 2],
        "vgg-16" => [2, 2, 3, 3, 3],
        "vgg-19" => [2, 2, 4, 4, 4],
        _ => return None,
    };
    Some(network(request, convolutions))
}

fn network(request: &Request<'_>, convolutions: [usize; 5]) -> Result<Graph> {
    request.check(8)?;
    let [_, height, width] = request.input;
    let pools = if height.min(width) >= LARGE_IMAGE {
        4
    } else {
        3
    };
    let mut b = Builder::new(request.name);
    b.convolutions_start(Initialiser::kaiming_normal_relu(Fan::Out));
    b.linears_start(Initialiser::Normal { deviation: 0.01 });
    let mut x = b.image(request.input);
    for (stage, (width, count)) in WIDTHS.into_iter().zip(convolutions).enumerate() {
        for layer in 0..count {
            let name = |offset: usize| format!("block{stage}.{}", 3 * layer + offset);
            let conv = Conv2d::new(b.channels(x), width, 3).padding(1);
            x = b.conv2d(&name(0), x, conv);
            b.weight_starts(&format!("{}.bias", name(0)), Initialiser::ZEROS);
            x = b.batch_norm(&name(1), x);
            x = b.relu(&name(2), x);
            if stage == 0 && layer == 0 {
                b.tap("stem", x);
            }
        }
        b.tap(&format!("stage{}", stage + 1), x);
        if stage < pools {
            x = b.max_pool2d(&format!("pool{stage}"), x, Pool2d::new(2));
        }
    }
    let x = classify(&mut b, x, "classifier", request.classes);
    b.weight_starts("classifier.bias", Initialiser::ZEROS);
    b.finish(x)
}
