//! Multilayer perceptrons with ReLU.
//!
//! The name lists the hidden layers: `mlp-1200-1200` is the large network of Hinton et al. 2015 (section 3). `b64` before a
//! width puts a linear bottleneck of 64 units there, without activation and without bias in it (Ba and
//! Caruana 2014, section 2.3): `mlp-b64-2048` has one hidden layer of 2048 units whose weight matrix has rank 64. A last
//! `d50` drops half of the hidden units while training.

use super::{Family, LARGEST, ModelInfo, Request, number};
use crate::Result;
use crate::build::Builder;
use crate::initialise::{Fan, Gain, Initialiser};
use crate::ir::{Graph, Linear};

pub(super) static FAMILY: Family = Family {
    info: ModelInfo {
        pattern: "mlp-W1-W2-..., bR before a width, -dP at the end",
        names: &[
            "mlp-1200-1200",
            "mlp-800-800",
            "mlp-64",
            "mlp-b64-2048",
            "mlp-1200-1200-d50",
        ],
        description: "multilayer perceptron with ReLU; bR is a linear bottleneck of R units, dP drops P percent",
        paper: "Hinton, Vinyals and Dean 2015; Ba and Caruana 2014 (bottleneck)",
        taps: &["stageN (hidden layer N)", "pool"],
        smallest: 1,
    },
    build,
};

const MOST_LAYERS: usize = 64;

/// A hidden layer.
struct Hidden {
    bottleneck: Option<usize>,
    width: usize,
}

fn build(request: &Request<'_>) -> Option<Result<Graph>> {
    let widths = request.name.strip_prefix("mlp-")?;
    Some(parse(request, widths).and_then(|(hidden, rate)| network(request, &hidden, rate)))
}

/// The hidden layers and the dropout rate.
fn parse(request: &Request<'_>, widths: &str) -> Result<(Vec<Hidden>, f64)> {
    let wrong = |part: &str, expected: &str| {
        request.error(format!(
            "expected {expected}, got `{part:.20}`, as in `mlp-b64-2048-d50`"
        ))
    };
    let mut hidden = Vec::new();
    let mut bottleneck = None;
    let mut rate = 0.0;
    let mut parts = widths.split('-').peekable();
    while let Some(part) = parts.next() {
        let units = |text: &str| number(text).filter(|&units| (1..=LARGEST).contains(&units));
        if let Some(rank) = part.strip_prefix('b') {
            let rank = units(rank).ok_or_else(|| wrong(part, "`b` and a width"))?;
            let before_width = parts.peek().is_some_and(|next| number(next).is_some());
            if !before_width {
                return Err(wrong(part, "a bottleneck to come before a width"));
            }
            bottleneck = Some(rank);
        } else if let Some(percent) = part.strip_prefix('d') {
            let percent = units(percent).filter(|&percent| percent < 100 && parts.peek().is_none());
            let percent = percent.filter(|_| !hidden.is_empty());
            rate = percent
                .ok_or_else(|| wrong(part, "`d` and a percentage from 1 to 99 at the end"))?
                as f64
                / 100.0;
        } else {
            let width = units(part);
            let width =
                width.ok_or_else(|| wrong(part, &format!("a width from 1 to {LARGEST}")))?;
            hidden.push(Hidden {
                bottleneck: bottleneck.take(),
                width,
            });
        }
    }
    if hidden.len() > MOST_LAYERS {
        let layers = hidden.len();
        return Err(request.error(format!(
            "expected at most {MOST_LAYERS} hidden layers, got {layers}"
        )));
    }
    Ok((hidden, rate))
}

fn network(request: &Request<'_>, hidden: &[Hidden], rate: f64) -> Result<Graph> {
    request.check(1)?;
    let mut b = Builder::new(request.name);
    let x = b.image(request.input);
    let mut x = b.flatten("flatten", x);
    let linear_start = Initialiser::KaimingNormal {
        fan: Fan::In,
        gain: Gain::Linear,
    };
    for (index, layer) in (1..).zip(hidden) {
        if let Some(rank) = layer.bottleneck {
            b.linears_start(linear_start);
            let linear = Linear::new(b.channels(x), rank).bias(false);
            x = b.linear(&format!("bottleneck{index}"), x, linear);
        }
        b.linears_start(Initialiser::kaiming_normal_relu(Fan::In));
        let linear = Linear::new(b.channels(x), layer.width);
        x = b.linear(&format!("fc{index}"), x, linear);
        b.weight_starts(&format!("fc{index}.bias"), Initialiser::ZEROS);
        x = b.relu(&format!("relu{index}"), x);
        b.tap(&format!("stage{index}"), x);
        if rate > 0.0 {
            x = b.dropout(&format!("dropout{index}"), x, rate);
        }
    }
    b.tap("pool", x);
    b.linears_start(linear_start);
    let linear = Linear::new(b.channels(x), request.classes);
    let x = b.linear("fc", x, linear);
    b.weight_starts("fc.bias", Initialiser::ZEROS);
    b.finish(x)
}
