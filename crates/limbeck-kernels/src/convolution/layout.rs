//! In which order a correlation adds up its products.
//!
//! The sum over source channels and taps is one long list of *steps*, cut into *runs* of steps
//! that read consecutive floats of the source, and into *chunks* of channels whose source and
//! weights fit the second-level cache together. Weights are packed in the order of the steps.

use std::ops::Range;

use super::correlation::Correlation;

/// Channels per plane of a gathered source: one cache line per pixel.
pub(super) const PLANE: usize = 16;
/// Channels of a source that fill one plane of half a cache line per pixel, such as 16 channels in pairs.
pub(super) const HALF_PLANE: usize = 8;
/// Most steps of a chunk: their weights for 32 output channels take 144 KiB.
const STEPS: usize = 1152;

/// Steps that read `length` consecutive floats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// The plane of the chunk's gathered source.
    pub(super) plane: usize,
    /// The tap's row and column.
    pub(super) row: isize,
    pub(super) column: isize,
    pub(super) length: usize,
    /// The number of its first step.
    pub(super) step: usize,
}

/// Source channels that are summed over in one go, and their steps.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) channels: Range<usize>,
    pub(super) runs: Vec<Run>,
    pub(super) first_step: usize,
}

/// The order of a correlation's steps.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Floats per pixel and plane; `None` if the source is read where it lies.
    pub(super) plane: Option<usize>,
    pub(super) chunks: Vec<Chunk>,
    /// The offset of each step's weight from the group's first, for the first target channel.
    pub(super) weights: Vec<usize>,
    /// Consecutive steps whose weights are, for one target channel of a forward pass, consecutive
    /// too (in another order).
    pub(super) block: usize,
}

impl Layout {
    /// The order for `correlation`, which reads its source in place if `direct`.
    ///
    /// # Panics
    ///
    /// If a correlation that is not pointwise is to read its source in place.
    pub(super) fn new(correlation: &Correlation, direct: bool) -> Self {
        let channels = correlation.source.channels;
        if correlation.taps.is_empty() {
            let nothing = Chunk {
                channels: 0..0,
                runs: Vec::new(),
                first_step: 0,
            };
            return Self {
                plane: Some(0),
                chunks: vec![nothing],
                weights: Vec::new(),
                block: 1,
            };
        }
        assert!(
            !direct || correlation.is_pointwise(),
            "only pointwise sources need no padding"
        );
        let mut weights = Vec::with_capacity(channels * correlation.taps.len());
        let mut chunks = Vec::new();
        let per_chunk = (STEPS / correlation.taps.len())
            .next_multiple_of(PLANE)
            .min(channels.max(1));
        let mut start = 0;
        while start < channels {
            // A last chunk much shorter than the others would waste a pass over the output.
            let left = channels - start;
            let count = if left <= per_chunk * 5 / 4 {
                left
            } else {
                per_chunk
            };
            let first_step = weights.len();
            let channels = start..start + count;
            let runs = if direct {
                single_run(correlation, &channels, &mut weights)
            } else if correlation.source.channels < PLANE && channels.len() != HALF_PLANE {
                merged_runs(correlation, &mut weights)
            } else {
                plane_runs(correlation, &channels, &mut weights)
            };
            chunks.push(Chunk {
                channels,
                runs,
                first_step,
            });
            start += count;
        }
        let plane = (!direct).then_some(channels.min(PLANE));
        let block = channels.min(PLANE) * correlation.taps.len();
        Self {
            plane,
            chunks,
            weights,
            block,
        }
    }

    /// The number of steps.
    pub(super) fn steps(&self) -> usize {
        self.weights.len()
    }

    /// Most channels of a chunk.
    pub(super) fn widest_chunk(&self) -> usize {
        self.chunks
            .iter()
            .map(|chunk| chunk.channels.len())
            .max()
            .unwrap_or(0)
    }
}

fn single_run(of: &Correlation, channels: &Range<usize>, weights: &mut Vec<usize>) -> Vec<Run> {
    let step = weights.len();
    weights.extend(
        channels
            .clone()
            .map(|c| c * of.weight.source + of.taps[0].weight),
    );
    vec![Run {
        plane: 0,
        row: 0,
        column: 0,
        length: channels.len(),
        step,
    }]
}

/// With few channels the taps of a kernel's row lie side by side: one run for all of them.
fn merged_runs(of: &Correlation, weights: &mut Vec<usize>) -> Vec<Run> {
    let channels = of.source.channels;
    let mut runs: Vec<Run> = Vec::new();
    let mut next = None;
    for tap in &of.taps {
        let step = weights.len();
        match runs.last_mut() {
            Some(run) if next == Some((tap.row, tap.column)) => run.length += channels,
            _ => runs.push(Run {
                plane: 0,
                row: tap.row,
                column: tap.column,
                length: channels,
                step,
            }),
        }
        next = Some((tap.row, tap.column + 1));
        weights.extend((0..channels).map(|c| c * of.weight.source + tap.weight));
    }
    runs
}

fn plane_runs(of: &Correlation, channels: &Range<usize>, weights: &mut Vec<usize>) -> Vec<Run> {
    let mut runs = Vec::new();
    for (plane, first) in channels.clone().step_by(PLANE).enumerate() {
        let length = PLANE.min(channels.end - first);
        for tap in &of.taps {
            let step = weights.len();
            runs.push(Run {
                plane,
                row: tap.row,
                column: tap.column,
                length,
                step,
            });
            weights.extend((first..first + length).map(|c| c * of.weight.source + tap.weight));
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convolution::geometry::Convolution;

    fn layout(channels: usize, kernel: usize) -> Layout {
        let of = Convolution::same([1, 8, 8], [channels, 4], kernel);
        Layout::new(&Correlation::forward(&of, 0), false)
    }

    #[test]
    fn every_weight_is_one_step() {
        for (channels, kernel) in [
            (1, 3),
            (3, 5),
            (15, 3),
            (16, 1),
            (58, 3),
            (300, 3),
            (1500, 1),
        ] {
            let layout = layout(channels, kernel);
            let mut weights = layout.weights.clone();
            weights.sort_unstable();
            assert_eq!(weights, (0..channels * kernel * kernel).collect::<Vec<_>>());
            let steps: usize = layout
                .chunks
                .iter()
                .flat_map(|chunk| &chunk.runs)
                .map(|run| run.length)
                .sum();
            assert_eq!(steps, layout.steps());
        }
    }

    #[test]
    fn few_channels_give_one_run_per_row_of_the_kernel() {
        let layout = layout(3, 3);
        let lengths: Vec<usize> = layout.chunks[0].runs.iter().map(|run| run.length).collect();
        assert_eq!(lengths, [9, 9, 9]);
    }
}
