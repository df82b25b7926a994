//! Several experiments side by side.

use std::collections::BTreeSet;
use std::path::Path;

use super::curves::{Curve, Logs, Panel};
use super::summary::{Role, Summary};
use super::text::{self, NOTHING};
use super::view::{Cell, Group, Head, Page, Row, Section, Table};
use crate::{Error, Result};

/// Styles of the experiments' lines.
const SERIES: usize = 8;

/// The page.
pub(super) fn build(experiments: &[(&Path, Summary)]) -> Result<Page> {
    let Some(last) = experiments
        .iter()
        .map(|(_, summary)| &summary.created)
        .max()
    else {
        return Err(Error::Data(
            "there is no experiment to compare; name at least one".to_owned(),
        ));
    };
    let summaries: Vec<&Summary> = experiments.iter().map(|(_, summary)| summary).collect();
    let names = unique_names(&summaries);
    Ok(Page {
        kind: "Comparison of experiments",
        title: text::count_of(experiments.len(), "experiment"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created: last.clone(),
        source: "summary.json",
        verdicts: Vec::new(),
        warnings: warnings(&summaries),
        sections: vec![
            Section {
                id: "verdicts",
                title: "Verdicts",
                tables: vec![verdicts(&names, &summaries)],
                ..Section::default()
            },
            Section {
                id: "side-by-side",
                title: "Side by side",
                tables: vec![table(&names, &summaries)],
                ..Section::default()
            },
            learning(&names, experiments),
        ],
        ..Page::default()
    })
}

/// The experiments' names, numbered where two are the same.
fn unique_names(summaries: &[&Summary]) -> Vec<String> {
    let distinct: BTreeSet<&str> = summaries
        .iter()
        .map(|summary| summary.name.as_str())
        .collect();
    summaries
        .iter()
        .enumerate()
        .map(|(place, summary)| {
            if distinct.len() == summaries.len() {
                summary.name.clone()
            } else {
                format!("{}. {}", place + 1, summary.name)
            }
        })
        .collect()
}

fn warnings(summaries: &[&Summary]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut differ = |what: &str, values: BTreeSet<String>| {
        if values.len() > 1 {
            let values: Vec<String> = values.into_iter().collect();
            warnings.push(format!(
                "The experiments differ in {what}: {}.",
                values.join("; ")
            ));
        }
    };
    differ(
        "data, so their accuracies are not comparable",
        summaries
            .iter()
            .map(|summary| {
                format!(
                    "{} ({} test rows)",
                    summary.data.name,
                    text::grouped(summary.data.test_rows)
                )
            })
            .collect(),
    );
    differ(
        "device, so their times are not comparable",
        summaries
            .iter()
            .map(|summary| {
                format!(
                    "{} with {}",
                    summary.device,
                    text::count_of(summary.threads, "thread")
                )
            })
            .collect(),
    );
    warnings
}

fn verdicts(names: &[String], summaries: &[&Summary]) -> Table {
    let rows = names.iter().zip(summaries).flat_map(|(name, summary)| {
        summary.verdicts().into_iter().map(move |verdict| Row {
            head: name.clone(),
            note: summary.method.name.clone(),
            cells: vec![Cell::prose(verdict)],
            ..Row::default()
        })
    });
    Table {
        caption: "Distilled against alone, paired by seed".to_owned(),
        head: vec![Head::new("Experiment"), Head::prose("Verdict")],
        rows: rows.collect(),
        ..Table::default()
    }
}

fn table(names: &[String], summaries: &[&Summary]) -> Table {
    let mut rows = Vec::new();
    for (name, summary) in names.iter().zip(summaries) {
        let comparisons = summary.comparisons();
        for styled in summary.styled() {
            let arm = styled.arm;
            let spread = |scale: f64, digits: usize, value: Option<(f64, Option<f64>)>| {
                Cell::new(value.map_or_else(
                    || NOTHING.to_owned(),
                    |(mean, deviation)| {
                        text::spread(scale * mean, deviation.map(|d| scale * d), digits)
                    },
                ))
            };
            let gain = comparisons
                .iter()
                .find(|comparison| arm.role == Role::Distilled && comparison.distilled == arm.label)
                .and_then(|comparison| comparison.mean);
            let time = arm.latency.as_ref().map(|latency| latency.batch1_ms.median);
            rows.push(Row {
                head: format!("{name}: {}", arm.label),
                note: arm.architecture.clone(),
                class: styled.class,
                cells: vec![
                    spread(100.0, 2, arm.spread(|run| Some(run.metrics.top1))),
                    Cell::new(gain.map_or_else(|| NOTHING.to_owned(), text::signed_points)),
                    spread(1.0, 4, arm.spread(|run| Some(run.metrics.nll))),
                    spread(100.0, 2, arm.spread(|run| Some(run.metrics.ece))),
                    Cell::new(text::grouped(arm.parameters)),
                    Cell::new(time.map_or_else(|| NOTHING.to_owned(), text::milliseconds)),
                    Cell::new(arm.runs.len().to_string()),
                ],
                total: false,
            });
        }
    }
    let head = [
        ("Arm", ""),
        ("Top-1", "%"),
        ("Gain", "points"),
        ("NLL", "nats"),
        ("ECE", "%"),
        ("Parameters", ""),
        ("Latency", "ms, batch 1"),
        ("Runs", ""),
    ];
    Table {
        caption: "Mean ± sample standard deviation over seeds".to_owned(),
        head: head
            .into_iter()
            .map(|(text, detail)| Head {
                detail: detail.to_owned(),
                ..Head::new(text)
            })
            .collect(),
        rows,
        ..Table::default()
    }
}

fn learning(names: &[String], experiments: &[(&Path, Summary)]) -> Section {
    let mut curves: Vec<Curve> = Vec::new();
    let mut missing = Vec::new();
    for (place, (name, (directory, summary))) in names.iter().zip(experiments).enumerate() {
        let arms: Vec<_> = summary
            .styled()
            .into_iter()
            .filter(|styled| styled.arm.role == Role::Distilled)
            .collect();
        let logs = Logs::read(directory, &arms);
        missing.extend(
            logs.missing
                .iter()
                .map(|reason| format!("Not drawn: {name}, {reason}.")),
        );
        let found = logs
            .split()
            .map(|split| logs.accuracy(&split))
            .unwrap_or_default();
        let several = found.len() > 1;
        if found.iter().all(|curve| curve.points.is_empty()) && logs.missing.is_empty() {
            missing.push(format!(
                "Not drawn: {name}, no log of a distilled student was kept."
            ));
        }
        for curve in found {
            let label = if several {
                format!("{name}, {}", curve.label)
            } else {
                name.clone()
            };
            let class = format!("series-{}", (curves.len().max(place)) % SERIES + 1);
            curves.push(Curve {
                class,
                label,
                ..curve
            });
        }
    }
    let panel = Panel {
        id: "compare-accuracy",
        title: "Accuracy of the distilled students",
        caption: "Line: mean over seeds. Band: lowest to highest seed.",
        quantity: "top-1 accuracy, %",
        bound: 100.0,
        rising: true,
    };
    let figures: Vec<_> = panel.draw(&curves).into_iter().collect();
    Section {
        id: "learning",
        title: "Learning curves",
        groups: if figures.is_empty() {
            Vec::new()
        } else {
            vec![Group::new("", figures)]
        },
        missing,
        ..Section::default()
    }
}
