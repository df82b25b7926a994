//! Optimizer steps, in the memory of parameter and state where nobody else holds them.
//!
//! Nothing here has a gradient; tensors lose their history.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::backend::consume;
use super::values::{filled, list, unshared, values, values_mut};
use crate::update::{self, Adam, Sgd};

/// The running means of [`adam`].
#[derive(Clone, Debug)]
pub struct Moments<const D: usize> {
    /// Of the gradient.
    pub mean: Tensor<D>,
    /// Of its square.
    pub square: Tensor<D>,
}

/// `parameter` and the velocity after one step of [`update::sgd`]. Without a velocity it is the first step; without momentum
/// there is none.
///
/// # Panics
///
/// If the shapes differ.
#[must_use]
pub fn sgd<const D: usize>(
    settings: Sgd,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    velocity: Option<Tensor<D>>,
) -> (Tensor<D>, Option<Tensor<D>>) {
    let moves = settings.momentum != 0.0;
    let velocity = velocity.filter(|_| moves);
    let first_step = velocity.is_none();
    let tensors = [Some(parameter), Some(gradient), velocity];
    let mut results = in_place(tensors, move |parameter, gradient, state| {
        let mut velocity = if first_step && moves {
            Some(filled(gradient.layout().shape(), |_| ()))
        } else {
            state.next()
        };
        let moving = velocity.as_mut().map_or(&mut [][..], values_mut);
        let parameter = values_mut(parameter);
        update::sgd(settings, first_step, parameter, values(gradient), moving);
        velocity.into_iter().collect()
    });
    let parameter = results.next().expect(PARAMETER);
    (parameter, results.next())
}

/// `parameter` and its moments after one step of [`update::adam`]. Steps count from one; without moments they are zero.
///
/// # Panics
///
/// If the shapes differ or `step` is zero.
#[must_use]
pub fn adam<const D: usize>(
    settings: Adam,
    step: u32,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: Option<Moments<D>>,
) -> (Tensor<D>, Moments<D>) {
    let (mean, square) = moments
        .map(|moments| (moments.mean, moments.square))
        .unzip();
    let tensors = [Some(parameter), Some(gradient), mean, square];
    let mut results = in_place(tensors, move |parameter, gradient, state| {
        let mut next = || {
            state
                .next()
                .unwrap_or_else(|| filled(gradient.layout().shape(), |to| to.fill(0.0)))
        };
        let (mut mean, mut square) = (next(), next());
        update::adam(
            settings,
            step,
            values_mut(parameter),
            values(gradient),
            values_mut(&mut mean),
            values_mut(&mut square),
        );
        vec![mean, square]
    });
    let parameter = results.next().expect(PARAMETER);
    let mut moment = || results.next().expect("Adam gives two moments");
    let (mean, square) = (moment(), moment());
    (parameter, Moments { mean, square })
}

const PARAMETER: &str = "a step gives the parameter back";

/// Calls `step` with a parameter and its state, which it may write into, and with the gradient. The results are the parameter and
/// the state that `step` returns.
fn in_place<const D: usize, const N: usize>(
    tensors: [Option<Tensor<D>>; N],
    step: impl FnOnce(
        &mut FlexTensor,
        &FlexTensor,
        &mut dyn Iterator<Item = FlexTensor>,
    ) -> Vec<FlexTensor>
    + 'static,
) -> impl Iterator<Item = Tensor<D>> {
    let mut shapes = tensors.iter().flatten().map(Tensor::dims);
    let shape = shapes.next();
    assert!(
        shapes.all(|other| Some(other) == shape),
        "parameter, gradient and state have one shape"
    );
    let operands = tensors
        .into_iter()
        .flatten()
        .map(|tensor| tensor.inner().into_dispatch())
        .collect();
    let results = consume(operands, |tensors| {
        let mut tensors = tensors.into_iter();
        let mut next = || tensors.next().expect("a step has parameter and gradient");
        let mut parameter = unshared(next());
        let gradient = next().to_contiguous();
        let mut state = tensors.map(unshared);
        let state = step(&mut parameter, &gradient, &mut state);
        std::iter::once(parameter).chain(state).collect()
    });
    results.into_iter().map(Tensor::from_dispatch)
}

