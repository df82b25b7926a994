//! One method per operator on values of any kind, wherever their batch is.

use super::{Builder, Value};
use crate::ir::{
    Compare, Constant, Expand, Fill, Op, Pad, Recurrent, Reduce, Reduction, Relation, Shape, Slice,
    Take, View,
};

impl Builder {
    /// `a / b`; axes of size 1 are repeated.
    pub fn divide(&mut self, name: &str, a: Value, b: Value) -> Value {
        self.node(name, Op::Divide, &[a, b])
    }

    /// The larger of two values; axes of size 1 are repeated.
    pub fn maximum(&mut self, name: &str, a: Value, b: Value) -> Value {
        self.node(name, Op::Maximum, &[a, b])
    }

    /// The smaller of two values; axes of size 1 are repeated.
    pub fn minimum(&mut self, name: &str, a: Value, b: Value) -> Value {
        self.node(name, Op::Minimum, &[a, b])
    }

    /// 1 where `a` and `b` are in a relation, else 0; axes of size 1 are repeated.
    pub fn compare(&mut self, name: &str, relation: Relation, a: Value, b: Value) -> Value {
        self.node(name, Op::Compare(Compare { relation }), &[a, b])
    }

    /// `a` where `condition` is not 0, else `b`; axes of size 1 are repeated.
    pub fn choose(&mut self, name: &str, condition: Value, a: Value, b: Value) -> Value {
        self.node(name, Op::Where, &[condition, a, b])
    }

    /// A summary of `axes`, which stay with size 1.
    pub fn reduce(&mut self, name: &str, x: Value, reduction: Reduction, axes: &[usize]) -> Value {
        let axes = axes.to_vec();
        self.node(name, Op::Reduce(Reduce { reduction, axes }), &[x])
    }

    /// The same numbers with other axes, wherever the batch is among them.
    pub fn view(&mut self, name: &str, x: Value, shape: Shape) -> Value {
        self.node(name, Op::View(View { shape }), &[x])
    }

    /// Axes of size 1 repeated.
    pub fn expand(&mut self, name: &str, x: Value, shape: Shape) -> Value {
        self.node(name, Op::Expand(Expand { shape }), &[x])
    }

    /// Places of an axis at equal distances.
    pub fn slice(&mut self, name: &str, x: Value, slice: Slice) -> Value {
        self.node(name, Op::Slice(slice), &[x])
    }

    /// The listed places of an axis.
    pub fn take(&mut self, name: &str, x: Value, axis: usize, indices: &[usize]) -> Value {
        let indices = indices.to_vec();
        self.node(name, Op::Take(Take { axis, indices }), &[x])
    }

    /// More places at the ends of axes: how many before and after each.
    pub fn pad(&mut self, name: &str, x: Value, sides: &[[usize; 2]], fill: Fill) -> Value {
        let sides = sides.to_vec();
        self.node(name, Op::Pad(Pad { sides, fill }), &[x])
    }

    /// The token ids as real numbers.
    pub fn tokens_as_floats(&mut self, name: &str, tokens: Value) -> Value {
        self.node(name, Op::TokensAsFloats, &[tokens])
    }

    /// A constant as a value, the same for every row of the batch; zeros until weights are loaded.
    pub fn constant(&mut self, name: &str, shape: &[usize]) -> Value {
        let shape = shape.to_vec();
        self.node(name, Op::Constant(Constant { shape }), &[])
    }

    /// A recurrent layer over `[length, batch, inputs]` from the given first states, if any: all hidden states, the last
    /// one and an LSTM's last cell state.
    pub fn recurrent(
        &mut self,
        name: &str,
        x: Value,
        states: &[Value],
        layer: Recurrent,
    ) -> Vec<Value> {
        let inputs: Vec<Value> = std::iter::once(x).chain(states.iter().copied()).collect();
        self.nodes_values(name, Op::Recurrent(layer), &inputs)
    }
}
