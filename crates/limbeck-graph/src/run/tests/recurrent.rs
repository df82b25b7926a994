//! Recurrent layers against plain loops, in every direction and form.

use burn::tensor::Device;

use super::reference::Array;
use super::{LAYOUTS, array, compile, named, random, weight};
use crate::build::Builder;
use crate::ir::{Cell, Dim, Direction, Graph, Recurrent, Shape, ValueType};
use crate::run::CompiledGraph;
use crate::{Network, Taps};

pub(super) const CELLS: [Cell; 5] = [
    Cell::Lstm,
    Cell::Gru { reset_after: true },
    Cell::Gru { reset_after: false },
    Cell::Tanh,
    Cell::Relu,
];
pub(super) const DIRECTIONS: [Direction; 3] =
    [Direction::Forward, Direction::Reverse, Direction::Both];

const BATCH: usize = 3;
const LENGTH: usize = 5;
const INPUTS: usize = 4;
const HIDDEN: usize = 2;

/// A layer over `a` `[batch, length, inputs]` from the first states `b` and `c` `[batch, directions, hidden]`, which bring the
/// batch to the second place first. The outputs are all that the layer gives.
fn graph(layer: Recurrent, states: usize) -> Graph {
    let directions = layer.direction.count();
    let mut b = Builder::new("recurrent");
    let x = b.input("a", ValueType::float(Shape::batched(&[LENGTH, INPUTS])));
    let x = b.transpose("steps", x, &[1, 0, 2]);
    let given: Vec<_> = ["b", "c"][..states]
        .iter()
        .map(|name| {
            let shape = Shape::batched(&[directions, layer.hidden]);
            let state = b.input(name, ValueType::float(shape));
            b.transpose(&format!("first-{name}"), state, &[1, 0, 2])
        })
        .collect();
    let outputs = b.recurrent("layer", x, &given, layer);
    b.finish_with(&outputs).unwrap()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// What the definitions say, gate by gate and unit by unit: `[all, last, last cell]` in the layer's shapes.
fn expected(layer: Recurrent, network: &CompiledGraph, x: &Array, states: &[Array]) -> Vec<Array> {
    let directions = layer.direction.count();
    let (input, hidden) = (
        weight(network, "layer.weight_input"),
        weight(network, "layer.weight_hidden"),
    );
    let bias = layer.bias.then(|| weight(network, "layer.bias"));
    let gates = layer.cell.gates();
    let mut all = Array::from_fn(&[LENGTH, directions, BATCH, HIDDEN], |_| 0.0);
    let mut last = Array::from_fn(&[directions, BATCH, HIDDEN], |_| 0.0);
    let mut cells = last.clone();
    for d in 0..directions {
        let reverse = layer.direction == Direction::Reverse || d == 1;
        for row in 0..BATCH {
            let first = |number: usize, unit: usize| {
                states
                    .get(number)
                    .map_or(0.0, |state| state.at(&[row, d, unit]))
            };
            let mut h: Vec<f64> = (0..HIDDEN).map(|unit| first(0, unit)).collect();
            let mut c: Vec<f64> = (0..HIDDEN).map(|unit| first(1, unit)).collect();
            for count in 0..LENGTH {
                let t = if reverse { LENGTH - 1 - count } else { count };
                let of_input = |gate: usize, unit: usize| {
                    let place = gate * HIDDEN + unit;
                    let own = bias.as_ref().map_or(0.0, |bias| bias.at(&[d, place]));
                    (0..INPUTS).fold(own, |sum, i| {
                        sum + x.at(&[row, t, i]) * input.at(&[d, place, i])
                    })
                };
                let of_state = |gate: usize, unit: usize, h: &[f64]| {
                    let place = gate * HIDDEN + unit;
                    let behind = gates * HIDDEN + place;
                    let own = bias.as_ref().map_or(0.0, |bias| bias.at(&[d, behind]));
                    (0..HIDDEN).fold(own, |sum, i| sum + h[i] * hidden.at(&[d, place, i]))
                };
                let sum = |gate: usize, unit: usize, h: &[f64]| {
                    of_input(gate, unit) + of_state(gate, unit, h)
                };
                let before = h.clone();
                let resets: Vec<f64> = (0..HIDDEN)
                    .map(|unit| match layer.cell {
                        Cell::Gru { .. } => sigmoid(sum(1, unit, &before)),
                        _ => 1.0,
                    })
                    .collect();
                for unit in 0..HIDDEN {
                    match layer.cell {
                        Cell::Lstm => {
                            let [i, o, f] = [0, 1, 2].map(|gate| sigmoid(sum(gate, unit, &before)));
                            c[unit] = f * c[unit] + i * sum(3, unit, &before).tanh();
                            h[unit] = o * c[unit].tanh();
                        }
                        Cell::Gru { reset_after } => {
                            let z = sigmoid(sum(0, unit, &before));
                            let share = if reset_after {
                                resets[unit] * of_state(2, unit, &before)
                            } else {
                                let kept: Vec<f64> =
                                    before.iter().zip(&resets).map(|(h, r)| h * r).collect();
                                of_state(2, unit, &kept)
                            };
                            let n = (of_input(2, unit) + share).tanh();
                            h[unit] = (1.0 - z) * n + z * before[unit];
                        }
                        Cell::Tanh => h[unit] = sum(0, unit, &before).tanh(),
                        Cell::Relu => h[unit] = sum(0, unit, &before).max(0.0),
                    }
                    all.set(&[t, d, row, unit], h[unit]);
                    last.set(&[d, row, unit], h[unit]);
                    cells.set(&[d, row, unit], c[unit]);
                }
            }
        }
    }
    let mut outputs = vec![all, last, cells];
    outputs.truncate(layer.cell.outputs());
    outputs
}

#[test]
fn every_cell_in_every_direction_is_what_its_definition_says() {
    for cell in CELLS {
        for direction in DIRECTIONS {
            for (bias, states) in [(true, 0), (false, 0), (true, cell.outputs() - 1)] {
                let layer = Recurrent {
                    cell,
                    direction,
                    inputs: INPUTS,
                    hidden: HIDDEN,
                    bias,
                };
                let graph = graph(layer, states);
                let x = random("steps", &[BATCH, LENGTH, INPUTS]);
                let given: Vec<Array> = ["b", "c"][..states]
                    .iter()
                    .map(|name| random(name, &[BATCH, direction.count(), HIDDEN]))
                    .collect();
                let mut inputs = vec![("a", &x)];
                inputs.extend(["b", "c"].into_iter().zip(&given));
                for layout in LAYOUTS {
                    let network = compile(&graph, layout);
                    let trace = network
                        .forward(&named(&inputs, &Device::flex()), &Taps::none())
                        .unwrap();
                    for (number, expected) in
                        expected(layer, &network, &x, &given).iter().enumerate()
                    {
                        let got = match number {
                            0 => &trace.output,
                            _ => trace.feature(&format!("layer:{number}")).unwrap(),
                        };
                        let what = format!("{layer:?}, {states} states, output {number}");
                        expected.assert_close(&array(got), 2e-5, &what);
                        let shape = &network.analysis().values[&format!("layer:{number}")].shape;
                        assert_eq!(shape.sizes(BATCH), got.shape(), "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_first_state_of_one_row_is_that_of_all_rows() {
    let layer = Recurrent {
        cell: Cell::Lstm,
        direction: Direction::Both,
        inputs: INPUTS,
        hidden: HIDDEN,
        bias: true,
    };
    let mut b = Builder::new("constant state");
    let x = b.input("a", ValueType::float(Shape::batched(&[LENGTH, INPUTS])));
    let x = b.transpose("steps", x, &[1, 0, 2]);
    let hidden = b.parameter("hidden", &[2, 1, HIDDEN]);
    let cell = b.constant("cell", &[2, 1, HIDDEN]);
    let outputs = b.recurrent("layer", x, &[hidden, cell], layer);
    let graph = b.finish_with(&outputs).unwrap();
    let network = compile(&graph, LAYOUTS[0]);
    let mut weights = network.weights();
    weights.get_mut("cell.value").unwrap().values = vec![0.3, -0.2, 0.5, 0.1];
    let network = network.load(&weights).unwrap();
    let x = random("steps", &[BATCH, LENGTH, INPUTS]);
    let spread = |name: &str| {
        let one = weight(&network, name);
        Array::from_fn(&[BATCH, 2, HIDDEN], |at| one.at(&[at[1], 0, at[2]]))
    };
    let given = [spread("hidden.value"), spread("cell.value")];
    let trace = network
        .forward(&named(&[("a", &x)], &Device::flex()), &Taps::none())
        .unwrap();
    let expected = expected(layer, &network, &x, &given);
    expected[0].assert_close(&array(&trace.output), 2e-5, "all");
    expected[2].assert_close(&array(trace.feature("layer:2").unwrap()), 2e-5, "cell");
}

#[test]
fn an_lstm_by_hand() {
    // One unit, two steps, all weights 1, no bias: every gate sees x + h.
    let layer = Recurrent {
        cell: Cell::Lstm,
        direction: Direction::Forward,
        inputs: 1,
        hidden: 1,
        bias: false,
    };
    let mut b = Builder::new("one unit");
    let x = b.input("a", ValueType::float(Shape::batched(&[2, 1])));
    let x = b.view(
        "steps",
        x,
        Shape(vec![Dim::Fixed(2), Dim::Batch, Dim::Fixed(1)]),
    );
    let outputs = b.recurrent("layer", x, &[], layer);
    let network = compile(&b.finish_with(&outputs).unwrap(), LAYOUTS[0]);
    let mut weights = network.weights();
    for weight in weights.values_mut() {
        weight.values.fill(1.0);
    }
    let network = network.load(&weights).unwrap();
    let x = Array::new(&[1, 2, 1], vec![1.0, -1.0]);
    let trace = network
        .forward(&named(&[("a", &x)], &Device::flex()), &Taps::none())
        .unwrap();
    // c = s(1) tanh(1) = 0.731059 * 0.761594 = 0.556770, h = s(1) tanh(c) = 0.369606; then z = -1 + h = -0.630394,
    // c = s(z) (c + tanh(z)) = 0.347421 * (0.556770 - 0.558323) = -0.000540, h = s(z) tanh(c) = -0.000187.
    Array::new(&[2, 1, 1, 1], vec![0.369_606, -0.000_187]).assert_close(
        &array(&trace.output),
        2e-6,
        "hidden states",
    );
}
