//! What the same weight is called elsewhere.

use std::collections::BTreeMap;

/// First parts of names that say nothing about the network.
const WRAPPERS: [&str; 12] = [
    "module",
    "model",
    "backbone",
    "net",
    "network",
    "encoder",
    "student",
    "teacher",
    "_orig_mod",
    "base",
    "base_model",
    "classifier_model",
];

/// The checkpoint's name for each of the graph's that has one.
pub(super) fn pair<'a>(
    wanted: impl Iterator<Item = &'a str> + Clone,
    present: impl Iterator<Item = &'a str>,
) -> BTreeMap<&'a str, &'a str> {
    let mut open: BTreeMap<&str, &str> = present.map(|name| (name, name)).collect();
    let mut pairs = BTreeMap::new();
    loop {
        for target in wanted.clone() {
            if !pairs.contains_key(target)
                && let Some(source) = open.remove(target)
            {
                pairs.insert(target, source);
            }
        }
        // A prefix is a wrapper only if nothing matched with it.
        match without_wrapper(&open) {
            Some(shorter) if pairs.is_empty() => open = shorter,
            _ => break,
        }
    }
    let left: Vec<&str> = wanted
        .filter(|target| !pairs.contains_key(target))
        .collect();
    let targets = by_canonical(left.into_iter().map(|name| (name, name)));
    let sources = by_canonical(open.into_iter());
    for (canonical, target) in targets {
        if let (Some(target), Some(Some(source))) = (target, sources.get(&canonical)) {
            pairs.insert(target, source);
        }
    }
    pairs
}

/// The names without the first part, if all have the same one and it is a wrapper's.
fn without_wrapper<'a>(names: &BTreeMap<&'a str, &'a str>) -> Option<BTreeMap<&'a str, &'a str>> {
    let (first, _) = names.keys().next()?.split_once('.')?;
    if !WRAPPERS.contains(&first) {
        return None;
    }
    let shorter = names.iter().map(|(name, &source)| {
        let (wrapper, rest) = name.split_once('.')?;
        (wrapper == first).then_some((rest, source))
    });
    shorter.collect()
}

/// What stands for each canonical name; `None` where two names have the same one, which then decides nothing.
fn by_canonical<'a>(
    names: impl Iterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, Option<&'a str>> {
    let mut result = BTreeMap::new();
    for (name, source) in names {
        result
            .entry(canonical(name))
            .and_modify(|entry| *entry = None)
            .or_insert(Some(source));
    }
    result
}

/// The name in one convention, that of torchvision's ResNets: `conv1`, `bn1`, `layer1.0.conv1`,
/// `layer1.0.downsample.conv`, `fc`.
pub(super) fn canonical(name: &str) -> String {
    let mut parts: Vec<String> = name.split('.').map(part).collect();
    number_lists(&mut parts);
    name_shortcuts(&mut parts);
    name_ends(&mut parts);
    parts.join(".")
}

fn part(part: &str) -> String {
    match part {
        "gamma" => "weight",
        "beta" => "bias",
        "moving_mean" => "running_mean",
        "moving_var" | "moving_variance" => "running_var",
        "shortcut" | "skip" | "convShortcut" | "conv_shortcut" | "downsample" | "identity_conv" => {
            "downsample"
        }
        "conv_a" => "conv1",
        "bn_a" => "bn1",
        "conv_b" => "conv2",
        "bn_b" => "bn2",
        other => {
            for stage in ["stage_", "stage", "block", "group", "layer", "layer_"] {
                if let Some(number) = other.strip_prefix(stage)
                    && !number.is_empty()
                    && number.bytes().all(|byte| byte.is_ascii_digit())
                {
                    return format!("layer{number}");
                }
            }
            other
        }
    }
    .to_owned()
}

/// Stages in a list, `stages.0.1`, become `layer1.1`; the list within a wide ResNet's stage, `block1.layer.0`, goes.
fn number_lists(parts: &mut Vec<String>) {
    if let [list, number, ..] = parts.as_slice()
        && matches!(list.as_str(), "stages" | "layers")
        && let Ok(number) = number.parse::<u32>()
    {
        parts[0] = format!("layer{}", u64::from(number) + 1);
        parts.remove(1);
    }
    if let [stage, list, ..] = parts.as_slice()
        && stage.starts_with("layer")
        && matches!(list.as_str(), "layer" | "blocks")
    {
        parts.remove(1);
    }
}

/// `downsample.0`, `downsample.1` and a bare `downsample` become `downsample.conv` and `downsample.bn`.
fn name_shortcuts(parts: &mut Vec<String>) {
    let Some(shortcut) = parts.iter().position(|part| part == "downsample") else {
        return;
    };
    match parts.get(shortcut + 1).map(String::as_str) {
        Some("0") => "conv".clone_into(&mut parts[shortcut + 1]),
        Some("1" | "norm") => "bn".clone_into(&mut parts[shortcut + 1]),
        Some("weight" | "bias") => parts.insert(shortcut + 1, "conv".to_owned()),
        _ => {}
    }
}

/// The first convolution with its norm, and the classifier.
fn name_ends(parts: &mut Vec<String>) {
    let second = parts.get(1).map(String::as_str);
    let (replaced, by) = match (parts[0].as_str(), second) {
        ("stem" | "init_block", Some("0" | "conv" | "conv1")) => (2, "conv1"),
        ("stem" | "init_block", Some("1" | "bn" | "bn1" | "norm")) => (2, "bn1"),
        ("conv0" | "conv_1_3x3" | "init_conv" | "conv_init", Some(_)) => (1, "conv1"),
        ("bn0" | "bn_1" | "init_bn" | "bn_init", Some(_)) => (1, "bn1"),
        (
            "fc" | "linear" | "classifier" | "head" | "logits" | "last_linear" | "output",
            Some(inner),
        ) => {
            let numbered = inner.bytes().all(|byte| byte.is_ascii_digit());
            (if numbered || inner == "fc" { 2 } else { 1 }, "fc")
        }
        _ => return,
    };
    parts.splice(..replaced, [by.to_owned()]);
}
