//! One loss per file, values per row.
//!
//! A loss takes typed tensors ([`Logits`], [`LogProbs`], [`Labels`]) and returns one unreduced value per row,
//! `[batch]`. The method that uses it reduces and weighs. Targets are constants: no gradient reaches a teacher.
//! Wrong shapes are errors that name the loss and both shapes. All of them work in the precision of their input.
//!
//! | loss | between | file |
//! |---|---|---|
//! | [`cross_entropy`](fn@cross_entropy) | logits and labels | [`cross_entropy`](mod@cross_entropy) |
//! | [`soft_targets::divergence`] | logits and a softened distribution | [`soft_targets`] |
//! | [`soft_targets::cross_entropy`] | the same, with the teacher's entropy left in | [`soft_targets`] |
//! | [`logit_regression::half_squared_norm`] | logits and logits | [`logit_regression`] |
//! | [`logit_regression::mean_square`] | the same, divided by classes | [`logit_regression`] |

pub mod cross_entropy;
pub mod logit_regression;
pub mod registry;
pub mod soft_targets;
pub mod types;

#[cfg(test)]
pub(crate) mod testing;

pub use cross_entropy::{LabelSmoothing, cross_entropy};
pub use logit_regression::{Whitening, WhiteningFit};
pub use registry::{LossInfo, losses};
pub use types::{Labels, LogProbs, Logits, Probs, RowMask, Temperature};
