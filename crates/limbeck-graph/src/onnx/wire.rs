//! The wire format of protocol buffers, read in place: fields as numbers and ranges of the file.
//!
//! A generated decoder would forget fields that it does not know and the places of those it knows; both are
//! needed to write a file back that differs in the weights alone.

use std::ops::Range;

use super::Outcome;

/// The fields of one message, in the order of the file.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    file: &'a [u8],
    at: usize,
    end: usize,
}

/// One occurrence of a field.
#[derive(Debug)]
pub(super) struct Field<'a> {
    file: &'a [u8],
    /// The number that the message's declaration gives it.
    pub(super) number: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// The value and where it lies.
    Varint(u64, Range<usize>),
    Fixed32(Range<usize>),
    Fixed64(Range<usize>),
    Bytes(Range<usize>),
}

impl<'a> Fields<'a> {
    /// The fields of the message in `range` of `file`.
    pub(super) fn new(file: &'a [u8], range: Range<usize>) -> Self {
        Self {
            file,
            at: range.start,
            end: range.end,
        }
    }

    /// Where the next field begins.
    pub(super) const fn position(&self) -> usize {
        self.at
    }

    fn field(&mut self) -> Outcome<Field<'a>> {
        let start = self.at;
        let key = self.varint()?;
        let content = match key & 7 {
            0 => {
                let start = self.at;
                let value = self.varint()?;
                Content::Varint(value, start..self.at)
            }
            1 => Content::Fixed64(self.take(8)?),
            2 => {
                let length = self.varint()?;
                Content::Bytes(self.take(length)?)
            }
            5 => Content::Fixed32(self.take(4)?),
            other => {
                return Err(format!(
                    "byte {start} starts a field of wire type {other}, which ONNX has not"
                ));
            }
        };
        match key >> 3 {
            0 => Err(format!("byte {start} starts a field with the number 0")),
            number => Ok(Field {
                file: self.file,
                number,
                content,
            }),
        }
    }

    fn varint(&mut self) -> Outcome<u64> {
        varint(self.file, &mut self.at, self.end)
    }

    fn take(&mut self, length: u64) -> Outcome<Range<usize>> {
        let start = self.at;
        let left = self.end - start;
        match usize::try_from(length) {
            Ok(length) if length <= left => {
                self.at = start + length;
                Ok(start..self.at)
            }
            _ => Err(format!(
                "at byte {start}, {length} bytes are claimed but {left} follow; the file is truncated or of another \
                 format"
            )),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Outcome<Field<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.at = self.end;
        }
        Some(field)
    }
}

impl<'a> Field<'a> {
    /// The bytes of a message, a text or a list.
    pub(super) fn bytes(&self) -> Outcome<Range<usize>> {
        match &self.content {
            Content::Bytes(range) => Ok(range.clone()),
            _ => Err(self.wrong("bytes")),
        }
    }

    /// The fields of a message.
    pub(super) fn message(&self) -> Outcome<Fields<'a>> {
        Ok(Fields::new(self.file, self.bytes()?))
    }

    /// An integer.
    pub(super) fn integer(&self) -> Outcome<i64> {
        match self.content {
            Content::Varint(value, _) => Ok(value.cast_signed()),
            _ => Err(self.wrong("an integer")),
        }
    }

    /// A float.
    pub(super) fn float(&self) -> Outcome<f32> {
        match &self.content {
            Content::Fixed32(range) => Ok(float(&self.file[range.clone()])),
            _ => Err(self.wrong("a float")),
        }
    }

    /// A text.
    pub(super) fn text(&self) -> Outcome<&'a str> {
        let range = self.bytes()?;
        std::str::from_utf8(&self.file[range.clone()])
            .map_err(|_| format!("the text at byte {} is not UTF-8", range.start))
    }

    /// The part of a list of integers that this occurrence holds: one of them, or many packed.
    pub(super) fn integers(&self) -> Outcome<Vec<i64>> {
        match &self.content {
            Content::Varint(value, _) => Ok(vec![value.cast_signed()]),
            Content::Bytes(range) => integers(self.file, range.clone()),
            _ => Err(self.wrong("integers")),
        }
    }

    /// The part of a list of floats that this occurrence holds: one of them, or many packed.
    pub(super) fn floats(&self) -> Outcome<Vec<f32>> {
        let bytes = &self.file[self.fixed(4)?];
        Ok(bytes.chunks_exact(4).map(float).collect())
    }

    /// Where integers of variable length lie: one of them, or many packed.
    pub(super) fn packed(&self) -> Outcome<Range<usize>> {
        match &self.content {
            Content::Varint(_, range) | Content::Bytes(range) => Ok(range.clone()),
            _ => Err(self.wrong("integers")),
        }
    }

    /// Where elements of `size` bytes lie, 4 or 8: one of them, or many packed.
    pub(super) fn fixed(&self, size: usize) -> Outcome<Range<usize>> {
        match &self.content {
            Content::Fixed32(range) if size == 4 => Ok(range.clone()),
            Content::Fixed64(range) if size == 8 => Ok(range.clone()),
            Content::Bytes(range) if range.len().is_multiple_of(size) => Ok(range.clone()),
            Content::Bytes(range) => Err(format!(
                "{} bytes at byte {} do not hold whole elements of {size} bytes",
                range.len(),
                range.start
            )),
            _ => Err(self.wrong("floats")),
        }
    }

    fn wrong(&self, expected: &str) -> String {
        let got = match self.content {
            Content::Varint(..) => "an integer",
            Content::Fixed32(_) => "4 bytes",
            Content::Fixed64(_) => "8 bytes",
            Content::Bytes(_) => "bytes",
        };
        format!("field {} holds {got}, expected {expected}", self.number)
    }

    /// How many bytes this occurrence holds; a bound for what is decoded from it.
    pub(super) fn len(&self) -> usize {
        match &self.content {
            Content::Varint(..) => 1,
            Content::Fixed32(range) | Content::Fixed64(range) | Content::Bytes(range) => {
                range.len()
            }
        }
    }
}

/// All integers of a packed list.
pub(super) fn integers(file: &[u8], range: Range<usize>) -> Outcome<Vec<i64>> {
    let mut at = range.start;
    let mut values = Vec::with_capacity(count(&file[range.clone()]));
    while at < range.end {
        values.push(varint(file, &mut at, range.end)?.cast_signed());
    }
    Ok(values)
}

/// The number of integers in a packed list: each ends with a byte below 128.
pub(super) fn count(packed: &[u8]) -> usize {
    packed.iter().filter(|byte| **byte < 0x80).count()
}

fn varint(file: &[u8], at: &mut usize, end: usize) -> Outcome<u64> {
    let start = *at;
    let mut value = 0;
    for (position, byte) in file[start..end].iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if position == 9 && bits > 1 {
            break;
        }
        value |= bits << (7 * position);
        if *byte < 0x80 {
            *at = start + position + 1;
            return Ok(value);
        }
    }
    Err(if end - start < 10 {
        format!("the file is truncated: the number at byte {start} does not end")
    } else {
        format!("the number at byte {start} has more than 64 bits")
    })
}

fn float(bytes: &[u8]) -> f32 {
    bytes
        .first_chunk()
        .map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
}
