//! Axes: a range that ends on round numbers, and where a value lies on the paper.

use super::svg::{Anchor, Drawing};
use super::text;

/// A linear axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis that holds `low` to `high`, widened to round numbers, between two positions on the
    /// paper, with about `ticks` ticks.
    pub(super) fn round(low: f64, high: f64, (from, to): (f64, f64), ticks: usize) -> Self {
        let high = if high > low {
            high
        } else {
            low + low.abs().max(1.0) * 0.01
        };
        let step = round_step((high - low) / ticks.max(1) as f64);
        // A hair is taken off, so that 0.3 / 0.1 does not become four steps.
        let low = ((low / step) + 1e-9).floor() * step;
        let high = ((high / step) - 1e-9).ceil() * step;
        Self {
            low,
            high,
            step,
            from,
            to,
        }
    }

    /// An axis with exactly these ends.
    pub(super) fn exact(low: f64, high: f64, paper: (f64, f64), ticks: usize) -> Self {
        let step = round_step((high - low) / ticks.max(1) as f64);
        Self {
            low,
            high,
            step,
            from: paper.0,
            to: paper.1,
        }
    }

    /// The lower end.
    pub(super) fn low(&self) -> f64 {
        self.low
    }

    /// Keeps the upper end from passing a bound that no value can pass, such as 100 %.
    pub(super) fn at_most(mut self, bound: f64) -> Self {
        self.high = self.high.min(bound);
        self
    }

    /// Where a value lies on the paper.
    pub(super) fn place(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// The ticks' values and labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let digits = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        // A step of 2.5 needs one digit more than its magnitude says.
        let scaled = self.step * 10_f64.powi(digits as i32);
        let digits = digits + usize::from((scaled - scaled.round()).abs() > 1e-6);
        let first = ((self.low / self.step) - 1e-9).ceil() as i64;
        let last = ((self.high / self.step) + 1e-9).floor() as i64;
        (first..=last)
            .map(|count| {
                let value = count as f64 * self.step;
                (value, text::fixed(value, digits))
            })
            .collect()
    }

    /// Labels and grid lines of a vertical axis, from `left` to `right`.
    pub(super) fn draw_vertical(&self, drawing: &mut Drawing, left: f64, right: f64) {
        for (value, label) in self.ticks() {
            let y = self.place(value);
            drawing.line("grid", (left, y), (right, y));
            drawing.text("tick", (left - 6.0, y + 3.5), Anchor::End, &label);
        }
    }

    /// Labels, grid lines and base line of a horizontal axis, from `top` to `bottom`.
    pub(super) fn draw_horizontal(&self, drawing: &mut Drawing, top: f64, bottom: f64, grid: bool) {
        for (value, label) in self.ticks() {
            let x = self.place(value);
            if grid {
                drawing.line("grid", (x, top), (x, bottom));
            }
            drawing.text("tick", (x, bottom + 15.0), Anchor::Middle, &label);
        }
        drawing.line("axis", (self.from, bottom), (self.to, bottom));
    }
}

/// The smallest of 1, 2, 2.5 and 5 times a power of ten that is at least `step`.
fn round_step(step: f64) -> f64 {
    if !step.is_finite() || step <= 0.0 {
        return 1.0;
    }
    let magnitude = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 2.5, 5.0]
        .into_iter()
        .map(|factor| factor * magnitude)
        .find(|candidate| *candidate >= step * (1.0 - 1e-9))
        .unwrap_or(10.0 * magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ends_on_round_numbers() {
        let axis = Axis::round(87.3, 99.1, (0.0, 100.0), 5);
        assert_eq!(
            labels(&axis),
            ["85.0", "87.5", "90.0", "92.5", "95.0", "97.5", "100.0"]
        );
        assert_eq!((axis.place(85.0), axis.place(100.0)), (0.0, 100.0));
        let axis = Axis::round(0.0, 0.3, (0.0, 1.0), 3);
        assert_eq!(labels(&axis), ["0.0", "0.1", "0.2", "0.3"]);
        let axis = Axis::exact(0.0, 1.0, (0.0, 1.0), 4);
        assert_eq!(labels(&axis), ["0.00", "0.25", "0.50", "0.75", "1.00"]);
    }

    #[test]
    fn a_single_value_still_has_an_axis() {
        let axis = Axis::round(50.0, 50.0, (0.0, 100.0), 4);
        assert!(axis.place(50.0).is_finite());
        assert!(labels(&axis).len() > 1);
    }
}
