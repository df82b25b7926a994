#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::names::canonical;
use super::*;
use crate::zoo;

type Tensors = BTreeMap<String, HostTensor>;

/// A checkpoint for the graph, each tensor filled with its own number, under names changed by `rename`.
fn checkpoint(graph: &Graph, rename: impl Fn(&str) -> String) -> Tensors {
    let tensors = graph
        .weights
        .iter()
        .zip(1u16..)
        .map(|((name, spec), number)| {
            let values = vec![f32::from(number); spec.len()];
            (
                rename(name),
                HostTensor::new(spec.shape.clone(), values).unwrap(),
            )
        });
    tensors.collect()
}

fn network(name: &str) -> Graph {
    zoo::build(name, [3, 32, 32], 10).unwrap()
}

fn assert_fits(name: &str, rename: impl Fn(&str) -> String) {
    let graph = network(name);
    let renamed = checkpoint(&graph, rename);
    let exact = checkpoint(&graph, str::to_owned);
    assert_eq!(renamed.len(), exact.len());
    let fitted = fit(&graph, renamed).unwrap_or_else(|error| panic!("{error}"));
    assert!(fitted == exact, "{name}: a tensor went to the wrong weight");
}

fn mismatch(name: &str, tensors: Tensors) -> (Mismatch, String) {
    match fit(&network(name), tensors).unwrap_err() {
        Error::Mismatch(mismatch) => {
            let message = mismatch.to_string();
            (*mismatch, message)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn exact_names_and_wrapped_ones_fit() {
    assert_fits("resnet-8", str::to_owned);
    for wrapper in [
        "module.",
        "model.",
        "backbone.",
        "module.model.",
        "net._orig_mod.",
    ] {
        assert_fits("resnet-8", |name| format!("{wrapper}{name}"));
    }
}

#[test]
fn other_conventions_for_residual_networks_fit() {
    assert_fits("resnet-20", |name| {
        name.replace("downsample", "shortcut")
            .replace("fc.", "linear.")
    });
    assert_fits("resnet-20", |name| {
        format!("module.{}", name.replace("fc.", "classifier."))
    });
    assert_fits("resnet-50", |name| {
        let name = name
            .replace("downsample.0", "shortcut.conv")
            .replace("downsample.1", "shortcut.bn");
        let stem = name
            .strip_prefix("conv1.")
            .map(|rest| format!("stem.conv.{rest}"));
        let stem = stem.or_else(|| {
            name.strip_prefix("bn1.")
                .map(|rest| format!("stem.bn.{rest}"))
        });
        stem.unwrap_or(name)
    });
    assert_fits("resnet-8x4", |name| {
        let mut name = name.to_owned();
        for stage in 1..4 {
            name = name.replace(&format!("layer{stage}."), &format!("stages.{}.", stage - 1));
        }
        name
    });
    // ResNeXt's repository.
    assert_fits("resnet-32", |name| {
        if name.starts_with("layer") {
            name.replace("layer", "stage_")
                .replace("conv1", "conv_a")
                .replace("bn1", "bn_a")
                .replace("conv2", "conv_b")
                .replace("bn2", "bn_b")
        } else {
            name.replace("conv1", "conv_1_3x3")
                .replace("bn1", "bn_1")
                .replace("fc", "classifier")
        }
    });
}

#[test]
fn other_conventions_for_other_networks_fit() {
    assert_fits("wrn-16-2", |name| {
        name.replace("convShortcut", "shortcut.0")
            .replace(".layer.", ".")
    });
    assert_fits("mobilenet-v2", |name| {
        name.replace("classifier.0", "classifier.1")
    });
    assert_fits("vgg-8", |name| name.replace("classifier", "fc"));
    assert_fits("shufflenet-v2", |name| {
        format!("model.{}", name.replace("linear", "fc"))
    });
}

#[test]
fn one_convention_for_all_names() {
    for (name, expected) in [
        (
            "layer1.0.downsample.0.weight",
            "layer1.0.downsample.conv.weight",
        ),
        (
            "block1.layer.0.convShortcut.weight",
            "layer1.0.downsample.conv.weight",
        ),
        ("stages.2.1.bn_a.gamma", "layer3.1.bn1.weight"),
        ("stem.1.moving_variance", "bn1.running_var"),
        ("classifier.1.bias", "fc.bias"),
        ("head.fc.weight", "fc.weight"),
        ("layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("conv1", "conv1"),
        ("", ""),
        ("downsample", "downsample"),
        ("stages.x.0", "stages.x.0"),
        ("stages.4294967295.0", "layer4294967296.0"),
    ] {
        assert_eq!(canonical(name), expected, "{name}");
    }
}

#[test]
fn another_number_of_classes_is_recognised() {
    let tensors = checkpoint(
        &zoo::build("resnet-8", [3, 32, 32], 100).unwrap(),
        str::to_owned,
    );
    let (found, message) = mismatch("resnet-8", tensors);
    assert_eq!(found.wrong.len(), 2);
    assert!(
        message.contains("`fc.weight` expected [10, 64], got [100, 64]"),
        "{message}"
    );
    assert!(message.contains("another number of classes"), "{message}");
}

#[test]
fn another_architecture_is_recognised() {
    let tensors = checkpoint(&network("vgg-8"), str::to_owned);
    let (found, message) = mismatch("resnet-8", tensors);
    assert_eq!(
        found.matched, 1,
        "the classifiers' biases have a name and a size in common"
    );
    assert!(message.contains("another architecture"), "{message}");
    assert!(
        message.contains(&format!(
            " and {} more; unexpected",
            found.missing.len() - 5
        )),
        "{message}"
    );

    // A deeper network of the same family has all the names, and more.
    let tensors = checkpoint(&network("resnet-20"), str::to_owned);
    let (found, _) = mismatch("resnet-8", tensors);
    assert!(found.missing.is_empty());
    assert!(
        found
            .unexpected
            .iter()
            .any(|tensor| tensor.name == "layer3.2.conv1.weight")
    );
}

#[test]
fn missing_names_have_their_nearest() {
    let mut tensors = checkpoint(&network("resnet-8"), str::to_owned);
    let moved = tensors.remove("layer2.0.conv2.weight").unwrap();
    tensors.insert("layer2.0.convolution2.weight".to_owned(), moved);
    let (found, message) = mismatch("resnet-8", tensors);
    assert_eq!(found.missing[0].name, "layer2.0.conv2.weight");
    assert_eq!(found.missing[0].nearest, ["layer2.0.convolution2.weight"]);
    assert!(message.contains("missing: `layer2.0.conv2.weight` [32, 32, 3, 3] (nearest: `layer2.0.convolution2.weight`)"), "{message}");
    assert!(
        message.contains("unexpected: `layer2.0.convolution2.weight`"),
        "{message}"
    );
}

#[test]
fn shapes_alone_never_match() {
    let graph = network("resnet-8");
    let tensors = checkpoint(&graph, |name| format!("weights_{}", name.replace('.', "_")));
    let (found, message) = mismatch("resnet-8", tensors);
    assert_eq!(found.matched, 0);
    assert!(message.contains("another architecture"), "{message}");
}

#[test]
fn two_tensors_for_one_weight_are_not_guessed() {
    let graph = network("resnet-8");
    let mut tensors = checkpoint(&graph, |name| name.replace("fc.", "linear."));
    let twin = tensors["linear.weight"].clone();
    tensors.insert("classifier.weight".to_owned(), twin);
    let (found, _) = mismatch("resnet-8", tensors);
    assert_eq!(found.missing[0].name, "fc.weight");
    assert_eq!(found.unexpected.len(), 2);
}

#[test]
fn an_empty_checkpoint_is_a_mismatch() {
    let (found, _) = mismatch("resnet-8", Tensors::new());
    assert_eq!(found.missing.len(), found.needed);
}

#[test]
fn a_scalar_in_place_of_a_weight_is_wrong() {
    let mut tensors = checkpoint(&network("resnet-8"), str::to_owned);
    tensors.insert(
        "fc.bias".to_owned(),
        HostTensor::new([], vec![0.0]).unwrap(),
    );
    let (found, message) = mismatch("resnet-8", tensors);
    assert_eq!(found.wrong.len(), 1);
    assert!(
        message.contains("`fc.bias` expected [10], got []"),
        "{message}"
    );
}
