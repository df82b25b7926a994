//! Losses on logits `[rows, classes]`, one value per row.

use burn::tensor::{Int, Tensor};
use burn_flex::FlexTensor;

use super::backend::{Forward, Operation, run};
use super::values::{filled, list, values};
use crate::loss::{self, SoftTarget};

/// What `form` says of each row of `student` logits under a `target` of log-probabilities, see
/// [`loss::soft_targets`]. No gradient flows to the target.
///
/// # Panics
///
/// If the shapes differ, there is no row or class, or the temperature is not positive.
#[must_use]
pub fn soft_targets(
    form: SoftTarget,
    temperature: f32,
    student: Tensor<2>,
    target: Tensor<2>,
) -> Tensor<1> {
    assert_eq!(
        student.dims(),
        target.dims(),
        "student and target have one shape"
    );
    let operands = vec![student.into_dispatch(), target.inner().into_dispatch()];
    let operation = SoftTargets { form, temperature };
    Tensor::from_dispatch(run(operands, operation).swap_remove(0))
}

#[derive(Debug)]
struct SoftTargets {
    form: SoftTarget,
    temperature: f32,
}

impl Operation for SoftTargets {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let [student, target] = [&inputs[0], &inputs[1]].map(values);
        rows(&inputs[0], |losses, slopes| {
            loss::soft_targets(self.form, self.temperature, student, target, losses, slopes);
        })
    }

    fn backward(
        &self,
        saved: &[FlexTensor],
        gradient: &FlexTensor,
        _wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        vec![Some(scaled(saved, gradient)), None]
    }
}

/// The cross entropy of each row of `logits` with its label, see [`loss::cross_entropy`].
///
/// # Panics
///
/// If the rows differ in number, there is none, or a label is not below the number of classes.
#[must_use]
pub fn cross_entropy(smoothing: f32, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let labels = labels.into_data().convert::<u32>().try_to_vec::<u32>();
    let labels = labels.expect("the data was converted to this type");
    let operation = CrossEntropy { smoothing, labels };
    Tensor::from_dispatch(run(vec![logits.into_dispatch()], operation).swap_remove(0))
}

#[derive(Debug)]
struct CrossEntropy {
    smoothing: f32,
    labels: Vec<u32>,
}

impl Operation for CrossEntropy {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        rows(&inputs[0], |losses, slopes| {
            loss::cross_entropy(
                self.smoothing,
                values(&inputs[0]),
                &self.labels,
                losses,
                slopes,
            );
        })
    }

    fn backward(
        &self,
        saved: &[FlexTensor],
        gradient: &FlexTensor,
        _wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        vec![Some(scaled(saved, gradient))]
    }
}

/// A loss per row of `logits` and, saved, its gradient, both of which `fill` writes.
fn rows(logits: &FlexTensor, fill: impl FnOnce(&mut [f32], &mut [f32])) -> Forward {
    let shape = logits.layout().shape();
    let mut losses = vec![0.0; shape[0]];
    let slopes = filled(shape, |slopes| fill(&mut losses, slopes));
    Forward {
        output: list(&losses),
        constants: Vec::new(),
        saved: vec![slopes],
    }
}

/// The gradient of the logits, given the saved gradients of the rows' losses.
fn scaled(saved: &[FlexTensor], gradient: &FlexTensor) -> FlexTensor {
    filled(saved[0].layout().shape(), |to| {
        loss::scale_rows(values(gradient), values(&saved[0]), to);
    })
}
