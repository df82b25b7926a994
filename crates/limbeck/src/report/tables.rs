//! The tables of a report: side by side, seed by seed, the confused pairs.

use std::collections::BTreeSet;

use super::arms::Styled;
use super::comparison::{Comparison, mean};
use super::confusion;
use super::summary::{Arm, ArmRun, Role, Summary};
use super::text::{self, NOTHING};
use super::view::{Cell, Head, Row, Table};
use crate::eval::{Latency, Quantiles};

/// A metric of the side-by-side table.
struct Metric {
    name: &'static str,
    note: &'static str,
    scale: f64,
    digits: usize,
    value: fn(&ArmRun) -> Option<f64>,
    /// Whether more is better; none where neither is.
    rising: Option<bool>,
}

const METRICS: [Metric; 6] = [
    Metric {
        name: "Top-1 accuracy",
        note: "%, higher is better",
        scale: 100.0,
        digits: 2,
        value: |run| Some(run.metrics.top1),
        rising: Some(true),
    },
    Metric {
        name: "Top-5 accuracy",
        note: "%, higher is better",
        scale: 100.0,
        digits: 2,
        value: |run| run.metrics.top5,
        rising: Some(true),
    },
    Metric {
        name: "Negative log-likelihood",
        note: "nats, lower is better",
        scale: 1.0,
        digits: 4,
        value: |run| Some(run.metrics.nll),
        rising: Some(false),
    },
    Metric {
        name: "Calibration error (ECE)",
        note: "%, lower is better",
        scale: 100.0,
        digits: 2,
        value: |run| Some(run.metrics.ece),
        rising: Some(false),
    },
    Metric {
        name: "Brier score",
        note: "lower is better",
        scale: 1.0,
        digits: 4,
        value: |run| Some(run.metrics.brier),
        rising: Some(false),
    },
    Metric {
        name: "Agreement with the teacher",
        note: "% of rows",
        scale: 100.0,
        digits: 2,
        value: |run| run.agreement,
        rising: None,
    },
];

/// A size of the side-by-side table.
struct Size {
    name: &'static str,
    note: &'static str,
    value: fn(&Arm) -> Option<u64>,
    written: fn(u64) -> String,
}

const SIZES: [Size; 3] = [
    Size {
        name: "Parameters",
        note: "",
        value: |arm| Some(arm.parameters),
        written: text::grouped,
    },
    Size {
        name: "Multiply-adds",
        note: "for one input",
        value: |arm| arm.multiply_adds,
        written: text::scaled,
    },
    Size {
        name: "File size",
        note: "safetensors",
        value: |arm| Some(arm.file_bytes),
        written: text::bytes,
    },
];

/// Teacher, student alone and student distilled, side by side.
pub(super) fn side_by_side(summary: &Summary) -> Table {
    let arms = summary.styled();
    let head = std::iter::once(Head::new("")).chain(arms.iter().map(|styled| Head {
        detail: styled.arm.architecture.clone(),
        ..Head::styled(text::capitalised(&styled.arm.label), styled.class)
    }));
    let mut rows: Vec<Row> = METRICS
        .iter()
        .filter(|metric| metric.name != "Top-5 accuracy" || summary.data.classes.len() > 5)
        .filter_map(|metric| metric_row(metric, &arms))
        .collect();

    rows.extend(SIZES.iter().map(|size| size_row(size, &arms)));
    if arms.iter().any(|styled| styled.arm.latency.is_some()) {
        rows.push(latency_row("Latency at batch 1", &arms, |latency| {
            latency.batch1_ms
        }));
        rows.push(latency_row("Latency at batch 64", &arms, |latency| {
            latency.batch64_ms
        }));
    }
    rows.push(row("Training time", "per run", &arms, |styled| {
        Cell::new(
            mean(&styled.arm.values(|run| Some(run.seconds)))
                .map_or_else(|| NOTHING.to_owned(), text::duration),
        )
    }));
    rows.push(row("Runs", "", &arms, |styled| {
        let seeds: Vec<String> = styled
            .arm
            .runs
            .iter()
            .filter_map(|run| run.seed)
            .map(|seed| seed.to_string())
            .collect();
        let detail = match seeds.len() {
            0 if styled.arm.runs.is_empty() => String::new(),
            0 => "given as a checkpoint".to_owned(),
            1 => format!("seed {}", seeds[0]),
            _ => format!("seeds {}", text::shortened(&seeds.join(", "), 24)),
        };
        Cell::detailed(styled.arm.runs.len().to_string(), detail)
    }));
    Table {
        caption: format!(
            "Mean ± sample standard deviation over seeds, on {} test rows. Bold: the better student.",
            text::grouped(summary.data.test_rows)
        ),
        class: "main",
        head: head.collect(),
        rows,
    }
}

