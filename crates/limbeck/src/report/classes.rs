//! Accuracy per class: one row per class, one dot per arm.

use super::arms::Styled;
use super::axis::Axis;
use super::summary::Role;
use super::svg::{self, Anchor, Drawing, Figure, Mark};
use super::text;

/// Up to this many classes, every class has a row.
const ROWS: usize = 20;
/// Above that, so many of the lowest and of the highest are shown.
const EXTREMES: usize = 10;

const WIDTH: f64 = 440.0;
const ROW: f64 = 21.0;

/// Accuracies of the arms on one class.
struct Row<'a> {
    name: &'a str,
    values: Vec<Option<f64>>,
}

/// The figures; an error says why there is none.
pub(super) fn draw(classes: &[String], arms: &[Styled<'_>]) -> Result<Vec<Figure>, String> {
    let arms: Vec<(Styled<'_>, Vec<Option<f64>>)> = arms
        .iter()
        .filter_map(|styled| Some((*styled, styled.arm.class_accuracies(classes.len())?)))
        .collect();
    let by = arms
        .iter()
        .position(|(styled, _)| styled.arm.role == Role::Distilled)
        .or(arms.len().checked_sub(1))
        .ok_or_else(|| "no run counted its answers per class".to_owned())?;
    let mut rows: Vec<Row<'_>> = classes
        .iter()
        .enumerate()
        .map(|(class, name)| Row {
            name,
            values: arms
                .iter()
                .map(|(_, accuracies)| accuracies[class])
                .collect(),
        })
        .filter(|row| row.values[by].is_some())
        .collect();
    let styles: Vec<Styled<'_>> = arms.iter().map(|(styled, _)| *styled).collect();
    if rows.len() <= ROWS {
        return Ok(vec![dots(
            "per-class",
            "Accuracy per class",
            "Over all seeds. The number is what distillation changes, in points.",
            &styles,
            &rows,
        )]);
    }

    let mut figures: Vec<Figure> = scatter(&styles, &rows).into_iter().collect();
    rows.sort_by(|one, other| {
        let key = |row: &Row<'_>| row.values[by].unwrap_or(0.0);
        key(one).total_cmp(&key(other))
    });
    let highest = rows.split_off(rows.len() - EXTREMES);
    rows.truncate(EXTREMES);
    let extremes = [
        ("lowest-classes", "The classes that remain hardest", rows),
        ("highest-classes", "The classes that are easiest", highest),
    ];
    for (id, title, rows) in extremes {
        let caption = format!(
            "{} of {} classes, by the accuracy of {}.",
            rows.len(),
            classes.len(),
            styles[by].arm.label
        );
        figures.push(dots(id, title, &caption, &styles, &rows));
    }
    Ok(figures)
}

fn dots(id: &str, title: &str, caption: &str, arms: &[Styled<'_>], rows: &[Row<'_>]) -> Figure {
    let names: Vec<String> = rows
        .iter()
        .map(|row| text::shortened(row.name, 18))
        .collect();
    let widest = names
        .iter()
        .map(|name| svg::text_width(name))
        .fold(0.0, f64::max);
    let (left, right) = (widest.max(20.0) + 12.0, WIDTH - 50.0);
    let entries: Vec<_> = arms
        .iter()
        .map(|styled| {
            (
                styled.class,
                mark(styled.arm.role),
                styled.arm.label.as_str(),
            )
        })
        .collect();
    let (legend, legend_rows) = svg::legend(&entries, WIDTH);
    let top = 14.0 + svg::LEGEND_ROW * legend_rows as f64;
    let bottom = top + ROW * rows.len() as f64;
    let values = rows.iter().flat_map(|row| row.values.iter().flatten());
    let lowest = values.copied().fold(1.0, f64::min);
    let x = Axis::round(100.0 * lowest, 100.0, (left, right), 6).at_most(100.0);

    let mut drawing = Drawing::default();
    drawing.moved((0.0, 0.0), &legend);
    x.draw_horizontal(&mut drawing, top - 4.0, bottom, true);
    drawing.text(
        "quantity",
        ((left + right) / 2.0, bottom + 33.0),
        Anchor::Middle,
        "accuracy, %",
    );

    let place = |role: Role| arms.iter().position(|styled| styled.arm.role == role);
    for (count, (row, name)) in rows.iter().zip(&names).enumerate() {
        let y = top + ROW * (count as f64 + 0.5);
        drawing.text("name", (left - 8.0, y + 3.5), Anchor::End, name);
        let pair = place(Role::Alone)
            .zip(place(Role::Distilled))
            .and_then(|(alone, distilled)| row.values[alone].zip(row.values[distilled]));
        if let Some((alone, distilled)) = pair {
            drawing.line(
                "link",
                (x.place(100.0 * alone), y),
                (x.place(100.0 * distilled), y),
            );
            let change = text::signed(100.0 * (distilled - alone), 1);
            drawing.text("number", (WIDTH - 2.0, y + 3.5), Anchor::End, &change);
        }
        for (styled, value) in arms.iter().zip(&row.values) {
            let Some(value) = value else { continue };
            let at = (x.place(100.0 * value), y);
            let hint = format!(
                "{}, {}: {} %",
                row.name,
                styled.arm.label,
                text::percent(*value)
            );
            match mark(styled.arm.role) {
                Mark::Ring => drawing.circle(&format!("{} ring", styled.class), at, 4.5, &hint),
                _ => drawing.circle(&format!("{} dot", styled.class), at, 4.5, &hint),
            }
        }
    }
    Figure {
        id: id.to_owned(),
        title: title.to_owned(),
        caption: caption.to_owned(),
        description: describe(arms, rows),
        width: WIDTH,
        height: bottom + 40.0,
        body: drawing.finish(),
    }
}

/// All classes at once: alone across, distilled upwards; above the diagonal distillation helps.
fn scatter(arms: &[Styled<'_>], rows: &[Row<'_>]) -> Option<Figure> {
    let alone = arms
        .iter()
        .position(|styled| styled.arm.role == Role::Alone)?;
    let distilled = arms
        .iter()
        .position(|styled| styled.arm.role == Role::Distilled)?;
    let points: Vec<(&str, f64, f64)> = rows
        .iter()
        .filter_map(|row| Some((row.name, row.values[alone]?, row.values[distilled]?)))
        .collect();
    let lowest = points
        .iter()
        .map(|(_, one, other)| one.min(*other))
        .fold(1.0, f64::min);
    let (left, right, top, bottom) = (48.0, 388.0, 24.0, 364.0);
    let x = Axis::round(100.0 * lowest, 100.0, (left, right), 5).at_most(100.0);
    let y = Axis::round(100.0 * lowest, 100.0, (bottom, top), 5).at_most(100.0);
    let mut drawing = Drawing::default();
    let label = |place: usize| format!("{}, accuracy, %", arms[place].arm.label);
    drawing.text("quantity", (0.0, 11.0), Anchor::Start, &label(distilled));
    y.draw_vertical(&mut drawing, left, right);
    x.draw_horizontal(&mut drawing, top, bottom, true);
    drawing.text(
        "quantity",
        ((left + right) / 2.0, bottom + 33.0),
        Anchor::Middle,
        &label(alone),
    );
    drawing.line("diagonal", (left, bottom), (right, top));
    for (name, one, other) in &points {
        let hint = format!(
            "{name}: {} % alone, {} % distilled",
            text::percent(*one),
            text::percent(*other)
        );
        let at = (x.place(100.0 * one), y.place(100.0 * other));
        drawing.circle(&format!("{} cloud", arms[distilled].class), at, 3.6, &hint);
    }
    let better = points.iter().filter(|(_, one, other)| other > one).count();
    let worse = points.iter().filter(|(_, one, other)| other < one).count();
    let count = format!(
        "Distillation raises {}, lowers {worse}, leaves {} as they were.",
        text::count_of(better, "class").replace("classs", "classes"),
        points.len() - better - worse
    );
    Some(Figure {
        id: "class-scatter".to_owned(),
        title: "Every class, alone and distilled".to_owned(),
        caption: format!("One dot per class; above the diagonal, distillation helps. {count}"),
        description: count,
        width: 400.0,
        height: bottom + 40.0,
        body: drawing.finish(),
    })
}

fn mark(role: Role) -> Mark {
    match role {
        Role::Teacher => Mark::Ring,
        Role::Alone | Role::Distilled => Mark::Dot,
    }
}

fn describe(arms: &[Styled<'_>], rows: &[Row<'_>]) -> String {
    let classes: Vec<String> = rows
        .iter()
        .map(|row| {
            let values: Vec<String> = arms
                .iter()
                .zip(&row.values)
                .filter_map(|(styled, value)| {
                    Some(format!(
                        "{} {} %",
                        styled.arm.label,
                        text::percent((*value)?)
                    ))
                })
                .collect();
            format!("{}: {}", row.name, values.join(", "))
        })
        .collect();
    format!("{}.", classes.join("; "))
}
