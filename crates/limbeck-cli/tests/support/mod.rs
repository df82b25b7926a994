//! The built binary, run as a user runs it, in a folder of its own.

#![allow(dead_code, reason = "every test file uses a part")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

pub(crate) mod files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A small student of a small teacher on the embedded digits: two trainings of the student, one of the teacher.
pub(crate) const RECIPE: &str = r#"
name = "small"

[data]
path = "digits"

[teacher]
arch = "mlp-16"

[student]
arch = "mlp-8"

[method]
name = "soft-targets"
temperature = 4.0

[train]
epochs = 2
batch = 128
"#;

/// The student on labels alone: one training.
pub(crate) const LABELS: &str = r#"
name = "labels"

[data]
path = "digits"

[student]
arch = "mlp-8"

[train]
epochs = 2
batch = 128
"#;

/// What the binary did.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            code: output.status.code().expect("the process was not killed"),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Asserts that it went well.
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    /// Asserts that it failed with `code`, that every one of `words` is in its errors, and that these are sentences for people:
    /// no panic, no debug output.
    pub(crate) fn failed(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        let errors: Vec<&str> = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert!(!errors.is_empty(), "{}", self.stderr);
        for word in words {
            assert!(
                errors.iter().any(|line| line.contains(word)),
                "expected `{word}` in\n{}",
                self.stderr
            );
        }
        for sign in ["panicked", "RUST_BACKTRACE", "Some(", "Err(", "\x1b"] {
            assert!(!self.stderr.contains(sign), "{}", self.stderr);
        }
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in\n{}", self.stdout))
    }
}

/// A folder in which a user works.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, with the folders on its way.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// The binary with `arguments`, to be run here.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_limbeck"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("RUST_LOG")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn limbeck(&self, arguments: &[&str]) -> Done {
        Done::of(&self.command(arguments).output().unwrap())
    }

    /// Every file below `name`, with its bytes.
    pub(crate) fn content(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.path(name), &mut files);
        files
    }

    /// Fails on whatever a writer that broke off would leave.
    pub(crate) fn has_nothing_partial(&self) {
        for path in self.content("").keys() {
            let partial = path
                .components()
                .any(|part| part.as_os_str().to_string_lossy().starts_with(".tmp-"));
            assert!(!partial, "{}", path.display());
        }
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
}

/// Waits until `reached` holds while `child` runs.
pub(crate) fn wait_until(child: &mut Child, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !reached() {
        assert!(Instant::now() < deadline, "waited too long");
        assert!(
            child.try_wait().unwrap().is_none(),
            "the process ended before"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The objects of a `log.jsonl` of one kind.
pub(crate) fn log(bytes: &[u8], kind: &str) -> Vec<Value> {
    String::from_utf8(bytes.to_vec())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["kind"] == kind)
        .collect()
}
