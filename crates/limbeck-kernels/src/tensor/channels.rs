//! Images side by side along their channels, and apart again.
//!
//! The gradient of a split is the concatenation of the gradients of its parts. As one operation has one output, each part
//! would give a gradient of the whole image, mostly zeros, to be added up; instead the parts are outputs of a node that
//! stands for the image, leave their gradients with it, and that node writes them side by side once.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;

use super::backend::{Forward, Operation, run};
use super::values::{filled, list, sizes, values};
use crate::elementwise;

/// The most operands of one operation.
const OPERANDS: usize = 7;

/// `images`, each `[batch, height, width, its channels]`, side by side: `[batch, height, width, sum of channels]`.
///
/// # Panics
///
/// If there are none, or they differ in anything but the channels.
#[must_use]
pub fn concatenate(mut images: Vec<Tensor<4>>) -> Tensor<4> {
    let pixels = |image: &Tensor<4>| image.dims()[..3].to_vec();
    assert!(
        images
            .windows(2)
            .all(|pair| pixels(&pair[0]) == pixels(&pair[1])),
        "images side by side differ in nothing but their channels"
    );
    while images.len() > 1 {
        images = images.chunks(OPERANDS).map(side_by_side).collect();
    }
    images.pop().expect("there is an image to concatenate")
}

fn side_by_side(images: &[Tensor<4>]) -> Tensor<4> {
    if let [image] = images {
        return image.clone();
    }
    let widths = images.iter().map(|image| image.dims()[3]).collect();
    let operands = images.iter().map(|image| image.clone().into_dispatch());
    Tensor::from_dispatch(run(operands.collect(), Concatenate { widths }).swap_remove(0))
}

#[derive(Debug)]
struct Concatenate {
    widths: Vec<usize>,
}

impl Operation for Concatenate {
    fn forward(&self, inputs: &[FlexTensor]) -> Forward {
        let parts: Vec<Option<&FlexTensor>> = inputs.iter().map(Some).collect();
        let [batch, height, width, _] = sizes(&inputs[0]);
        Forward {
            output: joined([batch, height, width], &self.widths, &parts),
            constants: Vec::new(),
            saved: Vec::new(),
        }
    }

    fn backward(
        &self,
        _saved: &[FlexTensor],
        gradient: &FlexTensor,
        wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        let parts = parts(gradient, &self.widths).zip(wanted);
        parts.map(|(part, wanted)| wanted.then(part)).collect()
    }
}

/// The channels of `image`, `[batch, height, width, channels]`, in parts of the given `widths`, each
/// `[batch, height, width, its width]`.
///
/// # Panics
///
/// If the widths don't add up to the channels.
#[must_use]
pub fn split(image: Tensor<4>, widths: &[usize]) -> Vec<Tensor<4>> {
    assert_eq!(
        widths.iter().sum::<usize>(),
        image.dims()[3],
        "the parts have all channels"
    );
    let parts = <Dispatch as Split>::split(image.into_dispatch(), widths.to_vec());
    parts.into_iter().map(Tensor::from_dispatch).collect()
}

/// Backends that split images.
#[backend_extension(Flex, Autodiff)]
trait Split: Backend {
    /// The parts of the given widths of the channels of an image.
    fn split(image: FloatTensor<Self>, widths: Vec<usize>) -> Vec<FloatTensor<Self>>;
}

impl Split for Flex {
    fn split(image: FlexTensor, widths: Vec<usize>) -> Vec<FlexTensor> {
        let image = image.to_contiguous();
        parts(&image, &widths).map(|part| part()).collect()
    }
}

impl<C: CheckpointStrategy> Split for Autodiff<Flex, C> {
    fn split(image: FloatTensor<Self>, widths: Vec<usize>) -> Vec<FloatTensor<Self>> {
        let value = image.primitive().to_contiguous();
        let node = image.node();
        drop(image);
        let outputs: Vec<FlexTensor> = parts(&value, &widths).map(|part| part()).collect();
        let [batch, height, width, _] = sizes(&value);
        let gathered = Gathered {
            pixels: [batch, height, width],
            parts: Arc::new(Mutex::new(vec![None; widths.len()])),
            widths,
        };
        let whole = match Gather.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(gathered.clone(), value),
            OpsKind::UnTracked(prepared) => prepared.finish(value),
        };
        let part = |(place, output): (usize, FlexTensor)| match Part
            .prepare::<C>([whole.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish((place, gathered.clone()), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        };
        outputs.into_iter().enumerate().map(part).collect()
    }
}

/// The gradients of the parts of one split, as far as they are known.
#[derive(Clone, Debug)]
struct Gathered {
    /// Batch, height and width.
    pixels: [usize; 3],
    widths: Vec<usize>,
    parts: Arc<Mutex<Vec<Option<FlexTensor>>>>,
}

/// The backward step of one part.
#[derive(Debug)]
struct Part;

impl Backward<Flex, 1> for Part {
    type State = (usize, Gathered);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let (place, gathered) = ops.state;
        let [Some(whole)] = ops.parents else {
            return;
        };
        let mut parts = gathered
            .parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        parts[place] = Some(gradient);
        // Burn runs a node's step only if the node has a gradient; this one is never read.
        gradients.register::<Flex>(whole.id, list(&[0.0]));
    }
}

/// The backward step of the image that was split, after those of its parts.
#[derive(Debug)]
struct Gather;

impl Backward<Flex, 1> for Gather {
    type State = Gathered;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        drop(gradients.consume::<Flex>(&ops.node));
        let Gathered {
            pixels,
            widths,
            parts,
        } = ops.state;
        let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: Vec<Option<FlexTensor>> = parts.iter_mut().map(Option::take).collect();
        drop(parts);
        if let [Some(image)] = ops.parents {
            let taken: Vec<Option<&FlexTensor>> = taken.iter().map(Option::as_ref).collect();
            gradients.register::<Flex>(image.id, joined(pixels, &widths, &taken));
        }
    }
}

/// `parts` of the given `widths` side by side, zeros for those that are not there.
fn joined(
    [batch, height, width]: [usize; 3],
    widths: &[usize],
    parts: &[Option<&FlexTensor>],
) -> FlexTensor {
    let rows = batch * height * width;
    let longest = widths.iter().zip(parts).filter(|(_, part)| part.is_none());
    let longest = longest.map(|(width, _)| *width).max().unwrap_or(0);
    let zeros = vec![0.0; rows * longest];
    let slices: Vec<&[f32]> = std::iter::zip(widths, parts)
        .map(|(width, part)| part.map_or_else(|| &zeros[..rows * width], values))
        .collect();
    let channels: usize = widths.iter().sum();
    filled(&[batch, height, width, channels], |to| {
        elementwise::concatenate(rows, &slices, to);
    })
}

/// What makes each part of the given `widths` of the channels of `image`.
fn parts<'a>(
    image: &'a FlexTensor,
    widths: &'a [usize],
) -> impl Iterator<Item = impl FnOnce() -> FlexTensor + 'a> {
    let [batch, height, width, _] = sizes::<4>(image);
    let mut end = 0;
    widths.iter().map(move |&channels| {
        let first = end;
        end += channels;
        move || {
            filled(&[batch, height, width, channels], |to| {
                elementwise::narrow(batch * height * width, first, values(image), to);
            })
        }
    })
}
