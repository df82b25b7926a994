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
        let plan = match self.take(&key) {
            Some(plan) => plan,
            None => guard.run(|| {
                let facts = signature.facts(&key.0);
                let model = loaded.typed(&facts, &key.1)?;
                model.into_optimized()?.into_runnable()
            })?,
        };
        self.keep(key, Arc::clone(&plan));
        guard.run(|| plan.run(inputs.into_iter().map(TValue::from).collect()))
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
