//! Axes in another order.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::backend::{Forward, Operation, run};
use super::values::{filled, values};
use crate::elementwise;

/// `input` with its axes in the order `axes`, each row after the other in memory.
///
/// # Panics
///
/// If `axes` is not an order of the axes.
#[must_use]
pub fn permute<const D: usize>(input: Tensor<D>, axes: [usize; D]) -> Tensor<D> {
    let axes = axes.to_vec();
    Tensor::from_dispatch(run(vec![input.into_dispatch()], Permute { axes }).swap_remove(0))
}

#[derive(Debug)]
struct Permute {
    axes: Vec<usize>,
}

impl Operation for Permute {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        Forward {
            output: permuted(&inputs[0], &self.axes),
            constants: Vec::new(),
            saved: Vec::new(),
        }
    }

    fn backward(
        &self,
        _saved: &[FlexTensor],
        gradient: &FlexTensor,
        _wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        let mut back = vec![0; self.axes.len()];
        for (place, &axis) in self.axes.iter().enumerate() {
            back[axis] = place;
        }
        vec![Some(permuted(gradient, &back))]
    }
}

fn permuted(input: &FlexTensor, axes: &[usize]) -> FlexTensor {
    let sizes: &[usize] = input.layout().shape();
    let to: Vec<usize> = axes.iter().map(|&axis| sizes[axis]).collect();
    filled(&to, |output| {
        elementwise::permute(sizes, axes, values(input), output);
    })
}
