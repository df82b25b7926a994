//! Hugging Face parquet files with encoded images.
//!
//! The image column is a struct of `bytes` (a PNG, JPEG, ...) and `path`, as the `datasets` library writes it, or plain binary;
//! the label column holds whole numbers. The class names are in the schema's `huggingface` metadata. The encoded bytes stay
//! in memory, images are decoded when they are read.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde_json::Value;

use super::content::MAX_BYTES;
use super::images::{Encoded, ImageSet};
use super::labels::{check_labels, count_classes, names_beside, numbers};
use super::source::{Meta, OpenOptions};
use crate::{Error, Result};

/// As `limbeck datasets` lists it.
pub(super) const FORMAT: &str = "parquet";

/// Column names in the order they are looked for.
const IMAGE_COLUMNS: [&str; 2] = ["image", "img"];
const LABEL_COLUMNS: [&str; 3] = ["label", "fine_label", "labels"];

/// Rows that are unpacked at a time.
const BATCH: usize = 1024;

fn fault(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::format(path, FORMAT, reason.to_string())
}

/// Which columns of a file hold what.
struct Columns {
    image: String,
    /// The image column is a struct with the bytes inside.
    nested: bool,
    label: String,
    names: Option<Vec<String>>,
}

impl Columns {
    fn of(path: &Path, schema: &Schema) -> Result<Self> {
        let features = features(schema);
        let is_kind = |field: &Field, kind: &str| {
            features
                .as_ref()
                .and_then(|features| features.get(field.name())?.get("_type")?.as_str())
                .is_some_and(|found| found == kind)
        };
        let find = |what: &str, names: &[&str], kind: &str| {
            let named = names
                .iter()
                .find_map(|name| schema.field_with_name(name).ok());
            named
                .or_else(|| {
                    schema
                        .fields()
                        .iter()
                        .find(|field| is_kind(field, kind))
                        .map(AsRef::as_ref)
                })
                .ok_or_else(|| {
                    let there: Vec<&str> = schema
                        .fields()
                        .iter()
                        .map(|field| field.name().as_str())
                        .collect();
                    fault(
                        path,
                        format!(
                            "expected {what} column named `{}`; its columns are `{}`",
                            names.join("` or `"),
                            there.join("`, `")
                        ),
                    )
                })
        };
        let image = find("an image", &IMAGE_COLUMNS, "Image")?;
        let label = find("a label", &LABEL_COLUMNS, "ClassLabel")?;
        let nested = match image.data_type() {
            DataType::Struct(fields) => match fields.iter().find(|field| field.name() == "bytes") {
                Some(field) if is_binary(field.data_type()) => true,
                _ => {
                    return Err(fault(
                        path,
                        format!("column `{}` has no binary field `bytes`", image.name()),
                    ));
                }
            },
            kind if is_binary(kind) => false,
            kind => {
                return Err(fault(
                    path,
                    format!(
                        "expected encoded images in column `{}`, got {kind}",
                        image.name()
                    ),
                ));
            }
        };
        if !label.data_type().is_integer() {
            return Err(fault(
                path,
                format!(
                    "expected whole numbers in column `{}`, got {}",
                    label.name(),
                    label.data_type()
                ),
            ));
        }
        let names = features.as_ref().and_then(|features| {
            let names = features.get(label.name())?.get("names")?;
            // Older files map the index, as text, to the name.
            let names: Vec<String> = match names {
                Value::Array(names) => names
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
                Value::Object(names) => (0..names.len())
                    .map_while(|class| names.get(&class.to_string())?.as_str())
                    .map(str::to_owned)
                    .collect(),
                _ => Vec::new(),
            };
            (!names.is_empty()).then_some(names)
        });
        Ok(Self {
            image: image.name().clone(),
            nested,
            label: label.name().clone(),
            names,
        })
    }
}

fn is_binary(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    )
}

fn features(schema: &Schema) -> Option<Value> {
    let text = schema.metadata().get("huggingface")?;
    let mut value: Value = serde_json::from_str(text).ok()?;
    Some(value.get_mut("info")?.get_mut("features")?.take())
}

/// Runs what decodes a file. The decoder takes some damaged pages for impossible and panics; here that is bad input.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(fault(
            path,
            "its pages are damaged, the decoder gave up; fetch the file again",
        ))
    })
}

/// Opens a file for the columns that are wanted.
fn open(path: &Path, images: bool) -> Result<(Columns, ParquetRecordBatchReader)> {
    let file = File::open(path).map_err(|source| Error::read(path, source))?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| fault(path, error))?;
    let columns = Columns::of(path, builder.schema())?;
    let bytes = if columns.nested {
        format!("{}.bytes", columns.image)
    } else {
        columns.image.clone()
    };
    let mut wanted = vec![columns.label.as_str()];
    if images {
        wanted.push(&bytes);
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), wanted);
    let reader = builder
        .with_projection(mask)
        .with_batch_size(BATCH)
        .build()
        .map_err(|error| fault(path, error))?;
    Ok((columns, reader))
}

fn cast(path: &Path, array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, to, &strict).map_err(|error| fault(path, error))
}

