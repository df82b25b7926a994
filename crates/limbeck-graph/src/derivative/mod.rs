//! Input gradients as ordinary differentiable tensor operations.
//!
//! Burn differentiates once: the gradient that its backward pass gives knows nothing of where it came from. A loss on an
//! input gradient (Sobolev training, Czarnecki et al. 2017, <https://arxiv.org/abs/1706.04859>; Jacobian matching, Srinivas
//! and Fleuret 2018, <https://arxiv.org/abs/1803.00443>; attention from gradients, Zagoruyko and Komodakis 2017,
//! <https://arxiv.org/abs/1612.03928>) needs the second derivative. Here the graph runs once, keeps
//! every value, and is walked backwards with one rule per operator, written in Burn's differentiable operations on those values and on
//! the parameters themselves. The backward pass through the result is the exact second derivative with respect
//! to weights and inputs.
//!
//! | file | operators |
//! |---|---|
//! | `convolution` | convolutions and transposed convolutions |
//! | `dense` | linear layers, matrix products, softmax and its logarithm |
//! | `normalise` | batch norm, layer norm |
//! | `activation` | elementwise functions |
//! | `pool` | maxima and means of windows and of whole maps |
//! | `combine` | sums, differences, products, quotients, extremes, choices, concatenation, split |
//! | `arrange` | slices, listed places, padding |
//! | `reduce` | summaries of axes |
//! | `recurrent` | LSTM, GRU and Elman layers |

mod activation;
mod arrange;
mod combine;
mod convolution;
mod dense;
mod normalise;
mod pool;
mod recurrent;
mod reduce;

use crate::ir::{Op, Recurrent};
use crate::run::ops::arrange as moved;
use crate::run::ops::combine::{Elementwise, elementwise};
use crate::run::{CompiledGraph, Pass, Step};
use crate::{Error, Feature, Inputs, Result, Taps, Trace, each_rank};

impl CompiledGraph {
    /// The gradient of the output, weighed by a vector, with respect to an input or a tap.
    ///
    /// As [`vector_jacobian_product`](Self::vector_jacobian_product) of the graph's first output.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use limbeck_graph::build::Builder;
    /// use limbeck_graph::ir::{Activation, Linear};
    /// use limbeck_graph::{Inputs, Seed, Taps, Trace};
    ///
    /// let mut b = Builder::new("two-layers");
    /// let x = b.rows(4);
    /// let h = b.linear("fc1", x, Linear::new(4, 8));
    /// let h = b.activation("tanh", h, Activation::Tanh);
    /// let y = b.linear("fc2", h, Linear::new(8, 3));
    /// let device = Device::flex().autodiff();
    /// let network = b.finish(y)?.compile(Seed::new(0), &device)?;
    ///
    /// let inputs = Inputs::float(Tensor::<2>::ones([5, 4], &device));
    /// let first_class = |_: &Trace| {
    ///     let rows = [[1.0, 0.0, 0.0]; 5];
    ///     Ok(Tensor::<2>::from_floats(rows, &device).into())
    /// };
    /// let (_, gradient) = network.input_gradient(&inputs, &Taps::none(), "input", first_class)?;
    /// let gradient: Tensor<2> = gradient.try_into()?;
    /// assert_eq!(gradient.dims(), [5, 4]);
    /// // Trains the weights towards a small input gradient.
    /// let gradients = (gradient.clone() * gradient).sum().backward();
    /// # let _ = gradients;
    /// # Ok::<(), limbeck_graph::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`vector_jacobian_product`](Self::vector_jacobian_product).
    pub fn input_gradient(
        &self,
        inputs: &Inputs,
        taps: &Taps,
        with_respect_to: &str,
        vector: impl FnOnce(&Trace) -> Result<Feature>,
    ) -> Result<(Trace, Feature)> {
        let output = self.graph().outputs[0].clone();
        self.vector_jacobian_product(inputs, taps, [&output, with_respect_to], vector)
    }

