//! Learning curves: the mean over seeds as a line, the range over seeds as a band.

use std::collections::BTreeMap;
use std::path::Path;

use super::arms::Styled;
use super::axis::Axis;
use super::log::Log;
use super::svg::{self, Anchor, Drawing, Figure, Mark};
use super::text;

const WIDTH: f64 = 440.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = WIDTH - 12.0;
/// Above the axis, without the legend.
const HEAD: f64 = 30.0;
/// Below the axis.
const FOOT: f64 = 40.0;
const AXIS: f64 = 208.0;

/// One line of a panel.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    pub(super) class: String,
    pub(super) label: String,
    pub(super) points: Vec<Point>,
    /// The line of a network that did not learn here: its value, as a level.
    pub(super) level: Option<f64>,
}

/// Mean and range over seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) epoch: f64,
    pub(super) mean: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// The logs of the arms' runs.
#[derive(Debug)]
pub(super) struct Logs<'a> {
    pub(super) arms: Vec<(Styled<'a>, Vec<Log>)>,
    /// What could not be read, and why.
    pub(super) missing: Vec<String>,
}

impl<'a> Logs<'a> {
    pub(super) fn read(directory: &Path, arms: &[Styled<'a>]) -> Self {
        let mut missing = Vec::new();
        let arms = arms
            .iter()
            .map(|styled| {
                let logs = styled
                    .arm
                    .runs
                    .iter()
                    .filter_map(|run| run.directory.as_ref())
                    .filter_map(
                        |run| match Log::read(&directory.join(run).join("log.jsonl")) {
                            Ok(log) => Some(log),
                            Err(error) => {
                                missing.push(format!("{}: {error}", styled.arm.label));
                                None
                            }
                        },
                    )
                    .collect();
                (*styled, logs)
            })
            .collect();
        Self { arms, missing }
    }

    /// The split that most evaluations are of.
    pub(super) fn split(&self) -> Option<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (split, epochs) in self
            .arms
            .iter()
            .flat_map(|(_, logs)| logs)
            .flat_map(|log| &log.accuracy)
        {
            *counts.entry(split).or_default() += epochs.len();
        }
        counts
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .map(|(split, _)| split.to_owned())
    }

    /// Accuracy on a split, in percent.
    pub(super) fn accuracy(&self, split: &str) -> Vec<Curve> {
        self.curves(|log| log.accuracy.get(split), 100.0)
    }

    /// Training loss.
    pub(super) fn loss(&self) -> Vec<Curve> {
        self.curves(|log| Some(&log.loss), 1.0)
    }

    fn curves(&self, pick: impl Fn(&Log) -> Option<&BTreeMap<u64, f64>>, scale: f64) -> Vec<Curve> {
        self.arms
            .iter()
            .map(|(styled, logs)| {
                let runs: Vec<_> = logs.iter().filter_map(&pick).collect();
                Curve {
                    class: styled.class.to_owned(),
                    label: styled.arm.label.clone(),
                    points: points(&runs, scale),
                    level: None,
                }
            })
            .collect()
    }
}

/// Mean and range where every run has a value.
fn points(runs: &[&BTreeMap<u64, f64>], scale: f64) -> Vec<Point> {
    let Some((first, others)) = runs.split_first() else {
        return Vec::new();
    };
    first
        .iter()
        .filter_map(|(epoch, value)| {
            let mut values = vec![*value];
            for run in others {
                values.push(*run.get(epoch)?);
            }
            let count = values.len() as f64;
            Some(Point {
                epoch: *epoch as f64,
                mean: scale * values.iter().sum::<f64>() / count,
                low: scale * values.iter().copied().fold(f64::INFINITY, f64::min),
                high: scale * values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            })
        })
        .collect()
}

/// What a panel shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panel<'a> {
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    pub(super) caption: &'a str,
    /// Name and unit of the vertical axis.
    pub(super) quantity: &'a str,
    /// A value that nothing can pass.
    pub(super) bound: f64,
    /// Whether the interesting end of the axis is the upper one, so that a poor start may be cut.
    pub(super) rising: bool,
}

