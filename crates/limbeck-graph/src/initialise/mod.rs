//! How weights start.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::Seed;
use crate::ir::{Op, WeightKind, WeightSpec};

/// Which side of a weight its scale is taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fan {
    /// The inputs of one output: keeps the variance of the activations.
    #[default]
    In,
    /// The outputs of one input: keeps the variance of the gradients.
    Out,
}

/// The factor that makes up for what a nonlinearity does to the variance, as PyTorch counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gain {
    /// 1, for a layer without nonlinearity, or a sigmoid.
    #[default]
    Linear,
    /// `sqrt(2)`.
    Relu,
    /// `5 / 3`.
    Tanh,
}

impl Gain {
    /// The factor.
    pub const fn value(self) -> f64 {
        match self {
            Self::Linear => 1.0,
            Self::Relu => std::f64::consts::SQRT_2,
            Self::Tanh => 5.0 / 3.0,
        }
    }
}

/// A distribution for the values of a new weight.
///
/// With `receptive` the number of kernel places, `fan in = axis 1 * receptive` and `fan out = axis 0 * receptive`,
/// as PyTorch counts them; a weight with one axis has that size as both.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "distribution", rename_all = "snake_case")]
pub enum Initialiser {
    /// The same value everywhere.
    Constant {
        /// The value.
        value: f64,
    },
    /// Normal with mean 0.
    Normal {
        /// The standard deviation.
        deviation: f64,
    },
    /// Uniform on `(-bound, bound)`.
    Uniform {
        /// The bound.
        bound: f64,
    },
    /// Uniform on `(-1 / sqrt(fan in), 1 / sqrt(fan in))`: what PyTorch gives a linear layer or a
    /// convolution, weight and bias.
    Pytorch {
        /// The inputs of one output of the layer.
        fan_in: usize,
    },
    /// Normal with standard deviation `gain / sqrt(fan)` (He et al. 2015, section 2.2).
    KaimingNormal {
        /// The side.
        fan: Fan,
        /// The nonlinearity that follows.
        gain: Gain,
    },
    /// Uniform with bound `gain * sqrt(3 / fan)` (He et al. 2015, section 2.2).
    KaimingUniform {
        /// The side.
        fan: Fan,
        /// The nonlinearity that follows.
        gain: Gain,
    },
    /// Normal with standard deviation `gain * sqrt(2 / (fan in + fan out))` (Glorot and Bengio 2010).
    XavierNormal {
        /// The nonlinearity that follows.
        gain: Gain,
    },
    /// Uniform with bound `gain * sqrt(6 / (fan in + fan out))` (Glorot and Bengio 2010).
    XavierUniform {
        /// The nonlinearity that follows.
        gain: Gain,
    },
}

impl Initialiser {
    /// All zeros.
    pub const ZEROS: Self = Self::Constant { value: 0.0 };
    /// All ones.
    pub const ONES: Self = Self::Constant { value: 1.0 };

    /// Kaiming's normal distribution for ReLU networks, by the outputs: what ResNets start from.
    pub const fn kaiming_normal_relu(fan: Fan) -> Self {
        Self::KaimingNormal {
            fan,
            gain: Gain::Relu,
        }
    }

    /// The usual start of a weight of `op`, as PyTorch has it.
    pub fn default_of(op: &Op, kind: WeightKind) -> Self {
        match (kind, op) {
            (WeightKind::NormScale | WeightKind::RunningVariance, _) => Self::ONES,
            (WeightKind::NormShift | WeightKind::RunningMean | WeightKind::Constant, _) => {
                Self::ZEROS
            }
            (_, Op::Recurrent(recurrent)) => Self::Pytorch {
                fan_in: recurrent.hidden,
            },
            (_, Op::Embedding(_)) => Self::Normal { deviation: 1.0 },
            (_, Op::Parameter(_)) => Self::Normal { deviation: 0.02 },
            (WeightKind::Weight | WeightKind::Bias, op) => {
                let fan_in = op
                    .weights()
                    .first()
                    .map_or(1, |weight| fans(&weight.shape).0);
                Self::Pytorch { fan_in }
            }
        }
    }

    /// `shape.product()` values drawn from `random`.
    pub fn draw(self, shape: &[usize], random: &mut impl Rng) -> Vec<f32> {
        let count = shape.iter().product();
        let (fan_in, fan_out) = fans(shape);
        let fan = |fan: Fan| match fan {
            Fan::In => fan_in as f64,
            Fan::Out => fan_out as f64,
        };
        let both = (fan_in + fan_out) as f64;
        match self {
            Self::Constant { value } => vec![value as f32; count],
            Self::Normal { deviation } => normal(count, deviation, random),
            Self::Uniform { bound } => uniform(count, bound, random),
            Self::Pytorch { fan_in } => uniform(count, 1.0 / (fan_in.max(1) as f64).sqrt(), random),
            Self::KaimingNormal { fan: side, gain } => {
                normal(count, gain.value() / fan(side).sqrt(), random)
            }
            Self::KaimingUniform { fan: side, gain } => {
                uniform(count, gain.value() * (3.0 / fan(side)).sqrt(), random)
            }
            Self::XavierNormal { gain } => {
                normal(count, gain.value() * (2.0 / both).sqrt(), random)
            }
            Self::XavierUniform { gain } => {
                uniform(count, gain.value() * (6.0 / both).sqrt(), random)
            }
        }
    }
}