    /// Runs the graph and gives `sum_i v_i dy_i / dx`, where `[y, x]` are two values of it by name (taps, inputs, outputs) and `v` is
    /// what `vector` makes of the trace. The result has the shape of `x`.
    ///
    /// `v` has the shape of `y`; it may be a constant (one class of the logits) or depend on the trace (the probabilities minus the
    /// labels, which is the gradient of the cross-entropy). With inputs on an autodiff device trace and gradient
    /// are tracked, and so is `v` if it was made of tracked tensors: one backward pass through a loss on all three reaches weights and inputs.
    /// With inputs on a plain device everything is a constant.
    ///
    /// Everything runs channels first and through Burn's own operations, even where [`Network::forward`](crate::Network::forward) has faster
    /// ones, and all values are kept at once.
    ///
    /// - A batch norm that trains uses the batch's statistics, moves its running ones once, and has the exact gradient through the
    ///   statistics, so that rows of the batch depend on each other. A frozen or evaluated one uses the running
    ///   statistics as constants. Freeze the network (`Module::freeze`), or its flags, for gradients per row.
    /// - Dropout that trains draws one mask, for the value and its gradient.
    /// - The second derivatives of kinks are zero, and so is the first one at the kink of relu (PyTorch's choice). Where a window
    ///   holds its maximum twice, one of the two places has the gradient.
    /// - If `y` does not depend on `x`, the gradient is a constant zero.
    ///
    /// # Errors
    /// If an input is missing or wrongly shaped, there is no such tap, the vector has another shape than `y`, or `vector` fails.
    pub fn vector_jacobian_product(
        &self,
        inputs: &Inputs,
        taps: &Taps,
        [of, with_respect_to]: [&str; 2],
        vector: impl FnOnce(&Trace) -> Result<Feature>,
    ) -> Result<(Trace, Feature)> {
        let (of_number, start) = (self.value_number(of)?, self.value_number(with_respect_to)?);
        let pass = self.pass(inputs)?;
        let trace = pass.trace(taps)?;
        let vector = vector(&trace)?;
        let expected = pass.value(of_number)?.shape();
        if vector.shape() != expected {
            return Err(Error::Input {
                name: format!("vector of {of}"),
                expected: format!("{expected:?}"),
                got: format!("{:?}", vector.shape()),
            });
        }
        let vector = each_rank!(vector, tensor => match pass.is_tracked() {
            true => tensor.autodiff().into(),
            false => tensor.without_autodiff().into(),
        });
        let gradient = walk(&pass, of_number, start, vector)?;
        Ok((trace, gradient))
    }
}

/// The gradient of value number `start`, given that of value number `of`.
fn walk(pass: &Pass<'_>, of: usize, start: usize, vector: Feature) -> Result<Feature> {
    let depends = dependents(pass, start);
    let mut gradients: Vec<Option<Feature>> = vec![None; pass.len()];
    gradients[of] = Some(vector);
    for step in pass.steps().iter().rev() {
        let reached = step.inputs.iter().any(|&input| depends[input]);
        if let (Op::Recurrent(layer), true) = (pass.op(step), reached) {
            let outputs: Vec<Option<Feature>> = step
                .outputs
                .iter()
                .map(|&output| gradients[output].take())
                .collect();
            if outputs.iter().any(Option::is_some) {
                let more = recurrent_inputs(pass, step, layer, outputs)?;
                for (&input, more) in step.inputs.iter().zip(more) {
                    if depends[input] {
                        add(&mut gradients[input], more)?;
                    }
                }
            }
            continue;
        }
        let Some(gradient) = reached
            .then(|| of_outputs(pass, step, &mut gradients))
            .transpose()?
            .flatten()
        else {
            continue;
        };
        for (position, &input) in step.inputs.iter().enumerate() {
            if depends[input] {
                let more = rule(pass, step, position, gradient.clone())?;
                add(&mut gradients[input], more)?;
            }
        }
    }
    match gradients[start].take() {
        Some(gradient) => Ok(gradient),
        None => Ok(zeros_like(pass.value(start)?)),
    }
}

fn add(sum: &mut Option<Feature>, more: Feature) -> Result<()> {
    *sum = Some(match sum.take() {
        Some(sum) => elementwise(Elementwise::Add, sum, more)?,
        None => more,
    });
    Ok(())
}

/// The gradients of a recurrent layer's inputs, given those of its outputs.
fn recurrent_inputs(
    pass: &Pass<'_>,
    step: &Step,
    layer: &Recurrent,
    outputs: Vec<Option<Feature>>,
) -> Result<Vec<Feature>> {
    let inputs: Result<Vec<_>> = step
        .inputs
        .iter()
        .map(|&input| pass.value(input)?.try_into())
        .collect();
    let weights = pass.recurrent_weights(step, layer)?;
    recurrent::gradients(layer, &inputs?, &weights, outputs)
}

