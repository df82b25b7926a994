//! Pages as files.

use std::fs;
use std::path::{Path, PathBuf};

use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context, escape_formatter};

use super::svg;
use super::text;
use super::view::{Drawn, Page};
use crate::files::write_atomic;
use crate::{Error, Result};

/// A page as HTML, as Markdown, and the figures the Markdown shows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rendered {
    pub(super) html: String,
    pub(super) markdown: String,
    /// Paths from the Markdown file, and SVG.
    pub(super) figures: Vec<(String, String)>,
}

impl Rendered {
    /// Renders a page.
    pub(super) fn new(page: &Page) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| {
            if name.ends_with(".html") {
                AutoEscape::Html
            } else {
                AutoEscape::None
            }
        });
        // The default escapes markup but lets control characters through, which no parser accepts.
        environment.set_formatter(|out, state, value| {
            match (state.auto_escape(), value.as_str()) {
                (AutoEscape::Html, Some(text)) if !value.is_safe() => out
                    .write_str(&text::escaped(text))
                    .map_err(minijinja::Error::from),
                _ => escape_formatter(out, state, value),
            }
        });
        environment.add_filter("md", |value: String| text::markdown(&value));
        let render = |name: &str, source: &'static str| {
            let page = context! {
                figure_style => svg::STYLE,
                page_style => include_str!("templates/page.css"),
                ..Value::from(Serde(page))
            };
            environment
                .render_named_str(name, source, page)
                .map(|text| text + "\n")
                .map_err(|error| Error::Check(format!("the report cannot be rendered: {error}")))
        };
        let figures = page
            .sections
            .iter()
            .flat_map(|section| &section.groups)
            .flat_map(|group| match &group.sheet {
                Some(sheet) => std::slice::from_ref(sheet),
                None => group.figures.as_slice(),
            })
            .map(
                |Drawn {
                     file, standalone, ..
                 }| (file.clone(), standalone.clone()),
            )
            .collect();
        Ok(Self {
            html: render("report.html", include_str!("templates/report.html"))?,
            markdown: render("report.md", include_str!("templates/report.md"))?,
            figures,
        })
    }

    /// Writes `<stem>.html`, `<stem>.md` and the figures into a folder; returns the path of the first.
    pub(super) fn write(&self, directory: &Path, stem: &str) -> Result<PathBuf> {
        let figures = directory.join("figures");
        fs::create_dir_all(&figures).map_err(|source| Error::write(&figures, source))?;
        for (file, svg) in &self.figures {
            write_atomic(&directory.join(file), svg.as_bytes())?;
        }
        write_atomic(
            &directory.join(format!("{stem}.md")),
            self.markdown.as_bytes(),
        )?;
        let page = directory.join(format!("{stem}.html"));
        write_atomic(&page, self.html.as_bytes())?;
        Ok(page)
    }
}
