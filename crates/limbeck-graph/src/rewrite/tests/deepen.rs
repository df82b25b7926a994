//! Deeper networks.

use burn::tensor::Device;

use super::{answer, expect_same, network, network_of};
use crate::ir::{Activation, Linear};
use crate::rewrite::{Deepening, Statistics, deepen};

fn plain(prefix: &str, kernel: usize) -> Deepening {
    Deepening {
        prefix: prefix.to_owned(),
        kernel,
        statistics: None,
    }
}

#[test]
fn networks_of_the_zoo_keep_their_function() {
    for (name, activation, kernel) in [
        ("resnet-8", "relu", 3),
        ("resnet-8", "stage3", 1),
        ("wrn-16-1", "block2.layer.0.relu1", 3),
        ("vgg-8", "block1.2", 5),
        ("mobilenet-v2", "conv2.2", 1),
        ("shufflenet-v2", "layer1.0.relu3", 3),
        ("mlp-20-13", "stage1", 0),
    ] {
        let before = network(name);
        let after = deepen(before.clone(), activation, &plain("deeper", kernel)).unwrap();
        assert_eq!(after.graph().nodes.len(), before.graph().nodes.len() + 2);
        expect_same(&before, &after, &format!("{name}: {activation}"));
    }
}

#[test]
fn sequences_and_other_activations_work() {
    for function in [
        Activation::Relu6,
        Activation::Identity,
        Activation::LeakyRelu { slope: 0.0 },
    ] {
        let before = network_of(&[3, 11], |b, x| b.activation("f", x, function));
        let after = deepen(before.clone(), "f", &plain("deeper", 3)).unwrap();
        expect_same(&before, &after, function.name());
    }
}

/// The statistics of each channel over batch, height and width.
fn statistics(values: &[f32], [batch, channels, area]: [usize; 3]) -> Statistics {
    let of = |channel: usize| {
        (0..batch).flat_map(move |row| {
            let start = (row * channels + channel) * area;
            values[start..start + area].iter().copied().map(f64::from)
        })
    };
    let count = (batch * area) as f64;
    let mean: Vec<f64> = (0..channels)
        .map(|channel| of(channel).sum::<f64>() / count)
        .collect();
    let variance = mean.iter().enumerate().map(|(channel, mean)| {
        let squares = of(channel).map(|value| (value - mean).powi(2));
        (squares.sum::<f64>() / count) as f32
    });
    Statistics {
        variance: variance.collect(),
        mean: mean.iter().map(|&mean| mean as f32).collect(),
    }
}

#[test]
fn a_batch_norm_starts_as_the_identity() {
    let before = network("vgg-8");
    let tap = ["stem".to_owned()];
    for device in [Device::flex(), Device::flex().autodiff()] {
        let trace = answer(&before, &device, &tap);
        let values = trace.features["stem"].to_vec().unwrap();
        let layer = Deepening {
            statistics: Some(statistics(&values, [3, 64, 256])),
            ..plain("deeper", 3)
        };
        let after = deepen(before.clone(), "stem", &layer).unwrap();
        assert_eq!(after.graph().nodes.len(), before.graph().nodes.len() + 3);
        assert!(!after.weights().contains_key("deeper.conv.bias"));
        let got = answer(&after, &device, &["deeper.activation".to_owned()]);
        let far = super::apart(&trace.features["stem"], &got.features["deeper.activation"]);
        // Both modes agree: the statistics are those of this very batch.
        assert!(far < 1e-5, "{far:e}");
        if !device.is_autodiff() {
            expect_same(&before, &after, "vgg-8 with a batch norm");
        }
    }
}

#[test]
fn what_would_change_the_function_is_an_error() {
    for function in [
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::LeakyRelu { slope: 0.1 },
        Activation::Gelu,
    ] {
        let before = network_of(&[4], |b, x| b.activation("f", x, function));
        let message = deepen(before, "f", &plain("deeper", 3)).unwrap_err();
        let expected = format!("such as relu, got {}", function.name());
        assert!(message.to_string().ends_with(&expected), "{message}");
    }
    let error = |activation: &str, layer: Deepening| {
        deepen(network("vgg-8"), activation, &layer)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error("stem", plain("deeper", 4)),
        "cannot deepen behind `stem`: expected an odd kernel, got 4"
    );
    let message = error("block1.0", plain("deeper", 3));
    assert!(
        message.ends_with("expected an activation, got conv2d"),
        "{message}"
    );
    let few = |variance: Vec<f32>| Deepening {
        statistics: Some(Statistics {
            mean: vec![0.0; 64],
            variance,
        }),
        ..plain("deeper", 3)
    };
    let message = error("stem", few(vec![1.0; 3]));
    assert!(
        message.contains("of 64 channels, got 64 and 3"),
        "{message}"
    );
    let message = error("stem", few(vec![-1.0; 64]));
    assert!(
        message.contains("variances of 0 or more, got -1"),
        "{message}"
    );
    let rows = network_of(&[4], |b, x| {
        let x = b.linear("fc", x, Linear::new(4, 4));
        b.relu("relu", x)
    });
    let message = deepen(rows, "input", &plain("deeper", 3)).unwrap_err();
    assert!(message.to_string().contains("got an input"), "{message}");
}
