//! Which classes are taken for which: heat maps and the pairs confused most.

use std::fmt::Write as _;

use super::arms::Styled;
use super::svg::{self, Anchor, Drawing, Figure, number};
use super::text;

/// Up to this many classes, rows and columns carry names.
const NAMED: usize = 20;
/// Up to this many, cells carry their percentage.
const NUMBERED: usize = 12;
/// Shades of a map of many classes.
const SHADES: u64 = 8;

const SIDE: f64 = 440.0;

/// Two classes and how often the first is taken for the second.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mistake {
    pub(super) truth: usize,
    pub(super) answer: usize,
    /// Share of the true class's rows per arm, in the arms' order.
    pub(super) shares: Vec<Option<f64>>,
}

/// Shares of the true class's rows, `[true, predicted]`; rows of absent classes are zero.
type Shares = Vec<Vec<f64>>;

/// One map per arm that counted its answers; an error says why there is none.
pub(super) fn draw(classes: &[String], arms: &[Styled<'_>]) -> Result<Vec<Figure>, String> {
    let maps: Vec<(Styled<'_>, Shares)> = arms
        .iter()
        .filter_map(|styled| Some((*styled, shares(&styled.arm.confusion(classes.len())?))))
        .collect();
    if maps.is_empty() {
        return Err("no run counted which class is taken for which".to_owned());
    }
    // One scale for all maps, so that they can be compared.
    let most = maps
        .iter()
        .flat_map(|(_, shares)| mistakes(shares))
        .map(|(_, _, share)| share)
        .fold(0.0, f64::max);
    Ok(maps
        .iter()
        .enumerate()
        .map(|(place, (styled, shares))| {
            let (body, height) = if classes.len() <= NAMED {
                named(classes, shares, most)
            } else {
                crowded(shares, most)
            };
            Figure {
                id: format!("confusion-{place}"),
                title: text::capitalised(&styled.arm.label),
                caption: String::new(),
                description: describe(classes, shares),
                width: SIDE,
                height,
                body,
            }
        })
        .collect())
}

/// The pairs of classes confused most, over all arms.
pub(super) fn worst(classes: usize, arms: &[Styled<'_>], limit: usize) -> Vec<Mistake> {
    let maps: Vec<Option<Shares>> = arms
        .iter()
        .map(|styled| styled.arm.confusion(classes).map(|counts| shares(&counts)))
        .collect();
    let mut pairs: Vec<Mistake> = (0..classes)
        .flat_map(|truth| (0..classes).map(move |answer| (truth, answer)))
        .filter(|(truth, answer)| truth != answer)
        .map(|(truth, answer)| Mistake {
            truth,
            answer,
            shares: maps
                .iter()
                .map(|map| map.as_ref().map(|shares| shares[truth][answer]))
                .collect(),
        })
        .collect();
    let weight = |pair: &Mistake| pair.shares.iter().flatten().sum::<f64>();
    pairs.retain(|pair| weight(pair) > 0.0);
    pairs.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
    pairs.truncate(limit);
    pairs
}

fn shares(counts: &[Vec<u64>]) -> Shares {
    counts
        .iter()
        .map(|row| {
            let sum = row.iter().sum::<u64>().max(1) as f64;
            row.iter().map(|count| *count as f64 / sum).collect()
        })
        .collect()
}

fn mistakes(shares: &Shares) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
    shares.iter().enumerate().flat_map(|(truth, row)| {
        row.iter()
            .enumerate()
            .filter(move |(answer, share)| *answer != truth && **share > 0.0)
            .map(move |(answer, share)| (truth, answer, *share))
    })
}

/// How dark a mistake is: the square root lifts the rare ones out of the paper.
fn darkness(share: f64, most: f64) -> f64 {
    (share / most.max(f64::MIN_POSITIVE)).sqrt()
}

fn named(classes: &[String], shares: &Shares, most: f64) -> (String, f64) {
    let names: Vec<String> = classes
        .iter()
        .map(|name| text::shortened(name, 12))
        .collect();
    let widest = names
        .iter()
        .map(|name| svg::text_width(name))
        .fold(0.0, f64::max);
    let left = widest + 28.0;
    let cell = (SIDE - left - 2.0) / classes.len() as f64;
    let slanted = widest > cell - 4.0;
    // A slanted name climbs to the right, the last one past its column.
    let overhang = names
        .last()
        .map_or(0.0, |name| 0.75 * svg::text_width(name));
    let cell = if slanted {
        (SIDE - left - overhang) / (classes.len() as f64 - 0.5)
    } else {
        cell
    };
    let top = if slanted { 26.0 + 0.72 * widest } else { 34.0 };

    let mut drawing = Drawing::default();
    let middle = left + cell * classes.len() as f64 / 2.0;
    drawing.text("quantity", (middle, 11.0), Anchor::Middle, "predicted");
    drawing.upright(
        "quantity",
        (11.0, top + cell * classes.len() as f64 / 2.0),
        "true",
    );
    for (place, name) in names.iter().enumerate() {
        let centre = cell * (place as f64 + 0.5);
        drawing.text("name", (left - 6.0, top + centre + 3.5), Anchor::End, name);
        if slanted {
            drawing.slanted("name", (left + centre - 2.0, top - 7.0), name);
        } else {
            drawing.text("name", (left + centre, top - 7.0), Anchor::Middle, name);
        }
    }
    for (truth, row) in shares.iter().enumerate() {
        for (answer, share) in row.iter().enumerate() {
            let corner = (left + cell * answer as f64, top + cell * truth as f64);
            let size = (cell - 1.5, cell - 1.5);
            let hint = format!(
                "{} taken for {}: {} %",
                classes[truth],
                classes[answer],
                text::percent(*share)
            );
            drawing.rect("cell", corner, size, "");
            let opacity = match truth == answer {
                true => 0.08 + 0.42 * share,
                false => 0.85 * darkness(*share, most),
            };
            if *share > 0.0 {
                let class = if truth == answer { "right" } else { "wrong" };
                drawing.shaded(class, corner, size, opacity, &hint);
            }
            if classes.len() <= NUMBERED && *share > 0.0 {
                let at = (corner.0 + size.0 / 2.0, corner.1 + size.1 / 2.0 + 3.5);
                let class = if opacity > 0.6 {
                    "cell-number strong"
                } else {
                    "cell-number"
                };
                drawing.text(class, at, Anchor::Middle, &short_percent(*share));
            }
        }
    }
    (drawing.finish(), top + cell * classes.len() as f64 + 2.0)
}

/// Without names and numbers: one path per shade keeps ten thousand cells small.
fn crowded(shares: &Shares, most: f64) -> (String, f64) {
    let (left, top) = (22.0, 22.0);
    let cell = (SIDE - left - 1.0) / shares.len() as f64;
    let side = cell * shares.len() as f64;
    let mut drawing = Drawing::default();
    drawing.text(
        "quantity",
        (left + side / 2.0, 11.0),
        Anchor::Middle,
        "predicted",
    );
    drawing.upright("quantity", (11.0, top + side / 2.0), "true");
    drawing.rect("cell", (left, top), (side, side), "");
    let mut shades = vec![String::new(); SHADES as usize + 1];
    let mut right = vec![String::new(); SHADES as usize + 1];
    for (truth, row) in shares.iter().enumerate() {
        for (answer, share) in row.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let value = if truth == answer {
                *share
            } else {
                darkness(*share, most)
            };
            let shade = (value * SHADES as f64).ceil().clamp(1.0, SHADES as f64) as usize;
            let paths = if truth == answer {
                &mut right
            } else {
                &mut shades
            };
            let (x, y) = (left + cell * answer as f64, top + cell * truth as f64);
            // Writing to a string does not fail.
            let _ = write!(
                paths[shade],
                "M{} {}h{c}v{c}h-{c}z",
                number(x),
                number(y),
                c = number(cell)
            );
        }
    }
    for (class, paths, scale) in [("wrong", shades, 0.9), ("right", right, 0.6)] {
        for (shade, path) in paths
            .iter()
            .enumerate()
            .filter(|(_, path)| !path.is_empty())
        {
            drawing.shaded_path(class, path, scale * shade as f64 / SHADES as f64);
        }
    }
    (drawing.finish(), top + side + 2.0)
}

/// A share in percent without needless digits: `97`, `1.3`, `<0.1`.
fn short_percent(share: f64) -> String {
    match 100.0 * share {
        percent if percent < 0.05 => "<0.1".to_owned(),
        percent if percent < 9.95 => text::fixed(percent, 1),
        percent => text::fixed(percent, 0),
    }
}

fn describe(classes: &[String], shares: &Shares) -> String {
    let mut pairs: Vec<_> = mistakes(shares).collect();
    pairs.sort_by(|one, other| other.2.total_cmp(&one.2));
    if pairs.is_empty() {
        return "No class is taken for another.".to_owned();
    }
    let pairs: Vec<String> = pairs
        .iter()
        .take(5)
        .map(|(truth, answer, share)| {
            format!(
                "{} for {} ({} %)",
                classes[*truth],
                classes[*answer],
                text::percent(*share)
            )
        })
        .collect();
    format!("Most often taken for another: {}.", pairs.join("; "))
}
