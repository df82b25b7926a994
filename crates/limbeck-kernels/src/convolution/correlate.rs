//! Running a correlation over all bands and target channels, on all threads.

use rayon::prelude::*;

use super::correlation::Correlation;
use super::epilogue::ChannelSums;
use super::family::Family;
use super::layout::Layout;
use super::panels::{Lanes, Panels, lane_groups, padded_channels};
use super::unit::{Inputs, Tiling, Unit};
use super::window::{Band, Offsets, bands, equal_parts};
use crate::Activation;
use crate::sharing::Shared;

/// Floats of the scratch that holds a chunk's source: 192 KiB of the second-level cache.
const SCRATCH: usize = 48 * 1024;
/// Fewest and most target pixels of a band: enough to pay for fetching the weights, and not more
/// than shares of the threads' work can bear.
const PIXELS: (usize, usize) = (256, 1024);
/// Units of work that a call is cut into at least, if it is not tiny.
const UNITS: usize = 8;
/// Fewest pixels of a band that is made small for the sake of [`UNITS`].
const FEWEST: usize = 64;

/// The epilogue of a correlation, for the whole target map.
#[derive(Default)]
pub(super) struct Ending<'a> {
    pub(super) bias: Option<&'a [f32]>,
    pub(super) residual: Option<&'a [f32]>,
    pub(super) activation: Activation,
    pub(super) statistics: Option<&'a mut ChannelSums>,
    /// Whether the sums are added to what the target holds.
    pub(super) accumulates: bool,
}

/// A correlation with its order of summation, independent of the values.
pub(super) struct Plan {
    pub(super) of: Correlation,
    pub(super) layout: Layout,
    pub(super) groups: Vec<Lanes>,
    bands: Vec<Band>,
    tilings: Vec<Tiling>,
    /// Parts that the groups are cut into.
    parts: usize,
    family: Family,
}

impl Plan {
    pub(super) fn new(family: Family, of: Correlation) -> Self {
        family.check();
        let direct = family.reads_in_place() && of.is_pointwise() && of.source.channels >= 16;
        let layout = Layout::new(&of, direct);
        let groups = lane_groups(family.vectors(), of.target.channels);
        let fits = SCRATCH / layout.widest_chunk().max(1);
        let most = if direct {
            PIXELS.0
        } else {
            fits.clamp(PIXELS.0, PIXELS.1)
        };
        let total = of.batch * of.target.rows * of.target.columns;
        let bands = bands(&of, most.min((total / UNITS).max(FEWEST)));
        let lanes = padded_channels(&groups);
        let parts = UNITS
            .div_ceil(bands.len().max(1))
            .min(lanes.div_ceil(64))
            .min(groups.len());
        let tilings = Offsets::of_bands(&of, &bands, layout.plane);
        let tilings = tilings
            .into_iter()
            .map(|offsets| Tiling::new(offsets, family.tile()));
        Self {
            tilings: tilings.collect(),
            of,
            layout,
            groups,
            bands,
            parts: parts.max(1),
            family,
        }
    }

    /// The panels of an OIHW weight for this plan. They depend on the channels and the kernel, not
    /// on the sizes of the maps.
    pub(super) fn pack(&self, weight: &[f32], keep: bool) -> Panels {
        Panels::new(
            self.family,
            &self.of,
            &self.layout,
            &self.groups,
            weight,
            keep,
        )
    }

    /// Runs the correlation.
    ///
    /// # Safety
    ///
    /// `source` and `target` (and the residual) are the whole maps that the correlation names, and
    /// the panels were packed for this plan.
    pub(super) unsafe fn run(
        &self,
        source: &[f32],
        panels: &Panels,
        ending: Ending<'_>,
        target: Shared<'_>,
    ) {
        let lanes = padded_channels(&self.groups);
        let bias = ending.bias.map(|bias| self.padded(bias, lanes));
        let shift = ending
            .statistics
            .as_ref()
            .map(|sums| self.padded(&sums.shift, lanes));
        let counted = if shift.is_some() {
            self.bands.len() * 2 * lanes
        } else {
            0
        };
        let mut partial = vec![0.0_f32; counted];
        let sums = Shared::new(&mut partial);
        let inputs = Inputs {
            source,
            panels: panels.as_ptr(),
            bias: bias.as_deref(),
            shift: shift.as_deref(),
            residual: ending.residual,
            bounds: ending.activation.bounds(),
            accumulates: ending.accumulates,
        };
        let run = |unit: usize| {
            let (band, part) = (unit / self.parts, unit % self.parts);
            let range = equal_parts(self.groups.len(), self.parts)
                .nth(part)
                .unwrap_or_default();
            let band_of_unit = &self.bands[band];
            let mut tilings = self.tilings.iter();
            let unit = Unit {
                band: band_of_unit,
                tiling: tilings
                    .find(|tiling| tiling.offsets.fit(band_of_unit))
                    .unwrap_or_else(|| unreachable!("there is a tiling for every band")),
                groups: &self.groups[range],
            };
            // SAFETY: units write target pixels and channels, and sums, of their own; the family
            // was checked.
            unsafe {
                let sums = sums.at(if counted > 0 { band * 2 * lanes } else { 0 });
                self.family.run(self, &inputs, &unit, sums, target.at(0));
            }
        };
        let units = self.bands.len() * self.parts;
        (0..units).into_par_iter().with_max_len(1).for_each(run);
        if let Some(statistics) = ending.statistics {
            self.combine(&partial, lanes, statistics);
        }
    }

    /// This correlation's part of a per-channel array, with zeros up to `lanes`.
    fn padded(&self, values: &[f32], lanes: usize) -> Vec<f32> {
        let first = self.of.target.first_channel;
        let mut padded = values[first..first + self.of.target.channels].to_vec();
        padded.resize(lanes, 0.0);
        padded
    }

    fn combine(&self, partial: &[f32], lanes: usize, statistics: &mut ChannelSums) {
        for channel in 0..self.of.target.channels {
            let (mut sum, mut squares) = (0.0_f64, 0.0_f64);
            for band in partial.chunks_exact(2 * lanes) {
                sum += f64::from(band[channel]);
                squares += f64::from(band[lanes + channel]);
            }
            statistics.sum[self.of.target.first_channel + channel] = sum;
            statistics.sum_of_squares[self.of.target.first_channel + channel] = squares;
        }
        statistics.count = self.of.batch * self.of.target.rows * self.of.target.columns;
    }
}
