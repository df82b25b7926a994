//! What the user typed, checked into a plan before anything runs.
//!
//! Checking is in two stages. A [`RawRecipe`] is TOML as typed. Each part of the library then reads its
//! own [`Section`] of it into a checked value; every mistake is collected as a
//! [`Problem`] with its key, so a user sees them all at once.

mod model;
mod plan;
mod section;
mod student;
mod teacher;

pub use model::{ModelPlan, ModelSource};
pub use plan::Plan;
pub use section::{MOST, Problems, Section, Value};
pub use student::{Init, StudentPlan};
pub use teacher::{MemberPlan, TeacherPlan};

use std::path::{Path, PathBuf};

use crate::data::digits;
use crate::{Error, Result, error::Problem};

/// A recipe as typed: valid TOML, nothing more.
#[derive(Clone, Debug)]
pub struct RawRecipe {
    /// The text, kept byte for byte for the run directory.
    pub text: String,
    /// The folder that relative paths in it start from.
    pub folder: PathBuf,
    /// The parsed table.
    pub table: toml::Table,
}

impl RawRecipe {
    /// Reads a recipe file.
    ///
    /// # Errors
    /// If the file cannot be read or is not TOML.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::read(path, source))?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Self::parse(&text, &folder).map_err(|error| match error {
            Error::Recipe { problems } => {
                let reason = problems
                    .iter()
                    .map(|p| p.reason.clone())
                    .collect::<Vec<_>>()
                    .join("; ");
                Error::format(path, "TOML", reason)
            }
            other => other,
        })
    }

    /// Parses the text of a recipe whose relative paths start from `folder`.
    ///
    /// # Errors
    /// If the text is not TOML.
    pub fn parse(text: &str, folder: &Path) -> Result<Self> {
        let table = text.parse::<toml::Table>().map_err(|error| Error::Recipe {
            problems: vec![Problem {
                key: "(file)".to_owned(),
                reason: place_and_fault(text, &error),
            }],
        })?;
        Ok(Self {
            text: text.to_owned(),
            folder: folder.to_owned(),
            table,
        })
    }

    /// Overrides a dotted key, as in `train.epochs=5`. The value is TOML, or text where it is not. A file or folder that exists
    /// from the present folder stays valid, although the recipe's paths start from its own folder.
    ///
    /// # Errors
    /// If there is no `=`, or a part of the key is not a table.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let problem = |key: &str, reason: &str| Error::Recipe {
            problems: vec![Problem {
                key: key.to_owned(),
                reason: reason.to_owned(),
            }],
        };
        let (key, text) = assignment
            .split_once('=')
            .ok_or_else(|| problem(assignment, "expected `KEY=VALUE`, such as `train.epochs=5`"))?;
        let (key, text) = (key.trim(), text.trim());
        let value = format!("value = {text}")
            .parse::<toml::Table>()
            .ok()
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| toml::Value::String(text.to_owned()));
        let mut parts: Vec<&str> = key.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        if last.is_empty() || parts.contains(&"") {
            return Err(problem(
                key,
                "expected a name before `=`, such as `train.epochs=5`",
            ));
        }
        // `student.train` holds patterns of names.
        let is_path =
            PATH_KEYS.contains(&last) && (last, parts.last()) != ("train", Some(&"student"));
        let value = if is_path { from_here(value) } else { value };
        let mut table = &mut self.table;
        for part in parts {
            table = table
                .entry(part)
                .or_insert_with(|| toml::Value::Table(toml::Table::new()))
                .as_table_mut()
                .ok_or_else(|| problem(key, &format!("`{part}` is not a table")))?;
        }
        table.insert(last.to_owned(), value);
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.push_str(&format!(
            "# overridden: {key} = {}\n",
            text.replace(['\n', '\r'], " ")
        ));
        Ok(())
    }
}

