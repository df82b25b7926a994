//! Deeper networks that compute the same (Net2DeeperNet).
//!
//! Chen, Goodfellow and Shlens 2016, "Net2Net: Accelerating Learning via Knowledge Transfer", section 2.3: behind an activation `f` comes a layer
//! that starts as the identity, and `f` again. That keeps the function if `f(f(x)) = f(x)`.

use super::{Weighted, insert, resolve};
use crate::build::Builder;
use crate::ir::{Activation, BatchNorm, Conv1d, Conv2d, Initialiser, Linear, Op, ValueType};
use crate::weights::HostTensor;
use crate::{Error, Seed};

/// The layer that [`deepen`] inserts.
#[derive(Clone, Debug, PartialEq)]
pub struct Deepening {
    /// What the names of the new nodes (`conv` or `linear`, `norm`, `activation`) begin with, before a dot.
    pub prefix: String,
    /// The kernel of a convolution along each axis, an odd number; linear layers have none.
    pub kernel: usize,
    /// The statistics of the activation, if a batch norm is to follow the new layer.
    pub statistics: Option<Statistics>,
}

/// The mean and the variance of each channel of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The means.
    pub mean: Vec<f32>,
    /// The variances.
    pub variance: Vec<f32>,
}

/// Inserts an identity layer and a copy of the activation behind `activation` (a node's name or a tap).
///
/// Behind rows it is a linear layer with the identity matrix, behind sequences and images a convolution with stride 1 whose kernel is one at
/// its centre for the own channel and zero elsewhere. Without a batch norm the layer has a bias of zeros. A batch norm gets the given
/// statistics as running mean and variance and starts with `scale = sqrt(variance + epsilon)` and `shift = mean`, so it is the identity in
/// evaluation mode; in training mode it is as far as the batch's statistics are the given ones.
///
/// # Errors
/// If there is no such activation, it is not idempotent (only ReLU, ReLU6, bounds, the absolute value and
/// the identity are, and leaky ReLU with a slope of 0 or 1), the
/// kernel is even, or the statistics are not those of as many channels.
pub fn deepen(network: Weighted, activation: &str, layer: &Deepening) -> crate::Result<Weighted> {
    let error = |problem: String| Error::Rewrite {
        rewrite: "deepen behind",
        place: activation.to_owned(),
        problem,
    };
    let values = network.graph.validate()?.values;
    let value = resolve(&network.graph, &values, activation)?;
    let function = match network.graph.node(&value).map(|node| &node.op) {
        Some(Op::Activation(function)) => *function,
        other => {
            let got = other.map_or("an input or a part of a value", Op::name);
            return Err(error(format!("expected an activation, got {got}")));
        }
    };
    if !is_idempotent(function) {
        return Err(error(format!(
            "expected an activation that does nothing when it is applied twice, such as relu, got {}",
            function.name()
        )));
    }
    let chain = chain(&values[&value], function, layer).map_err(error)??;
    insert(network, activation, chain, &layer.prefix)
}

/// Whether applying it twice is applying it once.
fn is_idempotent(function: Activation) -> bool {
    match function {
        Activation::Identity | Activation::Relu | Activation::Relu6 | Activation::Absolute => true,
        Activation::Clip { least, most } => least <= most,
        Activation::LeakyRelu { slope } => slope == 0.0 || slope == 1.0,
        _ => false,
    }
}

/// The new nodes as a network, or a sentence if the value or the attributes do not allow it.
fn chain(
    value: &ValueType,
    function: Activation,
    layer: &Deepening,
) -> Result<crate::Result<Weighted>, String> {
    let channels = value.shape.size(1).unwrap_or(0);
    let kernel = layer.kernel;
    if value.shape.rank() > 2 && kernel.is_multiple_of(2) {
        return Err(format!("expected an odd kernel, got {kernel}"));
    }
    let bias = layer.statistics.is_none();
    let mut b = Builder::new("identity layer");
    let x = b.input("x", value.clone());
    let (name, x, places) = match value.shape.rank() {
        2 => {
            let linear = Linear::new(channels, channels).bias(bias);
            ("linear", b.linear("linear", x, linear), 1)
        }
        3 => {
            let conv = Conv1d::new(channels, channels, kernel).padding(kernel / 2);
            ("conv", b.conv1d("conv", x, conv.bias(bias)), kernel)
        }
        4 => {
            let conv = Conv2d::new(channels, channels, kernel).padding(kernel / 2);
            let places = kernel.saturating_mul(kernel);
            ("conv", b.conv2d("conv", x, conv.bias(bias)), places)
        }
        _ => return Err(format!("expected rows, sequences or images, got {value}")),
    };
    if bias {
        b.weight_starts(&format!("{name}.bias"), Initialiser::ZEROS);
    }
    let norm = BatchNorm::new(channels);
    let epsilon = norm.epsilon;
    let x = match &layer.statistics {
        Some(statistics) => {
            statistics.check(channels)?;
            b.batch_norm_with("norm", x, norm)
        }
        None => x,
    };
    let x = b.activation("activation", x, function);
    let mut network = match b
        .finish(x)
        .and_then(|graph| Weighted::fresh(graph, Seed::new(0)))
    {
        Ok(network) => network,
        Err(error) => return Ok(Err(error)),
    };
    let weights = &mut network.weights;
    if let Some(weight) = weights.get_mut(&format!("{name}.weight")) {
        weight.values.fill(0.0);
        for channel in 0..channels {
            weight.values[(channel * channels + channel) * places + places / 2] = 1.0;
        }
    }
    if let Some(Statistics { mean, variance }) = &layer.statistics {
        let scale = variance.iter().map(|&variance| {
            let deviation = (f64::from(variance) + epsilon).sqrt();
            deviation as f32
        });
        for (role, values) in [
            ("weight", scale.collect()),
            ("bias", mean.clone()),
            ("running_mean", mean.clone()),
            ("running_var", variance.clone()),
        ] {
            let shape = vec![channels];
            weights.insert(format!("norm.{role}"), HostTensor { shape, values });
        }
    }
    Ok(Ok(network))
}

impl Statistics {
    fn check(&self, channels: usize) -> Result<(), String> {
        let (means, variances) = (self.mean.len(), self.variance.len());
        if means != channels || variances != channels {
            return Err(format!(
                "expected means and variances of {channels} channels, got {means} and {variances}"
            ));
        }
        let usable = |variance: &f32| variance.is_finite() && *variance >= 0.0;
        match self.variance.iter().find(|variance| !usable(variance)) {
            Some(variance) => Err(format!("expected variances of 0 or more, got {variance}")),
            None => Ok(()),
        }
    }
}
