//! Where a checkpoint keeps its pickle and its storages: a zip archive, or one stream before PyTorch 1.6.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};

use zip::ZipArchive;

use super::super::element::ByteOrder;
use super::pickle::{self, Cursor, Pickle};
use super::value::Value;

/// How often a zip archive's content may exceed the archive. PyTorch stores without compression.
const MOST_INFLATION: u64 = 32;

/// The magic number that starts a stream, as a pickle: protocol 2, an integer of 10 bytes, stop.
pub(super) const STREAM_MAGIC: [u8; 15] = [
    0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.',
];

/// The only version of the stream that was ever written.
const STREAM_VERSION: i64 = 1001;

/// The elements of all tensors by the storage's name.
#[derive(Debug, Default)]
pub(super) struct Storages<'a> {
    slices: HashMap<String, &'a [u8]>,
    owned: HashMap<String, Vec<u8>>,
}

impl Storages<'_> {
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.slices
            .get(key)
            .copied()
            .or_else(|| self.owned.get(key).map(Vec::as_slice))
    }
}

/// A zip archive as PyTorch 1.6 and later write it: `NAME/data.pkl`, `NAME/data/KEY`, `NAME/byteorder`.
pub(super) struct Archive<'a> {
    zip: ZipArchive<io::Cursor<&'a [u8]>>,
    folder: String,
    /// Bytes that may still be unpacked.
    budget: u64,
}

impl<'a> Archive<'a> {
    /// Opens the archive in `bytes` and finds its folder.
    ///
    /// # Errors
    /// If it is no zip archive, or no PyTorch checkpoint.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let zip = ZipArchive::new(io::Cursor::new(bytes))
            .map_err(|error| format!("the zip archive is broken or truncated: {error}"))?;
        let folder_of = |file: &str| {
            let found = zip.file_names_raw().find_map(|name| {
                let folder = name.strip_suffix(file.as_bytes())?;
                (folder.is_empty() || folder.ends_with(b"/")).then_some(folder)
            });
            found.and_then(|folder| String::from_utf8(folder.to_vec()).ok())
        };
        if folder_of("constants.pkl").is_some() {
            return Err(
                "this is a TorchScript program; save `model.state_dict()` of the original model instead"
                    .to_owned(),
            );
        }
        let folder = folder_of("data.pkl")
            .ok_or("the zip archive has no `data.pkl`, so it is no PyTorch checkpoint")?;
        Ok(Self {
            zip,
            folder,
            budget: (bytes.len() as u64).saturating_mul(MOST_INFLATION),
        })
    }

    /// The pickle's bytes.
    ///
    /// # Errors
    /// If the entry is broken or too large.
    pub(super) fn pickle(&mut self) -> Result<Vec<u8>, String> {
        self.entry("data.pkl")?
            .ok_or_else(|| "the zip archive has no `data.pkl`".to_owned())
    }

    /// The order of the bytes in its storages.
    ///
    /// # Errors
    /// If the entry is broken or says neither `little` nor `big`.
    pub(super) fn byte_order(&mut self) -> Result<ByteOrder, String> {
        match self.entry("byteorder")?.as_deref().map(<[u8]>::trim_ascii) {
            None | Some(b"little") => Ok(ByteOrder::Little),
            Some(b"big") => Ok(ByteOrder::Big),
            Some(other) => Err(format!(
                "expected the byte order `little` or `big`, got `{}`",
                other.escape_ascii()
            )),
        }
    }

    /// The storages called `keys`; those that are missing are left out.
    ///
    /// # Errors
    /// If an entry is broken, or all together are too large.
    pub(super) fn storages<'k>(
        &mut self,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Result<Storages<'static>, String> {
        let mut storages = Storages::default();
        for key in keys {
            if !storages.owned.contains_key(key)
                && let Some(bytes) = self.entry(&format!("data/{key}"))?
            {
                storages.owned.insert(key.to_owned(), bytes);
            }
        }
        Ok(storages)
    }

    fn entry(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let name = format!("{}{name}", self.folder);
        let Some(index) = self.zip.index_for_name_raw(name.as_bytes()) else {
            return Ok(None);
        };
        let broken =
            |error: &dyn std::fmt::Display| format!("the archive's `{name}` is broken: {error}");
        let file = self.zip.by_index(index).map_err(|error| broken(&error))?;
        let size = file.size();
        let left = self.budget;
        let too_large = || {
            format!(
                "the archive's `{name}` unpacks to {size} bytes, out of proportion to the archive"
            )
        };
        let mut bytes = Vec::new();
        let kept = usize::try_from(size.min(left)).map_err(|error| error.to_string())?;
        bytes
            .try_reserve_exact(kept)
            .map_err(|error| broken(&error))?;
        file.take(left.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| broken(&error))?;
        self.budget = left.checked_sub(bytes.len() as u64).ok_or_else(too_large)?;
        Ok(Some(bytes))
    }
}

/// A stream as PyTorch wrote it before 1.6: magic number, version, facts about the machine, the object, the
/// storages' names, and the storages, each as a count of elements and their bytes.
pub(super) struct Stream<'a> {
    pub pickle: Pickle<'a>,
    pub order: ByteOrder,
    pub storages: Storages<'a>,
}

/// Reads a stream that starts with [`STREAM_MAGIC`].
///
/// # Errors
/// If it is broken.
pub(super) fn stream(bytes: &[u8]) -> Result<Stream<'_>, String> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(STREAM_MAGIC.len())?;
    let version = pickle::read(&mut cursor)?;
    if !matches!(
        version.heap.get(version.root),
        Value::Integer(STREAM_VERSION)
    ) {
        return Err(format!(
            "expected version {STREAM_VERSION} of PyTorch's stream, got another"
        ));
    }
    let machine = pickle::read(&mut cursor)?;
    let little = machine.heap.entry(machine.root, "little_endian");
    let order = match little.map(|little| machine.heap.get(little)) {
        Some(Value::Bool(false)) => ByteOrder::Big,
        _ => ByteOrder::Little,
    };
    let pickle = pickle::read(&mut cursor)?;
    let keys = pickle::read(&mut cursor)?;
    let sizes = element_sizes(&pickle);
    let mut storages = Storages::default();
    for &key in keys.heap.sequence(keys.root) {
        let key = keys
            .heap
            .text(key)
            .ok_or("a storage's name is not a text")?;
        let size = sizes.get(key).ok_or_else(|| {
            format!(
                "the file has a storage `{key:.40}` that no tensor uses, so its size is not known"
            )
        })?;
        let count = match order {
            ByteOrder::Little => i64::from_le_bytes(cursor.array()?),
            ByteOrder::Big => i64::from_be_bytes(cursor.array()?),
        };
        let length = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(*size));
        let length =
            length.ok_or_else(|| format!("storage `{key:.40}` claims {count} elements"))?;
        let data = cursor
            .take(length)
            .map_err(|problem| format!("storage `{key:.40}`: {problem}"))?;
        storages.slices.insert(key.to_owned(), data);
    }
    Ok(Stream {
        pickle,
        order,
        storages,
    })
}

/// The bytes of an element of each storage that the pickle refers to.
fn element_sizes<'h>(pickle: &'h Pickle<'_>) -> BTreeMap<&'h str, usize> {
    let storages = pickle.heap.values().filter_map(|value| match value {
        Value::Storage(storage) => Some(storage),
        _ => None,
    });
    storages
        .filter_map(|storage| {
            let size = storage
                .element
                .map_or(1, super::super::element::Element::size);
            Some((pickle.heap.text(storage.key)?, size))
        })
        .collect()
}
