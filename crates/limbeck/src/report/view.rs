//! What a page consists of, ready for the templates: every number is text already, so that the HTML
//! and the Markdown cannot differ.

use serde::Serialize;

use super::svg::Figure;

/// A whole page.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Page {
    pub(super) kind: &'static str,
    pub(super) title: String,
    pub(super) version: String,
    pub(super) created: String,
    pub(super) source: &'static str,
    pub(super) intro: Vec<String>,
    pub(super) verdicts: Vec<String>,
    pub(super) facts: Vec<Fact>,
    pub(super) warnings: Vec<String>,
    pub(super) sections: Vec<Section>,
}

/// A number worth seeing first.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Fact {
    pub(super) value: String,
    pub(super) label: String,
}

/// A part of the page under one heading.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) lead: String,
    pub(super) groups: Vec<Group>,
    pub(super) tables: Vec<Table>,
    /// Why something is not shown, one sentence each.
    pub(super) missing: Vec<String>,
    pub(super) commands: Vec<String>,
}

/// Figures side by side.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Group {
    pub(super) title: String,
    /// A class of the style sheet.
    pub(super) layout: &'static str,
    pub(super) figures: Vec<Drawn>,
    /// What to read beside them.
    pub(super) tables: Vec<Table>,
    /// A legend for all of them.
    pub(super) key: Option<Drawn>,
    /// All of them as one file, where many small files would not read well.
    pub(super) sheet: Option<Drawn>,
}

impl Group {
    pub(super) fn new(layout: &'static str, figures: Vec<Figure>) -> Self {
        let figures = figures.into_iter().map(Drawn::from).collect();
        Self {
            layout,
            figures,
            ..Self::default()
        }
    }
}

/// A figure in both of its forms.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Drawn {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) caption: String,
    pub(super) svg: String,
    /// Its path from the Markdown file.
    pub(super) file: String,
    #[serde(skip)]
    pub(super) standalone: String,
}

impl From<Figure> for Drawn {
    fn from(figure: Figure) -> Self {
        Self {
            svg: figure.inline(),
            standalone: figure.standalone(),
            file: format!("figures/{}.svg", figure.id),
            id: figure.id,
            title: figure.title,
            caption: figure.caption,
        }
    }
}

/// A table.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Table {
    pub(super) caption: String,
    /// A class of the style sheet.
    pub(super) class: &'static str,
    pub(super) head: Vec<Head>,
    pub(super) rows: Vec<Row>,
}

/// The head of a column.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Head {
    pub(super) text: String,
    pub(super) detail: String,
    /// The style of the arm it belongs to.
    pub(super) class: &'static str,
    /// Whether the column holds words rather than numbers.
    pub(super) prose: bool,
}

impl Head {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    pub(super) fn styled(text: impl Into<String>, class: &'static str) -> Self {
        Self {
            text: text.into(),
            class,
            ..Self::default()
        }
    }

    pub(super) fn prose(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            prose: true,
            ..Self::default()
        }
    }
}

/// A row of a table.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) head: String,
    pub(super) note: String,
    /// The style of the arm it belongs to.
    pub(super) class: &'static str,
    pub(super) cells: Vec<Cell>,
    /// Whether it sums up the rows above.
    pub(super) total: bool,
}

/// One value of a table.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) detail: String,
    pub(super) strong: bool,
    /// Whether it holds words rather than a number.
    pub(super) prose: bool,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    pub(super) fn prose(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            prose: true,
            ..Self::default()
        }
    }

    pub(super) fn detailed(text: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            detail: detail.into(),
            ..Self::default()
        }
    }
}
