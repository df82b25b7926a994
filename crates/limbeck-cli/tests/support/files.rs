//! Data files, whole and broken.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use flate2::Compression;
use flate2::write::GzEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use parquet::arrow::ArrowWriter;

/// The type byte of unsigned bytes.
pub(crate) const U8: u8 = 0x08;
/// The type byte of 32-bit floating-point numbers.
pub(crate) const F32: u8 = 0x0d;

/// An IDX file with big-endian values.
pub(crate) fn idx(kind: u8, dimensions: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, dimensions.len() as u8];
    bytes.extend(dimensions.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend_from_slice(values);
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// `rows` images of 8x8 pixels that differ from each other and look like their class.
pub(crate) fn pixels(rows: usize) -> Vec<u8> {
    (0..rows)
        .flat_map(|row| {
            (0..64).map(move |at| {
                if at % 4 == row % 4 {
                    200
                } else {
                    (row * 7 % 50) as u8
                }
            })
        })
        .collect()
}

/// Labels 0, 1, 2, 3, 0, ..
pub(crate) fn labels(rows: usize) -> Vec<u8> {
    (0..rows).map(|row| (row % 4) as u8).collect()
}

/// A PNG of 8x8 grey pixels.
pub(crate) fn png(pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(pixels, 8, 8, ExtendedColorType::L8)
        .unwrap();
    bytes
}

/// A column of `{bytes, path}`, as the `datasets` library writes images.
pub(crate) fn image_column(images: &[Vec<u8>]) -> (Field, ArrayRef) {
    let fields: Fields = vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ]
    .into();
    let bytes: Vec<Option<&[u8]>> = images.iter().map(|image| Some(image.as_slice())).collect();
    let bytes: ArrayRef = Arc::new(BinaryArray::from(bytes));
    let paths: StringArray = images.iter().map(|_| Some("row.png")).collect();
    let column = StructArray::new(fields.clone(), vec![bytes, Arc::new(paths)], None);
    (
        Field::new("image", DataType::Struct(fields), true),
        Arc::new(column),
    )
}

/// A column of whole numbers.
pub(crate) fn number_column(name: &str, values: &[i64]) -> (Field, ArrayRef) {
    (
        Field::new(name, DataType::Int64, true),
        Arc::new(Int64Array::from(values.to_vec())),
    )
}

pub(crate) fn write_parquet(path: &Path, columns: Vec<(Field, ArrayRef)>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// A safetensors file with a header as given.
pub(crate) fn safetensors(claimed: u64, header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = claimed.to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}
