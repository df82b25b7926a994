//! Pooling.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::backend::{Forward, Operation, run};
use super::values::{filled, sizes, values};
use crate::pool::{
    Pool, average, average_backward, global_average, global_average_backward, maximum,
    maximum_backward,
};

/// What becomes of the values in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// The largest.
    Maximum,
    /// Their mean, where `count_padding` says whether the padding counts as zeros.
    Average {
        /// Whether a window over the border is divided by its whole size.
        count_padding: bool,
    },
}

/// Windows over an image. Pairs are `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its size.
    pub kernel: [usize; 2],
    /// From one to the next.
    pub stride: [usize; 2],
    /// Rows and columns around the image on each side, at most half a window.
    pub padding: [usize; 2],
    /// Whether a last window that reaches beyond the padding counts, if it starts in the image or in the padding before it.
    pub ceil: bool,
}

/// The reduction of every window of `input`, `[batch, height, width, channels]`.
///
/// # Panics
///
/// If no window fits.
#[must_use]
pub fn pool(input: Tensor<4>, window: Window, reduction: Reduction) -> Tensor<4> {
    let operands = vec![input.into_dispatch()];
    Tensor::from_dispatch(run(operands, Reduce { window, reduction }).swap_remove(0))
}

#[derive(Debug)]
struct Reduce {
    window: Window,
    reduction: Reduction,
}

impl Reduce {
    fn over(&self, [batch, height, width, channels]: [usize; 4]) -> Pool {
        Pool {
            batch,
            height,
            width,
            channels,
            kernel: self.window.kernel,
            stride: self.window.stride,
            padding: self.window.padding,
            ceil: self.window.ceil,
        }
    }
}

impl Operation for Reduce {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let pool = self.over(sizes(&inputs[0]));
        let shape = [
            pool.batch,
            pool.output_height(),
            pool.output_width(),
            pool.channels,
        ];
        let output = filled(&shape, |to| match self.reduction {
            Reduction::Maximum => maximum(pool, values(&inputs[0]), to),
            Reduction::Average { count_padding } => {
                average(pool, count_padding, values(&inputs[0]), to);
            }
        });
        Forward {
            saved: vec![inputs[0].clone(), output.clone()],
            output,
            constants: Vec::new(),
        }
    }

    fn backward(
        &self,
        saved: &[FlexTensor],
        gradient: &FlexTensor,
        _wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        let shape = sizes(&saved[0]);
        let pool = self.over(shape);
        let gradient = values(gradient);
        vec![Some(filled(&shape, |to| match self.reduction {
            Reduction::Maximum => {
                maximum_backward(pool, values(&saved[0]), values(&saved[1]), gradient, to);
            }
            Reduction::Average { count_padding } => {
                average_backward(pool, count_padding, gradient, to);
            }
        }))]
    }
}

/// The mean over height and width of `input`, `[batch, height, width, channels]`: `[batch, 1, 1, channels]`.
#[must_use]
pub fn global_average_pool(input: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(run(vec![input.into_dispatch()], Global).swap_remove(0))
}

/// The maximum over height and width of `input`, `[batch, height, width, channels]`: `[batch, 1, 1, channels]`.
#[must_use]
pub fn global_max_pool(input: Tensor<4>) -> Tensor<4> {
    let [_, height, width, _] = input.dims();
    let window = Window {
        kernel: [height, width],
        stride: [1, 1],
        padding: [0, 0],
        ceil: false,
    };
    pool(input, window, Reduction::Maximum)
}

#[derive(Debug)]
struct Global;

impl Operation for Global {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let [batch, height, width, channels] = sizes(&inputs[0]);
        let output = filled(&[batch, 1, 1, channels], |to| {
            global_average(height * width, channels, values(&inputs[0]), to);
        });
        Forward {
            output,
            constants: Vec::new(),
            // Only its sizes are asked for; the tensor is alive anyway, for the layer that made it.
            saved: vec![inputs[0].clone()],
        }
    }

    fn backward(
        &self,
        saved: &[FlexTensor],
        gradient: &FlexTensor,
        _wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        let shape @ [_, height, width, channels] = sizes(&saved[0]);
        vec![Some(filled(&shape, |to| {
            global_average_backward(height * width, channels, values(gradient), to);
        }))]
    }
}