/// What is wrong with TOML, in one line.
fn place_and_fault(text: &str, error: &toml::de::Error) -> String {
    let fault = error.message().replace('\n', ", ");
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        None => fault,
        Some(before) => {
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            format!("line {line}, column {column}: {fault}")
        }
    }
}

/// The keys whose text is a file or a folder.
const PATH_KEYS: [&str; 6] = ["path", "train", "test", "validation", "weights", "model"];

/// Makes paths that exist from the present folder independent of it.
fn from_here(value: toml::Value) -> toml::Value {
    match value {
        // The embedded data set goes before a folder of its name.
        toml::Value::String(text) if text != digits::NAME && Path::new(&text).exists() => {
            let absolute = std::path::absolute(&text).unwrap_or_else(|_| text.into());
            toml::Value::String(absolute.to_string_lossy().into_owned())
        }
        toml::Value::Array(items) => toml::Value::Array(items.into_iter().map(from_here).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn keys_can_be_overridden() {
        let mut raw = RawRecipe::parse("[train]\nepochs = 3\n", Path::new("")).unwrap();
        raw.set("train.epochs=5").unwrap();
        raw.set("method.name=soft-targets").unwrap();
        raw.set("seeds=[1, 2]").unwrap();
        assert_eq!(raw.table["train"]["epochs"].as_integer(), Some(5));
        assert_eq!(raw.table["method"]["name"].as_str(), Some("soft-targets"));
        assert_eq!(raw.table["seeds"].as_array().unwrap().len(), 2);
        assert!(raw.text.ends_with("# overridden: seeds = [1, 2]\n"));
        assert!(raw.set("train").is_err());
        assert!(
            raw.set("train.epochs.x=1")
                .unwrap_err()
                .to_string()
                .contains("not a table")
        );
    }

    #[test]
    fn paths_that_exist_here_stay_valid_and_nothing_else_is_taken_for_one() {
        let mut raw = RawRecipe::parse("name = 'x'", Path::new("elsewhere")).unwrap();
        // Tests run in the folder of their crate, which has these.
        let here = std::path::absolute("Cargo.toml").unwrap();
        let here = here.to_str().unwrap();
        raw.set("teacher.weights=[\"Cargo.toml\", \"missing.pth\"]")
            .unwrap();
        raw.set("data.path=Cargo.toml").unwrap();
        raw.set("name=src").unwrap();
        raw.set("method.name=examples").unwrap();
        raw.set("student.model=Cargo.toml").unwrap();
        raw.set("student.train=[\"src\"]").unwrap();
        let weights = raw.table["teacher"]["weights"].as_array().unwrap();
        assert_eq!(weights[0].as_str(), Some(here));
        assert_eq!(weights[1].as_str(), Some("missing.pth"));
        assert_eq!(raw.table["data"]["path"].as_str(), Some(here));
        assert_eq!(raw.table["name"].as_str(), Some("src"));
        assert_eq!(raw.table["method"]["name"].as_str(), Some("examples"));
        assert_eq!(raw.table["student"]["model"].as_str(), Some(here));
        assert_eq!(raw.table["student"]["train"][0].as_str(), Some("src"));
    }

    #[test]
    fn an_override_is_one_comment_in_the_kept_recipe() {
        let mut raw = RawRecipe::parse("seeds = [3]", Path::new("")).unwrap();
        raw.set("name=one\ntwo = 2").unwrap();
        assert_eq!(raw.text, "seeds = [3]\n# overridden: name = one two = 2\n");
        assert_eq!(raw.table["name"].as_str(), Some("one\ntwo = 2"));
        for empty in ["=1", "train.=1", ".epochs=1"] {
            assert!(raw.set(empty).is_err(), "{empty}");
        }
    }

    #[test]
    fn what_is_not_toml_is_refused() {
        let error = RawRecipe::parse("a = 1\n[train\nb = 2", Path::new("")).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("line 2, column 7: unclosed table"),
            "{message}"
        );
    }
}