/// Adds a column of labels; a missing one is `None`.
fn add_labels(
    path: &Path,
    array: &ArrayRef,
    first: usize,
    labels: &mut Vec<Option<u32>>,
) -> Result<()> {
    let array = cast(path, array, &DataType::Int64)?;
    for (row, label) in array.as_primitive::<Int64Type>().iter().enumerate() {
        labels.push(match label {
            None => None,
            Some(label) => Some(u32::try_from(label).map_err(|_| {
                Error::row(
                    path,
                    (first + row) as u64,
                    format!("expected a label of at least 0, got {label}"),
                )
            })?),
        });
    }
    Ok(())
}

/// The labels of a split, for counting its classes.
fn read_labels(files: &[PathBuf]) -> Result<Vec<Option<u32>>> {
    let mut labels = Vec::new();
    for path in files {
        guarded(path, || {
            let (columns, reader) = open(path, false)?;
            let start = labels.len();
            for batch in reader {
                let batch = batch.map_err(|error| fault(path, error))?;
                if let Some(column) = batch.column_by_name(&columns.label) {
                    let first = labels.len() - start;
                    add_labels(path, column, first, &mut labels)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(labels)
}

/// The rows read so far: row `i` ends at `ends[i]` of `bytes`.
#[derive(Default)]
struct Rows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    labels: Vec<Option<u32>>,
    names: Option<Vec<String>>,
}

impl Rows {
    fn add_shard(&mut self, path: &Path) -> Result<()> {
        let (columns, reader) = open(path, true)?;
        let start = self.ends.len();
        for batch in reader {
            let batch = batch.map_err(|error| fault(path, error))?;
            let first = self.ends.len() - start;
            let images = batch.column_by_name(&columns.image);
            let labels = batch.column_by_name(&columns.label);
            let (Some(images), Some(labels)) = (images, labels) else {
                return Err(fault(
                    path,
                    "a row group lacks the image or the label column",
                ));
            };
            add_labels(path, labels, first, &mut self.labels)?;
            self.add_images(path, images, first, &columns.image)?;
        }
        self.names = self.names.take().or(columns.names);
        Ok(())
    }

    fn add_images(
        &mut self,
        path: &Path,
        images: &ArrayRef,
        first: usize,
        name: &str,
    ) -> Result<()> {
        let bytes = match images.as_any().downcast_ref::<StructArray>() {
            Some(parts) => parts
                .column_by_name("bytes")
                .ok_or_else(|| fault(path, "the image column lacks `bytes`"))?,
            None => images,
        };
        let bytes = cast(path, bytes, &DataType::LargeBinary)?;
        let bytes = bytes.as_binary::<i64>();
        for row in 0..bytes.len() {
            if images.is_null(row) || bytes.is_null(row) {
                return Err(Error::row(
                    path,
                    (first + row) as u64,
                    format!(
                        "column `{name}` holds no image bytes; images that are stored as paths have to be embedded"
                    ),
                ));
            }
            let image = bytes.value(row);
            if (self.bytes.len() + image.len()) as u64 > MAX_BYTES {
                return Err(fault(
                    path,
                    format!("its images take more than {MAX_BYTES} bytes"),
                ));
            }
            self.bytes.extend_from_slice(image);
            self.ends.push(self.bytes.len());
        }
        Ok(())
    }
}

/// Reads the shards in the given order as one set. Without names in the files the training labels tell the number of
/// classes.
pub(super) fn read(
    files: &[PathBuf],
    train: Option<&Vec<PathBuf>>,
    meta: &Meta,
    options: &OpenOptions,
) -> Result<ImageSet> {
    let mut rows = Rows::default();
    let mut origins = Vec::new();
    for path in files {
        origins.push((rows.ends.len(), path.clone()));
        guarded(path, || rows.add_shard(path))?;
    }
    let Rows {
        bytes,
        ends,
        labels,
        mut names,
    } = rows;
    let encoded = Encoded::Memory {
        bytes,
        ends,
        files: origins,
    };
    let place = |row, reason| encoded.fault(row, reason);
    let known = |labels: &[Option<u32>]| labels.iter().map(|label| label.unwrap_or(0)).collect();
    let flat: Vec<u32> = known(&labels);
    if names.is_none()
        && let Some(folder) = files.first().and_then(|file| file.parent())
    {
        names = names_beside(folder)?;
    }
    if names.is_none() && options.classes.is_none() {
        names = Some(numbers(match train {
            Some(train) if train != files => {
                let labels: Vec<u32> = known(&read_labels(train)?);
                count_classes(&labels, |row, reason| {
                    Error::row(
                        &train[0],
                        row as u64,
                        format!("{reason} (rows counted over all shards)"),
                    )
                })?
            }
            _ => count_classes(&flat, place)?,
        }));
    }
    let mut names = names.unwrap_or_default();
    options.fit_classes(&mut names);
    if encoded.len() > 0 {
        check_labels(&flat, names.len(), place)?;
    }
    ImageSet::new(encoded, labels, names, FORMAT, meta, options)
}
