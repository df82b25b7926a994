//! Drawings as SVG text: the few shapes a report needs, with titles for those who cannot see them.
//!
//! A figure carries classes instead of colours, so that one drawing follows the page's light or dark
//! theme; on its own it brings the same style sheet along.

use std::fmt::Write as _;

use super::text::escaped;

/// Colours and strokes of figures, shared by the page and by figures on their own.
pub(super) const STYLE: &str = include_str!("templates/figure.css");

/// A finished figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    /// Unique on the page; the name of its file.
    pub(super) id: String,
    /// What it shows, a few words.
    pub(super) title: String,
    /// How to read it, one or two sentences.
    pub(super) caption: String,
    /// What someone who cannot see it should know.
    pub(super) description: String,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) body: String,
}

impl Figure {
    /// For a page that has [`STYLE`] already.
    pub(super) fn inline(&self) -> String {
        self.svg("", 0.0, "")
    }

    /// For a file of its own, with a margin.
    pub(super) fn standalone(&self) -> String {
        let mut backdrop = Drawing::default();
        let (width, height) = (self.width + 2.0 * MARGIN, self.height + 2.0 * MARGIN);
        backdrop.rect("paper", (-MARGIN, -MARGIN), (width, height), "");
        let head = format!("<style>{STYLE}</style>{}", backdrop.finish());
        let svg = self.svg(r#" xmlns="http://www.w3.org/2000/svg""#, MARGIN, &head);
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{svg}\n")
    }

    fn svg(&self, attributes: &str, margin: f64, head: &str) -> String {
        let Self {
            id,
            title,
            description,
            body,
            ..
        } = self;
        let (corner, width, height) = (
            number(-margin),
            number(self.width + 2.0 * margin),
            number(self.height + 2.0 * margin),
        );
        let (title, description) = (escaped(title), escaped(description));
        format!(
            r#"<svg{attributes} class="figure" viewBox="{corner} {corner} {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="{id}-title {id}-description"><title id="{id}-title">{title}</title><desc id="{id}-description">{description}</desc>{head}{body}</svg>"#
        )
    }
}

/// Around a figure in a file of its own.
const MARGIN: f64 = 14.0;

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// The inside of an SVG element, written shape by shape. Classes are constants of this crate; texts
/// come from anywhere and are escaped.
#[derive(Clone, Debug, Default)]
pub(super) struct Drawing(String);

impl Drawing {
    pub(super) fn finish(self) -> String {
        self.0
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.push(format_args!(
            r#"<line class="{class}" x1="{}" y1="{}" x2="{}" y2="{}"/>"#,
            number(from.0),
            number(from.1),
            number(to.0),
            number(to.1)
        ));
    }

    /// A rectangle; the text, if any, is shown when a pointer rests on it.
    pub(super) fn rect(&mut self, class: &str, corner: (f64, f64), size: (f64, f64), hint: &str) {
        self.push(format_args!(
            r#"<rect class="{class}" x="{}" y="{}" width="{}" height="{}""#,
            number(corner.0),
            number(corner.1),
            number(size.0.max(0.0)),
            number(size.1.max(0.0))
        ));
        self.close("rect", hint);
    }

    pub(super) fn circle(&mut self, class: &str, centre: (f64, f64), radius: f64, hint: &str) {
        self.push(format_args!(
            r#"<circle class="{class}" cx="{}" cy="{}" r="{}""#,
            number(centre.0),
            number(centre.1),
            number(radius)
        ));
        self.close("circle", hint);
    }

