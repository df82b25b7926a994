//! Reliability diagrams: how often an arm is right, given how sure it is.

use super::arms::Styled;
use super::axis::Axis;
use super::svg::{Anchor, Drawing, Figure};
use super::text;
use crate::eval::ReliabilityBin;

const WIDTH: f64 = 340.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = WIDTH - 10.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 270.0;
/// Below so many rows, a bin says little and is drawn faintly.
pub(super) const FEW: u64 = 10;
/// Height of the row counts below the diagram.
const COUNTS: f64 = 44.0;

/// One diagram per arm whose confidences were counted, and why others have none.
pub(super) fn draw(arms: &[Styled<'_>]) -> (Vec<Figure>, Vec<String>) {
    let mut figures = Vec::new();
    let mut missing = Vec::new();
    for (place, styled) in arms.iter().enumerate() {
        match pooled(styled) {
            Some(bins) => figures.push(diagram(place, styled, &bins)),
            None => missing.push(format!(
                "{}: its confidences were not counted",
                styled.arm.label
            )),
        }
    }
    (figures, missing)
}

/// The bins of all runs in one; none if no run has bins, or runs have different ones.
fn pooled(styled: &Styled<'_>) -> Option<Vec<ReliabilityBin>> {
    let runs: Vec<&[ReliabilityBin]> = styled
        .arm
        .runs
        .iter()
        .map(|run| run.metrics.reliability.as_slice())
        .collect();
    let bins = runs.first()?.len();
    if runs.iter().any(|run| run.len() != bins) {
        return None;
    }
    let pooled: Vec<ReliabilityBin> = (0..bins)
        .map(|place| {
            let counts = || runs.iter().map(|run| run[place].count);
            let count: u64 = counts().sum();
            let mean = |value: fn(&ReliabilityBin) -> f64| {
                let sum: f64 = runs
                    .iter()
                    .map(|run| run[place].count as f64 * value(&run[place]))
                    .sum();
                sum / count.max(1) as f64
            };
            ReliabilityBin {
                low: runs[0][place].low,
                high: runs[0][place].high,
                count,
                accuracy: mean(|bin| bin.accuracy),
                confidence: mean(|bin| bin.confidence),
            }
        })
        .collect();
    pooled.iter().any(|bin| bin.count > 0).then_some(pooled)
}

fn diagram(place: usize, styled: &Styled<'_>, bins: &[ReliabilityBin]) -> Figure {
    let class = styled.class;
    let x = Axis::exact(0.0, 1.0, (LEFT, RIGHT), 4);
    let y = Axis::exact(0.0, 1.0, (BOTTOM, TOP), 4);
    let mut drawing = Drawing::default();
    drawing.text("quantity", (0.0, 11.0), Anchor::Start, "share right");
    y.draw_vertical(&mut drawing, LEFT, RIGHT);
    for bin in bins.iter().filter(|bin| bin.count > 0) {
        let (left, width) = span(bin, &x);
        let top = y.place(bin.accuracy);
        let hint = format!(
            "mean confidence {}, right {}, {}",
            text::fixed(bin.confidence, 3),
            text::fixed(bin.accuracy, 3),
            text::count_of(bin.count as usize, "row")
        );
        let style = if bin.count < FEW { "faint" } else { "soft" };
        drawing.rect(
            &format!("{class} {style}"),
            (left, top),
            (width, BOTTOM - top),
            &hint,
        );
        if bin.count >= FEW {
            drawing.line(&format!("{class} cap"), (left, top), (left + width, top));
        }
    }
    drawing.line("diagonal", (LEFT, BOTTOM), (RIGHT, TOP));
    x.draw_horizontal(&mut drawing, TOP, BOTTOM, false);

    let base = BOTTOM + 28.0 + COUNTS;
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1).max(1);
    for bin in bins {
        let height = COUNTS * bin.count as f64 / most as f64;
        let (left, width) = span(bin, &x);
        drawing.rect("count", (left, base - height), (width, height), "");
    }
    drawing.line("axis", (LEFT, base), (RIGHT, base));
    drawing.text("tick", (LEFT - 6.0, base), Anchor::End, "rows");
    drawing.text(
        "quantity",
        ((LEFT + RIGHT) / 2.0, base + 17.0),
        Anchor::Middle,
        "confidence",
    );

    let label = text::capitalised(&styled.arm.label);
    let error = styled.arm.spread(|run| Some(run.metrics.ece));
    let error = error.map_or(String::new(), |(mean, _)| {
        format!("ECE {} %; ", text::percent(mean))
    });
    let runs = styled.arm.runs.len();
    let rows = bins.iter().map(|bin| bin.count).sum::<u64>() / runs.max(1) as u64;
    Figure {
        id: format!("reliability-{place}"),
        title: label,
        caption: format!(
            "{error}{}, {}.",
            text::count_of(rows as usize, "row"),
            text::count_of(runs, "run")
        ),
        description: describe(bins),
        width: WIDTH,
        height: base + 24.0,
        body: drawing.finish(),
    }
}

/// Where a bin's bar begins, and its width, with a gap to the next.
fn span(bin: &ReliabilityBin, x: &Axis) -> (f64, f64) {
    let left = x.place(bin.low) + 1.0;
    (left, x.place(bin.high) - 1.0 - left)
}

fn describe(bins: &[ReliabilityBin]) -> String {
    let bins: Vec<String> = bins
        .iter()
        .filter(|bin| bin.count > 0)
        .map(|bin| {
            format!(
                "{} gives {}",
                text::fixed(bin.confidence, 2),
                text::fixed(bin.accuracy, 2)
            )
        })
        .collect();
    format!(
        "Mean confidence and share right per bin: {}.",
        bins.join("; ")
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::report::{Role, fixture};

    /// One row of ten right and nine of thirty: ten of forty over both runs.
    #[test]
    fn bins_of_runs_are_weighted_by_their_rows() {
        let mut arm = fixture::arm(Role::Alone, "student alone", &[(0, 0.5), (1, 0.5)]);
        let bin = |count, accuracy, confidence| {
            vec![ReliabilityBin {
                low: 0.0,
                high: 1.0,
                count,
                accuracy,
                confidence,
            }]
        };
        arm.runs[0].metrics.reliability = bin(10, 0.1, 0.2);
        arm.runs[1].metrics.reliability = bin(30, 0.3, 0.6);
        let pooled = pooled(&Styled {
            arm: &arm,
            class: "alone",
        })
        .unwrap();
        assert_eq!(pooled[0].count, 40);
        assert!((pooled[0].accuracy - 0.25).abs() < 1e-12);
        assert!((pooled[0].confidence - 0.5).abs() < 1e-12);
        arm.runs[1].metrics.reliability.clear();
        assert!(
            super::pooled(&Styled {
                arm: &arm,
                class: "alone"
            })
            .is_none()
        );
    }
}
