//! Gradients of recurrent layers: back through time (Werbos 1990), step after step.
//!
//! The states of all steps are computed anew, and from them the gates of all steps in one product.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

use super::combine::sum_to;
use crate::ir::{Cell, Recurrent};
use crate::run::ops::recurrent::{State, Way, Weights, first_state, is_reverse, steps};
use crate::{Feature, Result};

/// The gradients of a layer's inputs, the sequence and the given states, from those of its outputs.
pub(super) fn gradients(
    layer: &Recurrent,
    inputs: &[Tensor<3>],
    weights: &Weights,
    outputs: Vec<Option<Feature>>,
) -> Result<Vec<Feature>> {
    let (x, given) = (&inputs[0], &inputs[1..]);
    let [length, batch, size] = x.dims();
    let mut outputs = outputs.into_iter();
    let mut next = || outputs.next().flatten();
    let all: Option<Tensor<4>> = next().map(TryInto::try_into).transpose()?;
    let last: [Option<Tensor<3>>; 2] = [
        next().map(TryInto::try_into).transpose()?,
        next().map(TryInto::try_into).transpose()?,
    ];
    let mut sequence: Option<Tensor<2>> = None;
    let mut first: [Vec<Tensor<3>>; 2] = [Vec::new(), Vec::new()];
    for way in 0..layer.direction.count() {
        let reverse = is_reverse(layer.direction, way);
        let backward = Backward {
            layer,
            weights: weights.way(way),
            states: states(layer, x, given, weights, way),
        };
        let of_way = |tensor: &Tensor<3>| -> Tensor<2> {
            let row = tensor.clone().narrow(0, way, 1);
            row.reshape([batch, layer.hidden])
        };
        let of_steps = all.as_ref().map(|all| {
            let all = all.clone().narrow(1, way, 1);
            ordered(all.reshape([length, batch, layer.hidden]), reverse)
        });
        let [hidden, cell] = [0, 1].map(|number| last[number].as_ref().map(of_way));
        let (rows, before) = backward.run(x, reverse, of_steps.as_ref(), [hidden, cell]);
        let rows: Tensor<3> = ordered(rows, reverse);
        let gates = rows.dims()[2];
        let rows: Tensor<2> = rows.reshape([length * batch, gates]);
        let share = rows.matmul(backward.weights.input);
        sequence = Some(match sequence {
            Some(sum) => sum + share,
            None => share,
        });
        first[0].push(before.hidden.unsqueeze_dim(0));
        first[1].extend(before.cell.map(|cell| cell.unsqueeze_dim(0)));
    }
    let sequence = sequence.map(|rows| rows.reshape([length, batch, size]));
    let mut results: Vec<Feature> = sequence.into_iter().map(Feature::from).collect();
    for (given, parts) in given.iter().zip(first) {
        let whole: Tensor<3> = Tensor::cat(parts, 0);
        results.push(sum_to(whole.into(), &given.dims())?);
    }
    Ok(results)
}

/// The state before the first step and after each, in the order of the steps.
fn states(
    layer: &Recurrent,
    x: &Tensor<3>,
    given: &[Tensor<3>],
    weights: &Weights,
    way: usize,
) -> Vec<State> {
    let first = first_state(layer, x, given, way);
    let after = steps(layer, x, first.clone(), weights, way);
    std::iter::once(first).chain(after).collect()
}

/// The first axis in the order of the steps, or back.
fn ordered(x: Tensor<3>, reverse: bool) -> Tensor<3> {
    match reverse {
        true => x.flip([0]),
        false => x,
    }
}

/// One direction of a layer.
struct Backward<'a> {
    layer: &'a Recurrent,
    weights: Way,
    states: Vec<State>,
}

/// What a step back gives.
struct Step {
    /// The gradient of the input's share of the gates.
    gates: Tensor<2>,
    /// That of the state before.
    before: State,
}

