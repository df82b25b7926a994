//! Linear layers.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::backend::{Forward, Operation, run};
use super::convolution::activation_gradient;
use super::values::{filled, sizes, values};
use crate::Activation;
use crate::product::{self, linear_backward_bias, linear_backward_input, linear_backward_weight};

/// `activation(input weight^T + bias)` with `input` `[batch, inputs]`, `weight` `[outputs, inputs]`, `bias` `[outputs]`.
///
/// # Panics
///
/// If the sizes don't fit together.
#[must_use]
pub fn linear(
    input: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Activation,
) -> Tensor<2> {
    let mut operands = vec![input.into_dispatch(), weight.into_dispatch()];
    operands.extend(bias.map(Tensor::into_dispatch));
    let mut results = run(operands, Linear { activation });
    Tensor::from_dispatch(results.swap_remove(0))
}

#[derive(Debug)]
struct Linear {
    activation: Activation,
}

fn layer(input: &FlexTensor, weight: &FlexTensor) -> product::Linear {
    let [batch, inputs] = sizes(input);
    let [outputs, _] = sizes(weight);
    product::Linear {
        batch,
        inputs,
        outputs,
    }
}

impl Operation for Linear {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let [input, weight, bias @ ..] = inputs else {
            unreachable!("a linear layer has an input and a weight")
        };
        let layer = layer(input, weight);
        let output = filled(&[layer.batch, layer.outputs], |to| {
            let bias = bias.first().map(values);
            product::linear(
                layer,
                values(input),
                values(weight),
                bias,
                self.activation,
                to,
            );
        });
        let mut saved = vec![input.clone(), weight.clone()];
        if self.activation != Activation::None {
            saved.push(output.clone());
        }
        Forward {
            output,
            constants: Vec::new(),
            saved,
        }
    }

    fn backward(
        &self,
        saved: &[FlexTensor],
        gradient: &FlexTensor,
        wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        let [input, weight, output @ ..] = saved else {
            unreachable!("a linear layer saves its input and weight")
        };
        let passed = output
            .first()
            .map(|output| activation_gradient(self.activation, output, gradient));
        let gradient = values(passed.as_ref().unwrap_or(gradient));
        let layer = layer(input, weight);
        let grad_input = wanted[0].then(|| {
            filled(&sizes::<2>(input), |to| {
                linear_backward_input(layer, gradient, values(weight), to);
            })
        });
        let grad_weight = wanted[1].then(|| {
            filled(&sizes::<2>(weight), |to| {
                linear_backward_weight(layer, values(input), gradient, to);
            })
        });
        let mut results = vec![grad_input, grad_weight];
        if let Some(wanted) = wanted.get(2) {
            results.push(
                wanted.then(|| filled(&[layer.outputs], |to| linear_backward_bias(gradient, to))),
            );
        }
        results
    }
}