/// `(fan in, fan out)` of a weight, at least 1 each.
pub fn fans(shape: &[usize]) -> (usize, usize) {
    let (inputs, outputs) = match shape {
        [] => (1, 1),
        [size] => (*size, *size),
        [outputs, inputs, kernel @ ..] => {
            let receptive: usize = kernel.iter().product();
            (inputs * receptive, outputs * receptive)
        }
    };
    (inputs.max(1), outputs.max(1))
}

/// The first values of the weight `name`: a function of the seed and the name alone, so adding a layer does
/// not change another, and every device starts from the same numbers.
pub fn values(name: &str, spec: &WeightSpec, seed: Seed) -> Vec<f32> {
    let mut random = seed.stream(&format!("initialisation/{name}"), &[]);
    spec.initialiser.draw(&spec.shape, &mut random)
}

fn uniform(count: usize, bound: f64, random: &mut impl Rng) -> Vec<f32> {
    (0..count)
        .map(|_| ((random.random::<f64>() * 2.0 - 1.0) * bound) as f32)
        .collect()
}

/// Box and Muller's transform: two uniform numbers give two normal ones.
fn normal(count: usize, deviation: f64, random: &mut impl Rng) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt() * deviation;
        let (sine, cosine) = (random.random::<f64>() * std::f64::consts::TAU).sin_cos();
        values.push((radius * cosine) as f32);
        values.push((radius * sine) as f32);
    }
    values.truncate(count);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(initialiser: Initialiser, shape: &[usize]) -> (f64, f64, f64) {
        let values = initialiser.draw(shape, &mut Seed::new(1).stream("moments", &[]));
        assert_eq!(values.len(), shape.iter().product::<usize>());
        let count = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let variance = values
            .iter()
            .map(|&x| (f64::from(x) - mean).powi(2))
            .sum::<f64>()
            / count;
        let largest = values
            .iter()
            .map(|&x| f64::from(x.abs()))
            .fold(0.0, f64::max);
        (mean, variance.sqrt(), largest)
    }

    #[test]
    fn the_spread_is_what_the_formulas_say() {
        // fan in 16 * 9 = 144, fan out 64 * 9 = 576, 9216 values.
        let shape = [64, 16, 3, 3];
        let root3 = 3.0_f64.sqrt();
        let relu = |fan| Initialiser::kaiming_normal_relu(fan);
        let cases = [
            (relu(Fan::In), (2.0 / 144.0_f64).sqrt(), None),
            (relu(Fan::Out), (2.0 / 576.0_f64).sqrt(), None),
            (Initialiser::Normal { deviation: 0.3 }, 0.3, None),
            (Initialiser::Uniform { bound: 0.6 }, 0.6 / root3, Some(0.6)),
            (
                Initialiser::Pytorch { fan_in: 144 },
                1.0 / 12.0 / root3,
                Some(1.0 / 12.0),
            ),
            (
                Initialiser::KaimingUniform {
                    fan: Fan::In,
                    gain: Gain::Linear,
                },
                1.0 / 12.0,
                Some(root3 / 12.0),
            ),
            (
                Initialiser::XavierNormal { gain: Gain::Linear },
                (2.0 / 720.0_f64).sqrt(),
                None,
            ),
            (
                Initialiser::XavierUniform { gain: Gain::Tanh },
                5.0 / 3.0 * (2.0 / 720.0_f64).sqrt(),
                Some(5.0 / 3.0 * (6.0 / 720.0_f64).sqrt()),
            ),
        ];
        for (initialiser, deviation, bound) in cases {
            let (mean, found, largest) = moments(initialiser, &shape);
            // The mean of 9216 values has a deviation of 1 / 96 of theirs; 4 of those.
            assert!(
                mean.abs() < deviation * 0.042,
                "{initialiser:?}: mean {mean}"
            );
            assert!(
                (found / deviation - 1.0).abs() < 0.03,
                "{initialiser:?}: {found} for {deviation}"
            );
            if let Some(bound) = bound {
                assert!(
                    largest <= bound * 1.000_001 && largest > bound * 0.99,
                    "{initialiser:?}: {largest}"
                );
            }
        }
        assert_eq!(moments(Initialiser::ONES, &[5]), (1.0, 0.0, 1.0));
    }

    #[test]
    fn a_weight_depends_on_the_seed_and_its_name_alone() {
        let normal = Initialiser::Normal { deviation: 1.0 };
        let spec = WeightSpec::new(vec![3, 5], WeightKind::Weight, normal);
        let first = values("fc.weight", &spec, Seed::new(7));
        assert_eq!(first, values("fc.weight", &spec, Seed::new(7)));
        assert_ne!(first, values("fc.weight", &spec, Seed::new(8)));
        assert_ne!(first, values("fc2.weight", &spec, Seed::new(7)));
    }

    #[test]
    fn an_odd_number_of_normal_values_is_drawn() {
        let values =
            Initialiser::Normal { deviation: 1.0 }.draw(&[3], &mut Seed::new(0).stream("odd", &[]));
        assert!(values.len() == 3 && values.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn fans_are_counted_as_pytorch_does() {
        assert_eq!(fans(&[7]), (7, 7));
        assert_eq!(fans(&[10, 20]), (20, 10));
        assert_eq!(fans(&[8, 4, 3, 5]), (60, 120));
        assert_eq!(fans(&[]), (1, 1));
    }
}
