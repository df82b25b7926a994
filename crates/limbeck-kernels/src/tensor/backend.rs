//! The way of an operation through Burn: to the backend of its tensors, and into the graph that gradients flow back through.

use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, DispatchTensor, ExtensionType, Flex,
    backend_extension,
};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn_flex::FlexTensor;

/// What is computed, on dense tensors in memory.
pub(super) trait Operation: Debug + Send + Sync + 'static {
    /// The result of `inputs`.
    fn forward(&self, inputs: &[FlexTensor]) -> Forward;

    /// The gradients of the inputs, given what [`forward`](Self::forward) saved and the gradient of its output. Those that `wanted`
    /// is false for may be `None`.
    fn backward(
        &self,
        saved: &[FlexTensor],
        gradient: &FlexTensor,
        wanted: &[bool],
    ) -> Vec<Option<FlexTensor>>;
}

/// A result and what its gradient needs.
pub(super) struct Forward {
    /// What gradients flow back from.
    pub output: FlexTensor,
    /// Further results, which no gradient flows back from.
    pub constants: Vec<FlexTensor>,
    /// Kept until the backward pass.
    pub saved: Vec<FlexTensor>,
}

/// The inputs of an operation.
#[derive(ExtensionType)]
pub(super) enum Operands<B: Backend> {
    /// One tensor.
    One(FloatTensor<B>),
    /// Two tensors.
    Two(FloatTensor<B>, FloatTensor<B>),
    /// Three tensors.
    Three(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>),
    /// Four tensors.
    Four(
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
    ),
    /// Five tensors.
    Five(
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
    ),
    /// Six tensors.
    Six(
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
    ),
    /// Seven tensors.
    Seven(
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
    ),
}

impl<B: Backend> Operands<B> {
    /// The operands in a list of one to seven.
    fn of(list: Vec<FloatTensor<B>>) -> Self {
        let count = list.len();
        let mut list = list.into_iter();
        let mut next = || list.next().expect("as many operands as were counted");
        match count {
            1 => Self::One(next()),
            2 => Self::Two(next(), next()),
            3 => Self::Three(next(), next(), next()),
            4 => Self::Four(next(), next(), next(), next()),
            5 => Self::Five(next(), next(), next(), next(), next()),
            6 => Self::Six(next(), next(), next(), next(), next(), next()),
            7 => Self::Seven(next(), next(), next(), next(), next(), next(), next()),
            _ => panic!("an operation has one to seven operands, got {count}"),
        }
    }

    fn into_list(self) -> Vec<FloatTensor<B>> {
        match self {
            Self::One(a) => vec![a],
            Self::Two(a, b) => vec![a, b],
            Self::Three(a, b, c) => vec![a, b, c],
            Self::Four(a, b, c, d) => vec![a, b, c, d],
            Self::Five(a, b, c, d, e) => vec![a, b, c, d, e],
            Self::Six(a, b, c, d, e, f) => vec![a, b, c, d, e, f],
            Self::Seven(a, b, c, d, e, f, g) => vec![a, b, c, d, e, f, g],
        }
    }
}

/// A shared operation, as it travels through Burn's dispatch.
#[derive(Clone, Debug)]
pub(super) struct AnyOperation(Arc<dyn Operation>);

/// Backends that run the kernels.
#[backend_extension(Flex, Autodiff)]
pub(super) trait Kernels: Backend {
    /// The results of `operation`; gradients flow back from the first.
    fn operate(
        #[extension_type] operands: Operands<Self>,
        operation: AnyOperation,
    ) -> Vec<FloatTensor<Self>>;
}

impl Kernels for Flex {
    fn operate(operands: Operands<Self>, operation: AnyOperation) -> Vec<FlexTensor> {
        let inputs: Vec<FlexTensor> = operands.into_list().iter().map(dense).collect();
        let Forward {
            output, constants, ..
        } = operation.0.forward(&inputs);
        std::iter::once(output).chain(constants).collect()
    }
}