impl Panel<'_> {
    /// The panel's figure; none without a point.
    pub(super) fn draw(&self, curves: &[Curve]) -> Option<Figure> {
        let curves: Vec<&Curve> = curves
            .iter()
            .filter(|curve| !curve.points.is_empty() || curve.level.is_some())
            .collect();
        let last = curves
            .iter()
            .flat_map(|curve| &curve.points)
            .map(|point| point.epoch);
        let last = last.fold(f64::NEG_INFINITY, f64::max);
        if !last.is_finite() {
            return None;
        }
        let entries: Vec<_> = curves
            .iter()
            .map(|curve| (curve.class.as_str(), Mark::Line, curve.label.as_str()))
            .collect();
        let (legend, rows) = svg::legend(&entries, WIDTH);
        let top = HEAD + svg::LEGEND_ROW * rows as f64;
        let bottom = top + AXIS;
        let (low, high, cut) = self.range(&curves);
        let y = Axis::round(low, high, (bottom, top), 5).at_most(self.bound);
        let x = Axis::exact(
            0.0,
            last.max(1.0),
            (LEFT, RIGHT),
            if last < 5.0 { last as usize } else { 6 },
        );

        let mut drawing = Drawing::default();
        drawing.moved((0.0, 0.0), &legend);
        drawing.text("quantity", (0.0, top - 13.0), Anchor::Start, self.quantity);
        y.draw_vertical(&mut drawing, LEFT, RIGHT);
        x.draw_horizontal(&mut drawing, top, bottom, false);
        drawing.text(
            "quantity",
            ((LEFT + RIGHT) / 2.0, bottom + 34.0),
            Anchor::Middle,
            "epochs",
        );

        let mut lines = Drawing::default();
        for curve in &curves {
            let at = |value: fn(&Point) -> f64| -> Vec<(f64, f64)> {
                curve
                    .points
                    .iter()
                    .map(|point| (x.place(point.epoch), y.place(value(point))))
                    .collect()
            };
            let class = &curve.class;
            lines.area(
                &format!("{class} band"),
                &at(|point| point.high),
                &at(|point| point.low),
            );
        }
        for curve in &curves {
            let class = &curve.class;
            if let Some(level) = curve.level {
                let level = y.place(level);
                lines.line(
                    &format!("{class} curve level"),
                    (LEFT, level),
                    (RIGHT, level),
                );
            }
            let mean: Vec<_> = curve
                .points
                .iter()
                .map(|point| (x.place(point.epoch), y.place(point.mean)))
                .collect();
            lines.polyline(&format!("{class} curve"), &mean);
            if let Some((end, point)) = mean.last().zip(curve.points.last()) {
                let hint = format!(
                    "{}: {} after {}",
                    curve.label,
                    text::fixed(point.mean, 2),
                    text::count_of(point.epoch as usize, "epoch")
                );
                lines.circle(&format!("{class} dot"), *end, 2.6, &hint);
            }
        }
        // Three pixels of room, so that the ends' dots are not cut.
        drawing.clipped(
            &format!("{}-clip", self.id),
            (LEFT, top - 3.0),
            (RIGHT - LEFT + 3.0, bottom - top + 3.0),
            &lines.finish(),
        );
        let mut caption = self.caption.to_owned();
        if cut {
            caption.push_str(&format!(
                " The axis starts at {}; what lies below, in the first epochs, is cut off.",
                text::fixed(y.low(), 0)
            ));
        }
        Some(Figure {
            id: self.id.to_owned(),
            title: self.title.to_owned(),
            caption,
            description: describe(&curves),
            width: WIDTH,
            height: bottom + FOOT,
            body: drawing.finish(),
        })
    }

    /// The values to show, and whether some lie below them. A network starts at chance; with that on
    /// the axis, the end, where methods differ by a point, would be a flat line.
    fn range(&self, curves: &[&Curve]) -> (f64, f64, bool) {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let levels = || curves.iter().filter_map(|curve| curve.level);
        let low = points()
            .map(|point| point.low)
            .chain(levels())
            .fold(f64::INFINITY, f64::min);
        let high = points()
            .map(|point| point.high)
            .chain(levels())
            .fold(f64::NEG_INFINITY, f64::max);
        if !self.rising {
            return (low.min(0.0), high, false);
        }
        let settled = curves
            .iter()
            .filter_map(|curve| {
                let last = curve.points.last()?.epoch;
                curve.points.iter().find(|point| point.epoch >= 0.2 * last)
            })
            .map(|point| point.low)
            .chain(levels())
            .fold(f64::INFINITY, f64::min);
        if settled - low > 0.5 * (high - settled) {
            (settled, high, true)
        } else {
            (low, high, false)
        }
    }
}

fn describe(curves: &[&Curve]) -> String {
    let ends: Vec<String> = curves
        .iter()
        .filter_map(|curve| {
            let end = curve
                .points
                .last()
                .map(|point| point.mean)
                .or(curve.level)?;
            Some(format!("{} ends at {}", curve.label, text::fixed(end, 2)))
        })
        .collect();
    format!("{}.", ends.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_ranges_by_hand() {
        let first = BTreeMap::from([(1, 0.5), (2, 0.7), (3, 0.8)]);
        let second = BTreeMap::from([(1, 0.3), (2, 0.9)]);
        assert_eq!(
            points(&[&first, &second], 100.0),
            [
                Point {
                    epoch: 1.0,
                    mean: 40.0,
                    low: 30.0,
                    high: 50.0
                },
                Point {
                    epoch: 2.0,
                    mean: 80.0,
                    low: 70.0,
                    high: 90.0
                },
            ]
        );
    }
}
