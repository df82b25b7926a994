//! Weights in the form in which the kernels read them, for networks that answer many times without learning.

use std::sync::OnceLock;

use burn::tensor::Tensor;
use limbeck_kernels::tensor::{Convolution, EvaluatedNorm, FrozenConvolution};

use super::Step;
use super::node::Run;
use crate::ir::BatchNorm;
use crate::{Precision, Result};

/// Folded and packed weights, each made when it is first needed.
#[derive(Debug)]
pub(super) struct Prepared {
    precision: Precision,
    /// By node: a convolution alone, and with the norm behind it, from which a tap may part it.
    convolutions: Vec<[OnceLock<FrozenConvolution>; 2]>,
}

impl Prepared {
    pub(super) fn new(nodes: usize, precision: Precision) -> Self {
        Self {
            precision,
            convolutions: (0..nodes).map(|_| Default::default()).collect(),
        }
    }

    /// The convolution `step`, and `norm` behind it.
    pub(super) fn convolution(
        &self,
        run: &Run<'_>,
        step: &Step,
        norm: Option<(&Step, &BatchNorm)>,
        settings: Convolution,
    ) -> Result<&FrozenConvolution> {
        let place = &self.convolutions[step.node][usize::from(norm.is_some())];
        if let Some(known) = place.get() {
            return Ok(known);
        }
        let (weight, bias) = (run.weight(step, "weight")?, run.bias(step)?);
        let norm = norm
            .map(|(step, norm)| -> Result<EvaluatedNorm> {
                let affine = run.affine(step, norm)?;
                Ok(EvaluatedNorm {
                    gamma: affine.weight,
                    beta: affine.bias,
                    mean: run.weight(step, "running_mean")?,
                    variance: run.weight(step, "running_var")?,
                    epsilon: affine.epsilon,
                })
            })
            .transpose()?;
        let made = match self.precision {
            Precision::Fp32 => FrozenConvolution::new(weight, bias, norm, settings),
            Precision::Bf16 => FrozenConvolution::bf16(weight, bias, norm, settings),
        };
        Ok(place.get_or_init(|| made))
    }

    /// The linear layer `step` as a convolution of images of one pixel; `None` where a plain product is as fast.
    pub(super) fn linear(&self, run: &Run<'_>, step: &Step) -> Result<Option<&FrozenConvolution>> {
        if self.precision == Precision::Fp32 {
            return Ok(None);
        }
        let [place, _] = &self.convolutions[step.node];
        if let Some(known) = place.get() {
            return Ok(Some(known));
        }
        let weight: Tensor<2> = run.weight(step, "weight")?;
        let [outputs, inputs] = weight.dims();
        let settings = Convolution {
            stride: [1; 2],
            padding: [0; 2],
            dilation: [1; 2],
            groups: 1,
        };
        let weight = weight.reshape([outputs, inputs, 1, 1]);
        let made = FrozenConvolution::bf16(weight, run.bias(step)?, None, settings);
        Ok(Some(place.get_or_init(|| made)))
    }
}
