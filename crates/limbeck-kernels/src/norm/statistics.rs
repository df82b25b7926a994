//! Mean and variance of every channel over a batch.

use crate::processor::Processor;
use crate::sums::{Place, Terms, column_sums};
use crate::vector::Vector;

/// Mean and variance of every channel over a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelStatistics {
    /// `mean_c = sum_r x_rc / rows`, `[channels]`.
    pub mean: Vec<f32>,
    /// The biased variance `sum_r (x_rc - mean_c)^2 / rows`, `[channels]`.
    pub variance: Vec<f32>,
    /// How many rows they were taken over.
    pub rows: usize,
}

impl ChannelStatistics {
    /// Statistics from the shifted sums `sum_c = sum_r (x_rc - shift_c)` and
    /// `sum_of_squares_c = sum_r (x_rc - shift_c)^2` over `rows` rows, all `[channels]`. A shift
    /// near the mean keeps the difference of the two exact.
    ///
    /// # Panics
    ///
    /// If the lengths differ or `rows` is zero.
    #[must_use]
    pub fn from_sums(sum: &[f64], sum_of_squares: &[f64], shift: &[f32], rows: usize) -> Self {
        assert!(rows > 0, "statistics need at least one row");
        assert_eq!(sum.len(), shift.len(), "one sum per channel");
        assert_eq!(
            sum_of_squares.len(),
            shift.len(),
            "one sum of squares per channel"
        );
        let count = rows as f64;
        let mean_and_variance = |channel: usize| {
            let mean = sum[channel] / count;
            let variance = (sum_of_squares[channel] / count - mean * mean).max(0.0);
            ((f64::from(shift[channel]) + mean) as f32, variance as f32)
        };
        let (mean, variance) = (0..shift.len()).map(mean_and_variance).unzip();
        Self {
            mean,
            variance,
            rows,
        }
    }

    /// `1 / sqrt(variance + epsilon)`, `[channels]`.
    #[must_use]
    pub fn inverse_standard_deviation(&self, epsilon: f32) -> Vec<f32> {
        let invert = |&variance: &f32| 1.0 / (f64::from(variance) + f64::from(epsilon)).sqrt();
        self.variance.iter().map(|v| invert(v) as f32).collect()
    }

    /// Moves running statistics towards these as PyTorch's `BatchNorm2d` does:
    /// `running = (1 - momentum) running + momentum new`, where the new variance is the unbiased
    /// one (`rows / (rows - 1)` times the biased one).
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    pub fn update_running(&self, mean: &mut [f32], variance: &mut [f32], momentum: f32) {
        assert_eq!(mean.len(), self.mean.len(), "one running mean per channel");
        assert_eq!(
            variance.len(),
            self.mean.len(),
            "one running variance per channel"
        );
        let unbiased = self.rows as f32 / (self.rows.max(2) - 1) as f32;
        for (running, new) in mean.iter_mut().zip(&self.mean) {
            *running += momentum * (new - *running);
        }
        for (running, new) in variance.iter_mut().zip(&self.variance) {
            *running += momentum * (new * unbiased - *running);
        }
    }
}

/// Statistics of `input`, `[rows, channels]`, around `shift`, `[channels]`: any values near the
/// means, such as the running means or a first row.
///
/// # Panics
///
/// If `input` is empty or not a whole number of rows.
#[must_use]
pub fn statistics(input: &[f32], shift: &[f32]) -> ChannelStatistics {
    statistics_on(Processor::best(), input, shift)
}

/// [`statistics`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`statistics`], and if this machine lacks the instructions.
#[must_use]
pub fn statistics_on(processor: Processor, input: &[f32], shift: &[f32]) -> ChannelStatistics {
    let rows = super::rows(input.len(), shift.len());
    let terms = Deviations { input, shift };
    // SAFETY: `input` has `rows` rows of as many channels as `shift`.
    let (sum, squares) = unsafe { column_sums(processor, rows, shift.len(), &terms) };
    ChannelStatistics::from_sums(&sum, &squares, shift, rows)
}

struct Deviations<'a> {
    input: &'a [f32],
    shift: &'a [f32],
}

impl Terms for Deviations<'_> {
    #[inline(always)]
    unsafe fn at<V: Vector, const WHOLE: bool>(&self, place: Place) -> (V, V) {
        // SAFETY: the caller keeps `place` within the rows and channels.
        unsafe {
            let value: V = place.load::<V, WHOLE>(self.input.as_ptr().add(place.index));
            let shift: V = place.load::<V, WHOLE>(self.shift.as_ptr().add(place.channel));
            let deviation = value.sub(shift);
            (deviation, deviation)
        }
    }
}