impl Backward<'_> {
    /// The gradients of the input's share of all gates, `[length, batch, gates * hidden]`, in the order of the steps, and that of
    /// the first state.
    fn run(
        &self,
        x: &Tensor<3>,
        reverse: bool,
        of_steps: Option<&Tensor<3>>,
        last: [Option<Tensor<2>>; 2],
    ) -> (Tensor<3>, State) {
        let [length, ..] = x.dims();
        let (input, own) = self.products(ordered(x.clone(), reverse));
        let [hidden, cell] = last;
        let zeros = self.states[0].hidden.zeros_like();
        let mut gradient = State {
            hidden: hidden.unwrap_or_else(|| zeros.clone()),
            cell: (self.layer.cell == Cell::Lstm).then(|| cell.unwrap_or(zeros)),
        };
        let part = |whole: &Tensor<3>, at: usize| -> Tensor<2> {
            let [_, rows, columns] = whole.dims();
            whole.clone().narrow(0, at, 1).reshape([rows, columns])
        };
        let mut rows = Vec::with_capacity(length);
        for at in (0..length).rev() {
            if let Some(of_steps) = of_steps {
                gradient.hidden = gradient.hidden + part(of_steps, at);
            }
            let step = self.step(at, gradient, part(&input, at), part(&own, at));
            gradient = step.before;
            rows.push(step.gates.unsqueeze_dim(0));
        }
        rows.reverse();
        (Tensor::cat(rows, 0), gradient)
    }

    /// The shares of the input and of the hidden state in all gates of all steps, biases included.
    fn products(&self, x: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let [length, batch, inputs] = x.dims();
        let before = self.states[..length].iter();
        let before = before.map(|state| state.hidden.clone()).collect();
        let rows: Tensor<2> = x.reshape([length * batch, inputs]);
        let mut input = rows.matmul(self.weights.input.clone().transpose());
        let mut own = Tensor::cat(before, 0).matmul(self.weights.hidden.clone().transpose());
        if let Some([of_input, of_hidden]) = &self.weights.bias {
            input = input + of_input.clone().unsqueeze::<2>();
            own = own + of_hidden.clone().unsqueeze::<2>();
        }
        let gates = input.dims()[1];
        let sizes = [length, batch, gates];
        (input.reshape(sizes), own.reshape(sizes))
    }

    fn step(&self, at: usize, gradient: State, input: Tensor<2>, own: Tensor<2>) -> Step {
        let size = self.layer.hidden;
        let gate = |gates: &Tensor<2>, number: usize| gates.clone().narrow(1, number * size, size);
        let (before, after) = (&self.states[at], &self.states[at + 1]);
        let matrix = &self.weights.hidden;
        match (self.layer.cell, gradient.cell) {
            (Cell::Lstm, Some(of_cell)) => {
                let gates = input + own;
                let [i, o, f] = [0, 1, 2].map(|number| sigmoid(gate(&gates, number)));
                let candidate = gate(&gates, 3).tanh();
                let (cell, shown) = match (&before.cell, &after.cell) {
                    (Some(before), Some(after)) => (before.clone(), after.clone().tanh()),
                    // An LSTM's states have cells.
                    _ => (before.hidden.clone(), after.hidden.clone()),
                };
                let of_cell = of_cell + gradient.hidden.clone() * o.clone() * bend(&shown);
                let of_gates = Tensor::cat(
                    vec![
                        of_cell.clone() * candidate.clone() * slope(&i),
                        gradient.hidden * shown * slope(&o),
                        of_cell.clone() * cell * slope(&f),
                        of_cell.clone() * i * bend(&candidate),
                    ],
                    1,
                );
                Step {
                    before: State {
                        hidden: of_gates.clone().matmul(matrix.clone()),
                        cell: Some(of_cell * f),
                    },
                    gates: of_gates,
                }
            }
            (Cell::Gru { reset_after }, _) => {
                self.gru(reset_after, &before.hidden, gradient.hidden, &input, &own)
            }
            (kind, _) => {
                let slope = match kind {
                    Cell::Relu => {
                        let positive = after.hidden.clone().greater_elem(0.0);
                        after.hidden.zeros_like().mask_fill(positive, 1.0)
                    }
                    _ => bend(&after.hidden),
                };
                let gates = gradient.hidden * slope;
                let hidden = gates.clone().matmul(matrix.clone());
                let before = State { hidden, cell: None };
                Step { gates, before }
            }
        }
    }

    fn gru(
        &self,
        reset_after: bool,
        hidden: &Tensor<2>,
        gradient: Tensor<2>,
        input: &Tensor<2>,
        own: &Tensor<2>,
    ) -> Step {
        let size = self.layer.hidden;
        let gate = |gates: &Tensor<2>, number: usize| gates.clone().narrow(1, number * size, size);
        let matrix = &self.weights.hidden;
        let [update, reset] = [0, 1].map(|number| sigmoid(gate(input, number) + gate(own, number)));
        let candidate_matrix = matrix.clone().narrow(0, 2 * size, size);
        let share = if reset_after {
            reset.clone() * gate(own, 2)
        } else {
            let product =
                (reset.clone() * hidden.clone()).matmul(candidate_matrix.clone().transpose());
            match &self.weights.bias {
                Some([_, bias]) => {
                    product + bias.clone().narrow(0, 2 * size, size).unsqueeze::<2>()
                }
                None => product,
            }
        };
        let candidate = (gate(input, 2) + share).tanh();
        let of_update = gradient.clone() * (hidden.clone() - candidate.clone()) * slope(&update);
        let kept = gradient.clone() * update.clone();
        let of_candidate = (gradient - kept.clone()) * bend(&candidate);
        // What reaches the candidate through the hidden state's product.
        let (of_reset, through) = if reset_after {
            let of_reset = of_candidate.clone() * gate(own, 2) * slope(&reset);
            let of_own = of_candidate.clone() * reset;
            (of_reset, of_own.matmul(candidate_matrix))
        } else {
            let product = of_candidate.clone().matmul(candidate_matrix);
            let of_reset = product.clone() * hidden.clone() * slope(&reset);
            (of_reset, product * reset)
        };
        let both = Tensor::cat(vec![of_update, of_reset], 1);
        let hidden = kept + through + both.clone().matmul(matrix.clone().narrow(0, 0, 2 * size));
        Step {
            gates: Tensor::cat(vec![both, of_candidate], 1),
            before: State { hidden, cell: None },
        }
    }
}

/// The derivative of a sigmoid from its value.
fn slope(share: &Tensor<2>) -> Tensor<2> {
    share.clone() * share.clone().neg().add_scalar(1.0)
}

/// The derivative of a hyperbolic tangent from its value.
fn bend(value: &Tensor<2>) -> Tensor<2> {
    (value.clone() * value.clone()).neg().add_scalar(1.0)
}
