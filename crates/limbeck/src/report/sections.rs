//! The sections of an experiment's page: figures, what the teacher knows, how it was made.

use std::path::Path;

use serde_json::Value;

use super::calibration;
use super::cards;
use super::classes;
use super::confusion;
use super::curves::{Curve, Logs, Panel};
use super::picture::Picture;
use super::summary::{Role, Summary};
use super::svg::{self, Figure, Mark};
use super::tables;
use super::text;
use super::view::{Cell, Drawn, Group, Head, Row, Section, Table};

pub(super) fn learning(directory: &Path, summary: &Summary) -> Section {
    let arms = summary.styled();
    let mut logs = Logs::read(directory, &arms);
    let mut missing = std::mem::take(&mut logs.missing);
    let mut figures = Vec::new();
    if let Some(split) = logs.split() {
        let mut curves = logs.accuracy(&split);
        add_levels(&mut curves, summary);
        let panel = Panel {
            id: "accuracy-curves",
            title: &format!("Accuracy on the {split} rows"),
            caption: "Line: mean over seeds. Band: lowest to highest seed.",
            quantity: "top-1 accuracy, %",
            bound: 100.0,
            rising: true,
        };
        figures.extend(panel.draw(&curves));
    }
    let panel = Panel {
        id: "loss-curves",
        title: "Training loss",
        caption: "Mean over an epoch's steps. Arms minimise different objectives, so compare the \
                  shape of the lines, not their height.",
        quantity: "loss",
        bound: f64::INFINITY,
        rising: false,
    };
    figures.extend(panel.draw(&logs.loss()));
    if figures.is_empty() && missing.is_empty() {
        missing.push("no run directory with a log was kept".to_owned());
    }
    Section {
        id: "learning",
        title: "Learning curves",
        groups: groups("", figures),
        missing: sentences("Not drawn", missing),
        ..Section::default()
    }
}

/// A network given as a checkpoint has no curve; its accuracy is a level to compare with.
fn add_levels(curves: &mut [Curve], summary: &Summary) {
    for (curve, styled) in curves.iter_mut().zip(summary.styled()) {
        if curve.points.is_empty() && styled.arm.runs.iter().all(|run| run.directory.is_none()) {
            curve.level = styled.arm.accuracy().map(|accuracy| 100.0 * accuracy);
        }
    }
}

pub(super) fn per_class(summary: &Summary) -> Section {
    let (figures, missing) = match classes::draw(&summary.data.classes, &summary.styled()) {
        Ok(figures) => (figures, Vec::new()),
        Err(reason) => (Vec::new(), vec![reason]),
    };
    let alone = figures.len() == 1;
    let layout = if figures.len() == 3 { "tall" } else { "" };
    let mut groups = groups(layout, figures);
    let mut tables: Vec<Table> = tables::confused(summary).into_iter().collect();
    // One figure leaves room beside it.
    if let Some(group) = groups.first_mut().filter(|_| alone) {
        group.tables.append(&mut tables);
    }
    Section {
        id: "classes",
        title: "Class by class",
        groups,
        tables,
        missing: sentences("Not drawn", missing),
        ..Section::default()
    }
}

pub(super) fn reliability(summary: &Summary) -> Section {
    let (figures, missing) = calibration::draw(&summary.styled());
    let lead = if figures.is_empty() {
        String::new()
    } else {
        format!(
            "How often an answer is right, given how sure the network is of it. On the dotted \
             line, confidence is honest; bars below it mean overconfidence. The small bars count \
             rows; a bin of fewer than {} is faint.",
            calibration::FEW
        )
    };
    Section {
        id: "calibration",
        title: "Calibration",
        lead,
        groups: groups("narrow", figures),
        missing: sentences("Not drawn", missing),
        ..Section::default()
    }
}

pub(super) fn confusions(summary: &Summary) -> Section {
    let students: Vec<_> = summary
        .styled()
        .into_iter()
        .filter(|styled| styled.arm.role != Role::Teacher)
        .collect();
    let (figures, missing) = match confusion::draw(&summary.data.classes, &students) {
        Ok(figures) => (figures, Vec::new()),
        Err(reason) => (Vec::new(), vec![reason]),
    };
    let lead = if figures.is_empty() {
        String::new()
    } else {
        "Share of the true class's rows, %, over all seeds. Grey: right answers. Red: mistakes, on \
         one scale for all maps, its square root taken so that rare ones stay visible."
            .to_owned()
    };
    Section {
        id: "confusion",
        title: "Confusion",
        lead,
        groups: groups("", figures),
        missing: sentences("Not drawn", missing),
        ..Section::default()
    }
}

