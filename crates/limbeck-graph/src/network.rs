//! What trains and what teaches: a function from a batch to named tensors.

use std::collections::BTreeMap;
use std::fmt;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::{Error, Feature, Result};

/// A trainable or frozen function from a batch to named tensors.
///
/// A compiled [`Graph`](crate::ir::Graph) implements it; so can any Burn module. Training mode follows Burn:
/// inputs on an autodiff device train (batch statistics, dropout), inputs on a plain device
/// are evaluated.
pub trait Network: Module {
    /// Runs the network and records the features named in `taps`.
    ///
    /// # Errors
    /// If an input is missing or wrongly shaped, or a tap does not exist.
    fn forward(&self, inputs: &Inputs, taps: &Taps) -> Result<Trace>;

    /// The names that [`Taps`] may hold, in order of computation.
    fn tap_names(&self) -> Vec<String>;

    /// The same network, made ready to be evaluated many times: what follows from the weights alone is computed once. Changing a
    /// weight undoes it. Networks and devices that know no other precision stay with [`Precision::Fp32`].
    #[must_use]
    fn prepared(self, _precision: Precision) -> Self {
        self
    }
}

/// The precision of products in a network that is only evaluated. Sums and everything else are 32-bit floats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Fp32,
    /// Inputs and weights of convolutions and linear layers rounded to bfloat16 (8 bits of mantissa), where the processor multiplies
    /// them (x86 with AVX512-BF16); as [`Fp32`](Self::Fp32) elsewhere.
    Bf16,
}

impl Precision {
    /// Every precision with its name in recipes.
    pub const CHOICES: [(&'static str, Self); 2] = [("fp32", Self::Fp32), ("bf16", Self::Bf16)];

    /// What a compiled graph on `device` computes when it is asked for this precision.
    #[must_use]
    pub fn on(self, device: &Device) -> Self {
        let multiplies = limbeck_kernels::tensor::supports(device)
            && limbeck_kernels::convolution::bf16_available();
        if multiplies { self } else { Self::Fp32 }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
        })
    }
}

/// One input of a network.
#[derive(Clone, Debug)]
pub enum InputTensor {
    /// Images, signals, table rows.
    Float(Feature),
    /// Token ids `[batch, length]`.
    Tokens(Tensor<2, Int>),
}

/// The named inputs of one batch.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    named: Vec<(String, InputTensor)>,
}

impl Inputs {
    /// The name of the only input of most networks.
    pub const DEFAULT: &str = "input";

    /// A single float input under the default name; images are `[batch, channels, height, width]`.
    pub fn float(input: impl Into<Feature>) -> Self {
        Self::default().with(Self::DEFAULT, InputTensor::Float(input.into()))
    }

    /// Adds an input.
    #[must_use]
    pub fn with(mut self, name: &str, input: InputTensor) -> Self {
        self.named.push((name.to_owned(), input));
        self
    }

    /// The input called `name`; where there is only one on both sides, its name does not matter.
    ///
    /// # Errors
    /// If there is no such input.
    pub fn get(&self, name: &str) -> Result<&InputTensor> {
        if let Some((_, input)) = self.named.iter().find(|(key, _)| key == name) {
            return Ok(input);
        }
        if let [(_, only)] = self.named.as_slice() {
            return Ok(only);
        }
        Err(Error::Unknown {
            kind: "input",
            name: name.to_owned(),
            nearest: self.named.iter().map(|(key, _)| key.clone()).collect(),
        })
    }

    /// The float input called `name`.
    ///
    /// # Errors
    /// If there is no such input, or it holds token ids.
    pub fn get_float(&self, name: &str) -> Result<&Feature> {
        match self.get(name)? {
            InputTensor::Float(feature) => Ok(feature),
            InputTensor::Tokens(tokens) => Err(Error::Input {
                name: name.to_owned(),
                expected: "float values".to_owned(),
                got: format!("token ids {:?}", tokens.dims()),
            }),
        }
    }

    /// The names and tensors, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &InputTensor)> {
        self.named
            .iter()
            .map(|(name, input)| (name.as_str(), input))
    }

    /// The device of the first input, if there is one.
    pub fn device(&self) -> Option<Device> {
        self.named.first().map(|(_, input)| match input {
            InputTensor::Float(feature) => feature.device(),
            InputTensor::Tokens(tokens) => tokens.device(),
        })
    }
}

/// The features to record, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taps(Vec<String>);

impl Taps {
    /// Records nothing but the output.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Records the named features.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

/// What a network computed: its output and the recorded features.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The output, for a classifier the logits `[batch, classes]`.
    pub output: Feature,
    /// The recorded features by tap name; images `[batch, channels, height, width]`.
    pub features: BTreeMap<String, Feature>,
}

impl Trace {
    /// The feature recorded at `tap`.
    ///
    /// # Errors
    /// If it was not recorded.
    pub fn feature(&self, tap: &str) -> Result<&Feature> {
        self.features.get(tap).ok_or_else(|| Error::Unknown {
            kind: "tap",
            name: tap.to_owned(),
            nearest: crate::error::nearest(tap, self.features.keys().map(String::as_str)),
        })
    }
}
