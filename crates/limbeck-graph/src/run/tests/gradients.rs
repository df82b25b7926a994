//! Gradients against finite differences, on a network that contains every differentiable operator.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Int, Tensor};

use super::reference::Array;
use super::{LAYOUTS, feature, random, training};
use crate::build::Builder;
use crate::ir::{
    Activation, Conv1d, Conv2d, ConvTranspose2d, Embedding, Graph, Linear, Pool1d, Pool2d,
    ValueType,
};
use crate::run::CompiledGraph;
use crate::{InputTensor, Inputs, Network, Taps};

fn every_operator() -> Graph {
    let mut b = Builder::new("every-operator");
    let x = b.image([3, 6, 6]);
    let tokens = b.input("tokens", ValueType::tokens(4));

    let h = b.conv2d(
        "conv",
        x,
        Conv2d::new(3, 4, 3).padding_sides([[1, 1], [2, 0]]),
    );
    let h = b.batch_norm("bn", h);
    let h = b.activation("gelu", h, Activation::Gelu);
    let d = b.conv2d("depthwise", h, Conv2d::depthwise(4, 3).padding(1));
    let p = b.conv2d("pointwise", d, Conv2d::new(4, 4, 1));
    let p = b.activation("silu", p, Activation::Silu);
    let h = b.add("residual", h, p);
    let h = b.channel_shuffle("shuffle", h, 2);
    let [left, right] = b.split("halves", h, 1, [2, 2]);
    let left = b.activation("softplus", left, Activation::Softplus);
    let right = b.activation("tanh", right, Activation::Tanh);
    let h = b.concatenate("joined", &[left, right], 1);
    let s = b.global_avg_pool("squeeze", h);
    let s = b.activation("gate", s, Activation::Sigmoid);
    let h = b.multiply("excite", h, s);
    let h = b.max_pool2d("max", h, Pool2d::new(2));
    let h = b.conv2d("strided", h, Conv2d::new(4, 4, 3).stride(2).padding(1));
    let h = b.conv_transpose2d("up", h, ConvTranspose2d::new(4, 4, 2).stride(2));
    let h = b.avg_pool2d("avg", h, Pool2d::new(3).stride(1).padding(1));
    let most = b.global_max_pool("most", h);
    let most = b.flatten("most-flat", most);

    // Four tokens of four channels, a little attention among them.
    let h = b.reshape("pixels", h, &[4, 16]);
    let h = b.linear("embed", h, Linear::new(16, 6));
    let words = b.embedding("words", tokens, Embedding { tokens: 7, size: 6 });
    let h = b.subtract("difference", h, words);
    let position = b.parameter("position", &[4, 6]);
    let h = b.add("placed", h, position);
    let h = b.layer_norm("ln", h);
    let turned = b.transpose("turned", h, &[0, 2, 1]);
    let scores = b.mat_mul("scores", h, turned);
    let scores = b.scale_shift("scaled", scores, 0.4, 0.1);
    let scores = b.softmax("attention", scores, 2);
    let h = b.mat_mul("mixed", scores, h);
    let h = b.conv1d("conv1d", h, Conv1d::new(4, 4, 3).padding(1));
    let h = b.avg_pool1d("pool1d", h, Pool1d::new(2));
    let h = b.activation("elu", h, Activation::Elu { alpha: 1.0 });
    let h = b.flatten("flat", h);
    let h = b.concatenate("features", &[h, most], 1);
    let h = b.batch_norm("bn1d", h);
    let y = b.linear("fc", h, Linear::new(16, 3));
    let y = b.log_softmax("log", y, 1);
    b.finish(y).unwrap()
}

struct Setting {
    device: Device,
    image: Tensor<4>,
    tokens: Tensor<2, Int>,
    loss_weights: Tensor<2>,
}

impl Setting {
    fn new() -> Self {
        let device = Device::flex().autodiff();
        let image: Tensor<4> = feature(&random("image", &[4, 3, 6, 6]), &device)
            .try_into()
            .unwrap();
        Self {
            image: image.require_grad(),
            tokens: Tensor::from_ints(
                [[0, 3, 6, 2], [1, 1, 4, 5], [2, 0, 3, 3], [6, 5, 4, 1]],
                &device,
            ),
            loss_weights: feature(&random("loss", &[4, 3]), &device)
                .try_into()
                .unwrap(),
            device,
        }
    }

    fn loss(&self, network: &CompiledGraph, image: Tensor<4>) -> Tensor<1> {
        let inputs = Inputs::float(image).with("tokens", InputTensor::Tokens(self.tokens.clone()));
        let output: Tensor<2> = network
            .forward(&inputs, &Taps::none())
            .unwrap()
            .output
            .try_into()
            .unwrap();
        (output * self.loss_weights.clone()).sum()
    }

