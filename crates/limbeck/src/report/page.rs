//! The page of one experiment, section by section.

use std::path::Path;

use super::picture::Picture;
use super::sections;
use super::summary::{Role, Summary};
use super::tables;
use super::text;
use super::view::{Fact, Page, Section};

/// The page; figures that need more than the summary are read from `directory`.
pub(super) fn build(directory: &Path, summary: &Summary, pictures: &[Picture]) -> Page {
    let comparisons = summary.comparisons();
    let data = &summary.data;
    let intro = format!(
        "Method {}. Data {}: {} classes, {} training and {} test rows. Device {}, {}.",
        summary.method.name,
        data.name,
        data.classes.len(),
        text::grouped(data.train_rows),
        text::grouped(data.test_rows),
        summary.device,
        text::count_of(summary.threads, "thread"),
    );
    Page {
        kind: "Distillation report",
        title: summary.name.clone(),
        version: summary.limbeck_version.clone(),
        created: summary.created.clone(),
        source: "summary.json",
        intro: vec![intro],
        verdicts: summary.verdicts(),
        facts: facts(summary),
        warnings: summary.warnings.clone(),
        sections: vec![
            Section {
                id: "side-by-side",
                title: "Side by side",
                lead: gap(summary).map_or_else(String::new, |gap| gap.sentence),
                tables: vec![tables::side_by_side(summary)],
                missing: unmeasured(summary),
                ..Section::default()
            },
            Section {
                id: "seeds",
                title: "Seed by seed",
                tables: vec![tables::seeds(summary, &comparisons)],
                ..Section::default()
            },
            sections::learning(directory, summary),
            sections::per_class(summary),
            sections::reliability(summary),
            sections::confusions(summary),
            sections::knowledge(summary, pictures),
            sections::made(summary),
        ],
    }
}

fn unmeasured(summary: &Summary) -> Vec<String> {
    let without = summary.arms.iter().filter(|arm| arm.latency.is_none());
    let without: Vec<&str> = without.map(|arm| arm.label.as_str()).collect();
    if without.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "Latency was not measured for {}.",
        without.join(", ")
    )]
}

/// How much of the way from the student alone to its teacher distillation goes.
struct Gap {
    /// For the facts on top; none where there is no gap to close.
    closed: Option<f64>,
    sentence: String,
}

fn gap(summary: &Summary) -> Option<Gap> {
    let teacher = summary.arm(Role::Teacher)?.accuracy()?;
    let alone = summary.arm(Role::Alone)?.accuracy()?;
    let distilled = summary.arm(Role::Distilled)?.accuracy()?;
    let points = text::fixed(100.0 * (teacher - alone), 2);
    if teacher <= alone {
        return Some(Gap {
            closed: None,
            sentence: "The student alone is as accurate as its teacher or better: there is no gap \
                       for distillation to close."
                .to_owned(),
        });
    }
    let closed = (distilled - alone) / (teacher - alone);
    let percent = text::fixed(100.0 * closed, 0);
    let sentence = if closed > 1.0 {
        format!(
            "The teacher is {points} points above the student alone; the distilled student closes \
             {percent} % of this gap, which is to say it passes its teacher."
        )
    } else if closed < 0.0 {
        format!(
            "The teacher is {points} points above the student alone; the distilled student does \
             not close this gap, it widens it."
        )
    } else {
        format!(
            "The teacher is {points} points above the student alone; the distilled student closes \
             {percent} % of this gap."
        )
    };
    Some(Gap {
        closed: Some(closed),
        sentence,
    })
}

fn facts(summary: &Summary) -> Vec<Fact> {
    let mut facts = Vec::new();
    let fact = |value: String, label: String| Fact { value, label };
    let teacher = summary.arm(Role::Teacher);
    let Some(student) = summary.arm(Role::Distilled) else {
        return facts;
    };
    if let Some(accuracy) = student.accuracy() {
        let others: Vec<String> = [(Role::Alone, "alone"), (Role::Teacher, "teacher")]
            .into_iter()
            .filter_map(|(role, name)| {
                Some(format!(
                    "{name} {}",
                    text::percent(summary.arm(role)?.accuracy()?)
                ))
            })
            .collect();
        let label = if others.is_empty() {
            "accuracy of the distilled student".to_owned()
        } else {
            format!("accuracy of the distilled student; {}", others.join(", "))
        };
        facts.push(fact(format!("{} %", text::percent(accuracy)), label));
    }
    if let Some(closed) = gap(summary).and_then(|gap| gap.closed) {
        let label = "of the gap between student alone and teacher closed".to_owned();
        facts.push(fact(format!("{} %", text::fixed(100.0 * closed, 0)), label));
    }
    let ratio = |words: (&str, &str), than: &str, pair: Option<(f64, f64)>| {
        let (teacher, student) = pair?;
        let words = tables::against(teacher, student, words)?;
        let (ratio, word) = words.split_once('\u{a0}')?;
        Some(fact(ratio.to_owned(), format!("{word} {than}")))
    };
    let latency = teacher
        .and_then(|teacher| teacher.latency.as_ref())
        .zip(student.latency.as_ref())
        .map(|(teacher, student)| (teacher.batch1_ms.median, student.batch1_ms.median));
    let parameters = teacher.map(|arm| (arm.parameters as f64, student.parameters as f64));
    facts.extend(ratio(
        ("fewer", "more"),
        "parameters than the teacher",
        parameters,
    ));
    facts.extend(ratio(
        ("faster", "slower"),
        "than the teacher at batch\u{a0}1",
        latency,
    ));
    facts
}
