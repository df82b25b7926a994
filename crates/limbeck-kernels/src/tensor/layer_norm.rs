//! Layer norm.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::backend::{Forward, Operation, run};
use super::values::{filled, list, values};
use crate::norm::{self, LayerNormGradients, LayerNormStatistics};

/// `gamma (input - mean) / sqrt(variance + epsilon) + beta` with mean and biased variance over the last axis of `input`
/// (Ba, Kiros and Hinton 2016). `gamma` and `beta` are as long as that axis.
///
/// # Panics
///
/// If the lengths don't fit together.
#[must_use]
pub fn layer_norm<const D: usize>(
    input: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    assert_eq!(
        [input.dims()[D - 1]; 2],
        [gamma.dims()[0], beta.dims()[0]],
        "there are one gamma and one beta for each place of the last axis"
    );
    let operands = vec![
        input.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
    ];
    let operation = LayerNorm {
        epsilon: epsilon as f32,
    };
    Tensor::from_dispatch(run(operands, operation).swap_remove(0))
}

#[derive(Debug)]
struct LayerNorm {
    epsilon: f32,
}

impl Operation for LayerNorm {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let [input, gamma, beta] = inputs else {
            unreachable!("a layer norm has an input and two lists")
        };
        let mut statistics = None;
        let output = filled(input.layout().shape(), |to| {
            let (gamma, beta) = (values(gamma), values(beta));
            statistics = Some(norm::layer_norm(
                values(input),
                gamma,
                beta,
                self.epsilon,
                to,
            ));
        });
        let statistics = statistics.expect("the output was just computed");
        Forward {
            output,
            constants: Vec::new(),
            saved: vec![
                input.clone(),
                gamma.clone(),
                list(&statistics.mean),
                list(&statistics.inverse_standard_deviation),
            ],
        }
    }

    fn backward(
        &self,
        saved: &[FlexTensor],
        gradient: &FlexTensor,
        _wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        let [input, gamma, mean, deviation] = saved else {
            unreachable!("a layer norm saves its input, gamma and two lists")
        };
        let statistics = LayerNormStatistics {
            mean: values(mean).to_vec(),
            inverse_standard_deviation: values(deviation).to_vec(),
        };
        let channels = values(gamma).len();
        let (mut grad_gamma, mut grad_beta) = (vec![0.0; channels], vec![0.0; channels]);
        let grad_input = filled(input.layout().shape(), |to| {
            let gradients = LayerNormGradients {
                input: to,
                gamma: &mut grad_gamma,
                beta: &mut grad_beta,
            };
            let gradient = values(gradient);
            norm::layer_norm_backward(
                values(input),
                &statistics,
                values(gamma),
                gradient,
                gradients,
            );
        });
        vec![
            Some(grad_input),
            Some(list(&grad_gamma)),
            Some(list(&grad_beta)),
        ]
    }
}
