//! Recurrent layers: the products with the whole sequence first, then step after step.

use burn::tensor::activation::relu;
use burn::tensor::{Tensor, TensorData};
use limbeck_kernels::elementwise::Function;
use limbeck_kernels::tensor as kernels;

use super::dense::linear_rows;
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
    let own = Own::new(layer, weights);
    let mut state = first;
    let mut states = Vec::with_capacity(inputs.len());
    for input in inputs {
        state = step(layer, input, state, &own);
        states.push(state.clone());
    }
    states
}

/// The weights of the hidden state, `[gates * hidden, hidden]`, and those of its biases that are not added with the input's.
struct Own {
    /// Of the gates that see the hidden state as it is.
    plain: (Tensor<2>, Option<Tensor<1>>),
    /// Of a GRU's hidden gate, if the reset gate comes before its product.
    reset: Option<(Tensor<2>, Option<Tensor<1>>)>,
}

impl Own {
    fn new(layer: &Recurrent, weights: Way) -> Self {
        let size = layer.hidden;
        let Way { hidden, bias, .. } = weights;
        let Cell::Gru { reset_after } = layer.cell else {
            let (plain, reset) = ((hidden, None), None);
            return Self { plain, reset };
        };
        let bias = bias.map(|[_, hidden]| hidden);
        if reset_after {
            let (plain, reset) = ((hidden, bias), None);
            return Self { plain, reset };
        }
        let gates = |start: usize, count: usize| {
            let bias = bias.clone().map(|bias| bias.narrow(0, start, count));
            (hidden.clone().narrow(0, start, count), bias)
        };
        Self {
            plain: gates(0, 2 * size),
            reset: Some(gates(2 * size, size)),
        }
    }
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
    let products = linear_rows(rows, weights.input.clone(), bias);
    cut(products.reshape([length, batch, gates]))
}

/// The parts along the first axis.
///
/// Burn's gradient of a part is as large as what it was cut from, and a whole sequence for each step would make the backward pass
/// quadratic in its length: where the kernels can't cut, it is halved and halved again.
fn cut(whole: Tensor<3>) -> Vec<Tensor<2>> {
    let [length, batch, size] = whole.dims();
    if length == 1 {
        return vec![whole.reshape([batch, size])];
    }
    if kernels::accepts(&whole) {
        let row: Tensor<4> = whole.reshape([1, 1, 1, length * batch * size]);
        let parts = kernels::split(row, &vec![batch * size; length]);
        return parts
            .into_iter()
            .map(|part| part.reshape([batch, size]))
            .collect();
    }
    let half = length / 2;
    let mut parts = cut(whole.clone().narrow(0, 0, half));
    parts.extend(cut(whole.narrow(0, half, length - half)));
    parts
}

/// The parts of `size` columns.
fn gates<const N: usize>(x: Tensor<2>, size: usize) -> [Tensor<2>; N] {
    if !kernels::accepts(&x) {
        return std::array::from_fn(|number| x.clone().narrow(1, number * size, size));
    }
    let [batch, columns] = x.dims();
    let image: Tensor<4> = x.reshape([batch, 1, 1, columns]);
    let mut parts = kernels::split(image, &[size; N]).into_iter();
    std::array::from_fn(|_| {
        let part = parts.next().expect("a split has as many parts as sizes");
        part.reshape([batch, size])
    })
}

/// One step; `input` is the input's share of all gates.
fn step(layer: &Recurrent, input: Tensor<2>, state: State, own: &Own) -> State {
    let size = layer.hidden;
    let State { hidden, cell } = state;
    let product = |(weight, bias): &(Tensor<2>, Option<Tensor<1>>), hidden: Tensor<2>| {
        linear_rows(hidden, weight.clone(), bias.clone())
    };
    let of_state = product(&own.plain, hidden.clone());
    match (layer.cell, cell) {
        (Cell::Lstm, Some(cell)) => {
            let [input, output, forget, candidate] = gates(input + of_state, size);
            let cell = sigmoid(forget) * cell + sigmoid(input) * tanh(candidate);
            State {
                hidden: sigmoid(output) * tanh(cell.clone()),
                cell: Some(cell),
            }
        }
        (Cell::Gru { .. }, _) => {
            let [update, reset, candidate] = gates(input, size);
            let (update, share) = match &own.reset {
                Some(gate) => {
                    let [of_update, of_reset] = gates(of_state, size);
                    let kept = sigmoid(reset + of_reset) * hidden.clone();
                    (update + of_update, product(gate, kept))
                }
                None => {
                    let [of_update, of_reset, of_candidate] = gates(of_state, size);
                    let share = sigmoid(reset + of_reset) * of_candidate;
                    (update + of_update, share)
                }
            };
            let update = sigmoid(update);
            let candidate = tanh(candidate + share);
            let hidden = candidate.clone() + update * (hidden - candidate);
            State { hidden, cell: None }
        }
        (kind, _) => {
            let sum = input + of_state;
            let hidden = match kind {
                Cell::Relu => relu(sum),
                _ => tanh(sum),
            };
            State { hidden, cell: None }
        }
    }
}

fn sigmoid(x: Tensor<2>) -> Tensor<2> {
    match kernels::accepts(&x) {
        true => kernels::apply(Function::Sigmoid, x),
        false => burn::tensor::activation::sigmoid(x),
    }
}

fn tanh(x: Tensor<2>) -> Tensor<2> {
    match kernels::accepts(&x) {
        true => kernels::apply(Function::Tanh, x),
        false => x.tanh(),
    }
}
