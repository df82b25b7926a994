//! Recurrent layers: the products with the whole sequence first, then step after step.

use burn::tensor::activation::{relu, sigmoid, tanh};
use burn::tensor::{Tensor, TensorData};

use super::dense;
use crate::ir::{Cell, Direction, Recurrent};
use crate::{Feature, Result};

/// What a recurrent layer owns, in ONNX's order of gates.
pub(crate) struct Weights {
    /// `[directions, gates * hidden, inputs]`.
    pub(crate) input: Tensor<3>,
    /// `[directions, gates * hidden, hidden]`.
    pub(crate) hidden: Tensor<3>,
    /// `[directions, 2 * gates * hidden]`.
    pub(crate) bias: Option<Tensor<2>>,
}

/// The weights of one direction.
pub(crate) struct Way {
    /// `[gates * hidden, inputs]`.
    pub(crate) input: Tensor<2>,
    /// `[gates * hidden, hidden]`.
    pub(crate) hidden: Tensor<2>,
    /// The biases `[gates * hidden]` of the input's product and of the hidden state's.
    pub(crate) bias: Option<[Tensor<1>; 2]>,
}

impl Weights {
    /// Those of the direction number `way`.
    pub(crate) fn way(&self, way: usize) -> Way {
        let [_, rows, inputs] = self.input.dims();
        let hidden = self.hidden.dims()[2];
        Way {
            input: self.input.clone().narrow(0, way, 1).reshape([rows, inputs]),
            hidden: self
                .hidden
                .clone()
                .narrow(0, way, 1)
                .reshape([rows, hidden]),
            bias: self.bias.clone().map(|bias| {
                let half = |start| bias.clone().narrow(0, way, 1).narrow(1, start, rows);
                [half(0).reshape([rows]), half(rows).reshape([rows])]
            }),
        }
    }
}

/// The state of one direction: hidden, and an LSTM's cell, `[batch, hidden]`.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) hidden: Tensor<2>,
    pub(crate) cell: Option<Tensor<2>>,
}

/// Whether the direction number `way` goes from the last to the first.
pub(crate) const fn is_reverse(direction: Direction, way: usize) -> bool {
    match direction {
        Direction::Forward => false,
        Direction::Reverse => true,
        Direction::Both => way == 1,
    }
}

/// The state before the first step of the direction number `way`: the given one, zeros where none is.
pub(crate) fn first_state(
    layer: &Recurrent,
    x: &Tensor<3>,
    given: &[Tensor<3>],
    way: usize,
) -> State {
    let [_, batch, _] = x.dims();
    let state = |number: usize| match given.get(number) {
        Some(state) => {
            let row: Tensor<2> = state
                .clone()
                .narrow(0, way, 1)
                .reshape([state.dims()[1], layer.hidden]);
            match row.dims()[0] == batch {
                true => row,
                false => row.expand([batch, layer.hidden]),
            }
        }
        None => {
            let zeros = TensorData::zeros::<f32, _>([batch, layer.hidden]);
            Tensor::from_data(zeros, (&x.device(), x.dtype()))
        }
    };
    State {
        hidden: state(0),
        cell: (layer.cell == Cell::Lstm).then(|| state(1)),
    }
}

/// The outputs of a layer over `x` `[length, batch, inputs]`, from the `given` states: all hidden states, the last one and an
/// LSTM's last cell state.
pub(crate) fn forward(
    layer: &Recurrent,
    x: &Tensor<3>,
    given: &[Tensor<3>],
    weights: &Weights,
) -> Result<Vec<Feature>> {
    let [length, batch, _] = x.dims();
    let size = layer.hidden;
    let mut all = Vec::new();
    let mut last = Vec::new();
    for way in 0..layer.direction.count() {
        let states = steps(layer, x, first_state(layer, x, given, way), weights, way);
        if let Some(state) = states.last() {
            last.push(state.clone());
        }
        let mut hidden: Vec<Tensor<4>> = states
            .into_iter()
            .map(|state| state.hidden.reshape([1, 1, batch, size]))
            .collect();
        if is_reverse(layer.direction, way) {
            hidden.reverse();
        }
        all.push(Tensor::cat(hidden, 0));
    }
    debug_assert_eq!(all[0].dims()[0], length);
    let all = match all.len() {
        1 => all.swap_remove(0),
        _ => Tensor::cat(all, 1),
    };
    let side_by_side = |states: Vec<Tensor<2>>| -> Tensor<3> {
        let states = states.into_iter().map(|state| state.unsqueeze_dim(0));
        Tensor::cat(states.collect(), 0)
    };
    let cells: Vec<Tensor<2>> = last.iter().filter_map(|state| state.cell.clone()).collect();
    let hidden = last.into_iter().map(|state| state.hidden).collect();
    let mut outputs = vec![all.into(), side_by_side(hidden).into()];
    if layer.cell == Cell::Lstm {
        outputs.push(side_by_side(cells).into());
    }
    Ok(outputs)
}

