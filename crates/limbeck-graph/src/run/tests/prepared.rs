//! Networks with folded and packed weights.

use burn::module::Module;
use burn::tensor::Device;

use super::{ImageLayout, array, compile, feature, graph_of, random};
use crate::ir::{Conv2d, Graph};
use crate::run::CompiledGraph;
use crate::{Inputs, Network, Precision, Taps, Trace, zoo};

const NETWORKS: [&str; 6] = [
    "resnet-8",
    "wrn-16-1",
    "vgg-8",
    "mobilenet-v2",
    "shufflenet-v1",
    "mlp-20-13",
];

/// A network whose running statistics are not those of a fresh one.
fn network(name: &str) -> CompiledGraph {
    let graph = zoo::build(name, [3, 32, 32], 7).unwrap();
    let network = compile(&graph, ImageLayout::ChannelsLast);
    let mut weights = network.weights();
    for (name, host) in &mut weights {
        let noise = random(name, &host.shape).values;
        for (value, noise) in host.values.iter_mut().zip(noise) {
            if name.ends_with("running_var") {
                *value = 1.0 + 0.5 * noise as f32;
            } else if name.ends_with("running_mean") || name.ends_with("bias") {
                *value += 0.2 * noise as f32;
            }
        }
    }
    network.load(&weights).unwrap()
}

fn answer(network: &CompiledGraph, batch: usize, taps: &[String]) -> Trace {
    let images = feature(&random("images", &[batch, 3, 32, 32]), &Device::flex());
    network
        .forward(&Inputs::float(images), &Taps::new(taps.to_vec()))
        .unwrap()
}

fn difference(a: &Trace, b: &Trace) -> f64 {
    let (a, b) = (array(&a.output).values, array(&b.output).values);
    let largest = a.iter().fold(1e-12_f64, |most, v| most.max(v.abs()));
    let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
    apart.fold(0.0_f64, f64::max) / largest
}

#[test]
fn prepared_networks_answer_the_same() {
    for name in NETWORKS {
        let plain = network(name);
        let prepared = plain.clone().prepared(Precision::Fp32);
        // Packed weights serve every batch size, with and without taps that take joined nodes apart.
        let taps = plain.tap_names();
        for (batch, taps) in [(3, &[][..]), (1, &[]), (3, &taps[..]), (2, &[])] {
            let (expected, got) = (answer(&plain, batch, taps), answer(&prepared, batch, taps));
            let apart = difference(&expected, &got);
            assert!(apart < 1e-5, "{name}: the outputs differ by {apart:e}");
            for tap in taps {
                let (a, b) = (&expected.features[tap], &got.features[tap]);
                array(a).assert_close(&array(b), 1e-4, &format!("{name}: {tap}"));
            }
        }
    }
}

#[test]
fn bfloat16_keeps_two_digits() {
    let available = limbeck_kernels::convolution::bf16_available();
    for name in NETWORKS {
        let plain = network(name);
        let rounded = plain.clone().prepared(Precision::Bf16);
        let apart = difference(&answer(&plain, 4, &[]), &answer(&rounded, 4, &[]));
        assert!(apart < 3e-2, "{name}: the outputs differ by {apart:e}");
        let rounds = limbeck_kernels::tensor::supports(&Device::flex()) && available;
        assert_eq!(apart > 1e-5, rounds, "{name}: {apart:e}");
        let said = Precision::Bf16.on(&Device::flex());
        assert_eq!(said == Precision::Bf16, rounds);
    }
}

/// A bug would be silent here: the network would go on answering with its old weights.
#[test]
fn a_changed_weight_undoes_the_preparation() {
    let first = network("resnet-8").prepared(Precision::Fp32);
    answer(&first, 2, &[]);
    let mut weights = first.weights();
    for host in weights.values_mut() {
        host.values.iter_mut().for_each(|value| *value *= 0.9);
    }
    let plain = network("resnet-8").load(&weights).unwrap();
    let expected = answer(&plain, 2, &[]);
    let ways: [(&str, CompiledGraph); 3] = [
        ("load", first.clone().load(&weights).unwrap()),
        (
            "train and back",
            first.clone().load(&weights).unwrap().train().valid(),
        ),
        ("map", first.clone().map(&mut Shrink)),
    ];
    for (way, changed) in ways {
        let apart = difference(&expected, &answer(&changed, 2, &[]));
        assert!(apart < 1e-5, "{way}: the outputs differ by {apart:e}");
    }
    let unchanged = difference(
        &answer(&network("resnet-8"), 2, &[]),
        &answer(&first, 2, &[]),
    );
    assert!(unchanged < 1e-5, "the original differs by {unchanged:e}");
}

/// Multiplies every parameter and running statistic.
struct Shrink;

impl burn::module::ModuleMapper for Shrink {
    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<burn::tensor::Tensor<D>>,
    ) -> burn::module::Param<burn::tensor::Tensor<D>> {
        param.map(|value| value.mul_scalar(0.9))
    }
}

/// Kernels that packing treats in ways of their own.
#[test]
fn unusual_convolutions_are_prepared() {
    let convolutions = [
        Conv2d::new(6, 6, 1).padding(1),
        Conv2d::new(6, 9, 1).stride(2),
        Conv2d::new(6, 6, 3).padding(1).groups(6),
        Conv2d::new(6, 12, 3).groups(6),
        Conv2d::new(6, 4, 3).padding(2).dilation(2).groups(2),
        Conv2d::new(6, 4, 5).stride(3).padding(2),
    ];
    for convolution in convolutions {
        let graph: Graph = graph_of(&[&[2, 6, 9, 8]], |b, inputs| {
            let x = b.conv2d("conv", inputs[0], convolution.clone());
            let x = b.batch_norm("norm", x);
            b.relu("relu", x)
        });
        let plain = compile(&graph, ImageLayout::ChannelsLast);
        let image = Inputs::float(feature(&random("image", &[2, 6, 9, 8]), &Device::flex()));
        let expected = plain.forward(&image, &Taps::none()).unwrap();
        for (precision, tolerance) in [(Precision::Fp32, 1e-5), (Precision::Bf16, 2e-2)] {
            let got = plain
                .clone()
                .prepared(precision)
                .forward(&image, &Taps::none());
            let apart = difference(&expected, &got.unwrap());
            assert!(
                apart < tolerance,
                "{convolution:?} in {precision}: {apart:e}"
            );
        }
    }
}
