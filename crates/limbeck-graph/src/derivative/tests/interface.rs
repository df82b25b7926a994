//! What a caller sees: names, traces, errors, devices.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};

use super::{Mode, assert_close, graph_of, named, network, random, values};
use crate::ir::{Activation, Graph, Linear};
use crate::{Feature, Inputs, Taps, each_rank};

fn layers() -> Graph {
    graph_of(&[&[3, 4], &[3, 4]], |b, x| {
        let h = b.linear("first", x[0], Linear::new(4, 5));
        let h = b.activation("tanh", h, Activation::Tanh);
        b.tap("hidden", h);
        b.linear("second", h, Linear::new(5, 2))
    })
}

fn inputs() -> [Feature; 2] {
    ["a", "b"].map(|name| random(name, &[3, 4], DType::F32))
}

#[test]
fn taps_obey_the_chain_rule() {
    let network = network(&layers(), Mode::Evaluation, DType::F32);
    let vector = random("vector", &[3, 2], DType::F32);
    let inputs = named(&inputs());
    let product = |between: [&str; 2], vector: Feature| {
        network
            .vector_jacobian_product(&inputs, &Taps::new(["hidden"]), between, |_| Ok(vector))
            .unwrap()
    };
    let (trace, whole) = product(["second", "a"], vector.clone());
    assert_eq!(trace.feature("hidden").unwrap().shape(), [3, 5]);
    let (_, middle) = product(["second", "hidden"], vector.clone());
    let (_, chained) = product(["hidden", "a"], middle);
    assert_close(&values(&whole), &values(&chained), 1e-6, "chain");
    // Nothing lies between a value and itself, and nothing depends on the other input.
    let (_, same) = product(["second", "second"], vector.clone());
    assert_eq!(values(&same), values(&vector));
    let (_, none) = product(["second", "b"], vector.clone());
    assert_eq!(values(&none), [0.0; 12]);
    let (_, against) = product(["hidden", "second"], random("other", &[3, 5], DType::F32));
    assert_eq!(values(&against), [0.0; 6]);
}

#[test]
fn errors_name_what_is_wrong() {
    let network = network(&layers(), Mode::Evaluation, DType::F32);
    let fails = |name: &str, shape: &[usize]| {
        let vector = random("vector", shape, DType::F32);
        network
            .input_gradient(&named(&inputs()), &Taps::none(), name, |_| Ok(vector))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        fails("hiden", &[3, 2]),
        "there is no tap `hiden`; did you mean `hidden`?"
    );
    assert_eq!(
        fails("a", &[2, 3]),
        "input `vector of second`: expected [3, 2], got [2, 3]"
    );
}

#[test]
fn plain_devices_give_the_same_gradient_as_a_constant() {
    let trained = network(&layers(), Mode::Evaluation, DType::F32);
    let vector = random("vector", &[3, 2], DType::F32);
    let gradient = |network: &crate::run::CompiledGraph, inputs: &Inputs| {
        let (_, gradient) = network
            .input_gradient(inputs, &Taps::none(), "a", |_| Ok(vector.clone()))
            .unwrap();
        gradient
    };
    let tracked = gradient(&trained, &named(&inputs()));
    let plain = inputs().map(|input| each_rank!(input, tensor => tensor.without_autodiff().into()));
    let constant = gradient(&trained.valid(), &named(&plain));
    assert_eq!(constant.device(), Device::flex());
    assert_eq!(values(&tracked), values(&constant));
    let loss: Tensor<1> = super::sum(super::times(&tracked, &tracked));
    let found = super::second::gradients(&trained, &loss.backward());
    assert!(found["first.weight"].iter().any(|value| *value != 0.0));
}
