//! Writes a model without holding a second copy of its weights.
//!
//! A message of protocol buffers may be cut anywhere between its fields, so the parts that are small are encoded in memory and the
//! values of the initialisers follow from where they are.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

use super::messages::{FLOAT, GraphProto, INT64, ModelProto, StringStringEntryProto, TensorProto};
use super::writer::{Initialiser, Numbers};
use crate::{Error, Result, files};

/// The field of a model that holds the graph, and its wire type.
const GRAPH: u64 = 7 << 3 | 2;

/// The field of a graph that holds an initialiser, and its wire type.
const INITIALISER: u64 = 5 << 3 | 2;

/// The field of a tensor that holds its values as bytes, and its wire type.
const RAW_DATA: u64 = 9 << 3 | 2;

/// Values in another file start at multiples of this, so that they can be mapped into memory.
const ALIGNMENT: u64 = 4096;

/// Tensors with fewer bytes stay in the model: they are sizes and axes, which readers want to know at once.
const SMALL: u64 = 1024;

/// Values that are converted to bytes at a time.
const CHUNK: usize = 1 << 14;

/// What a file will hold.
pub(super) struct Contents<'a> {
    pub(super) model: ModelProto,
    pub(super) graph: GraphProto,
    pub(super) initialisers: Vec<Initialiser<'a>>,
}

/// An initialiser's encoded fields before its values, and these if they are in the model's file.
struct Encoded<'c> {
    head: Vec<u8>,
    inside: Option<&'c Numbers<'c>>,
}

impl Contents<'_> {
    /// Writes the model to `path`, with its weights beside it if the file would have more than `most` bytes.
    pub(super) fn write(&self, path: &Path, most: u64) -> Result<()> {
        let inside: Vec<_> = self.initialisers.iter().map(Initialiser::inside).collect();
        let graph = self.graph.encode_to_vec();
        if self.length(&graph, &inside) < most {
            return self.write_model(path, &graph, &inside);
        }
        let (data, name) = beside(path)?;
        let mut offset = 0;
        let mut encoded = Vec::with_capacity(self.initialisers.len());
        let mut outside = Vec::new();
        for initialiser in &self.initialisers {
            if initialiser.numbers.bytes() < SMALL {
                encoded.push(initialiser.inside());
                continue;
            }
            let start = u64::next_multiple_of(offset, ALIGNMENT);
            encoded.push(initialiser.outside(&name, start));
            outside.push((start - offset, &initialiser.numbers));
            offset = start + initialiser.numbers.bytes();
        }
        files::replace(&data, |file| {
            for (gap, numbers) in outside {
                io::copy(&mut io::Read::take(io::repeat(0), gap), file)?;
                numbers.write(file)?;
            }
            Ok(())
        })?;
        self.write_model(path, &graph, &encoded)
    }

    fn write_model(&self, path: &Path, graph: &[u8], initialisers: &[Encoded<'_>]) -> Result<()> {
        files::replace(path, |file| {
            file.write_all(&self.model.encode_to_vec())?;
            key(file, GRAPH, graph_length(graph, initialisers))?;
            file.write_all(graph)?;
            for encoded in initialisers {
                key(file, INITIALISER, encoded.length())?;
                file.write_all(&encoded.head)?;
                if let Some(numbers) = encoded.inside {
                    key(file, RAW_DATA, numbers.bytes())?;
                    numbers.write(file)?;
                }
            }
            Ok(())
        })
    }

    fn length(&self, graph: &[u8], initialisers: &[Encoded<'_>]) -> u64 {
        self.model.encoded_len() as u64 + field(GRAPH, graph_length(graph, initialisers))
    }
}

fn graph_length(graph: &[u8], initialisers: &[Encoded<'_>]) -> u64 {
    let initialisers = initialisers
        .iter()
        .map(|encoded| field(INITIALISER, encoded.length()));
    graph.len() as u64 + initialisers.sum::<u64>()
}

impl Initialiser<'_> {
    fn head(&self) -> TensorProto {
        TensorProto {
            dims: self.dims.iter().map(|&size| size as i64).collect(),
            data_type: match self.numbers {
                Numbers::Integers(_) => INT64,
                _ => FLOAT,
            },
            name: self.name.clone(),
            ..TensorProto::default()
        }
    }

    fn inside(&self) -> Encoded<'_> {
        Encoded {
            head: self.head().encode_to_vec(),
            inside: Some(&self.numbers),
        }
    }

    fn outside(&self, file: &str, offset: u64) -> Encoded<'_> {
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: key.to_owned(),
            value,
        };
        let head = TensorProto {
            external_data: vec![
                entry("location", file.to_owned()),
                entry("offset", offset.to_string()),
                entry("length", self.numbers.bytes().to_string()),
            ],
            data_location: 1,
            ..self.head()
        };
        Encoded {
            head: head.encode_to_vec(),
            inside: None,
        }
    }
}

impl Encoded<'_> {
    fn length(&self) -> u64 {
        let values = self
            .inside
            .map_or(0, |numbers| field(RAW_DATA, numbers.bytes()));
        self.head.len() as u64 + values
    }
}

impl Numbers<'_> {
    fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Weight(values) => size_of_val(*values),
            Self::Floats(values) => size_of_val(values.as_slice()),
            Self::Integers(values) => size_of_val(values.as_slice()),
        };
        bytes as u64
    }

    fn write(&self, file: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Weight(values) => floats(values, file),
            Self::Floats(values) => floats(values, file),
            Self::Integers(values) => {
                let bytes: Vec<u8> = values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                file.write_all(&bytes)
            }
        }
    }
}

fn floats(values: &[f32], file: &mut dyn Write) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK.min(values.len()) * size_of::<f32>());
    for chunk in values.chunks(CHUNK) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
        file.write_all(&bytes)?;
    }
    Ok(())
}

/// The bytes of a field with `length` bytes of content.
fn field(key: u64, length: u64) -> u64 {
    (encoded_len_varint(key) + encoded_len_varint(length)) as u64 + length
}

fn key(file: &mut dyn Write, key: u64, length: u64) -> io::Result<()> {
    let mut bytes = Vec::new();
    encode_varint(key, &mut bytes);
    encode_varint(length, &mut bytes);
    file.write_all(&bytes)
}

/// The path of the file with values beside the model at `path`, and its name.
fn beside(path: &Path) -> Result<(PathBuf, String)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::Onnx {
        path: path.to_owned(),
        problem:
            "expected a file name in UTF-8, which the model must hold to find its weights beside it"
                .to_owned(),
    })?;
    let data = format!("{name}.data");
    Ok((path.with_file_name(&data), data))
}
