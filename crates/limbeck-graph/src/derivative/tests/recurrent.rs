//! Recurrent layers: back through time.

use super::first::operator;
use super::{Mode, graph_of, second};
use crate::build::{Builder, Value};
use crate::ir::{Activation, Cell, Direction, Recurrent};

const CELLS: [Cell; 5] = [
    Cell::Lstm,
    Cell::Gru { reset_after: true },
    Cell::Gru { reset_after: false },
    Cell::Tanh,
    Cell::Relu,
];

/// A layer over `x[0]` `[batch, length, 3]` from the states `x[1]`, `x[2]` `[batch, directions, 2]`, and all that it gives in one row.
fn layer(b: &mut Builder, x: &[Value], cell: Cell, direction: Direction, bias: bool) -> Value {
    let layer = Recurrent {
        cell,
        direction,
        inputs: 3,
        hidden: 2,
        bias,
    };
    let turned: Vec<Value> = x
        .iter()
        .enumerate()
        .map(|(number, value)| b.transpose(&format!("turned-{number}"), *value, &[1, 0, 2]))
        .collect();
    let outputs = b.recurrent("layer", turned[0], &turned[1..], layer);
    let mut rows: Vec<Value> = outputs[1..]
        .iter()
        .enumerate()
        .map(|(number, value)| {
            let last = b.transpose(&format!("last-{number}"), *value, &[1, 0, 2]);
            b.flatten(&format!("row-{number}"), last)
        })
        .collect();
    let all = b.transpose("all", outputs[0], &[2, 0, 1, 3]);
    rows.push(b.flatten("row", all));
    b.concatenate("rows", &rows, 1)
}

#[test]
fn every_cell_in_every_direction_from_given_states() {
    for cell in CELLS {
        for direction in [Direction::Forward, Direction::Reverse, Direction::Both] {
            let directions = direction.count();
            let state = [3, directions, 2];
            let shapes: [&[usize]; 3] = [&[3, 4, 3], &state, &state];
            let count = cell.outputs();
            operator(&shapes[..count], |b, x| layer(b, x, cell, direction, true));
            operator(&shapes[..1], |b, x| layer(b, x, cell, direction, false));
        }
    }
}

#[test]
fn an_output_that_nothing_takes_has_no_gradient() {
    operator(&[&[2, 5, 3]], |b, x| {
        let layer = Recurrent {
            cell: Cell::Lstm,
            direction: Direction::Both,
            inputs: 3,
            hidden: 2,
            bias: true,
        };
        let turned = b.transpose("turned", x[0], &[1, 0, 2]);
        let outputs = b.recurrent("layer", turned, &[], layer);
        b.transpose("cell", outputs[2], &[1, 0, 2])
    });
}

#[test]
fn a_state_of_one_row_has_the_sum_of_all_rows() {
    // A parameter is the state; what is checked are the second derivatives with respect to it.
    let graph = graph_of(&[&[3, 4, 3]], |b, x| {
        let state = b.parameter("state", &[1, 1, 2]);
        let layer = Recurrent {
            cell: Cell::Gru { reset_after: true },
            direction: Direction::Forward,
            inputs: 3,
            hidden: 2,
            bias: true,
        };
        let turned = b.transpose("turned", x[0], &[1, 0, 2]);
        let outputs = b.recurrent("layer", turned, &[state], layer);
        b.transpose("last", outputs[1], &[1, 0, 2])
    });
    second::check(&graph, &[&[3, 4, 3]], Mode::Evaluation);
}

#[test]
fn second_derivatives_of_every_cell() {
    for cell in CELLS {
        let state = [2, 2, 2];
        let shapes: [&[usize]; 3] = [&[2, 3, 3], &state, &state];
        let shapes = &shapes[..cell.outputs()];
        let graph = graph_of(shapes, |b, x| {
            let h = layer(b, x, cell, Direction::Both, true);
            b.activation("tanh", h, Activation::Tanh)
        });
        second::check(&graph, shapes, Mode::Evaluation);
    }
}
