//! Joins what exporters took apart: layer norms, GELUs, swishes, biases of linear layers, channel shuffles.
//!
//! A pattern is recognised at its last node, which becomes the joined operator and keeps its name. The others stay for
//! whoever else uses them.

use std::collections::{BTreeMap, HashMap};

use crate::ir::{
    Activation, ChannelShuffle, Dim, Graph, LayerNorm, Linear, Node, Op, Reduction, ScaleShift,
    ValueType, WeightKind,
};

/// Joins what can be joined.
pub(super) fn simplify(graph: &mut Graph, types: &HashMap<String, ValueType>) {
    let makers: HashMap<String, usize> = graph
        .nodes
        .iter()
        .enumerate()
        .flat_map(|(position, node)| node.outputs().into_iter().map(move |name| (name, position)))
        .collect();
    for position in 0..graph.nodes.len() {
        let view = View {
            graph,
            makers: &makers,
            types,
        };
        if let Some(joined) = view.joined(&graph.nodes[position]) {
            for (weight, kind) in joined.kinds {
                if let Some(spec) = graph.weights.get_mut(&weight) {
                    spec.kind = kind;
                    spec.shape = vec![spec.len()];
                }
            }
            let node = &mut graph.nodes[position];
            node.op = joined.op;
            node.inputs = joined.inputs;
            node.weights = joined.weights;
        }
    }
}

/// What takes a node's place.
struct Joined {
    op: Op,
    inputs: Vec<String>,
    weights: BTreeMap<String, String>,
    /// The purpose that weights turn out to have.
    kinds: Vec<(String, WeightKind)>,
}

impl Joined {
    fn plain(op: Op, input: &str) -> Self {
        Self {
            op,
            inputs: vec![input.to_owned()],
            weights: BTreeMap::new(),
            kinds: Vec::new(),
        }
    }
}

struct View<'g> {
    graph: &'g Graph,
    makers: &'g HashMap<String, usize>,
    types: &'g HashMap<String, ValueType>,
}