impl<C: CheckpointStrategy> Kernels for Autodiff<Flex, C> {
    fn operate(operands: Operands<Self>, operation: AnyOperation) -> Vec<FloatTensor<Self>> {
        let operation = operation.0;
        match operands {
            Operands::One(a) => record::<1, C>([a], operation),
            Operands::Two(a, b) => record::<2, C>([a, b], operation),
            Operands::Three(a, b, c) => record::<3, C>([a, b, c], operation),
            Operands::Four(a, b, c, d) => record::<4, C>([a, b, c, d], operation),
            Operands::Five(a, b, c, d, e) => record::<5, C>([a, b, c, d, e], operation),
            Operands::Six(a, b, c, d, e, f) => record::<6, C>([a, b, c, d, e, f], operation),
            Operands::Seven(a, b, c, d, e, f, g) => {
                record::<7, C>([a, b, c, d, e, f, g], operation)
            }
        }
    }
}

/// The backward step of any operation.
#[derive(Debug)]
struct Step;

#[derive(Clone, Debug)]
struct State {
    operation: Arc<dyn Operation>,
    saved: Vec<FlexTensor>,
}

impl<const N: usize> Backward<Flex, N> for Step {
    type State = State;

    fn backward(
        self,
        ops: Ops<State, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = dense(&gradients.consume::<Flex>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let State { operation, saved } = ops.state;
        let results = operation.backward(&saved, &gradient, &wanted);
        drop((saved, gradient));
        for (parent, result) in ops.parents.into_iter().zip(results) {
            if let (Some(parent), Some(result)) = (parent, result) {
                gradients.register::<Flex>(parent.id, result);
            }
        }
    }
}

/// Computes `operation` and enters it into the graph that gradients flow back through.
fn record<const N: usize, C: CheckpointStrategy>(
    inputs: [FloatTensor<Autodiff<Flex, C>>; N],
    operation: Arc<dyn Operation>,
) -> Vec<FloatTensor<Autodiff<Flex, C>>> {
    let values: Vec<FlexTensor> = inputs
        .iter()
        .map(|input| dense(input.primitive()))
        .collect();
    let guards: [NodeGuard; N] = inputs.each_ref().map(|input| input.node());
    drop(inputs);
    let Forward {
        output,
        constants,
        saved,
    } = operation.forward(&values);
    drop(values);
    let first = match Step.prepare::<C>(guards).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(State { operation, saved }, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    let constants = constants
        .into_iter()
        .map(<Autodiff<Flex, C> as AutodiffBackend>::from_inner);
    std::iter::once(first).chain(constants).collect()
}

/// `tensor` with its values side by side from the start of its memory.
fn dense(tensor: &FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// What [`consume`] does with tensors, as it travels through Burn's dispatch.
pub(super) struct Work(Box<dyn FnOnce(Vec<FlexTensor>) -> Vec<FlexTensor>>);

/// Backends whose tensors can be handed over for good.
#[backend_extension(Flex)]
pub(super) trait Consume: Backend {
    /// What `work` makes of `operands`.
    fn consume(#[extension_type] operands: Operands<Self>, work: Work) -> Vec<FloatTensor<Self>>;
}

impl Consume for Flex {
    fn consume(operands: Operands<Self>, work: Work) -> Vec<FlexTensor> {
        (work.0)(operands.into_list())
    }
}

/// What `work` makes of tensors of the CPU device without autodiff. It gets the tensors themselves, so that it may write into the
/// memory of those that nobody else holds.
pub(super) fn consume(
    operands: Vec<DispatchTensor>,
    work: impl FnOnce(Vec<FlexTensor>) -> Vec<FlexTensor> + 'static,
) -> Vec<DispatchTensor> {
    <Dispatch as Consume>::consume(Operands::of(operands), Work(Box::new(work)))
}

/// Runs `operation` on tensors of the CPU device.
pub(super) fn run(operands: Vec<DispatchTensor>, operation: impl Operation) -> Vec<DispatchTensor> {
    <Dispatch as Kernels>::operate(Operands::of(operands), AnyOperation(Arc::new(operation)))
}
