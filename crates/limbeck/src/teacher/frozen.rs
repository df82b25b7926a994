//! A network that only answers.

use burn::tensor::{Device, Tensor, TensorData};
use limbeck_graph::{Feature, InputTensor, Inputs, Network, Precision, Taps, Trace, each_rank};

use super::{Answer, Teacher};
use crate::data::Normalization;
use crate::{Error, Result};

/// A frozen network: parameters on a plain device, evaluation mode, no gradients.
///
/// Inputs on an autodiff device are taken off it first, so that neither dropout nor batch statistics can be
/// switched on by the caller, and nothing of the answer is tracked.
#[derive(Debug)]
pub struct Frozen<N: Network> {
    network: N,
    device: Device,
    renormalization: Option<Renormalization>,
}

impl<N: Network> Frozen<N> {
    /// Freezes a snapshot of `network` on `device`. Later training of the original does not reach it.
    pub fn new(network: &N, device: &Device) -> Self {
        Self::in_precision(network, device, Precision::default())
    }

    /// [`new`](Self::new), answering in `precision`.
    pub fn in_precision(network: &N, device: &Device, precision: Precision) -> Self {
        let device = device.clone().without_autodiff();
        let network = network.valid().to_device(&device).prepared(precision);
        Self {
            network,
            device,
            renormalization: None,
        }
    }

    /// Turns inputs that were normalised for the student into what this teacher was trained with.
    #[must_use]
    pub fn with_renormalization(mut self, renormalization: Renormalization) -> Self {
        self.renormalization = (!renormalization.is_identity()).then_some(renormalization);
        self
    }

    /// The network.
    pub const fn network(&self) -> &N {
        &self.network
    }

    fn prepare(&self, inputs: &Inputs) -> Result<Inputs> {
        let mut prepared = Inputs::default();
        for (name, input) in inputs.iter() {
            let input = match input {
                InputTensor::Float(feature) => {
                    let plain = plain(feature).to_device(&self.device);
                    InputTensor::Float(match &self.renormalization {
                        Some(renormalization) => renormalization.apply(&plain)?,
                        None => plain,
                    })
                }
                InputTensor::Tokens(tokens) => {
                    InputTensor::Tokens(tokens.clone().without_autodiff().to_device(&self.device))
                }
            };
            prepared = prepared.with(name, input);
        }
        Ok(prepared)
    }
}

impl<N: Network> Teacher for Frozen<N> {
    fn answer(&self, inputs: &Inputs, taps: &Taps) -> Result<Answer> {
        let trace = self.network.forward(&self.prepare(inputs)?, taps)?;
        let features = trace
            .features
            .iter()
            .map(|(tap, value)| (tap.clone(), plain(value)));
        Ok(Answer::single(Trace {
            output: plain(&trace.output),
            features: features.collect(),
        }))
    }
}

fn plain(feature: &Feature) -> Feature {
    each_rank!(feature, tensor => tensor.clone().without_autodiff().into())
}

trait ToDevice {
    fn to_device(self, device: &Device) -> Self;
}

impl ToDevice for Feature {
    fn to_device(self, device: &Device) -> Self {
        each_rank!(self, tensor => tensor.to_device(device).into())
    }
}

