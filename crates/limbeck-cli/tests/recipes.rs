//! The recipes at the root of the repository.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use limbeck::Error;
use limbeck::recipe::Plan;

/// The lines that a recipe for plain distillation may have.
const MOST_LINES: usize = 20;

fn recipes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_recipe_is_valid() {
    let recipes = recipes();
    assert!(!recipes.is_empty());
    for path in recipes {
        match Plan::read(&path) {
            Ok(_) => {}
            // A teacher's checkpoint may have to be downloaded first.
            Err(Error::Recipe { problems })
                if problems
                    .iter()
                    .all(|problem| problem.reason.starts_with("there is no file")) => {}
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

#[test]
fn recipes_are_short() {
    for path in recipes() {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .count();
        assert!(lines <= MOST_LINES, "{}: {lines} lines", path.display());
    }
}