fn row(name: &str, note: &str, arms: &[Styled<'_>], cell: impl Fn(&Styled<'_>) -> Cell) -> Row {
    Row {
        head: name.to_owned(),
        note: note.to_owned(),
        cells: arms.iter().map(cell).collect(),
        ..Row::default()
    }
}

fn teacher<'a>(arms: &[Styled<'a>]) -> Option<&'a Arm> {
    arms.iter()
        .map(|styled| styled.arm)
        .find(|arm| arm.role == Role::Teacher)
}

fn size_row(size: &Size, arms: &[Styled<'_>]) -> Row {
    let of_teacher = teacher(arms).and_then(size.value);
    row(size.name, size.note, arms, |styled| {
        let Some(value) = (size.value)(styled.arm) else {
            return Cell::new("unknown");
        };
        let detail = of_teacher
            .filter(|_| styled.arm.role != Role::Teacher)
            .and_then(|teacher| against(teacher as f64, value as f64, ("smaller", "larger")));
        Cell::detailed((size.written)(value), detail.unwrap_or_default())
    })
}

fn latency_row(name: &str, arms: &[Styled<'_>], pick: fn(&Latency) -> Quantiles) -> Row {
    let of_teacher = teacher(arms).and_then(|arm| arm.latency.as_ref()).map(pick);
    row(
        name,
        "ms, median (10th to 90th percentile)",
        arms,
        |styled| {
            let Some(times) = styled.arm.latency.as_ref().map(pick) else {
                return Cell::new(NOTHING);
            };
            let mut detail = format!(
                "{} to {}",
                text::milliseconds(times.p10),
                text::milliseconds(times.p90)
            );
            let faster = of_teacher
                .filter(|_| styled.arm.role != Role::Teacher)
                .and_then(|teacher| against(teacher.median, times.median, ("faster", "slower")));
            if let Some(faster) = faster {
                detail.push_str("; ");
                detail.push_str(&faster);
            }
            Cell::detailed(text::milliseconds(times.median), detail)
        },
    )
}

fn metric_row(metric: &Metric, arms: &[Styled<'_>]) -> Option<Row> {
    let spreads: Vec<_> = arms
        .iter()
        .map(|styled| styled.arm.spread(metric.value))
        .collect();
    if spreads.iter().all(Option::is_none) {
        return None;
    }
    let students = || {
        arms.iter()
            .zip(&spreads)
            .filter(|(styled, _)| styled.arm.role != Role::Teacher)
            .filter_map(|(_, spread)| spread.map(|(mean, _)| mean))
    };
    let best = match metric.rising {
        _ if students().count() < 2 => None,
        Some(true) => students().max_by(f64::total_cmp),
        Some(false) => students().min_by(f64::total_cmp),
        None => None,
    };
    // A tie has no better one.
    let best = best.filter(|best| students().filter(|mean| mean == best).count() == 1);
    let cells = arms.iter().zip(&spreads).map(|(styled, spread)| {
        let Some((mean, deviation)) = spread else {
            return Cell::new(NOTHING);
        };
        let deviation = deviation.map(|deviation| metric.scale * deviation);
        Cell {
            strong: styled.arm.role != Role::Teacher && best == Some(*mean),
            ..Cell::new(text::spread(metric.scale * mean, deviation, metric.digits))
        }
    });
    Some(Row {
        head: metric.name.to_owned(),
        note: metric.note.to_owned(),
        cells: cells.collect(),
        ..Row::default()
    })
}

/// `3.1× smaller`, or larger where it is.
pub(super) fn against(teacher: f64, student: f64, words: (&str, &str)) -> Option<String> {
    if student > teacher {
        return Some(format!(
            "{}\u{a0}{}",
            text::ratio(student, teacher)?,
            words.1
        ));
    }
    Some(format!(
        "{}\u{a0}{}",
        text::ratio(teacher, student)?,
        words.0
    ))
}

/// One row per seed, with the paired differences below.
pub(super) fn seeds(summary: &Summary, comparisons: &[Comparison]) -> Table {
    let arms = summary.styled();
    let seeds: BTreeSet<Option<u64>> = summary
        .arms
        .iter()
        .flat_map(|arm| &arm.runs)
        .map(|run| run.seed)
        .collect();
    let students: Vec<&Styled<'_>> = arms
        .iter()
        .filter(|styled| styled.arm.role != Role::Teacher)
        .collect();

    let mut head = vec![Head::new("Seed")];
    head.extend(arms.iter().map(|styled| Head {
        detail: "top-1, %".to_owned(),
        ..Head::styled(text::capitalised(&styled.arm.label), styled.class)
    }));
    head.extend(comparisons.iter().map(|comparison| Head {
        detail: if comparisons.len() > 1 {
            format!("{}, points", comparison.distilled)
        } else {
            "distilled − alone, points".to_owned()
        },
        ..Head::new("Difference")
    }));
    head.extend(students.iter().map(|styled| Head {
        detail: format!("{}, nats", styled.arm.label),
        ..Head::styled("NLL", styled.class)
    }));
    head.push(Head {
        detail: "all arms".to_owned(),
        ..Head::new("Training")
    });

    let mut rows: Vec<Row> = Vec::new();
    for seed in seeds {
        let mut cells: Vec<Cell> = arms
            .iter()
            .map(|styled| {
                Cell::new(
                    run_of(styled, seed)
                        .map_or_else(nothing, |run| text::percent(run.metrics.top1)),
                )
            })
            .collect();
        cells.extend(comparisons.iter().map(|comparison| {
            let pair = comparison.pairs.iter().find(|pair| Some(pair.seed) == seed);
            Cell::new(pair.map_or_else(nothing, |pair| text::signed_points(pair.difference())))
        }));
        cells.extend(students.iter().map(|styled| {
            Cell::new(
                run_of(styled, seed).map_or_else(nothing, |run| text::fixed(run.metrics.nll, 4)),
            )
        }));
        let seconds: f64 = arms
            .iter()
            .filter_map(|styled| run_of(styled, seed))
            .map(|run| run.seconds)
            .sum();
        cells.push(Cell::new(text::duration(seconds)));
        rows.push(Row {
            head: seed.map_or_else(|| "checkpoint".to_owned(), |seed| seed.to_string()),
            cells,
            ..Row::default()
        });
    }

    let mut cells: Vec<Cell> = arms
        .iter()
        .map(|styled| mean_cell(styled, 100.0, 2, |run| Some(run.metrics.top1)))
        .collect();
    cells.extend(comparisons.iter().map(|comparison| {
        let mean = comparison.mean.map_or_else(nothing, text::signed_points);
        let interval = comparison.interval.map_or_else(String::new, |(low, high)| {
            format!(
                "95 %: {} to {}",
                text::signed_points(low),
                text::signed_points(high)
            )
        });
        Cell::detailed(mean, interval)
    }));
    cells.extend(
        students
            .iter()
            .map(|styled| mean_cell(styled, 1.0, 4, |run| Some(run.metrics.nll))),
    );
    cells.push(Cell::new(""));
    rows.push(Row {
        head: "Mean".to_owned(),
        cells,
        total: true,
        ..Row::default()
    });
    Table {
        caption: "The same seed gives both students the same initial weights and order of rows."
            .to_owned(),
        head,
        rows,
        ..Table::default()
    }
}

fn run_of<'a>(styled: &Styled<'a>, seed: Option<u64>) -> Option<&'a ArmRun> {
    styled.arm.runs.iter().find(|run| run.seed == seed)
}

fn nothing() -> String {
    NOTHING.to_owned()
}

fn mean_cell(
    styled: &Styled<'_>,
    scale: f64,
    digits: usize,
    metric: impl Fn(&ArmRun) -> Option<f64>,
) -> Cell {
    styled.arm.spread(metric).map_or_else(
        || Cell::new(NOTHING),
        |(mean, deviation)| {
            let deviation = deviation.map_or_else(String::new, |d| {
                format!("± {}", text::fixed(scale * d, digits))
            });
            Cell::detailed(text::fixed(scale * mean, digits), deviation)
        },
    )
}

/// The pairs of classes confused most; none if no run counted them.
pub(super) fn confused(summary: &Summary) -> Option<Table> {
    let classes = &summary.data.classes;
    let arms = summary.styled();
    let pairs = confusion::worst(classes.len(), &arms, 8);
    if pairs.is_empty() {
        return None;
    }
    let mut head = vec![Head::new("True \u{2192} taken for")];
    head.extend(
        arms.iter()
            .map(|styled| Head::styled(text::capitalised(&styled.arm.label), styled.class)),
    );
    let rows = pairs.iter().map(|pair| {
        let head = format!("{} \u{2192} {}", classes[pair.truth], classes[pair.answer]);
        let cells = pair.shares.iter();
        let cells = cells.map(|share| Cell::new(share.map_or_else(nothing, text::percent)));
        Row {
            head,
            cells: cells.collect(),
            ..Row::default()
        }
    });
    Some(Table {
        caption: "The pairs confused most, % of the true class's rows".to_owned(),
        class: "short",
        rows: rows.collect(),
        head,
    })
}
