//! Which nodes run as one operation.
//!
//! A convolution, its batch norm, the addition of a shortcut and the activation behind them are one pass over memory for
//! the CPU kernels instead of four. Nodes are joined where the values between them go nowhere else and nobody taps them.

use super::{ImageLayout, Plan, Step};
use crate::ir::{Activation, Analysis, Conv2d, Graph, Op};

/// Steps of the plan that run together, the first one's input onwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Positions in [`Plan::steps`], in the order in which they follow from each other.
    pub(super) steps: Vec<usize>,
    /// The values that no later unit takes.
    pub(super) releases: Vec<usize>,
    /// The unit's first input, if the gradient of a shortcut that begins there is handed to this unit.
    pub(super) begins: Option<usize>,
    /// The value that the unit adds, if it hands its gradient to the unit that `begins` there.
    pub(super) ends: Option<usize>,
}

impl Unit {
    /// The value that an addition behind the unit's first step adds.
    pub(super) fn residual(&self, graph: &Graph, plan: &Plan) -> Option<usize> {
        let steps = self.steps.iter().map(|&step| &plan.steps()[step]);
        let mut pairs = steps.clone().zip(steps.skip(1));
        let (before, add) = pairs.find(|(_, step)| matches!(graph.nodes[step.node].op, Op::Add))?;
        let other = add.inputs.iter().find(|&input| *input != before.outputs[0]);
        other.copied()
    }
}

/// The units in the order in which they run: a unit's place is that of its last step.
pub(super) fn units(
    graph: &Graph,
    analysis: &Analysis,
    plan: &Plan,
    join: bool,
    tapped: impl Fn(usize) -> bool,
) -> Vec<Unit> {
    let steps = plan.steps();
    let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); plan.values().len()];
    for (position, step) in steps.iter().enumerate() {
        for &input in &step.inputs {
            consumers[input].push(position);
        }
    }
    let mut taken = vec![false; steps.len()];
    let mut units = Vec::with_capacity(steps.len());
    for position in 0..steps.len() {
        if taken[position] {
            continue;
        }
        let mut chain = vec![position];
        let free = |value: usize, step: usize| join && !tapped(value) && !taken[step];
        while let Some(next) = next_of(&chain, graph, analysis, steps, &consumers, free) {
            chain.push(next);
        }
        for &step in &chain {
            taken[step] = true;
        }
        units.push(Unit {
            steps: chain,
            releases: Vec::new(),
            begins: None,
            ends: None,
        });
    }
    units.sort_by_key(|unit| unit.steps[unit.steps.len() - 1]);
    release_after_last_use(&mut units, plan);
    if join {
        pair_shortcuts(&mut units, graph, plan);
    }
    units
}

/// Finds for each unit that adds a shortcut the unit at the shortcut's beginning, on the way back from its own first input.
fn pair_shortcuts(units: &mut [Unit], graph: &Graph, plan: &Plan) {
    let first = |unit: &Unit| &plan.steps()[unit.steps[0]];
    let mut makers: Vec<Option<usize>> = vec![None; plan.values().len()];
    for (index, unit) in units.iter().enumerate() {
        for step in &unit.steps {
            for &output in &plan.steps()[*step].outputs {
                makers[output] = Some(index);
            }
        }
    }
    for end in 0..units.len() {
        let Some(value) = units[end].residual(graph, plan) else {
            continue;
        };
        let mut beginning = Some(end);
        while let Some(index) = beginning {
            match first(&units[index]).inputs.first() {
                Some(&input) if input == value => break,
                Some(&input) => beginning = makers[input],
                None => beginning = None,
            }
        }
        let Some(beginning) = beginning else { continue };
        let takes = match &graph.nodes[first(&units[beginning]).node].op {
            Op::Conv2d(convolution) => is_symmetric(convolution),
            Op::BatchNorm(_) => beginning != end,
            _ => false,
        };
        if takes && units[beginning].begins.is_none() {
            units[beginning].begins = Some(value);
            units[end].ends = Some(value);
        }
    }
}

/// The step that can join the ones in `chain`: the only one that takes the value of the last.
fn next_of(
    chain: &[usize],
    graph: &Graph,
    analysis: &Analysis,
    steps: &[Step],
    consumers: &[Vec<usize>],
    free: impl Fn(usize, usize) -> bool,
) -> Option<usize> {
    let last = &steps[chain[chain.len() - 1]];
    let [value] = last.outputs[..] else {
        return None;
    };
    let [next] = consumers[value][..] else {
        return None;
    };
    let stages: Vec<&Op> = chain
        .iter()
        .map(|&step| &graph.nodes[steps[step].node].op)
        .collect();
    let joins = free(value, next)
        && steps[next].layout == last.layout
        && follows(&stages, graph, analysis, &steps[next]);
    joins.then_some(next)
}

/// Whether the kernels can compute `next` in the same pass as the operators before it.
fn follows(stages: &[&Op], graph: &Graph, analysis: &Analysis, next: &Step) -> bool {
    let node = &graph.nodes[next.node];
    let added = stages.iter().any(|op| matches!(op, Op::Add));
    let finished = stages.iter().any(|op| matches!(op, Op::Activation(_)));
    let image = match stages[0] {
        Op::Conv2d(convolution) => is_symmetric(convolution),
        Op::BatchNorm(_) => true,
        Op::Linear(_) => {
            return stages.len() == 1 && matches!(node.op, Op::Activation(Activation::Relu));
        }
        _ => false,
    };
    if !image || finished || next.layout != ImageLayout::ChannelsLast {
        return false;
    }
    match &node.op {
        Op::BatchNorm(_) => matches!(stages, [Op::Conv2d(_)]),
        Op::Add => {
            let shape = |name: &String| &analysis.values[name].shape;
            let [left, right] = &node.inputs[..] else {
                return false;
            };
            !added && left != right && shape(left) == shape(right)
        }
        Op::Activation(function) => matches!(function, Activation::Relu | Activation::Relu6),
        _ => false,
    }
}

/// Whether the kernels know the convolution.
pub(super) fn is_symmetric(convolution: &Conv2d) -> bool {
    convolution
        .padding
        .iter()
        .all(|[before, after]| before == after)
}

fn release_after_last_use(units: &mut [Unit], plan: &Plan) {
    let mut seen = vec![false; plan.values().len()];
    for unit in units.iter_mut().rev() {
        for &step in &unit.steps {
            let step = &plan.steps()[step];
            for &value in step.inputs.iter().chain(&step.outputs) {
                if !seen[value] {
                    seen[value] = true;
                    unit.releases.push(value);
                }
            }
        }
    }
}