/// Which values are computed from value number `start`, itself included.
fn dependents(pass: &Pass<'_>, start: usize) -> Vec<bool> {
    let mut depends = vec![false; pass.len()];
    depends[start] = true;
    for step in pass.steps() {
        if step.inputs.iter().any(|&input| depends[input]) {
            for &output in &step.outputs {
                depends[output] = true;
            }
        }
    }
    depends
}

/// The gradient of what a node computed, the parts of a split side by side; `None` if nothing depends on it.
fn of_outputs(
    pass: &Pass<'_>,
    step: &Step,
    gradients: &mut [Option<Feature>],
) -> Result<Option<Feature>> {
    let Op::Split(split) = pass.op(step) else {
        return Ok(gradients[step.outputs[0]].take());
    };
    let parts: Vec<Option<Feature>> = step
        .outputs
        .iter()
        .map(|&output| gradients[output].take())
        .collect();
    if parts.iter().all(Option::is_none) {
        return Ok(None);
    }
    let parts = parts.into_iter().zip(&step.outputs);
    let parts: Result<Vec<Feature>> = parts
        .map(|(part, &output)| match part {
            Some(gradient) => Ok(gradient),
            None => pass.value(output).map(zeros_like),
        })
        .collect();
    crate::run::ops::combine::concatenate(parts?, split.axis).map(Some)
}

fn zeros_like(x: Feature) -> Feature {
    each_rank!(x, tensor => tensor.zeros_like().into())
}

