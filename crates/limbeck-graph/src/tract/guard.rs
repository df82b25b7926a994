//! tract's errors and panics as errors of this crate.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tract_onnx::prelude::TractResult;

use crate::{Error, Result};

/// The most characters of an error of tract's that are passed on: it may print whole nodes.
const LONGEST: usize = 600;

/// Runs tract on the model at a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard<'a> {
    pub(super) path: &'a Path,
}

impl Guard<'_> {
    /// What `task` gives, with an error or a panic of tract's as [`Error::Runtime`].
    ///
    /// After a panic nothing of what `task` had in hand is used again but the model as it was read, which tract does not change.
    pub(super) fn run<T>(self, task: impl FnOnce() -> TractResult<T>) -> Result<T> {
        match catch_unwind(AssertUnwindSafe(task)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.error(one_line(&format!("{error:#}")))),
            Err(panic) => {
                let words = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("no reason given");
                Err(self.error(format!("it broke off: {}", one_line(words))))
            }
        }
    }

    pub(super) fn error(self, problem: String) -> Error {
        Error::Runtime {
            path: self.path.to_owned(),
            problem,
        }
    }
}

/// The words of `text` on one line, cut where it is too long.
fn one_line(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push_str(" ...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_the_file() {
        let guard = Guard {
            path: Path::new("teacher.onnx"),
        };
        let empty: &[usize] = &[];
        let broken = guard.run(|| Ok(empty[3]));
        let message = broken.map_err(|error| error.to_string());
        assert_eq!(
            message,
            Err(
                "tract cannot run `teacher.onnx`: it broke off: index out of bounds: the len is 0 but the index is 3"
                    .to_owned()
            )
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let line = one_line(&"ä\n".repeat(5000));
        assert_eq!(line.chars().count(), LONGEST + 4);
        assert_eq!(one_line(" a\n  b "), "a b");
    }
}
