//! Recurrent layers against their formulas.

use super::*;
use crate::ir::{Cell, Direction, Node, Recurrent};

const LENGTH: usize = 4;
const INPUTS: usize = 3;
const HIDDEN: usize = 2;

/// A layer over sequences `[batch, length, inputs]` with all its outputs; with states, they are parameters for all rows.
fn graph(layer: Recurrent, states: bool) -> Graph {
    let mut b = Builder::new("recurrent");
    let x = b.input("x", ValueType::float(Shape::batched(&[LENGTH, INPUTS])));
    let mut states_of = Vec::new();
    if states {
        for name in &["h", "c"][..layer.cell.outputs() - 1] {
            let shape = [layer.direction.count(), 1, HIDDEN];
            states_of.push(b.parameter(name, &shape));
        }
    }
    let swap = Op::Transpose(ir::Transpose {
        axes: vec![1, 0, 2],
    });
    let x = b.node("sequence", swap, &[x]);
    let mut inputs = vec![x];
    inputs.extend(&states_of);
    let y = b.node("rnn", Op::Recurrent(layer), &inputs);
    let mut graph = b.finish(y).unwrap();
    graph.outputs = Node::outputs(graph.node("rnn").unwrap());
    graph
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The hidden states and the last cell state of one sequence in one direction.
fn sequence(
    layer: Recurrent,
    weights: &BTreeMap<String, HostTensor>,
    direction: usize,
    x: &[Vec<f64>],
) -> (Vec<Vec<f64>>, Vec<f64>) {
    let gates = layer.cell.gates();
    let value = |name: &str, size: usize, place: usize| match weights.get(name) {
        Some(host) => f64::from(host.values[direction * size + place]),
        None => 0.0,
    };
    let input = |row: usize, x: &[f64]| -> f64 {
        let size = gates * HIDDEN * INPUTS;
        let weight = |column: usize| value("rnn.weight_input", size, row * INPUTS + column);
        let bias = value("rnn.bias", 2 * gates * HIDDEN, row);
        bias + (0..INPUTS)
            .map(|column| weight(column) * x[column])
            .sum::<f64>()
    };
    let hidden = |row: usize, h: &[f64]| -> f64 {
        let size = gates * HIDDEN * HIDDEN;
        let weight = |column: usize| value("rnn.weight_hidden", size, row * HIDDEN + column);
        let bias = value("rnn.bias", 2 * gates * HIDDEN, gates * HIDDEN + row);
        bias + (0..HIDDEN)
            .map(|column| weight(column) * h[column])
            .sum::<f64>()
    };
    let start = |name: &str| {
        (0..HIDDEN)
            .map(|place| value(name, HIDDEN, place))
            .collect()
    };
    let (mut h, mut c): (Vec<f64>, Vec<f64>) = (start("h.value"), start("c.value"));
    let mut all = Vec::new();
    for x in x {
        let gate = |gate: usize, unit: usize| {
            let row = gate * HIDDEN + unit;
            input(row, x) + hidden(row, &h)
        };
        let units = 0..HIDDEN;
        let next: Vec<f64> = match layer.cell {
            Cell::Lstm => {
                let cell = |unit: usize| {
                    sigmoid(gate(2, unit)) * c[unit] + sigmoid(gate(0, unit)) * gate(3, unit).tanh()
                };
                let cells: Vec<f64> = units.clone().map(cell).collect();
                let next = units.map(|unit| sigmoid(gate(1, unit)) * cells[unit].tanh());
                let next = next.collect();
                c = cells;
                next
            }
            Cell::Gru { reset_after } => {
                let reset: Vec<f64> = units
                    .clone()
                    .map(|unit| sigmoid(gate(1, unit)) * h[unit])
                    .collect();
                let new = |unit: usize| {
                    let row = 2 * HIDDEN + unit;
                    let share = match reset_after {
                        true => sigmoid(gate(1, unit)) * hidden(row, &h),
                        false => hidden(row, &reset),
                    };
                    let update = sigmoid(gate(0, unit));
                    (1.0 - update) * (input(row, x) + share).tanh() + update * h[unit]
                };
                units.map(new).collect()
            }
            Cell::Tanh => units.map(|unit| gate(0, unit).tanh()).collect(),
            Cell::Relu => units.map(|unit| gate(0, unit).max(0.0)).collect(),
        };
        h.clone_from(&next);
        all.push(next);
    }
    (all, c)
}

fn close(got: &Feature, shape: &[usize], expected: &[f64], what: &str) {
    assert_eq!(got.shape(), shape, "{what}");
    for (got, expected) in got.to_vec().unwrap().iter().zip(expected) {
        let difference = (f64::from(*got) - expected).abs();
        assert!(difference < 1e-5, "{what}: {got} {expected}");
    }
}

fn check(layer: Recurrent, states: bool) {
    let what = format!("{layer:?} with states: {states}");
    let graph = graph(layer, states);
    let weights = weights(&graph);
    let directions = layer.direction.count();
    for rows in BATCHES {
        let inputs = inputs(&graph, rows);
        let x = inputs.get_float("x").unwrap().to_vec().unwrap();
        let mut all = vec![0.0; LENGTH * directions * rows * HIDDEN];
        let mut last = vec![0.0; directions * rows * HIDDEN];
        let mut cells = last.clone();
        for row in 0..rows {
            for direction in 0..directions {
                let at = |step: usize| {
                    let start = (row * LENGTH + step) * INPUTS;
                    x[start..start + INPUTS]
                        .iter()
                        .map(|&x| f64::from(x))
                        .collect()
                };
                let mut steps: Vec<Vec<f64>> = (0..LENGTH).map(at).collect();
                let backward = direction == 1 || layer.direction == Direction::Reverse;
                if backward {
                    steps.reverse();
                }
                let (mut states, cell) = sequence(layer, &weights, direction, &steps);
                for unit in 0..HIDDEN {
                    let place = (direction * rows + row) * HIDDEN + unit;
                    last[place] = states[LENGTH - 1][unit];
                    cells[place] = cell[unit];
                }
                if backward {
                    states.reverse();
                }
                for (step, state) in states.iter().enumerate() {
                    for (unit, value) in state.iter().enumerate() {
                        let place = ((step * directions + direction) * rows + row) * HIDDEN + unit;
                        all[place] = *value;
                    }
                }
            }
        }
        let trace = elsewhere(&graph, &weights, &inputs);
        close(
            &trace.output,
            &[LENGTH, directions, rows, HIDDEN],
            &all,
            &what,
        );
        let state = [directions, rows, HIDDEN];
        close(trace.feature("rnn:1").unwrap(), &state, &last, &what);
        if layer.cell == Cell::Lstm {
            close(trace.feature("rnn:2").unwrap(), &state, &cells, &what);
        }
    }
}

#[test]
fn every_cell_in_every_direction() {
    let cells = [
        Cell::Lstm,
        Cell::Gru { reset_after: true },
        Cell::Gru { reset_after: false },
        Cell::Tanh,
        Cell::Relu,
    ];
    for cell in cells {
        for direction in [Direction::Forward, Direction::Reverse, Direction::Both] {
            for (bias, states) in [(true, false), (false, true), (true, true)] {
                let layer = Recurrent {
                    cell,
                    direction,
                    inputs: INPUTS,
                    hidden: HIDDEN,
                    bias,
                };
                check(layer, states);
            }
        }
    }
}
