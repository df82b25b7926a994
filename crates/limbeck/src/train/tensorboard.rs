//! Scalars in TensorBoard's event files.
//!
//! A file is a sequence of records: the length of the data (8 bytes, little endian), its masked CRC-32C, the
//! data, and the masked CRC-32C of the data. The data is a protocol buffer `Event`, of which the
//! messages here declare the fields that are written (tensorflow/core/util/event.proto).

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::{Error, Result};

const PREFIX: &str = "events.out.tfevents.";

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<SummaryValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SessionLog.SessionStatus.START`: readers drop what an earlier session wrote at this step or later.
const START: i32 = 1;

/// An event file that grows.
#[derive(Debug)]
pub(super) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Starts a new file in `folder` for a session whose first step is `first_step`.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(super) fn create(folder: &Path, first_step: u64) -> Result<Self> {
        let seconds = now() as u64;
        let process = std::process::id();
        let mut number = 0;
        let (path, file) = loop {
            let path = folder.join(format!("{PREFIX}{seconds:010}.limbeck.{process}.{number}"));
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(Error::write(&path, source)),
            }
        };
        let mut events = Self { path, file };
        events.append(&Event {
            wall_time: now(),
            file_version: Some("brain.Event:2".to_owned()),
            ..Event::default()
        })?;
        events.append(&Event {
            wall_time: now(),
            step: first_step as i64,
            session_log: Some(SessionLog { status: START }),
            ..Event::default()
        })?;
        Ok(events)
    }

    /// Appends the values of one step.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn scalars(&mut self, step: u64, values: Vec<(String, f64)>) -> Result<()> {
        let value = values
            .into_iter()
            .map(|(tag, value)| SummaryValue {
                tag,
                simple_value: Some(value as f32),
            })
            .collect();
        self.append(&Event {
            wall_time: now(),
            step: step as i64,
            summary: Some(Summary { value }),
            ..Event::default()
        })
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// If the file cannot be synced.
    pub(super) fn sync(&self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|source| Error::write(&self.path, source))
    }

    fn append(&mut self, event: &Event) -> Result<()> {
        self.file
            .write_all(&record(&event.encode_to_vec()))
            .map_err(|source| Error::write(&self.path, source))
    }
}

/// The names and sizes of the event files in `folder`, oldest first.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn files(folder: &Path) -> Result<Vec<(String, u64)>> {
    let list = || -> std::io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && name.starts_with(PREFIX)
            {
                found.push((name, entry.metadata()?.len()));
            }
        }
        found.sort();
        Ok(found)
    };
    list().map_err(|source| Error::read(folder, source))
}

/// Cuts the event files in `folder` back to what `kept` lists, and removes the others.
///
/// # Errors
/// If the folder cannot be read or written.
pub(super) fn cut_back(folder: &Path, kept: &[(String, u64)]) -> Result<()> {
    for (name, size) in files(folder)? {
        let path = folder.join(&name);
        let result = match kept.iter().find(|(kept, _)| *kept == name) {
            Some((_, kept)) if *kept < size => OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(*kept)),
            Some(_) => Ok(()),
            None => fs::remove_file(&path),
        };
        result.map_err(|source| Error::write(&path, source))?;
    }
    Ok(())
}

/// `data` as a record.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked(&length));
    record.extend_from_slice(data);
    record.extend_from_slice(&masked(data));
    record
}

/// The CRC-32C of `bytes`, rotated and shifted so that it is not the checksum of data that holds one.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
        .to_le_bytes()
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    /// The known CRC-32C of "123456789" is e3069283; masking is a rotation by 15 and an addition.
    #[test]
    fn checksums_are_masked() {
        let expected = 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked(b"123456789"), expected.to_le_bytes());
    }

    /// Wire format by hand: field 1 as a double, field 2 as a varint, field 5 holding a summary.
    #[test]
    fn an_event_is_encoded_as_its_fields() {
        let event = Event {
            wall_time: 1.0,
            step: 3,
            summary: Some(Summary {
                value: vec![SummaryValue {
                    tag: "a".to_owned(),
                    simple_value: Some(0.5),
                }],
            }),
            ..Event::default()
        };
        let expected = [
            &[0x09][..],
            &1.0f64.to_le_bytes(),
            &[0x10, 3, 0x2a, 10, 0x0a, 8, 0x0a, 1, b'a', 0x15],
            &0.5f32.to_le_bytes(),
        ]
        .concat();
        assert_eq!(event.encode_to_vec(), expected);
    }

    #[test]
    fn files_are_cut_back_to_what_a_checkpoint_saw() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = EventFile::create(folder.path(), 1).unwrap();
        first.scalars(1, vec![("loss".to_owned(), 1.0)]).unwrap();
        let kept = files(folder.path()).unwrap();
        first.scalars(2, vec![("loss".to_owned(), 0.5)]).unwrap();
        let _second = EventFile::create(folder.path(), 2).unwrap();
        assert_eq!(files(folder.path()).unwrap().len(), 2);
        cut_back(folder.path(), &kept).unwrap();
        assert_eq!(files(folder.path()).unwrap(), kept);
    }
}
