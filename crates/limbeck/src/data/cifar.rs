//! CIFAR binary files (Krizhevsky 2009, "Learning multiple layers of features from tiny images").
//!
//! A row is the label bytes (one for CIFAR-10; coarse and fine for CIFAR-100) and 3,072 bytes of pixels,
//! `[channels, height, width]`.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::content::{MAX_BYTES, unpacked};
use super::labels::{CIFAR_10, CIFAR_100, check_labels, names_beside, owned};
use super::source::{Meta, OpenOptions};
use super::{MemorySet, Pixels};
use crate::{Error, Result};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const CHANNELS: usize = 3;

/// Which of the two layouts a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layout {
    Ten,
    Hundred,
}

impl Layout {
    /// There is no magic number: the size must be whole rows, or the name must be one that the archives use.
    pub(super) fn of_file(path: &Path, size: u64) -> Option<Self> {
        let whole = |layout: Self| size > 0 && size.is_multiple_of(layout.row() as u64);
        let name = path.file_name()?.to_str()?;
        if whole(Self::Ten) {
            Some(Self::Ten)
        } else if whole(Self::Hundred) {
            Some(Self::Hundred)
        } else if name.starts_with("data_batch") || name.starts_with("test_batch") {
            Some(Self::Ten)
        } else {
            matches!(name, "train.bin" | "test.bin").then_some(Self::Hundred)
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ten => "CIFAR-10 binary",
            Self::Hundred => "CIFAR-100 binary",
        }
    }

    fn labels(self) -> usize {
        match self {
            Self::Ten => 1,
            Self::Hundred => 2,
        }
    }

    fn row(self) -> usize {
        self.labels() + PLANE * CHANNELS
    }

    fn classes(self) -> Vec<String> {
        match self {
            Self::Ten => owned(&CIFAR_10),
            Self::Hundred => owned(&CIFAR_100),
        }
    }
}

/// Reads the batches in the given order as one set.
pub(super) fn read(
    layout: Layout,
    files: &[PathBuf],
    meta: &Meta,
    options: &OpenOptions,
) -> Result<MemorySet> {
    let mut classes = match files.first().and_then(|file| file.parent()) {
        Some(folder) => names_beside(folder)?.unwrap_or_else(|| layout.classes()),
        None => layout.classes(),
    };
    options.fit_classes(&mut classes);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for file in files {
        let first = labels.len();
        let mut bytes = Vec::new();
        let got = unpacked(file)?
            .take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::format(file, layout.name(), error.to_string()))?;
        if got == 0 || !got.is_multiple_of(layout.row()) {
            return Err(Error::format(
                file,
                layout.name(),
                format!("expected rows of {} bytes, got {got} bytes", layout.row()),
            ));
        }
        for row in bytes.chunks_exact(layout.row()) {
            // CIFAR-100 puts the coarse label first; the fine one is used.
            labels.push(u32::from(row[layout.labels() - 1]));
            let planes = &row[layout.labels()..];
            pixels.extend(
                (0..PLANE).flat_map(|at| [planes[at], planes[PLANE + at], planes[2 * PLANE + at]]),
            );
        }
        check_labels(&labels[first..], classes.len(), |row, reason| {
            Error::row(file, row as u64, reason)
        })?;
    }
    let info = meta.info(layout.name(), classes, [CHANNELS, SIDE, SIDE]);
    MemorySet::new(info, meta.split, Pixels::U8(pixels), Some(labels))
}