pub(super) fn knowledge(summary: &Summary, pictures: &[Picture]) -> Section {
    let temperature = summary.method.temperature().unwrap_or(1.0);
    let cards = cards::draw(pictures, &summary.data.classes, temperature);
    let mut missing = Vec::new();
    if pictures.is_empty() {
        missing.push("the experiment kept no pictures".to_owned());
    }
    if cards.unusable > 0 {
        missing.push(format!(
            "{} with values that fit neither their own size nor the classes",
            text::count_of(cards.unusable, "picture")
        ));
    }
    let key = key(
        temperature,
        pictures.iter().any(|picture| !picture.student.is_empty()),
    );
    let many = summary.data.classes.len() > 10;
    let groups: Vec<Group> = [
        (
            "uncertain-pictures",
            "Where the teacher is least sure",
            cards.uncertain,
        ),
        ("class-pictures", "Some of each class", cards.others),
    ]
    .into_iter()
    .filter(|(_, _, cards)| !cards.is_empty())
    .map(|(id, title, cards)| Group {
        title: title.to_owned(),
        key: Some(Drawn::from(Figure {
            id: format!("{id}-key"),
            ..key.clone()
        })),
        sheet: Some(Drawn::from(cards::sheet(id, title, &cards, &key))),
        ..Group::new("cards", cards)
    })
    .collect();
    let lead = if groups.is_empty() {
        String::new()
    } else {
        format!(
            "A label says which class is right; the teacher also says what else the input \
             resembles. Numbers are its probabilities in % at temperature 1{}.",
            if many {
                ", of the classes it finds most likely"
            } else {
                ""
            }
        )
    };
    Section {
        id: "knowledge",
        title: "What the teacher knows",
        lead,
        groups,
        missing: sentences("Not drawn", missing),
        ..Section::default()
    }
}

fn key(temperature: f64, with_student: bool) -> Figure {
    let at = text::fixed(temperature, 2);
    let at = at.trim_end_matches('0').trim_end_matches('.');
    let soft = format!("teacher, temperature {at}");
    let student = format!("student, temperature {at}");
    let mut entries = vec![("teacher", Mark::Thin, "teacher, temperature 1")];
    if temperature != 1.0 {
        entries.push(("teacher", Mark::Bar, &soft));
    }
    if with_student {
        entries.push(("distilled", Mark::Tick, &student));
    }
    let width = entries
        .iter()
        .map(|(_, _, label)| svg::legend_width(label))
        .sum::<f64>();
    Figure {
        id: "key".to_owned(),
        title: "Key of the pictures".to_owned(),
        caption: String::new(),
        description: entries
            .iter()
            .map(|(_, _, label)| *label)
            .collect::<Vec<_>>()
            .join("; "),
        width,
        height: 20.0,
        body: svg::legend(&entries, width).0,
    }
}

pub(super) fn made(summary: &Summary) -> Section {
    let data = &summary.data;
    let [channels, height, width] = data.shape;
    let mut facts = vec![
        (
            "Method".to_owned(),
            format!("{} ({})", summary.method.name, summary.method.paper),
        ),
        ("Data".to_owned(), format!("{}, {}", data.name, data.origin)),
        (
            "Rows".to_owned(),
            format!(
                "{} training, {} validation, {} test",
                text::grouped(data.train_rows),
                text::grouped(data.validation_rows),
                text::grouped(data.test_rows)
            ),
        ),
        (
            "Inputs".to_owned(),
            format!(
                "{} of {height} × {width} pixels, {} classes",
                text::count_of(channels, "channel"),
                data.classes.len()
            ),
        ),
        (
            "Device".to_owned(),
            format!(
                "{}, {}",
                summary.device,
                text::count_of(summary.threads, "thread")
            ),
        ),
        ("Finished".to_owned(), summary.created.clone()),
        ("limbeck".to_owned(), summary.limbeck_version.clone()),
    ];
    facts.extend(
        summary
            .versions
            .iter()
            .map(|(name, version)| (name.clone(), version.clone())),
    );
    facts.extend(
        summary
            .hashes
            .iter()
            .map(|(name, hash)| (format!("Hash of {name}"), hash.clone())),
    );
    let mut settings = Vec::new();
    flatten("", &summary.method.settings, &mut settings);
    let mut tables = vec![listing("The experiment", "What", "Value", facts)];
    if !settings.is_empty() {
        let caption = format!("Settings of {}, defaults included", summary.method.name);
        tables.push(listing(&caption, "Setting", "Value", settings));
    }
    Section {
        id: "made",
        title: "How it was made",
        tables,
        commands: summary
            .commands
            .iter()
            .map(|command| command.replace('\n', " "))
            .collect(),
        ..Section::default()
    }
}

fn listing(caption: &str, key: &str, value: &str, rows: Vec<(String, String)>) -> Table {
    Table {
        caption: caption.to_owned(),
        class: "short",
        head: vec![Head::new(key), Head::prose(value)],
        rows: rows
            .into_iter()
            .map(|(key, value)| Row {
                head: key,
                cells: vec![Cell::prose(value)],
                ..Row::default()
            })
            .collect(),
    }
}

/// Nested settings as dotted keys.
fn flatten(key: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                flatten(&key, value, into);
            }
        }
        Value::Null if key.is_empty() => {}
        Value::String(text) => into.push((key.to_owned(), text.clone())),
        other => into.push((key.to_owned(), other.to_string())),
    }
}

fn groups(layout: &'static str, figures: Vec<Figure>) -> Vec<Group> {
    if figures.is_empty() {
        Vec::new()
    } else {
        vec![Group::new(layout, figures)]
    }
}

/// Reasons as sentences.
fn sentences(start: &str, reasons: Vec<String>) -> Vec<String> {
    reasons
        .into_iter()
        .map(|reason| format!("{start}: {}.", reason.trim_end_matches('.')))
        .collect()
}
