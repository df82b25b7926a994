//! Which pixels of the source each pixel of the target gathers.

use std::ops::Range;

use super::Depthwise;

/// A tap along one axis and the place in the source that it reads.
#[derive(Clone, Copy)]
pub(super) struct Tap {
    /// Its place in the kernel.
    pub(super) tap: usize,
    /// What it reads for the first target of its phase, perhaps outside the source.
    pub(super) from: isize,
}

/// The targets along the columns that use the same taps: `first + j * step` for `j` in `0..count`,
/// each of whose taps reads `from + j * source_step`.
pub(super) struct Phase {
    pub(super) first: usize,
    pub(super) step: usize,
    pub(super) count: usize,
    pub(super) source_step: usize,
    pub(super) taps: Vec<Tap>,
    /// Whether each tap reads one place behind the one before it.
    pub(super) neighbours: bool,
    /// The `j` none of whose taps reads outside the source.
    pub(super) inside: Range<usize>,
}

/// A gathering of weighted pixels: the forward pass, or the gradient of the input.
pub(super) struct Plan {
    /// Channels of both images.
    pub(super) channels: usize,
    /// Rows and columns of the source.
    pub(super) source: [usize; 2],
    /// Rows and columns of the target.
    pub(super) target: [usize; 2],
    /// Taps of the kernel.
    pub(super) kernel: [usize; 2],
    /// For each row of the target, the rows of the kernel and of the source that it gathers.
    pub(super) rows: Vec<Vec<(usize, usize)>>,
    /// The columns of the target.
    pub(super) phases: Vec<Phase>,
}

impl Plan {
    /// Output pixel `o` gathers input pixels `o stride + tap dilation - padding`.
    pub(super) fn forward(sizes: Depthwise) -> Self {
        let source = [sizes.height, sizes.width];
        let target = [sizes.output_height(), sizes.output_width()];
        let phases = |axis: usize| {
            let taps = (0..sizes.kernel[axis]).map(|tap| Tap {
                tap,
                from: (tap * sizes.dilation[axis]) as isize - sizes.padding[axis] as isize,
            });
            vec![Phase::new(
                0,
                1,
                target[axis],
                sizes.stride[axis],
                taps.collect(),
                source[axis],
            )]
        };
        Self::new(sizes, source, target, phases)
    }

    /// Input pixel `i` gathers output pixels `(i + padding - tap dilation) / stride`, of those taps
    /// for which that is a whole number: one phase for each remainder of `i`.
    pub(super) fn backward_input(sizes: Depthwise) -> Self {
        let source = [sizes.output_height(), sizes.output_width()];
        let target = [sizes.height, sizes.width];
        let phases = |axis: usize| {
            let stride = sizes.stride[axis];
            let phase = |first: usize| {
                // From the last tap on, so that the places they read ascend.
                let taps = (0..sizes.kernel[axis]).rev().filter_map(|tap| {
                    let shift = (sizes.padding[axis] + first) as isize
                        - (tap * sizes.dilation[axis]) as isize;
                    let from = shift.div_euclid(stride as isize);
                    (shift.rem_euclid(stride as isize) == 0).then_some(Tap { tap, from })
                });
                let count = (target[axis] - first).div_ceil(stride);
                Phase::new(first, stride, count, 1, taps.collect(), source[axis])
            };
            (0..stride.min(target[axis])).map(phase).collect()
        };
        Self::new(sizes, source, target, phases)
    }

    fn new(
        sizes: Depthwise,
        source: [usize; 2],
        target: [usize; 2],
        phases: impl Fn(usize) -> Vec<Phase>,
    ) -> Self {
        let mut rows = vec![vec![]; target[0]];
        for phase in phases(0) {
            for index in 0..phase.count {
                let pairs = phase
                    .taps
                    .iter()
                    .filter_map(|tap| Some((tap.tap, phase.source(tap, index, source[0])?)));
                rows[phase.first + index * phase.step] = pairs.collect();
            }
        }
        Self {
            channels: sizes.channels,
            source,
            target,
            kernel: sizes.kernel,
            rows,
            phases: phases(1),
        }
    }
}

impl Phase {
    fn new(
        first: usize,
        step: usize,
        count: usize,
        source_step: usize,
        taps: Vec<Tap>,
        source: usize,
    ) -> Self {
        let mut phase = Self {
            first,
            step,
            count,
            source_step,
            neighbours: taps.windows(2).all(|pair| pair[1].from == pair[0].from + 1),
            taps,
            inside: 0..0,
        };
        let whole = |index: &usize| {
            phase
                .taps
                .iter()
                .all(|tap| phase.source(tap, *index, source).is_some())
        };
        if let Some(start) = (0..count).find(whole) {
            let end = (start..count).take_while(whole).count() + start;
            phase.inside = start..end;
        }
        phase
    }

    /// The place that `tap` reads for target `index`, if it lies in the source.
    #[inline(always)]
    pub(super) fn source(&self, tap: &Tap, index: usize, size: usize) -> Option<usize> {
        let place = tap.from + (index * self.source_step) as isize;
        (place >= 0 && (place as usize) < size).then_some(place as usize)
    }
}
