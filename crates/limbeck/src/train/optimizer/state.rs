//! What an optimiser remembers of a parameter, on the device and in checkpoints.

use std::collections::BTreeMap;

use burn::tensor::Device;
use limbeck_graph::Feature;
use limbeck_graph::weights::HostTensor;

use super::{Rule, foreign};
use crate::Result;
use crate::train::parameters::Weights;

/// What a rule remembers of one parameter; every tensor has the parameter's shape.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Of gradient descent with momentum.
    Velocity(Feature),
    /// Of Adam.
    Moments {
        steps: u32,
        mean: Feature,
        square: Feature,
    },
}

/// The state of an optimiser on the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::train) struct SavedState {
    /// Velocities and moments, named `parameter.field`.
    pub tensors: Weights,
    /// Step counts, named `parameter.field`.
    pub counts: BTreeMap<String, u64>,
}

const VELOCITY: &str = "momentum.velocity";
const MEAN: &str = "momentum.moment_1";
const SQUARE: &str = "momentum.moment_2";
const STEPS: &str = "momentum.time";

/// The states by parameter, copied to the host.
///
/// # Errors
/// If the device cannot hand one over.
pub(super) fn save(states: &BTreeMap<String, State>) -> Result<SavedState> {
    let mut saved = SavedState::default();
    let mut keep = |name: &str, field: &str, feature: &Feature| -> Result<()> {
        let host = HostTensor::new(feature.shape(), feature.to_vec()?)?;
        saved.tensors.insert(format!("{name}.{field}"), host);
        Ok(())
    };
    for (name, state) in states {
        match state {
            State::Velocity(velocity) => keep(name, VELOCITY, velocity)?,
            State::Moments {
                steps,
                mean,
                square,
            } => {
                keep(name, MEAN, mean)?;
                keep(name, SQUARE, square)?;
                let steps = u64::from(*steps);
                saved.counts.insert(format!("{name}.{STEPS}"), steps);
            }
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
        let mut take = |field: &str| -> Result<Option<Feature>> {
            let key = format!("{name}.{field}");
            let Some(host) = saved.tensors.remove(&key) else {
                return Ok(None);
            };
            if host.shape != *shape {
                let got = &host.shape;
                return Err(foreign(format!(
                    "`{key}` has shape {got:?} instead of {shape:?}"
                )));
            }
            Ok(Some(Feature::from_vec(host.values, &host.shape, device)?))
        };
        let state = match rule {
            Rule::Sgd(_) => take(VELOCITY)?.map(State::Velocity),
            Rule::Adam(_) => {
                let steps = saved.counts.get(&format!("{name}.{STEPS}"));
                let steps = steps.and_then(|steps| u32::try_from(*steps).ok());
                match (steps, take(MEAN)?, take(SQUARE)?) {
                    (Some(steps), Some(mean), Some(square)) => Some(State::Moments {
                        steps,
                        mean,
                        square,
                    }),
                    (_, None, None) => None,
                    _ => return Err(foreign(format!("the state of `{name}` is incomplete"))),
                }
            }
        };
        if let Some(state) = state {
            states.insert(name.clone(), state);
        }
    }
    match saved.tensors.keys().next() {
        None => Ok(states),
        Some(name) => Err(foreign(format!("`{name}` belongs to no parameter"))),
    }
}