impl<'g> View<'g> {
    fn maker(&self, value: &str) -> Option<&'g Node> {
        self.makers
            .get(value)
            .map(|&position| &self.graph.nodes[position])
    }

    fn joined(&self, node: &Node) -> Option<Joined> {
        match &node.op {
            Op::Add => self.affine_layer_norm(node).or_else(|| self.bias(node)),
            Op::Divide => self.layer_norm(node),
            Op::Multiply => self.swish(node).or_else(|| self.gelu_product(node)),
            Op::ScaleShift(line) => self
                .gelu_half(node, line)
                .or_else(|| self.hard_sigmoid(node, line)),
            Op::Reshape(_) | Op::View(_) => self.shuffle(node),
            _ => None,
        }
    }

    /// The parameter behind a value: the weight's name, if no other node has it.
    fn own_parameter(&self, value: &str, length: usize) -> Option<String> {
        let node = self.maker(value)?;
        let Op::Parameter(parameter) = &node.op else {
            return None;
        };
        let weight = node.weights.get("value")?;
        let users = self
            .graph
            .nodes
            .iter()
            .flat_map(|node| node.weights.values());
        let alone = users.filter(|name| *name == weight).count() == 1;
        let flat = parameter.shape.iter().rev().skip(1).all(|size| *size == 1);
        (alone && flat && parameter.shape.last() == Some(&length)).then(|| weight.clone())
    }

    /// `linear(x) + parameter`.
    fn bias(&self, node: &Node) -> Option<Joined> {
        let [a, b] = node.inputs.as_slice() else {
            return None;
        };
        [(a, b), (b, a)].into_iter().find_map(|(product, bias)| {
            let layer = self.maker(product)?;
            let Op::Linear(linear) = &layer.op else {
                return None;
            };
            if linear.bias {
                return None;
            }
            let weight = self.own_parameter(bias, linear.outputs)?;
            let mut weights = layer.weights.clone();
            weights.insert("bias".to_owned(), weight.clone());
            Some(Joined {
                op: Op::Linear(Linear::new(linear.inputs, linear.outputs)),
                inputs: layer.inputs.clone(),
                weights,
                kinds: vec![(weight, WeightKind::Bias)],
            })
        })
    }

    /// The mean over the last axis of what.
    fn mean_of(&self, value: &str) -> Option<&'g str> {
        let node = self.maker(value)?;
        let input = node.inputs.first()?;
        match &node.op {
            Op::Reduce(reduce) if reduce.reduction == Reduction::Mean => {
                let [axis] = reduce.axes[..] else {
                    return None;
                };
                (axis + 1 == self.rank(input)?).then_some(input.as_str())
            }
            Op::GlobalAvgPool if self.rank(input)? == 3 => Some(input),
            _ => None,
        }
    }

    fn rank(&self, value: &str) -> Option<usize> {
        Some(self.shape(value)?.len())
    }

    fn shape(&self, value: &str) -> Option<&'g [Dim]> {
        self.types.get(value).map(|value| value.shape.dims())
    }

    /// `(x - mean) / sqrt(mean of (x - mean)^2 + epsilon)`.
    fn layer_norm(&self, node: &Node) -> Option<Joined> {
        let [centred, deviation] = node.inputs.as_slice() else {
            return None;
        };
        let x = self.centred(centred)?;
        let root = self.maker(deviation)?;
        let Op::Activation(Activation::SquareRoot) = root.op else {
            return None;
        };
        let shifted = self.maker(root.inputs.first()?)?;
        let Op::ScaleShift(ScaleShift { scale: 1.0, shift }) = shifted.op else {
            return None;
        };
        let squares = self.maker(self.mean_of(shifted.inputs.first()?)?)?;
        let squared = match (&squares.op, squares.inputs.as_slice()) {
            (Op::Multiply, [a, b]) if a == b => a,
            _ => return None,
        };
        // Some exporters subtract the mean twice.
        if squared != centred && self.centred(squared)? != x {
            return None;
        }
        let Dim::Fixed(size) = *self.shape(x)?.last()? else {
            return None;
        };
        let norm = LayerNorm::new(size).epsilon(shift).affine(false);
        (shift > 0.0).then(|| Joined::plain(Op::LayerNorm(norm), x))
    }

    /// What `value` is less its mean over the last axis.
    fn centred(&self, value: &str) -> Option<&'g str> {
        let node = self.maker(value)?;
        let (Op::Subtract, [x, mean]) = (&node.op, node.inputs.as_slice()) else {
            return None;
        };
        (self.mean_of(mean)? == x).then_some(x.as_str())
    }

    /// `layer norm * scale + shift`.
    fn affine_layer_norm(&self, node: &Node) -> Option<Joined> {
        let [a, b] = node.inputs.as_slice() else {
            return None;
        };
        [(a, b), (b, a)].into_iter().find_map(|(product, shift)| {
            let scaled = self.maker(product)?;
            let (Op::Multiply, [c, d]) = (&scaled.op, scaled.inputs.as_slice()) else {
                return None;
            };
            [(c, d), (d, c)]
                .into_iter()
                .find_map(|(normalised, scale)| {
                    let layer = self.maker(normalised)?;
                    let Op::LayerNorm(norm) = &layer.op else {
                        return None;
                    };
                    if norm.affine {
                        return None;
                    }
                    let scale = self.own_parameter(scale, norm.size)?;
                    let shift = self.own_parameter(shift, norm.size)?;
                    Some(Joined {
                        op: Op::LayerNorm(norm.clone().affine(true)),
                        inputs: layer.inputs.clone(),
                        weights: BTreeMap::from([
                            ("weight".to_owned(), scale.clone()),
                            ("bias".to_owned(), shift.clone()),
                        ]),
                        kinds: vec![
                            (scale, WeightKind::NormScale),
                            (shift, WeightKind::NormShift),
                        ],
                    })
                })
        })
    }

    /// `x * sigmoid(x)` and `x * hard sigmoid(x)`.
    fn swish(&self, node: &Node) -> Option<Joined> {
        let [a, b] = node.inputs.as_slice() else {
            return None;
        };
        [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
            let gate = self.maker(gate)?;
            let function = match gate.op {
                Op::Activation(Activation::Sigmoid) => Activation::Silu,
                Op::Activation(Activation::HardSigmoid) => Activation::HardSwish,
                _ => return None,
            };
            (gate.inputs.first()? == x).then(|| Joined::plain(Op::Activation(function), x))
        })
    }

    /// `min(max(x + 3, 0), 6) / 6`.
    fn hard_sigmoid(&self, node: &Node, line: &ScaleShift) -> Option<Joined> {
        let clipped = self.maker(node.inputs.first()?)?;
        let Op::Activation(Activation::Relu6) = clipped.op else {
            return None;
        };
        let shifted = self.maker(clipped.inputs.first()?)?;
        let three = matches!(
            shifted.op,
            Op::ScaleShift(ScaleShift {
                scale: 1.0,
                shift: 3.0
            })
        );
        let sixth = near(line.scale, 1.0 / 6.0) && line.shift == 0.0;
        let x = shifted.inputs.first()?;
        (three && sixth).then(|| Joined::plain(Op::Activation(Activation::HardSigmoid), x))
    }

    /// `1 + erf(x / sqrt 2)` of what.
    fn one_plus_erf(&self, value: &str) -> Option<&'g str> {
        let shifted = self.maker(value)?;
        let Op::ScaleShift(ScaleShift {
            scale: 1.0,
            shift: 1.0,
        }) = shifted.op
        else {
            return None;
        };
        let erf = self.maker(shifted.inputs.first()?)?;
        let Op::Activation(Activation::Erf) = erf.op else {
            return None;
        };
        let scaled = self.maker(erf.inputs.first()?)?;
        let Op::ScaleShift(ScaleShift { scale, shift: 0.0 }) = scaled.op else {
            return None;
        };
        let x = scaled.inputs.first()?;
        near(scale, std::f64::consts::FRAC_1_SQRT_2).then_some(x.as_str())
    }

    /// `x (1 + erf(x / sqrt 2)) / 2`, halved at the end.
    fn gelu_half(&self, node: &Node, line: &ScaleShift) -> Option<Joined> {
        let product = self.maker(node.inputs.first()?)?;
        let (Op::Multiply, [a, b]) = (&product.op, product.inputs.as_slice()) else {
            return None;
        };
        let half = line.scale == 0.5 && line.shift == 0.0;
        let x = [(a, b), (b, a)]
            .into_iter()
            .find_map(|(x, gate)| (self.one_plus_erf(gate)? == x).then_some(x))?;
        half.then(|| Joined::plain(Op::Activation(Activation::Gelu), x))
    }

    /// `(x / 2) (1 + erf(x / sqrt 2))`, or the gate halved.
    fn gelu_product(&self, node: &Node) -> Option<Joined> {
        let [a, b] = node.inputs.as_slice() else {
            return None;
        };
        let halved = |value: &str| {
            let node = self.maker(value)?;
            let Op::ScaleShift(ScaleShift {
                scale: 0.5,
                shift: 0.0,
            }) = node.op
            else {
                return None;
            };
            node.inputs.first()
        };
        let x = [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
            if let Some(inner) = halved(x)
                && self.one_plus_erf(gate)? == inner
            {
                return Some(inner);
            }
            let inner = halved(gate)?;
            (self.one_plus_erf(inner)? == x).then_some(x)
        })?;
        Some(Joined::plain(Op::Activation(Activation::Gelu), x))
    }

    /// `[batch, groups, channels / groups, ...]` with the two swapped and made one again.
    fn shuffle(&self, node: &Node) -> Option<Joined> {
        let swapped = self.maker(node.inputs.first()?)?;
        let Op::Transpose(transpose) = &swapped.op else {
            return None;
        };
        let rank = transpose.axes.len();
        let swaps = rank >= 4
            && transpose.axes[..3] == [0, 2, 1]
            && transpose.axes[3..].iter().copied().eq(3..rank);
        let apart = self.maker(swapped.inputs.first()?)?;
        if !swaps || !matches!(apart.op, Op::Reshape(_) | Op::View(_)) {
            return None;
        }
        let x = apart.inputs.first()?;
        let (before, after) = (self.shape(x)?, self.shape(&node.name)?);
        let middle = self.shape(&apart.name)?;
        let Dim::Fixed(groups) = middle[1] else {
            return None;
        };
        let same = before == after && middle[3..] == before[2..] && middle[0] == before[0];
        (same && (3..=4).contains(&before.len()))
            .then(|| Joined::plain(Op::ChannelShuffle(ChannelShuffle { groups }), x))
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}
