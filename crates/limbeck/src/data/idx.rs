//! IDX files, the format of MNIST and its relatives (LeCun, Cortes and Burges, 1998).
//!
//! Two zero bytes, a type, the number of dimensions, each dimension as a big-endian u32, then the values row major, big
//! endian. A file may be gzipped.

use std::io::Read;
use std::path::Path;

use super::content::{MAX_BYTES, unpacked};
use crate::{Error, Result};

const FORMAT: &str = "IDX";

/// The values of an IDX file.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Type 0x08.
    U8(Vec<u8>),
    /// Type 0x09.
    I8(Vec<i8>),
    /// Type 0x0b.
    I16(Vec<i16>),
    /// Type 0x0c.
    I32(Vec<i32>),
    /// Type 0x0d.
    F32(Vec<f32>),
    /// Type 0x0e.
    F64(Vec<f64>),
}

/// The content of an IDX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The dimensions; the first one counts the rows.
    pub dimensions: Vec<usize>,
    /// The values, row major; as many as the dimensions' product.
    pub values: Values,
}

/// The type and dimensions of an IDX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    kind: u8,
    pub(super) dimensions: Vec<usize>,
}

/// Parses the bytes of an IDX file, plain.
///
/// # Errors
/// If the header is not IDX's, or the bytes after it are fewer or more than it promises.
pub fn parse(bytes: &[u8]) -> Result<Array> {
    parse_from(bytes, Path::new("(bytes)"))
}

/// Reads an IDX file, plain or gzipped.
///
/// # Errors
/// If it cannot be read or is not an IDX file; see [`parse`].
pub fn read(path: &Path) -> Result<Array> {
    parse_from(unpacked(path)?, path)
}

/// Reads the header alone.
pub(super) fn read_header(path: &Path) -> Result<Header> {
    header(&mut unpacked(path)?, path)
}

fn fault(path: &Path, reason: impl Into<String>) -> Error {
    Error::format(path, FORMAT, reason)
}

fn cut_short(path: &Path, error: &std::io::Error) -> Error {
    fault(
        path,
        format!("{error} (a truncated or damaged file; fetch it again)"),
    )
}

/// Reads up to `length` bytes; memory grows with the bytes that are there, whatever a header promised.
fn take(reader: &mut impl Read, length: u64, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(|error| cut_short(path, &error))?;
    Ok(bytes)
}

fn header(reader: &mut impl Read, path: &Path) -> Result<Header> {
    let start = take(reader, 4, path)?;
    let [zero, null, kind, count] = start[..] else {
        return Err(fault(
            path,
            format!("expected a header of 4 bytes, got {}", start.len()),
        ));
    };
    if zero != 0 || null != 0 {
        return Err(fault(
            path,
            format!("expected two zero bytes first, got {zero:#04x} {null:#04x}"),
        ));
    }
    if width(kind).is_none() {
        return Err(fault(
            path,
            format!("expected a value type of 0x08, 0x09 or 0x0b to 0x0e, got {kind:#04x}"),
        ));
    }
    if !(1..=4).contains(&count) {
        return Err(fault(
            path,
            format!("expected 1 to 4 dimensions, got {count}"),
        ));
    }
    let sizes = take(reader, u64::from(count) * 4, path)?;
    if sizes.len() != usize::from(count) * 4 {
        return Err(fault(
            path,
            format!("expected {count} dimensions in the header, but the file ends within them"),
        ));
    }
    let dimensions = sizes
        .chunks_exact(4)
        .map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize)
        .collect();
    Ok(Header { kind, dimensions })
}

/// Bytes per value of a type.
fn width(kind: u8) -> Option<u64> {
    match kind {
        0x08 | 0x09 => Some(1),
        0x0b => Some(2),
        0x0c | 0x0d => Some(4),
        0x0e => Some(8),
        _ => None,
    }
}

fn parse_from(mut reader: impl Read, path: &Path) -> Result<Array> {
    let Header { kind, dimensions } = header(&mut reader, path)?;
    let size = width(kind).unwrap_or(1);
    let expected = dimensions
        .iter()
        .try_fold(size, |product, dimension| {
            product.checked_mul(*dimension as u64)
        })
        .filter(|expected| *expected <= MAX_BYTES)
        .ok_or_else(|| {
            fault(
                path,
                format!("its dimensions {dimensions:?} promise more than {MAX_BYTES} bytes"),
            )
        })?;
    // One byte more than promised tells a file that is too long.
    let bytes = take(&mut reader, expected + 1, path)?;
    if bytes.len() as u64 != expected {
        let got = if bytes.len() as u64 > expected {
            "more".to_owned()
        } else {
            format!("{}", bytes.len())
        };
        return Err(fault(
            path,
            format!("its dimensions {dimensions:?} promise {expected} bytes of values, got {got}"),
        ));
    }
    macro_rules! wide {
        ($variant:ident, $type:ty) => {
            Values::$variant(
                bytes
                    .chunks_exact(size_of::<$type>())
                    .map(|value| {
                        let mut bytes = [0; size_of::<$type>()];
                        bytes.copy_from_slice(value);
                        <$type>::from_be_bytes(bytes)
                    })
                    .collect(),
            )
        };
    }
    let values = match kind {
        0x09 => wide!(I8, i8),
        0x0b => wide!(I16, i16),
        0x0c => wide!(I32, i32),
        0x0d => wide!(F32, f32),
        0x0e => wide!(F64, f64),
        _ => Values::U8(bytes),
    };
    Ok(Array { dimensions, values })
}
