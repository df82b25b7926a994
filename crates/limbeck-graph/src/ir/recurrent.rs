//! Recurrent layers.

use serde::{Deserialize, Serialize};

use super::WeightKind;
use super::op::OpWeight;

/// A recurrent layer over sequences, as ONNX has it.
///
/// It takes the sequence `[length, batch, inputs]`, then optionally the first hidden state
/// `[directions, batch, hidden]` and, for an LSTM, the first cell state; states that are left out are zero. It gives all
/// hidden states `[length, directions, batch, hidden]`, the last one `[directions, batch, hidden]` and, for an LSTM, the last
/// cell state. The weights are ONNX's: `weight_input` `[directions, gates * hidden, inputs]`, `weight_hidden`
/// `[directions, gates * hidden, hidden]` and `bias` `[directions, 2 * gates * hidden]`, that of the input before
/// that of the hidden state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recurrent {
    /// What one step computes.
    pub cell: Cell,
    /// Which way it goes through the sequence.
    pub direction: Direction,
    /// The size of a step's input.
    pub inputs: usize,
    /// The size of the hidden state.
    pub hidden: usize,
    /// Whether there are biases.
    pub bias: bool,
}

/// What one step of a recurrent layer computes, with `i` the input's and `h` the hidden state's share of each gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cell", deny_unknown_fields)]
pub enum Cell {
    /// Gates input, output, forget, cell (Hochreiter and Schmidhuber 1997; Gers et al. 2000):
    /// `c' = f c + i tanh(g)`, `h' = o tanh(c')` with `i`, `o` and `f` sigmoids.
    Lstm,
    /// Gates update, reset, hidden (Cho et al. 2014): `h' = (1 - z) n + z h` with `z` and `r` sigmoids.
    Gru {
        /// Whether `n = tanh(i + r h)`, as PyTorch has it; else the reset gate is applied to the hidden state before
        /// its product with the weights.
        reset_after: bool,
    },
    /// One gate (Elman 1990): `h' = tanh(i + h)`.
    Tanh,
    /// One gate: `h' = max(i + h, 0)`.
    Relu,
}

/// Which way a recurrent layer goes through the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the first to the last.
    Forward,
    /// From the last to the first.
    Reverse,
    /// Both, with weights of their own.
    Both,
}

impl Cell {
    /// The operator's name as it is written in a graph file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lstm => "lstm",
            Self::Gru { .. } => "gru",
            Self::Tanh | Self::Relu => "rnn",
        }
    }

    /// The number of gates.
    pub const fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru { .. } => 3,
            Self::Tanh | Self::Relu => 1,
        }
    }

    /// The number of outputs: all hidden states, the last one, and an LSTM's last cell state.
    pub const fn outputs(self) -> usize {
        match self {
            Self::Lstm => 3,
            _ => 2,
        }
    }

    /// The most inputs: the sequence and a state for each kind.
    pub(super) const fn most_inputs(self) -> usize {
        self.outputs()
    }
}

impl Direction {
    /// How many ways.
    pub const fn count(self) -> usize {
        match self {
            Self::Both => 2,
            _ => 1,
        }
    }
}

impl Recurrent {
    pub(super) fn weights(self) -> Vec<OpWeight> {
        let directions = self.direction.count();
        let gates = self.cell.gates().saturating_mul(self.hidden);
        let mut weights = vec![
            OpWeight::new(
                "weight_input",
                vec![directions, gates, self.inputs],
                WeightKind::Weight,
            ),
            OpWeight::new(
                "weight_hidden",
                vec![directions, gates, self.hidden],
                WeightKind::Weight,
            ),
        ];
        if self.bias {
            let shape = vec![directions, gates.saturating_mul(2)];
            weights.push(OpWeight::new("bias", shape, WeightKind::Bias));
        }
        weights
    }
}
