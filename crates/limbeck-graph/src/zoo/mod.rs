//! The networks of the literature, in the versions that papers on distillation compare.
//!
//! Sizes and weight names follow the implementations that these papers share (Tian et al. 2020,
//! "Contrastive Representation Distillation"), so that their checkpoints load and their parameter counts hold. Every network
//! takes any number of channels and classes, and any image its strides leave something of.
//!
//! Every network has the taps `stem` (after the first layer), `stage1` and so on (the ends of its stages) and
//! `pool` (the embedding `[batch, channels]` that the classifier takes), where it has such a place.

mod lenet;
mod mlp;
mod mobilenet;
mod resnet;
mod shufflenet;
mod vgg;
mod wide_resnet;

use serde::Serialize;

use crate::build::{Builder, Value};
use crate::error::nearest;
use crate::ir::{Conv2d, Graph, Linear};
use crate::{Error, Result};

/// A family of networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelInfo {
    /// How its members are called, such as `resnet-D`.
    pub pattern: &'static str,
    /// Names of members.
    pub names: &'static [&'static str],
    /// What it is, in one line.
    pub description: &'static str,
    /// Authors and year.
    pub paper: &'static str,
    /// The names under which its stages can be recorded; `N` is a number.
    pub taps: &'static [&'static str],
    /// The height and width of the smallest image it takes.
    pub smallest: usize,
}

/// A family's description and how it is built.
struct Family {
    info: ModelInfo,
    /// The graph of the network called so, or `None` if the name is not one of this family's.
    build: fn(&Request<'_>) -> Option<Result<Graph>>,
}

/// What a network is built for.
struct Request<'a> {
    name: &'a str,
    /// Channels, height, width.
    input: [usize; 3],
    classes: usize,
}

const FAMILIES: [&Family; 8] = [
    &mlp::FAMILY,
    &lenet::FAMILY,
    &resnet::FAMILY,
    &wide_resnet::FAMILY,
    &vgg::FAMILY,
    &mobilenet::FAMILY,
    &shufflenet::V1,
    &shufflenet::V2,
];

/// The largest width of a layer, number of classes and size along an axis.
const LARGEST: usize = 1 << 20;

/// The most values of an image.
const MOST_VALUES: usize = 1 << 28;

/// Builds the network called `name` for images of `input` (channels, height, width) and `classes` classes.
///
/// ```
/// let graph = limbeck_graph::zoo::build("resnet-20", [3, 32, 32], 10)?;
/// assert_eq!(graph.parameter_count(), 272_474);
/// # Ok::<(), limbeck_graph::Error>(())
/// ```
///
/// # Errors
/// If there is no such network (the nearest names are suggested), or the image is too small for it.
pub fn build(name: &str, input: [usize; 3], classes: usize) -> Result<Graph> {
    let request = Request {
        name,
        input,
        classes,
    };
    for family in FAMILIES {
        if let Some(graph) = (family.build)(&request) {
            return graph;
        }
    }
    let names = FAMILIES.iter().flat_map(|family| family.info.names);
    Err(Error::Unknown {
        kind: "model",
        name: name.to_owned(),
        nearest: nearest(&name.to_lowercase(), names.copied()),
    })
}

/// The families of networks that [`build`] knows.
pub fn models() -> Vec<ModelInfo> {
    FAMILIES.iter().map(|family| family.info.clone()).collect()
}

impl Request<'_> {
    fn error(&self, problem: String) -> Error {
        Error::Graph {
            graph: self.name.to_owned(),
            problem,
        }
    }

    /// Checks that the numbers are usable and the image at least `smallest` high and wide.
    fn check(&self, smallest: usize) -> Result<()> {
        let [channels, height, width] = self.input;
        for (what, number) in [
            ("number of channels", channels),
            ("height", height),
            ("width", width),
            ("number of classes", self.classes),
        ] {
            if number == 0 || number > LARGEST {
                return Err(self.error(format!(
                    "expected a {what} from 1 to {LARGEST}, got {number}"
                )));
            }
        }
        if channels.saturating_mul(height).saturating_mul(width) > MOST_VALUES {
            return Err(self.error(format!(
                "expected images of at most {MOST_VALUES} values, got {channels}x{height}x{width}"
            )));
        }
        if height.min(width) < smallest {
            return Err(self.error(format!(
                "expected images of at least {smallest}x{smallest}, got {height}x{width}; choose a network with \
                 fewer strides or enlarge the images"
            )));
        }
        Ok(())
    }
}

/// A number written without sign or leading zero.
fn number(text: &str) -> Option<usize> {
    let canonical = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    if canonical { text.parse().ok() } else { None }
}

/// A convolution without bias called `conv` and its batch norm called `norm`.
fn conv_norm(b: &mut Builder, conv: &str, norm: &str, x: Value, convolution: Conv2d) -> Value {
    let x = b.conv2d(conv, x, convolution.bias(false));
    b.batch_norm(norm, x)
}

/// Global average pooling, tapped as `pool`, and the classifier called `classifier`.
fn classify(b: &mut Builder, x: Value, classifier: &str, classes: usize) -> Value {
    let x = b.global_avg_pool("avgpool", x);
    let x = b.flatten("flatten", x);
    b.tap("pool", x);
    let features = b.channels(x);
    b.linear(classifier, x, Linear::new(features, classes))
}

#[cfg(test)]
mod tests;
