//! What an optimiser remembers of a parameter, on the device and in checkpoints.

use std::collections::BTreeMap;

use burn::tensor::Device;
use limbeck_graph::Feature;
use limbeck_graph::weights::HostTensor;

use super::{Rule, foreign};
use crate::Result;
use crate::train::parameters::Weights;

/// What a rule remembers of one parameter.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// The steps so far; saved for Adam alone, which depends on them.
    pub(super) steps: u32,
    /// What the rule's [`fields`] name, in their order; each has the parameter's shape.
    pub(super) tensors: Vec<Feature>,
}

/// The state of an optimiser on the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::train) struct SavedState {
    /// Velocities and moments, named `parameter.field`.
    pub tensors: Weights,
    /// Step counts, named `parameter.field`.
    pub counts: BTreeMap<String, u64>,
}

const STEPS: &str = "momentum.time";

/// The names of a rule's tensors in checkpoints.
fn fields(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::Sgd(_) => &["momentum.velocity"],
        Rule::Adam(_) => &["momentum.moment_1", "momentum.moment_2"],
    }
}

/// The states of `rule` by parameter, copied to the host.
///
/// # Errors
/// If the device cannot hand one over.
pub(super) fn save(rule: Rule, states: &BTreeMap<String, State>) -> Result<SavedState> {
    let mut saved = SavedState::default();
    for (name, state) in states {
        for (field, feature) in fields(rule).iter().zip(&state.tensors) {
            let host = HostTensor::new(feature.shape(), feature.to_vec()?)?;
            saved.tensors.insert(format!("{name}.{field}"), host);
        }
        if let Rule::Adam(_) = rule {
            let steps = u64::from(state.steps);
            saved.counts.insert(format!("{name}.{STEPS}"), steps);
        }
    }
    Ok(saved)
}

/// The states of `rule` for the parameters of these shapes.
///
/// # Errors
/// If something is missing, left over, or of another shape.
pub(super) fn restore(
    rule: Rule,
    shapes: &BTreeMap<String, Vec<usize>>,
    mut saved: SavedState,
    device: &Device,
) -> Result<BTreeMap<String, State>> {
    let mut states = BTreeMap::new();
    for (name, shape) in shapes {
        let mut tensors = Vec::new();
        for field in fields(rule) {
            let key = format!("{name}.{field}");
            let Some(host) = saved.tensors.remove(&key) else {
                continue;
            };
            if host.shape != *shape {
                let got = &host.shape;
                return Err(foreign(format!(
                    "`{key}` has shape {got:?} instead of {shape:?}"
                )));
            }
            tensors.push(Feature::from_vec(host.values, &host.shape, device)?);
        }
        if tensors.is_empty() {
            continue;
        }
        let steps = match rule {
            Rule::Sgd(_) => Some(0),
            Rule::Adam(_) => saved
                .counts
                .get(&format!("{name}.{STEPS}"))
                .and_then(|steps| u32::try_from(*steps).ok()),
        };
        match steps {
            Some(steps) if tensors.len() == fields(rule).len() => {
                states.insert(name.clone(), State { steps, tensors });
            }
            _ => return Err(foreign(format!("the state of `{name}` is incomplete"))),
        }
    }
    match saved.tensors.keys().next() {
        None => Ok(states),
        Some(name) => Err(foreign(format!("`{name}` belongs to no parameter"))),
    }
}
