//! The gradient that comes around a residual block.
//!
//! The input of a block has two gradients: one through the block's layers, one through the shortcut. Left to Burn they are added in
//! a pass of their own over three maps, on one thread. Here the layer that ends the shortcut hands its gradient over to the layer that
//! reads the block's input, which adds it while it writes its own.

use std::sync::{Arc, Mutex, PoisonError};

use burn_flex::FlexTensor;

/// A way for one gradient from the layer at the end of a shortcut to the one at its beginning.
///
/// The layer at the end must depend on that at the beginning: only then is the gradient there in time. Each way is used
/// once, by one layer at either end.
#[derive(Clone, Debug, Default)]
pub struct Shortcut(Arc<Mutex<Option<FlexTensor>>>);

/// The shortcuts of a layer.
#[derive(Clone, Debug, Default)]
pub struct Shortcuts {
    /// Begins at the layer's input: the gradient that arrives is added to the input's.
    pub begins: Option<Shortcut>,
    /// Ends at the layer's residual: its gradient goes this way instead of into the residual's own.
    pub ends: Option<Shortcut>,
}

impl Shortcuts {
    /// Sends the gradient of the residual on its way; without one it is returned.
    pub(super) fn hand_over(&self, gradient: FlexTensor) -> Option<FlexTensor> {
        match &self.ends {
            None => Some(gradient),
            Some(Shortcut(way)) => {
                *way.lock().unwrap_or_else(PoisonError::into_inner) = Some(gradient);
                None
            }
        }
    }

    /// The gradient that came around the layers behind this one.
    pub(super) fn arrived(&self) -> Option<FlexTensor> {
        let Shortcut(way) = self.begins.as_ref()?;
        way.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
