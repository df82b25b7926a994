//! What a file holds, told from its bytes.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::cifar::Layout;
use crate::{Error, Result};

/// The largest content of one file that is taken into memory, in bytes (16 GiB).
pub(super) const MAX_BYTES: u64 = 16 << 30;

/// How many bytes of a file are looked at.
const HEAD: usize = 512;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Idx,
    Parquet,
    Cifar(Layout),
    Image,
    /// Something that has to be unpacked first.
    Archive(&'static str),
    Unknown,
}

/// Looks at the first bytes of a file, through gzip, and at its size.
pub(super) fn sniff(path: &Path) -> Result<Content> {
    let cannot = |source| Error::read(path, source);
    let file = File::open(path).map_err(cannot)?;
    let size = file.metadata().map_err(cannot)?.len();
    let mut head = Vec::with_capacity(HEAD);
    file.take(HEAD as u64)
        .read_to_end(&mut head)
        .map_err(cannot)?;
    if is_gzip(&head) {
        let mut inside = Vec::with_capacity(HEAD);
        let packed = File::open(path).map_err(cannot)?;
        // A stream that breaks off is reported by the reader of the format, so the bytes before it decide here.
        let _ = MultiGzDecoder::new(BufReader::new(packed))
            .take(HEAD as u64)
            .read_to_end(&mut inside);
        return Ok(match of_head(&inside) {
            Content::Idx => Content::Idx,
            Content::Archive(kind) => Content::Archive(kind),
            _ if announces_idx(path) => Content::Idx,
            _ => Content::Unknown,
        });
    }
    Ok(match of_head(&head) {
        Content::Unknown => match Layout::of_file(path, size) {
            Some(layout) => Content::Cifar(layout),
            None if announces_idx(path) => Content::Idx,
            None => Content::Unknown,
        },
        known => known,
    })
}

/// Opens a file for reading, through gzip where the content is packed.
pub(super) fn unpacked(path: &Path) -> Result<Box<dyn Read>> {
    let cannot = |source| Error::read(path, source);
    let mut magic = Vec::with_capacity(2);
    File::open(path)
        .map_err(cannot)?
        .take(2)
        .read_to_end(&mut magic)
        .map_err(cannot)?;
    let reader = BufReader::new(File::open(path).map_err(cannot)?);
    Ok(if is_gzip(&magic) {
        Box::new(MultiGzDecoder::new(reader))
    } else {
        Box::new(reader)
    })
}

fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

/// A damaged IDX file should be reported as one, so its name counts where its bytes say nothing.
fn announces_idx(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| {
            ["idx1", "idx3", "idx4"]
                .iter()
                .any(|word| name.contains(word))
                || [".idx", ".idx.gz"].iter().any(|end| name.ends_with(end))
        })
}

fn of_head(head: &[u8]) -> Content {
    match head {
        [b'P', b'A', b'R', b'1', ..] => Content::Parquet,
        [b'P', b'K', 3, 4, ..] => Content::Archive("zip"),
        [0, 0, 0x08 | 0x09 | 0x0b..=0x0e, 1..=4, ..] => Content::Idx,
        _ if head.get(257..262) == Some(b"ustar") => Content::Archive("tar"),
        _ if image::guess_format(head).is_ok() => Content::Image,
        _ => Content::Unknown,
    }
}
