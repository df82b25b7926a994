//! Models made ready for inputs of certain sizes, and kept.

use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::{IntoRunnable, OutletId, TValue, TVec, Tensor, TypedSimplePlan};

use super::convert::Signature;
use super::guard::Guard;
use super::load::Loaded;
use crate::Result;

/// The most plans that are kept. Each holds the weights in the order that its sizes ask for.
const MOST: usize = 4;

/// What a plan was made for: the shapes of the inputs and the values that are computed.
type Key = (Vec<Vec<usize>>, Vec<OutletId>);

/// The plans that were used last, the newest at the end.
#[derive(Default)]
pub(super) struct Plans {
    kept: Mutex<Vec<(Key, Arc<TypedSimplePlan>)>>,
}

impl Plans {
    /// The values of `wanted` for `inputs`.
    pub(super) fn run(
        &self,
        loaded: &Loaded,
        signature: &Signature,
        inputs: Vec<Tensor>,
        wanted: Vec<OutletId>,
        guard: Guard<'_>,
    ) -> Result<TVec<TValue>> {
        let shapes = inputs.iter().map(|tensor| tensor.shape().to_vec());
        let key = (shapes.collect(), wanted);
        let inputs: TVec<TValue> = inputs.into_iter().map(TValue::from).collect();
        let run = |plan: &Arc<TypedSimplePlan>| guard.run(|| plan.run(inputs.clone()));
        if let Some(plan) = self.take(&key) {
            let results = run(&plan);
            self.keep(key, plan);
            return results;
        }
        let model = guard.run(|| loaded.typed(&signature.facts(&key.0), &key.1))?;
        let first = guard
            .run(|| model.clone().into_optimized()?.into_runnable())
            .and_then(|plan| Ok((run(&plan)?, plan)));
        // tract's optimiser breaks some models that run as they are.
        let (results, plan) = first.or_else(|error| {
            let plan = guard.run(|| model.into_runnable());
            plan.and_then(|plan| Ok((run(&plan)?, plan)))
                .map_err(|_| error)
        })?;
        self.keep(key, plan);
        Ok(results)
    }

    /// The plan for `key`, which is no longer kept.
    fn take(&self, key: &Key) -> Option<Arc<TypedSimplePlan>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(known, _)| known == key)?;
        Some(kept.remove(place).1)
    }

    /// Keeps a plan, and forgets the one that was used longest ago where there are too many.
    fn keep(&self, key: Key, plan: Arc<TypedSimplePlan>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != key);
        kept.push((key, plan));
        if kept.len() > MOST {
            kept.remove(0);
        }
    }
}