/// The state after each step of one direction, in the order of the steps.
pub(crate) fn steps(
    layer: &Recurrent,
    x: &Tensor<3>,
    first: State,
    weights: &Weights,
    way: usize,
) -> Vec<State> {
    let weights = weights.way(way);
    let mut inputs = input_products(layer, x, &weights);
    if is_reverse(layer.direction, way) {
        inputs.reverse();
    }
    let matrix = weights.hidden.transpose();
    let bias = weights.bias.map(|[_, hidden]| hidden.unsqueeze::<2>());
    let mut state = first;
    let mut states = Vec::with_capacity(inputs.len());
    for input in inputs {
        state = step(layer, input, state, &matrix, bias.as_ref());
        states.push(state.clone());
    }
    states
}

/// The share of the input in all gates of each step, `[batch, gates * hidden]`: one product for the whole sequence.
///
/// It holds the biases of the input, and those of the hidden state where they are plainly added.
fn input_products(layer: &Recurrent, x: &Tensor<3>, weights: &Way) -> Vec<Tensor<2>> {
    let [length, batch, inputs] = x.dims();
    let gates = layer.cell.gates() * layer.hidden;
    let bias = weights
        .bias
        .clone()
        .map(|[input, hidden]| match layer.cell {
            Cell::Gru { .. } => input,
            _ => input + hidden,
        });
    let rows: Tensor<2> = x.clone().reshape([length * batch, inputs]);
    let products = dense::linear(rows, weights.input.clone(), bias);
    cut(products.reshape([length, batch, gates]))
}

/// The parts along the first axis. Halves of halves: the gradient of a part is as large as what it was cut from, and a whole sequence
/// for each step would make the backward pass quadratic in its length.
fn cut(whole: Tensor<3>) -> Vec<Tensor<2>> {
    let [length, batch, size] = whole.dims();
    if length == 1 {
        return vec![whole.reshape([batch, size])];
    }
    let half = length / 2;
    let mut parts = cut(whole.clone().narrow(0, 0, half));
    parts.extend(cut(whole.narrow(0, half, length - half)));
    parts
}

/// One step; `input` is the input's share of all gates.
fn step(
    layer: &Recurrent,
    input: Tensor<2>,
    state: State,
    matrix: &Tensor<2>,
    bias: Option<&Tensor<2>>,
) -> State {
    let size = layer.hidden;
    let gate = |gates: &Tensor<2>, number: usize| gates.clone().narrow(1, number * size, size);
    let State { hidden, cell } = state;
    match (layer.cell, cell) {
        (Cell::Lstm, Some(cell)) => {
            let gates = input + hidden.matmul(matrix.clone());
            let shares = sigmoid(gates.clone().narrow(1, 0, 3 * size));
            let candidate = tanh(gate(&gates, 3));
            let cell = gate(&shares, 2) * cell + gate(&shares, 0) * candidate;
            State {
                hidden: gate(&shares, 1) * tanh(cell.clone()),
                cell: Some(cell),
            }
        }
        (Cell::Gru { reset_after }, _) => {
            let own = gru_products(&hidden, matrix, bias, size, reset_after);
            let both = input.clone().narrow(1, 0, 2 * size) + own.clone().narrow(1, 0, 2 * size);
            let shares = sigmoid(both);
            let (update, reset) = (gate(&shares, 0), gate(&shares, 1));
            let candidate = match reset_after {
                true => reset * gate(&own, 2),
                false => {
                    let product =
                        (reset * hidden.clone()).matmul(matrix.clone().narrow(1, 2 * size, size));
                    match bias {
                        Some(bias) => product + gate(bias, 2),
                        None => product,
                    }
                }
            };
            let candidate = tanh(gate(&input, 2) + candidate);
            let hidden = candidate.clone() + update * (hidden - candidate);
            State { hidden, cell: None }
        }
        (kind, _) => {
            let sum = input + hidden.matmul(matrix.clone());
            let hidden = match kind {
                Cell::Relu => relu(sum),
                _ => tanh(sum),
            };
            State { hidden, cell: None }
        }
    }
}

/// The share of the hidden state, with its bias, in the gates of a GRU that do not wait for the reset gate.
fn gru_products(
    hidden: &Tensor<2>,
    matrix: &Tensor<2>,
    bias: Option<&Tensor<2>>,
    size: usize,
    reset_after: bool,
) -> Tensor<2> {
    let count = if reset_after { 3 } else { 2 };
    let product = hidden
        .clone()
        .matmul(matrix.clone().narrow(1, 0, count * size));
    match bias {
        Some(bias) => product + bias.clone().narrow(1, 0, count * size),
        None => product,
    }
}
