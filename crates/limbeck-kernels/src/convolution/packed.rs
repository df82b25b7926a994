//! Weights that are packed once, for networks whose weights don't change any more.

use super::bf16;
use super::check_length;
use super::correlate::Plan;
use super::correlation::Correlation;
use super::family::Family;
use super::geometry::Convolution;
use super::panels::Panels;
use crate::Processor;

/// The weight of a convolution in the form that [`forward_packed`](super::forward_packed) reads.
/// It fits convolutions that differ in batch, height and width.
pub struct PackedWeight {
    of: Convolution,
    pub(super) family: Family,
    /// One per group.
    pub(super) panels: Vec<Panels>,
}

impl std::fmt::Debug for PackedWeight {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (of, family) = (&self.of, &self.family);
        formatter
            .debug_struct("PackedWeight")
            .field("of", of)
            .field("family", family)
            .finish_non_exhaustive()
    }
}

impl PackedWeight {
    /// Packs an OIHW `weight` of `f32`.
    ///
    /// # Panics
    ///
    /// If the weight doesn't have the length that `of` asks for.
    #[must_use]
    pub fn new(of: &Convolution, weight: &[f32]) -> Self {
        Self::with(Family::Single(Processor::best()), of, weight)
    }

    /// [`new`](Self::new) for `processor`, which this machine must have.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    #[must_use]
    pub fn new_on(processor: Processor, of: &Convolution, weight: &[f32]) -> Self {
        Self::with(Family::Single(processor), of, weight)
    }

    /// Rounds an OIHW `weight` to bfloat16 and packs it; the input will be rounded too. Relative
    /// to its largest values an output is then off by about one part in 500.
    ///
    /// # Panics
    ///
    /// If the weight doesn't have the length that `of` asks for, or this machine has no bfloat16
    /// (see [`bf16_available`]).
    ///
    /// [`bf16_available`]: super::bf16_available
    #[must_use]
    pub fn bf16(of: &Convolution, weight: &[f32]) -> Self {
        assert!(
            bf16::bf16_available(),
            "this machine has no bfloat16 instructions"
        );
        Self::with(Family::Brain, of, weight)
    }

    fn with(family: Family, of: &Convolution, weight: &[f32]) -> Self {
        of.check();
        check_length("weight", Some(weight.len()), of.weight_length());
        let panels = (0..of.groups)
            .map(|group| Plan::new(family, correlation(family, of, group)).pack(weight, true))
            .collect();
        Self {
            of: *of,
            family,
            panels,
        }
    }

    /// Panics unless the weight was packed for such a convolution.
    pub(super) fn check(&self, of: &Convolution) {
        let own = &self.of;
        let same = own.in_channels == of.in_channels
            && own.out_channels == of.out_channels
            && own.groups == of.groups
            && own.kernel == of.kernel
            && own.dilation == of.dilation
            && own.padding == of.padding
            && own.stride == of.stride;
        assert!(same, "the weight was packed for {own:?}, not for {of:?}");
    }
}

/// The forward pass of a group in the form that `family` computes.
pub(super) fn correlation(family: Family, of: &Convolution, group: usize) -> Correlation {
    let correlation = Correlation::forward(of, group);
    match family {
        Family::Single(_) => correlation.flattened(),
        Family::Brain => correlation.in_pairs(),
    }
}