/// The affine map per channel from one input normalisation to another:
/// `(x s1 + m1 - m2) / s2` for inputs normalised as `(pixel - m1) / s1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Renormalization {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Renormalization {
    /// The map from inputs normalised with `from` to inputs normalised with `to`.
    ///
    /// # Errors
    /// If the numbers of channels do not fit, or a deviation is not positive.
    pub fn between(from: &Normalization, to: &Normalization) -> Result<Self> {
        let lengths = [&from.mean, &from.std, &to.mean, &to.std].map(Vec::len);
        let channels = lengths.into_iter().fold(1, usize::max);
        from.check(channels)?;
        to.check(channels)?;
        let mut deviations = from.std.iter().chain(&to.std);
        if let Some(wrong) = deviations.find(|std| !(std.is_finite() && **std > 0.0)) {
            let (name, expected) = ("normalisation deviation", "positive and finite");
            return Err(Error::Range {
                name,
                expected,
                got: f64::from(*wrong),
            });
        }
        let at = |values: &[f32], channel: usize| {
            f64::from(values[if values.len() == 1 { 0 } else { channel }])
        };
        let map = |channel: usize| {
            let to_std = at(&to.std, channel);
            let scale = at(&from.std, channel) / to_std;
            let shift = (at(&from.mean, channel) - at(&to.mean, channel)) / to_std;
            (scale as f32, shift as f32)
        };
        let (scale, shift) = (0..channels).map(map).unzip();
        Ok(Self { scale, shift })
    }

    fn is_identity(&self) -> bool {
        self.scale.iter().all(|scale| *scale == 1.0) && self.shift.iter().all(|shift| *shift == 0.0)
    }

    /// Maps inputs `[batch, channels, ...]`.
    fn apply(&self, input: &Feature) -> Result<Feature> {
        each_rank!(input, tensor => Ok(self.apply_ranked(tensor.clone())?.into()))
    }

    fn apply_ranked<const D: usize>(&self, input: Tensor<D>) -> Result<Tensor<D>> {
        let dims = input.dims();
        if self.scale.len() == 1 {
            return Ok(input.mul_scalar(self.scale[0]).add_scalar(self.shift[0]));
        }
        if D < 2 || dims[1] != self.scale.len() {
            return Err(Error::Shape {
                what: "teacher input".to_owned(),
                expected: format!("[batch, {}, ...], as it is normalised", self.scale.len()),
                got: format!("{dims:?}"),
            });
        }
        let device = input.device();
        let per_channel = |values: &[f32]| -> Tensor<D> {
            let mut shape = [1; D];
            shape[1] = values.len();
            Tensor::from_data(TensorData::new(values.to_vec(), shape), &device)
        };
        Ok(input * per_channel(&self.scale) + per_channel(&self.shift))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::collections::BTreeMap;

    use super::*;
    use crate::loss::testing::{assert_close, noise};
    use crate::loss::{Temperature, soft_targets};
    use crate::teacher::{Ensemble, EnsembleMean};
    use burn::module::Module;
    use burn::nn::{
        BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig,
        conv::{Conv2d, Conv2dConfig},
    };

    /// Everything whose behaviour differs between training and evaluation.
    #[derive(Module, Debug)]
    struct Moody {
        conv: Conv2d,
        norm: BatchNorm,
        dropout: Dropout,
        head: Linear,
    }

    impl Moody {
        fn new(device: &Device) -> Self {
            Self {
                conv: Conv2dConfig::new([2, 4], [3, 3]).init(device),
                norm: BatchNormConfig::new(4).init(device),
                dropout: DropoutConfig::new(0.5).init(),
                head: LinearConfig::new(4 * 2 * 2, 3).init(device),
            }
        }

        fn statistics(&self) -> Vec<f32> {
            let mean = self.norm.running_mean.value_sync();
            let var = self.norm.running_var.value_sync();
            Tensor::cat(vec![mean, var], 0)
                .to_data()
                .try_to_vec()
                .unwrap()
        }
    }

    impl Network for Moody {
        fn forward(&self, inputs: &Inputs, taps: &Taps) -> limbeck_graph::Result<Trace> {
            let images: Tensor<4> = inputs.get_float(Inputs::DEFAULT)?.clone().try_into()?;
            let hidden = self.norm.forward(self.conv.forward(images));
            let features = taps
                .names()
                .iter()
                .map(|tap| (tap.clone(), hidden.clone().into()));
            let features: BTreeMap<_, _> = features.collect();
            let flat: Tensor<2> = self.dropout.forward(hidden).flatten(1, 3);
            Ok(Trace {
                output: self.head.forward(flat).into(),
                features,
            })
        }

        fn tap_names(&self) -> Vec<String> {
            vec!["norm".to_owned()]
        }
    }

    fn normalization(mean: &[f32], std: &[f32]) -> Normalization {
        Normalization {
            mean: mean.to_vec(),
            std: std.to_vec(),
        }
    }

    fn images(device: &Device, seed: u64) -> Feature {
        let values = noise(5 * 2 * 4 * 4, 2.0, seed)
            .into_iter()
            .map(|value| value as f32);
        Feature::from_vec(values.collect(), &[5, 2, 4, 4], device).unwrap()
    }

    fn output(teacher: &impl Teacher, inputs: &Inputs) -> Vec<f32> {
        teacher.answer(inputs, &Taps::none()).unwrap().members[0]
            .output
            .to_vec()
            .unwrap()
    }

    #[test]
    fn nothing_is_tracked_and_statistics_stay() {
        let training = Device::default().autodiff();
        let network = Moody::new(&training);
        // Training steps give the running statistics values of their own.
        network
            .forward(&Inputs::float(images(&training, 1)), &Taps::none())
            .unwrap();
        let teacher = Frozen::new(&network, &training);
        let before = teacher.network().statistics();

        let inputs = Inputs::float(images(&training, 2));
        let answer = teacher.answer(&inputs, &Taps::new(["norm"])).unwrap();
        let output: Tensor<2> = answer.members[0].output.clone().try_into().unwrap();
        let feature: Tensor<4> = answer.feature("norm").unwrap().clone().try_into().unwrap();
        assert!(!output.is_autodiff() && !output.is_tracked());
        assert!(!feature.is_autodiff() && !feature.is_tracked());
        assert_eq!(teacher.network().statistics(), before);
        assert_eq!(
            super::tests::output(&teacher, &inputs),
            output.to_data().try_to_vec::<f32>().unwrap()
        );

        // The original goes on training; its snapshot does not follow.
        network
            .forward(&Inputs::float(images(&training, 3)), &Taps::none())
            .unwrap();
        assert_ne!(network.statistics(), before);
        assert_eq!(teacher.network().statistics(), before);
    }

    #[test]
    fn a_backward_pass_of_the_student_sees_a_constant() {
        let training = Device::default().autodiff();
        let teacher = Frozen::new(&Moody::new(&training), &training);
        let student = Moody::new(&training);
        let inputs = Inputs::float(images(&training, 4));
        let answer = teacher.answer(&inputs, &Taps::none()).unwrap();
        let trace = student.forward(&inputs, &Taps::none()).unwrap();
        let target = answer
            .log_probabilities(Temperature::new(4.0).unwrap())
            .unwrap();
        let rows = soft_targets::divergence(&trace.output.try_into().unwrap(), &target).unwrap();
        let gradients = rows.mean().backward();
        assert!(student.head.weight.val().grad(&gradients).is_some());
        assert!(
            teacher
                .network()
                .head
                .weight
                .val()
                .grad(&gradients)
                .is_none()
        );
    }

    #[test]
    fn renormalised_inputs_are_what_the_teacher_was_trained_with() {
        let device = Device::default();
        let pixels = images(&device, 5);
        let normalize = |mean: [f32; 2], std: [f32; 2]| -> Feature {
            let pixels: Tensor<4> = pixels.clone().try_into().unwrap();
            let row =
                |values: [f32; 2]| Tensor::<1>::from_floats(values, &device).reshape([1, 2, 1, 1]);
            ((pixels - row(mean)) / row(std)).into()
        };
        let (student, teacher) = (([0.5, 0.4], [0.25, 0.2]), ([0.1, 0.3], [0.5, 0.4]));
        let network = Moody::new(&device);
        let map = Renormalization::between(
            &normalization(&student.0, &student.1),
            &normalization(&teacher.0, &teacher.1),
        );
        let renormalising = Frozen::new(&network, &device).with_renormalization(map.unwrap());
        let got = output(
            &renormalising,
            &Inputs::float(normalize(student.0, student.1)),
        );
        let expected = output(
            &Frozen::new(&network, &device),
            &Inputs::float(normalize(teacher.0, teacher.1)),
        );
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
        assert_close(&wide(got), &wide(expected), 1e-4);
    }

    #[test]
    fn renormalisation_by_hand() {
        let between = |from: [&[f32]; 2], to: [&[f32]; 2]| {
            Renormalization::between(
                &normalization(from[0], from[1]),
                &normalization(to[0], to[1]),
            )
        };
        let half: [&[f32]; 2] = [&[0.5], &[0.5]];
        let map = between(half, [&[0.0, 0.25], &[1.0, 0.25]]).unwrap();
        let expected = Renormalization {
            scale: vec![0.5, 2.0],
            shift: vec![0.5, 1.0],
        };
        assert_eq!(map, expected);
        assert!(between(half, half).unwrap().is_identity());
        assert!(between([&[0.5], &[0.0]], half).is_err());
        assert!(between([&[0.5; 2], &[1.0]], [&[0.5; 3], &[1.0]]).is_err());
        assert!(between([&[], &[]], [&[], &[]]).is_err());
        let message = map.apply(&Feature::from(Tensor::<2>::zeros(
            [4, 3],
            &Device::default(),
        )));
        assert_eq!(
            message.unwrap_err().to_string(),
            "teacher input: expected [batch, 2, ...], as it is normalised, got [4, 3]"
        );
    }

    #[test]
    fn ensembles_ask_every_member() {
        let device = Device::default();
        let (first, second) = (Moody::new(&device), Moody::new(&device));
        let inputs = Inputs::float(images(&device, 6));
        let frozen = |network: &Moody| Box::new(Frozen::new(network, &device)) as Box<dyn Teacher>;
        let expected: Vec<f64> = output(&frozen(&first), &inputs)
            .iter()
            .zip(output(&frozen(&second), &inputs))
            .map(|(a, b)| f64::from((a + b) / 2.0))
            .collect();
        let members = vec![frozen(&first), frozen(&second)];
        let ensemble = Ensemble::new(members, EnsembleMean::Geometric).unwrap();
        let answer = ensemble.answer(&inputs, &Taps::none()).unwrap();
        assert_eq!(
            (answer.members.len(), answer.mean),
            (2, EnsembleMean::Geometric)
        );
        let mean = answer.logits().unwrap();
        assert_close(
            &crate::loss::testing::matrix_values(mean.tensor()),
            &expected,
            1e-6,
        );

        assert!(Ensemble::new(Vec::new(), EnsembleMean::Arithmetic).is_err());
        let nested = Ensemble::new(vec![Box::new(ensemble)], EnsembleMean::Arithmetic).unwrap();
        let message = nested
            .answer(&inputs, &Taps::none())
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("a member of an ensemble is an ensemble"),
            "{message}"
        );
    }
}