    fn value(&self, network: &CompiledGraph, image: &Tensor<4>) -> f64 {
        let loss = self.loss(network, image.clone()).into_data();
        f64::from(loss.try_to_vec::<f32>().unwrap()[0])
    }
}

/// The gradient of every parameter by name.
pub(super) fn gradients(network: &CompiledGraph, gradients: &Gradients) -> BTreeMap<String, Array> {
    struct Collect<'a> {
        gradients: &'a Gradients,
        path: Vec<String>,
        found: BTreeMap<String, Array>,
    }
    impl ModuleVisitor for Collect<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, name: &str, _: &str) {
            assert_eq!(self.path.pop().as_deref(), Some(name));
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.gradients) {
                let values = gradient.to_data().try_to_vec::<f32>().unwrap();
                let array = Array::new(
                    &gradient.dims(),
                    values.into_iter().map(f64::from).collect(),
                );
                self.found.insert(self.path.join("."), array);
            }
        }
    }
    let mut collect = Collect {
        gradients,
        path: Vec::new(),
        found: BTreeMap::new(),
    };
    network.visit(&mut collect);
    assert!(collect.path.is_empty());
    collect.found
}

/// A large step may cross a kink of a maximum, a small one drowns in rounding: one of these does neither.
const STEPS: [f64; 4] = [4e-3, 1e-3, 5e-4, 2.5e-4];

#[test]
fn gradients_match_finite_differences_in_both_layouts() {
    let graph = every_operator();
    let setting = Setting::new();
    for layout in LAYOUTS {
        let network = training(&graph, layout);
        let start = network.weights();
        let backward = setting.loss(&network, setting.image.clone()).backward();
        let found = gradients(&network, &backward);
        let trainable: Vec<&String> = graph
            .weights
            .iter()
            .filter(|(_, spec)| spec.kind.is_parameter())
            .map(|(name, _)| name)
            .collect();
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            trainable,
            "every parameter and no buffer has a gradient"
        );

        for (name, gradient) in &found {
            let direction = random(name, &gradient.shape);
            let slope: f64 = gradient
                .values
                .iter()
                .zip(&direction.values)
                .map(|(g, d)| g * d)
                .sum();
            let at = |step: f64| {
                let mut moved = start.clone();
                let weight = moved.get_mut(name).unwrap();
                for (value, d) in weight.values.iter_mut().zip(&direction.values) {
                    *value += (step * d) as f32;
                }
                setting.value(&network.clone().load(&moved).unwrap(), &setting.image)
            };
            assert_slope(name, slope, at);
        }

        let gradient = setting.image.grad(&backward).unwrap();
        let direction = random("direction", &[4, 3, 6, 6]);
        let towards: Tensor<4> = feature(&direction, &setting.device).try_into().unwrap();
        let slope = (gradient * towards.clone().without_autodiff())
            .sum()
            .into_data()
            .try_to_vec::<f32>()
            .unwrap()[0];
        let at =
            |step: f64| setting.value(&network, &(setting.image.clone() + towards.clone() * step));
        assert_slope("image", f64::from(slope), at);
    }
}

/// Compares the slope along a direction with differences of the loss at steps along it.
fn assert_slope(name: &str, slope: f64, loss: impl Fn(f64) -> f64) {
    let differences = STEPS.map(|step| (loss(step) - loss(-step)) / (2.0 * step));
    let close = |difference: &f64| (slope - difference).abs() < 1e-3 + 5e-3 * difference.abs();
    assert!(
        differences.iter().any(close),
        "{name}: gradient {slope}, finite differences {differences:?}"
    );
}

#[test]
fn both_layouts_give_the_same_gradients() {
    let graph = every_operator();
    let setting = Setting::new();
    let [first, last] = LAYOUTS.map(|layout| {
        let network = training(&graph, layout);
        gradients(
            &network,
            &setting.loss(&network, setting.image.clone()).backward(),
        )
    });
    for (name, gradient) in &first {
        gradient.assert_close(&last[name], 2e-5, name);
    }
}

#[test]
fn a_frozen_network_passes_gradients_to_its_input() {
    let graph = every_operator();
    let setting = Setting::new();
    let teacher = training(&graph, LAYOUTS[1]).freeze();
    let backward = setting.loss(&teacher, setting.image.clone()).backward();
    assert!(gradients(&teacher, &backward).is_empty());
    assert!(setting.image.grad(&backward).is_some());

    // So does one whose weights know nothing of gradients.
    let plain = training(&graph, LAYOUTS[1]).valid();
    let backward = setting.loss(&plain, setting.image.clone()).backward();
    assert!(setting.image.grad(&backward).is_some());
}