    pub(super) fn path(&mut self, class: &str, data: &str) {
        self.push(format_args!(r#"<path class="{class}" d="{data}"/>"#));
    }

    pub(super) fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        if points.len() > 1 {
            self.path(class, &route(points));
        }
    }

    /// The area between a line there and a line back.
    pub(super) fn area(&mut self, class: &str, there: &[(f64, f64)], back: &[(f64, f64)]) {
        if there.len() > 1 {
            let points: Vec<_> = there.iter().chain(back.iter().rev()).copied().collect();
            self.path(class, &format!("{}Z", route(&points)));
        }
    }

    pub(super) fn text(&mut self, class: &str, at: (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.push(format_args!(
            r#"<text class="{class}" x="{}" y="{}" text-anchor="{anchor}">{}</text>"#,
            number(at.0),
            number(at.1),
            escaped(text)
        ));
    }

    /// Text that reads upwards, for the title of a vertical axis.
    pub(super) fn upright(&mut self, class: &str, at: (f64, f64), text: &str) {
        let (x, y) = (number(at.0), number(at.1));
        self.push(format_args!(
            r#"<text class="{class}" x="{x}" y="{y}" text-anchor="middle" transform="rotate(-90 {x} {y})">{}</text>"#,
            escaped(text)
        ));
    }

    /// Text that climbs to the right, for names above narrow columns.
    pub(super) fn slanted(&mut self, class: &str, at: (f64, f64), text: &str) {
        let (x, y) = (number(at.0), number(at.1));
        self.push(format_args!(
            r#"<text class="{class}" x="{x}" y="{y}" transform="rotate(-45 {x} {y})">{}</text>"#,
            escaped(text)
        ));
    }

    /// A rectangle of a given opacity.
    pub(super) fn shaded(
        &mut self,
        class: &str,
        corner: (f64, f64),
        size: (f64, f64),
        opacity: f64,
        hint: &str,
    ) {
        self.push(format_args!(
            r#"<rect class="{class}" x="{}" y="{}" width="{}" height="{}" fill-opacity="{}""#,
            number(corner.0),
            number(corner.1),
            number(size.0),
            number(size.1),
            number(opacity)
        ));
        self.close("rect", hint);
    }

    /// A path of a given opacity.
    pub(super) fn shaded_path(&mut self, class: &str, data: &str, opacity: f64) {
        self.push(format_args!(
            r#"<path class="{class}" fill-opacity="{}" d="{data}"/>"#,
            number(opacity)
        ));
    }

    /// A picture; `source` is a data URI of this crate's making.
    pub(super) fn image(&mut self, corner: (f64, f64), size: (f64, f64), source: &str, alt: &str) {
        self.push(format_args!(
            r#"<image class="pixels" x="{}" y="{}" width="{}" height="{}" href="{source}""#,
            number(corner.0),
            number(corner.1),
            number(size.0),
            number(size.1)
        ));
        self.close("image", alt);
    }

    /// Shapes of another drawing, moved.
    pub(super) fn moved(&mut self, by: (f64, f64), shapes: &str) {
        self.push(format_args!(
            r#"<g transform="translate({} {})">{shapes}</g>"#,
            number(by.0),
            number(by.1)
        ));
    }

    /// Shapes cut off at a rectangle; `id` is unique on the page.
    pub(super) fn clipped(&mut self, id: &str, corner: (f64, f64), size: (f64, f64), shapes: &str) {
        self.push(format_args!(
            r#"<clipPath id="{id}"><rect x="{}" y="{}" width="{}" height="{}"/></clipPath><g clip-path="url(#{id})">{shapes}</g>"#,
            number(corner.0),
            number(corner.1),
            number(size.0),
            number(size.1)
        ));
    }

    fn close(&mut self, element: &str, hint: &str) {
        if hint.is_empty() {
            self.0.push_str("/>");
        } else {
            self.push(format_args!(
                "><title>{}</title></{element}>",
                escaped(hint)
            ));
        }
    }

    fn push(&mut self, shape: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.0.write_fmt(shape);
    }
}

/// The height of one row of a legend.
pub(super) const LEGEND_ROW: f64 = 17.0;

/// The entries of a legend, each with its mark, in as many rows as `width` asks for; the first
/// baseline is 13 below the top. Returns the shapes and the number of rows.
pub(super) fn legend(entries: &[(&str, Mark, &str)], width: f64) -> (String, usize) {
    let mut drawing = Drawing::default();
    let (mut x, mut rows) = (0.0, 1);
    for (class, mark, label) in entries {
        let label = super::text::shortened(label, 44);
        let wide = legend_width(&label);
        if x > 0.0 && x + wide > width + LEGEND_GAP {
            x = 0.0;
            rows += 1;
        }
        let baseline = 13.0 + LEGEND_ROW * (rows - 1) as f64;
        mark.draw(&mut drawing, class, (x + 8.0, baseline - 4.0));
        drawing.text("legend", (x + 21.0, baseline), Anchor::Start, &label);
        x += wide;
    }
    (drawing.finish(), rows)
}

const LEGEND_GAP: f64 = 16.0;

/// How much room an entry of a legend takes.
pub(super) fn legend_width(label: &str) -> f64 {
    21.0 + text_width(label) + LEGEND_GAP
}

/// How an arm is drawn in a legend.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    Line,
    Dot,
    Ring,
    Bar,
    Thin,
    Tick,
}

impl Mark {
    pub(super) fn draw(self, drawing: &mut Drawing, class: &str, (x, y): (f64, f64)) {
        match self {
            Self::Line => drawing.line(&format!("{class} curve"), (x - 8.0, y), (x + 8.0, y)),
            Self::Dot => drawing.circle(&format!("{class} dot"), (x, y), 4.5, ""),
            Self::Ring => drawing.circle(&format!("{class} ring"), (x, y), 4.0, ""),
            Self::Bar => {
                drawing.rect(
                    &format!("{class} soft"),
                    (x - 8.0, y - 5.0),
                    (16.0, 10.0),
                    "",
                );
            }
            Self::Thin => {
                drawing.rect(
                    &format!("{class} fill"),
                    (x - 8.0, y - 2.0),
                    (16.0, 4.0),
                    "",
                );
            }
            Self::Tick => {
                drawing.line(&format!("{class} tick-mark"), (x, y - 6.0), (x, y + 6.0));
            }
        }
    }
}

/// Roughly how wide a text is at the figures' 12 pixels; no font is at hand to measure it.
pub(super) fn text_width(text: &str) -> f64 {
    6.5 * text.chars().count() as f64
}

/// A coordinate with at most two decimals.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

fn route(points: &[(f64, f64)]) -> String {
    let mut data = String::new();
    for (place, (x, y)) in points.iter().enumerate() {
        let letter = if place == 0 { 'M' } else { 'L' };
        data.push(letter);
        data.push_str(&number(*x));
        data.push(' ');
        data.push_str(&number(*y));
    }
    data
}
