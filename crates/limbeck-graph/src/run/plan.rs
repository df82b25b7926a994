//! The order of execution, the memory layout of every image, and when each value can be forgotten.

use std::collections::BTreeMap;
use std::fmt;

use super::ImageLayout;
use super::node::CHANNELS_TO_FRONT;
use crate::ir::{Analysis, Graph, Node, Op};

/// How a graph runs on a device: a value that can be printed and tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    layout: ImageLayout,
    values: Vec<String>,
    steps: Vec<Step>,
}

/// The execution of one node. Values are numbered; the graph's inputs come first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The node's position in [`Graph::nodes`].
    pub node: usize,
    /// The node's name.
    pub name: String,
    /// How it keeps images, its outputs among them.
    pub layout: ImageLayout,
    /// The numbers of the values it takes.
    pub inputs: Vec<usize>,
    /// The numbers of the values it makes.
    pub outputs: Vec<usize>,
    /// The numbers of the values that no later step takes.
    pub releases: Vec<usize>,
}

impl Plan {
    /// Plans `graph` with `layout` for its images.
    ///
    /// With [`ImageLayout::ChannelsLast`] an operator that knows images (convolution, batch norm, pooling, shuffle of
    /// rank 4) runs channels last; an elementwise one, a concatenation, a split, a slice, padding and a summary follow their inputs; all
    /// others (reshape, flatten, view, matrix product) see channels first. A transpose between the two orders moves nothing.
    pub fn new(graph: &Graph, analysis: &Analysis, layout: ImageLayout) -> Self {
        let mut values: Vec<String> = graph
            .inputs
            .iter()
            .map(|input| input.name.clone())
            .collect();
        let mut numbers: BTreeMap<String, usize> = values
            .iter()
            .enumerate()
            .map(|(number, name)| (name.clone(), number))
            .collect();
        let mut layouts = vec![ImageLayout::ChannelsFirst; values.len()];
        let mut steps: Vec<Step> = Vec::with_capacity(analysis.order.len());
        for &index in &analysis.order {
            let node = &graph.nodes[index];
            let inputs: Vec<usize> = node.inputs.iter().map(|input| numbers[input]).collect();
            let before: Vec<ImageLayout> = inputs.iter().map(|&input| layouts[input]).collect();
            let chosen = match layout {
                ImageLayout::ChannelsFirst => layout,
                ImageLayout::ChannelsLast => layout_of(node, analysis, &before),
            };
            let outputs = node.outputs().into_iter().map(|output| {
                numbers.insert(output.clone(), values.len());
                values.push(output);
                layouts.push(chosen);
                values.len() - 1
            });
            steps.push(Step {
                node: index,
                name: node.name.clone(),
                layout: chosen,
                outputs: outputs.collect(),
                inputs,
                releases: Vec::new(),
            });
        }
        release_after_last_use(&mut steps, values.len());
        Self {
            layout,
            values,
            steps,
        }
    }

    /// The layout that was asked for.
    pub const fn layout(&self) -> ImageLayout {
        self.layout
    }

    /// The steps in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The name of each numbered value.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// The nodes whose images lie channels last.
    pub fn channels_last(&self) -> impl Iterator<Item = &str> {
        self.steps
            .iter()
            .filter(|step| step.layout == ImageLayout::ChannelsLast)
            .map(|step| step.name.as_str())
    }
}

impl fmt::Display for Plan {
    /// One line per step: the node, its layout and what it lets go.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .steps
            .iter()
            .map(|step| step.name.len())
            .max()
            .unwrap_or(0);
        for step in &self.steps {
            write!(f, "{:width$}  {}", step.name, step.layout)?;
            if !step.releases.is_empty() {
                let names: Vec<&str> = step
                    .releases
                    .iter()
                    .map(|&value| self.values[value].as_str())
                    .collect();
                write!(f, "  frees {}", names.join(", "))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn layout_of(node: &Node, analysis: &Analysis, inputs: &[ImageLayout]) -> ImageLayout {
    let rank = |input: &String| analysis.values[input].shape.rank();
    let images = node.inputs.iter().all(|input| rank(input) == 4);
    let follows = || {
        if inputs.contains(&ImageLayout::ChannelsLast) {
            ImageLayout::ChannelsLast
        } else {
            ImageLayout::ChannelsFirst
        }
    };
    match &node.op {
        // A factor or a term per channel has fewer axes.
        Op::Add
        | Op::Subtract
        | Op::Multiply
        | Op::Divide
        | Op::Maximum
        | Op::Minimum
        | Op::Compare(_)
        | Op::Where
            if node.inputs.iter().all(|input| rank(input) <= 4) =>
        {
            follows()
        }
        _ if !images => ImageLayout::ChannelsFirst,
        Op::Conv2d(_)
        | Op::ConvTranspose2d(_)
        | Op::BatchNorm(_)
        | Op::MaxPool2d(_)
        | Op::AvgPool2d(_)
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::ChannelShuffle(_) => ImageLayout::ChannelsLast,
        Op::Activation(_)
        | Op::Dropout(_)
        | Op::ScaleShift(_)
        | Op::Slice(_)
        | Op::Take(_)
        | Op::Pad(_)
        | Op::Reduce(_)
        | Op::Concatenate(_)
        | Op::Split(_) => follows(),
        // Channels that come to the front lie last already.
        Op::Transpose(transpose) if transpose.axes == CHANNELS_TO_FRONT => {
            ImageLayout::ChannelsLast
        }
        _ => ImageLayout::ChannelsFirst,
    }
}

fn release_after_last_use(steps: &mut [Step], values: usize) {
    let mut seen = vec![false; values];
    for step in steps.iter_mut().rev() {
        for &value in step.inputs.iter().chain(&step.outputs) {
            if !seen[value] {
                seen[value] = true;
                step.releases.push(value);
            }
        }
    }
}
