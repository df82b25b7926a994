//! Gradients that come around the layers of a residual block.

use burn::tensor::{Device, Tensor};

use super::gradients::gradients;
use super::{ImageLayout, LAYOUTS, array, compile, feature, random, training};
use crate::build::{Builder, Value};
use crate::ir::{Conv2d, Graph};
use crate::run::schedule::units;
use crate::{Feature, Inputs, Network, Taps};

fn conv(b: &mut Builder, name: &str, x: Value) -> Value {
    let channels = b.channels(x);
    b.conv2d(name, x, Conv2d::new(channels, channels, 3).padding(1))
}

/// A network of images with 5 channels whose body is `body`.
fn network(body: impl Fn(&mut Builder, Value) -> Value) -> Graph {
    let mut b = Builder::new("test");
    let image = b.image([5, 6, 7]);
    let x = conv(&mut b, "stem", image);
    let x = b.batch_norm("stem_norm", x);
    let x = body(&mut b, x);
    let x = b.global_avg_pool("pool", x);
    let x = b.flatten("flatten", x);
    b.finish(x).unwrap()
}

/// The patterns of residual networks and the ones that must not be taken for them, with the number of shortcuts whose gradient is
/// handed over.
fn patterns() -> Vec<(&'static str, usize, Graph)> {
    let relu = |b: &mut Builder, name: &str, x: Value| b.relu(name, x);
    vec![
        (
            "two layers",
            1,
            network(|b, x| {
                let y = conv(b, "a", x);
                let y = b.batch_norm("a_norm", y);
                let y = relu(b, "a_relu", y);
                let y = conv(b, "b", y);
                let y = b.batch_norm("b_norm", y);
                let sum = b.add("sum", y, x);
                relu(b, "relu", sum)
            }),
        ),
        (
            "activated before",
            1,
            network(|b, x| {
                let y = b.batch_norm("a_norm", x);
                let y = relu(b, "a_relu", y);
                let y = conv(b, "a", y);
                b.add("sum", x, y)
            }),
        ),
        (
            "one layer",
            1,
            network(|b, x| {
                let y = conv(b, "a", x);
                b.add("sum", y, x)
            }),
        ),
        (
            "one norm",
            0,
            network(|b, x| {
                let y = b.batch_norm("a_norm", x);
                let sum = b.add("sum", y, x);
                relu(b, "relu", sum)
            }),
        ),
        (
            "two sums of one value",
            2,
            network(|b, x| {
                let y = conv(b, "a", x);
                let y = b.add("first", y, x);
                let z = conv(b, "b", y);
                let z = b.add("second", z, y);
                let w = conv(b, "c", z);
                b.add("third", w, x)
            }),
        ),
        (
            "a layer on the shortcut",
            0,
            network(|b, x| {
                let y = conv(b, "a", x);
                let way = conv(b, "b", x);
                b.add("sum", y, way)
            }),
        ),
        (
            "three readers",
            1,
            network(|b, x| {
                let y = conv(b, "a", x);
                let z = conv(b, "b", x);
                let sum = b.add("sum", y, x);
                b.multiply("product", sum, z)
            }),
        ),
        (
            "another operation first",
            0,
            network(|b, x| {
                let y = b.scale_shift("line", x, 0.5, 0.1);
                let y = conv(b, "a", y);
                b.add("sum", y, x)
            }),
        ),
    ]
}

#[test]
fn gradients_agree_with_the_slow_reference() {
    for (what, _, graph) in patterns() {
        let [slow, fast] = LAYOUTS.map(|layout| {
            let network = training(&graph, layout);
            let device = Device::flex().autodiff();
            let image: Tensor<4> = feature(&random("image", &[4, 5, 6, 7]), &device)
                .try_into()
                .unwrap();
            let image = image.require_grad();
            let trace = network
                .forward(&Inputs::float(image.clone()), &Taps::none())
                .unwrap();
            let output: Tensor<2> = trace.output.try_into().unwrap();
            let backward = output.powf_scalar(3.0).sum().backward();
            let mut all = gradients(&network, &backward);
            let of_image = image.grad(&backward).unwrap();
            all.insert("image".to_owned(), array(&Feature::from(of_image)));
            all
        });
        assert_eq!(slow.len(), fast.len(), "{what}");
        for (name, gradient) in &slow {
            // In front of a norm a bias has no gradient but what rounding leaves.
            gradient.assert_close(&fast[name], 2e-4, &format!("{what}: {name}"));
        }
    }
}

#[test]
fn shortcuts_are_found_where_the_way_back_passes_their_beginning() {
    for (what, expected, graph) in patterns() {
        let network = compile(&graph, ImageLayout::ChannelsLast);
        let units = units(&graph, network.analysis(), network.plan(), true, |_| false);
        let begun: Vec<usize> = units.iter().filter_map(|unit| unit.begins).collect();
        let mut ended: Vec<usize> = units.iter().filter_map(|unit| unit.ends).collect();
        assert_eq!(begun.len(), expected, "{what}");
        ended.sort_unstable();
        let mut sorted = begun.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ended, "{what}");
    }
}
