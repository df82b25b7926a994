#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod bad_input;
mod formats;
mod real;
mod settings;

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use flate2::Compression;
use flate2::write::GzEncoder;
use image::{ExtendedColorType, ImageEncoder, codecs};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression as Codec;
use parquet::file::properties::WriterProperties;

/// The folder of shared data, if the environment names one.
fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("LIMBECK_SHARED").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: LIMBECK_SHARED is not set");
    }
    folder
}

/// An IDX file with big-endian values.
fn idx(kind: u8, dimensions: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, dimensions.len() as u8];
    bytes.extend(dimensions.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend_from_slice(values);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Six rows of 2x3 pixels with labels 0, 1, 2, 0, 1, 2; pixel `i` of row `r` is `10 r + i`.
fn small_pixels() -> Vec<u8> {
    (0..6)
        .flat_map(|row| (0..6).map(move |pixel| 10 * row + pixel))
        .collect()
}

fn png(height: u32, width: u32, color: ExtendedColorType, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    codecs::png::PngEncoder::new(&mut bytes)
        .write_image(pixels, width, height, color)
        .unwrap();
    bytes
}

fn jpeg(side: u32) -> Vec<u8> {
    let pixels: Vec<u8> = (0..side * side * 3)
        .map(|value| (value * 7 % 251) as u8)
        .collect();
    let mut bytes = Vec::new();
    codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90)
        .write_image(&pixels, side, side, ExtendedColorType::Rgb8)
        .unwrap();
    bytes
}

/// A column of `{bytes, path}`, as the `datasets` library writes images.
fn image_column(images: &[Option<&[u8]>]) -> (Field, ArrayRef) {
    let paths: StringArray = images.iter().map(|_| Some("row.png")).collect();
    let fields: Fields = vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ]
    .into();
    let bytes: ArrayRef = Arc::new(BinaryArray::from(images.to_vec()));
    let column = StructArray::new(fields.clone(), vec![bytes, Arc::new(paths)], None);
    (
        Field::new("image", DataType::Struct(fields), true),
        Arc::new(column),
    )
}

fn label_column(labels: &[i64]) -> (Field, ArrayRef) {
    (
        Field::new("label", DataType::Int64, true),
        Arc::new(Int64Array::from(labels.to_vec())),
    )
}

fn write_parquet(
    folder: &Path,
    name: &str,
    columns: Vec<(Field, ArrayRef)>,
    metadata: Option<&str>,
    codec: Codec,
) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let metadata: HashMap<_, _> = metadata
        .map(|text| ("huggingface".to_owned(), text.to_owned()))
        .into_iter()
        .collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let properties = WriterProperties::builder().set_compression(codec).build();
    let mut writer =
        ArrowWriter::try_new(File::create(&path).unwrap(), schema, Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}