/// The gradient of the input at `position` of a node, given that of its output.
fn rule(pass: &Pass<'_>, step: &Step, position: usize, gradient: Feature) -> Result<Feature> {
    let x = pass.value(step.inputs[position])?;
    let y = || pass.value(step.outputs[0]);
    Ok(match pass.op(step) {
        Op::Conv1d(conv) => {
            let length = x.shape()[2];
            convolution::sequence(
                gradient.try_into()?,
                pass.weight(step, "weight")?,
                conv,
                length,
            )
            .into()
        }
        Op::Conv2d(conv) => {
            let size = [x.shape()[2], x.shape()[3]];
            convolution::image(
                gradient.try_into()?,
                pass.weight(step, "weight")?,
                conv,
                size,
            )
            .into()
        }
        Op::ConvTranspose2d(conv) => {
            let size = [x.shape()[2], x.shape()[3]];
            convolution::transposed(
                gradient.try_into()?,
                pass.weight(step, "weight")?,
                conv,
                size,
            )
            .into()
        }
        Op::Linear(_) => {
            let weight = pass.weight(step, "weight")?;
            each_rank!(gradient, tensor => dense::linear(tensor, weight).into())
        }
        Op::BatchNorm(norm) => {
            let affine = pass.affine(step, norm)?;
            if pass.is_active(step) {
                normalise::by_batch(x, gradient, affine)?
            } else {
                let variance = pass.weight(step, "running_var")?;
                each_rank!(gradient, tensor => normalise::by_statistics(tensor, affine, variance).into())
            }
        }
        Op::LayerNorm(norm) => {
            let weight = match norm.affine {
                true => Some(pass.weight(step, "weight")?),
                false => None,
            };
            normalise::layer(x, gradient, weight, norm.epsilon)?
        }
        Op::Dropout(_) => match pass.mask(step) {
            Some(mask) => elementwise(Elementwise::Multiply, gradient, mask.clone())?,
            None => gradient,
        },
        Op::Activation(function) => activation::gradient(*function, x, gradient)?,
        Op::MaxPool1d(pool) => {
            pool::largest_of_sequence(x.try_into()?, gradient.try_into()?, pool).into()
        }
        Op::MaxPool2d(pool) => pool::largest(&x.try_into()?, gradient.try_into()?, pool).into(),
        Op::AvgPool1d(pool) => {
            let length = x.shape()[2];
            pool::mean_of_sequence(gradient.try_into()?, pool, length).into()
        }
        Op::AvgPool2d(pool) => {
            let size = [x.shape()[2], x.shape()[3]];
            pool::mean(gradient.try_into()?, pool, size).into()
        }
        Op::GlobalAvgPool => pool::global_mean(&x, gradient)?,
        Op::GlobalMaxPool => pool::global_largest(x, gradient)?,
        Op::Add | Op::Expand(_) => combine::sum_to(gradient, &x.shape())?,
        Op::Subtract => {
            let gradient = combine::sum_to(gradient, &x.shape())?;
            match position {
                0 => gradient,
                _ => each_rank!(gradient, tensor => tensor.neg().into()),
            }
        }
        Op::Multiply => {
            let others = step.inputs.iter().enumerate();
            let gradient = others.filter(|(other, _)| *other != position).try_fold(
                gradient,
                |product, (_, &other)| {
                    elementwise(Elementwise::Multiply, product, pass.value(other)?)
                },
            )?;
            combine::sum_to(gradient, &x.shape())?
        }
        Op::ScaleShift(line) => {
            each_rank!(gradient, tensor => tensor.mul_scalar(line.scale).into())
        }
        Op::Concatenate(concatenate) => {
            let axis = concatenate.axis;
            let before = step.inputs[..position].iter();
            let start: Result<usize> = before
                .map(|&input| Ok(pass.value(input)?.shape()[axis]))
                .sum();
            combine::part(gradient, axis, start?, x.shape()[axis])
        }
        // The gradients of the parts were put together.
        Op::Split(_) => gradient,
        Op::Reshape(_) | Op::Flatten | Op::View(_) => moved::reshape(gradient, &x.shape())?,
        Op::Transpose(transpose) => moved::permute(gradient, &inverse(&transpose.axes))?,
        Op::ChannelShuffle(shuffle) => {
            let groups = x.shape()[1] / shuffle.groups;
            each_rank!(gradient, tensor => moved::shuffle(tensor, 1, groups).into())
        }
        Op::MatMul => {
            let other = pass.value(step.inputs[1 - position])?;
            dense::mat_mul(gradient, other, position, &x.shape())?
        }
        Op::Softmax(softmax) => dense::softmax(y()?, gradient, softmax.axis)?,
        Op::LogSoftmax(softmax) => dense::log_softmax(y()?, gradient, softmax.axis)?,
        Op::Slice(slice) => {
            let size = x.shape()[slice.axis];
            each_rank!(gradient, tensor => arrange::slice(tensor, slice, size).into())
        }
        Op::Take(take) => {
            let size = x.shape()[take.axis];
            each_rank!(gradient, tensor => {
                arrange::taken(tensor, take.axis, &take.indices, size).into()
            })
        }
        Op::Pad(pad) => {
            let shape = x.shape();
            each_rank!(gradient, tensor => arrange::pad(tensor, &pad.sides, pad.fill, &shape).into())
        }
        Op::Divide => {
            let divisor = pass.value(step.inputs[1])?;
            let gradient = combine::divide(gradient, divisor, y()?, position)?;
            combine::sum_to(gradient, &x.shape())?
        }
        Op::Maximum | Op::Minimum => {
            let values = [pass.value(step.inputs[0])?, pass.value(step.inputs[1])?];
            let largest = matches!(pass.op(step), Op::Maximum);
            let gradient = combine::extreme(gradient, values, largest, position)?;
            combine::sum_to(gradient, &x.shape())?
        }
        Op::Compare(_) => zeros_like(x),
        Op::Where if position == 0 => zeros_like(x),
        Op::Where => {
            let condition = pass.value(step.inputs[0])?;
            let gradient = combine::chosen(gradient, condition, position)?;
            combine::sum_to(gradient, &x.shape())?
        }
        Op::Reduce(op) => reduce::reduce(x, y()?, gradient, op)?,
        Op::Recurrent(_)
        | Op::TokensAsFloats
        | Op::Constant(_)
        | Op::Embedding(_)
        | Op::Parameter(_) => {
            return Err(Error::Node {
                node: step.name.clone(),
                op: pass.op(step).name(),
                problem: "expected an operator on float values, got one without a derivative"
                    .to_owned(),
            });
        }
    })
}

/// The order of axes that undoes `axes`.
fn inverse(axes: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; axes.len()];
    for (place, &axis) in axes.iter().enumerate() {
        inverse[axis] = place;
    }
    inverse
}

#[cfg(test)]
mod tests;
