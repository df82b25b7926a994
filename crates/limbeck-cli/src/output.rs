//! Where results go: text for people, one JSON document for programs.

use std::io::{IsTerminal, Write};
use std::path::Path;

use comfy_table::{CellAlignment, Table};
use limbeck::{Error, Result};
use serde::Serialize;

use crate::arguments::Global;

/// How results and errors are printed.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            json: global.json,
            quiet: global.quiet,
        }
    }

    /// Whether progress may be shown, and whether a person watches it.
    pub(crate) fn progress(&self) -> Option<bool> {
        (!self.quiet).then(|| std::io::stderr().is_terminal())
    }

    /// Prints a result: `value` as JSON for programs, `text` for people.
    pub(crate) fn result(
        &self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        let mut printed = if self.json {
            serde_json::to_string_pretty(value).map_err(|error| {
                Error::Data(format!("the result cannot be written as JSON: {error}"))
            })?
        } else {
            text()
        };
        if !printed.ends_with('\n') {
            printed.push('\n');
        }
        std::io::stdout()
            .write_all(printed.as_bytes())
            .map_err(|source| Error::write(Path::new("(standard output)"), source))
    }

    /// Prints what went wrong.
    pub(crate) fn failure(&self, lines: &[String], code: u8) {
        if self.json {
            let document = serde_json::json!({ "error": lines, "exit_code": code });
            // Where nobody listens, the exit code still tells.
            let _ = writeln!(std::io::stdout(), "{document}");
        }
        for line in lines {
            tell(&format!("error: {line}"));
        }
    }
}

/// Writes a line to standard error. A reader that is gone, as `head` is after its lines, must not end a training.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A table without frames, the columns in `numbers` aligned to the right.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>, numbers: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if numbers.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// `12345678` as `12,345,678`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that fits: `1.5 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" {
                format!("{number} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Seconds in the units that fit: `2 h 05 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1234), "1,234");
        assert_eq!(thousands(12_345_678), "12,345,678");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        assert_eq!(duration(1.25), "1.2 s");
        assert_eq!(duration(125.0), "2 min 05 s");
        assert_eq!(duration(7500.0), "2 h 05 min");
    }

    #[test]
    fn tables_have_no_trailing_blanks() {
        let text = table(&["name", "rows"], vec![vec!["a".into(), "10".into()]], &[1]);
        assert!(text.lines().all(|line| line == line.trim_end()));
        assert!(text.contains("a"));
    }
}