/// The sum of the squares of all values, `[1]`.
#[must_use]
pub fn sum_of_squares<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let operands = vec![tensor.inner().into_dispatch()];
    let mut results = consume(operands, |tensors| {
        let dense = tensors[0].to_contiguous();
        vec![list(&[update::sum_of_squares(values(&dense)) as f32])]
    });
    Tensor::from_dispatch(results.swap_remove(0))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use burn::tensor::Device;

    use super::*;
    use crate::update::WeightDecay;

    const SETTINGS: Sgd = Sgd {
        learning_rate: 0.5,
        momentum: 0.5,
        dampening: 0.0,
        weight_decay: 0.0,
        nesterov: false,
    };

    fn vector(values: [f32; 3]) -> Tensor<1> {
        Tensor::from_floats(values, &Device::flex())
    }

    fn read<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
        tensor.to_data().try_to_vec().expect("32-bit floats")
    }

    /// Where the values begin.
    fn address<const D: usize>(tensor: &Tensor<D>) -> usize {
        let (sender, receiver) = mpsc::channel();
        let operands = vec![tensor.clone().into_dispatch()];
        consume(operands, move |tensors| {
            let place = values(&tensors[0]).as_ptr() as usize;
            sender.send(place).expect("the receiver waits below");
            tensors
        });
        receiver.recv().expect("the place was sent")
    }

    #[test]
    fn memory_is_kept_where_nobody_else_holds_it() {
        let parameter = vector([1.0, 2.0, 3.0]);
        let gradient = vector([2.0, 2.0, 2.0]);
        let place = address(&parameter);
        let (parameter, velocity) = sgd(SETTINGS, parameter, gradient.clone(), None);
        let velocity = velocity.expect("there is momentum");
        assert_eq!(address(&parameter), place);
        assert_eq!(read(&parameter), [0.0, 1.0, 2.0]);
        let place = address(&velocity);
        let (parameter, velocity) = sgd(SETTINGS, parameter, gradient, Some(velocity));
        let velocity = velocity.expect("there is momentum");
        assert_eq!(address(&velocity), place);
        assert_eq!(read(&velocity), [3.0; 3]);
        assert_eq!(read(&parameter), [-1.5, -0.5, 0.5]);
    }

    #[test]
    fn other_holders_keep_their_values() {
        let parameter = vector([1.0, 2.0, 3.0]);
        let gradient = vector([2.0, 2.0, 2.0]);
        let (moved, velocity) = sgd(SETTINGS, parameter.clone(), gradient.clone(), None);
        assert_eq!(read(&parameter), [1.0, 2.0, 3.0]);
        let (again, last) = sgd(SETTINGS, moved.clone(), gradient.clone(), velocity.clone());
        assert_eq!(read(&moved), [0.0, 1.0, 2.0]);
        assert_eq!(velocity.as_ref().map(read), Some(vec![2.0; 3]));
        assert_eq!(last.as_ref().map(read), Some(vec![3.0; 3]));
        assert_eq!(read(&again), [-1.5, -0.5, 0.5]);
        // A tensor is its own gradient.
        let (halved, _) = sgd(SETTINGS, gradient.clone(), gradient.clone(), None);
        assert_eq!(read(&halved), [1.0; 3]);
        assert_eq!(read(&gradient), [2.0; 3]);
    }

    #[test]
    fn views_are_updated_as_they_are_seen() {
        let device = Device::flex();
        let matrix = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &device);
        let gradient = Tensor::<2>::from_floats([[2.0, 4.0], [6.0, 8.0]], &device);
        let settings = Sgd {
            momentum: 0.0,
            ..SETTINGS
        };
        let (moved, velocity) = sgd(settings, matrix.clone().transpose(), gradient, None);
        assert!(velocity.is_none());
        assert_eq!(read(&moved), [0.0, 1.0, -1.0, 0.0]);
        assert_eq!(read(&matrix), [1.0, 2.0, 3.0, 4.0]);
        let row = matrix.narrow(0, 1, 1);
        assert_eq!(read(&sum_of_squares(row)), [25.0]);
    }

    #[test]
    fn the_first_step_of_adam_is_one_learning_rate() {
        let settings = Adam {
            learning_rate: 0.25,
            betas: [0.9, 0.999],
            epsilon: 0.0,
            weight_decay: WeightDecay::Gradient(0.0),
        };
        let parameter = vector([1.0, 2.0, 3.0]);
        let (moved, moments) = adam(
            settings,
            1,
            parameter.clone(),
            vector([2.0, -2.0, 0.5]),
            None,
        );
        for (found, expected) in read(&moved).iter().zip([0.75, 2.25, 2.75]) {
            assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        }
        assert_eq!(read(&parameter), [1.0, 2.0, 3.0]);
        let place = address(&moments.mean);
        let gradient = vector([0.0; 3]);
        let (_, moments) = adam(settings, 2, moved, gradient, Some(moments));
        assert_eq!(address(&moments.mean), place);
        assert!((read(&moments.mean)[0] - 0.18).abs() < 1e-6);
    }
}
