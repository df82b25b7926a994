//! What happens to the output of a convolution before it leaves the registers.

use crate::Activation;

/// Sums over the pixels of each output channel, from which batch norm gets mean and variance.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelSums {
    /// What is taken from every value before it is summed: any guess of the channel's mean keeps
    /// the sums of squares small, for example the running mean.
    pub shift: Vec<f32>,
    /// The sum of `value - shift`.
    pub sum: Vec<f64>,
    /// The sum of `(value - shift)^2`.
    pub sum_of_squares: Vec<f64>,
    /// The number of values summed per channel.
    pub count: usize,
}

impl ChannelSums {
    /// Empty sums about `shift`, one number per output channel.
    #[must_use]
    pub fn new(shift: Vec<f32>) -> Self {
        let channels = shift.len();
        Self {
            shift,
            sum: vec![0.0; channels],
            sum_of_squares: vec![0.0; channels],
            count: 0,
        }
    }

    /// The mean of `channel`.
    #[must_use]
    pub fn mean(&self, channel: usize) -> f64 {
        f64::from(self.shift[channel]) + self.sum[channel] / self.count as f64
    }

    /// The variance of `channel` (divided by the count, not one less).
    #[must_use]
    pub fn variance(&self, channel: usize) -> f64 {
        let mean = self.sum[channel] / self.count as f64;
        (self.sum_of_squares[channel] / self.count as f64 - mean * mean).max(0.0)
    }
}

/// `output = activation(convolution + bias + residual)`, where each part may be absent.
#[derive(Debug, Default)]
pub struct Epilogue<'a> {
    /// One number per output channel.
    pub bias: Option<&'a [f32]>,
    /// Laid out like the output.
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
    /// Overwritten with the sums of `convolution + bias`.
    pub statistics: Option<&'a mut ChannelSums>,
}
