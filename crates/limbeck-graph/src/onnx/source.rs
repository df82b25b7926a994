//! The bytes of a model file: kept, or read again where they are needed.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::Error;

/// Files up to this size are kept in memory; of larger ones the weights are read again when they are decoded, so that
/// a model does not take its size twice.
const KEPT: usize = 32 << 20;

/// The bytes of a model file.
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// How many bytes there are.
    length: usize,
    /// The bytes, unless they are read from the file again.
    kept: OnceLock<Vec<u8>>,
}

impl Source {
    pub(super) fn new(path: PathBuf, length: usize) -> Self {
        Self {
            path,
            length,
            kept: OnceLock::new(),
        }
    }

    /// Keeps the bytes of a small file, and those that are not the file's.
    pub(super) fn keep(&self, bytes: Vec<u8>, is_file: bool) {
        if !is_file || bytes.len() <= KEPT {
            // Nobody else keeps bytes.
            let _ = self.kept.set(bytes);
        }
    }

    /// A part of the bytes.
    pub(super) fn part(&self, range: Range<usize>) -> io::Result<Cow<'_, [u8]>> {
        if let Some(bytes) = self.kept.get() {
            return Ok(Cow::Borrowed(&bytes[range]));
        }
        let mut file = self.open()?;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(range.len())
            .map_err(io::Error::other)?;
        file.seek(SeekFrom::Start(range.start as u64))?;
        file.take(range.len() as u64).read_to_end(&mut bytes)?;
        match bytes.len() == range.len() {
            true => Ok(Cow::Owned(bytes)),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// All bytes, one after the other.
    pub(super) fn reader(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self.kept.get() {
            Some(bytes) => Box::new(bytes.as_slice()),
            None => Box::new(io::BufReader::new(self.open()?)),
        })
    }

    /// All bytes at once.
    pub(super) fn whole(&self) -> io::Result<Cow<'_, [u8]>> {
        self.part(0..self.length)
    }

    fn open(&self) -> io::Result<File> {
        let file = File::open(&self.path)?;
        match file.metadata()?.len() == self.length as u64 {
            true => Ok(file),
            false => Err(io::Error::other("it was changed while it was used")),
        }
    }

    pub(super) fn error(&self, problem: &str) -> Error {
        Error::Onnx {
            path: self.path.clone(),
            problem: printable(problem),
        }
    }

    pub(super) fn unreadable(&self, source: io::Error) -> Error {
        Error::Read {
            path: self.path.clone(),
            source,
        }
    }
}

/// A text on one line: names in a file may hold anything, also what a terminal obeys.
pub(super) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() {
            true => line.extend(letter.escape_default()),
            false => line.push(letter),
        }
    }
    line
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} bytes of `{}`",
            self.length,
            self.path.display()
        )
    }
}
