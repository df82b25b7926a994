//! Tensors whose values stay in the file until they are asked for.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::element::ElementType;
use super::external::{self, Located};
use super::source::Source;
use super::{Outcome, wire};
use crate::weights::HostTensor;
use crate::weights::element::{ByteOrder, Element};
use crate::{Error, Result};

/// Where a tensor's values are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Payload {
    /// Little-endian elements of fixed size in these parts of the model file, one after the other.
    Fixed(Vec<Range<usize>>),
    /// Packed variable-length integers in these parts of the model file.
    Varints(Vec<Range<usize>>),
    /// Little-endian elements of fixed size in another file.
    External { file: Arc<Located>, offset: u64 },
    /// Values of a type that is not decoded.
    Opaque,
}

/// An initialiser or a tensor attribute: checked to be complete when the model is read, decoded on demand.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The name; empty for most attributes.
    pub name: String,
    /// The dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The type of the elements.
    pub element: ElementType,
    pub(super) payload: Payload,
    pub(super) source: Arc<Source>,
}

impl Tensor {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements (a dimension is zero).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values of a tensor of real numbers; `float64` is rounded to the nearest `f32`.
    ///
    /// # Errors
    /// If the elements are not of a float type, or an external file cannot be read any more.
    pub fn floats(&self) -> Result<HostTensor> {
        let element = match self.element.element() {
            Some(element) if self.element.is_float() => element,
            _ => return Err(self.error("expected real numbers")),
        };
        let values = match &self.payload {
            Payload::Varints(parts) => {
                let mut bits = Vec::with_capacity(self.len());
                for value in self.integers_in(parts)? {
                    // Halves are stored as the unsigned value of their 16 bits.
                    let half = u16::try_from(value)
                        .map_err(|_| self.error(&format!("{value} is not a pattern of 16 bits")))?;
                    bits.extend_from_slice(&half.to_le_bytes());
                }
                self.decoded(element, &bits)?
            }
            _ => self.fixed(element, |bytes| self.decoded(element, bytes))?,
        };
        HostTensor::new(self.shape.clone(), values)
    }

    /// The values of a tensor of integers or truth values (0 and 1), row major.
    ///
    /// # Errors
    /// If the elements are of another type, a value does not fit, or an external file cannot be read any more.
    pub fn integers(&self) -> Result<Vec<i64>> {
        let element = match self.element.element() {
            Some(element) if !self.element.is_float() => element,
            _ => return Err(self.error("expected integers")),
        };
        match &self.payload {
            Payload::Varints(parts) => {
                let values = self.integers_in(parts)?;
                let fits = |value: &i64| in_range(element, *value);
                match values.iter().find(|value| !fits(value)) {
                    Some(value) => Err(self.error(&format!("the value {value} does not fit"))),
                    None => Ok(values),
                }
            }
            _ => self.fixed(element, |bytes| {
                integers(element, bytes).map_err(|problem| self.error(&problem))
            }),
        }
    }

    fn fixed<T>(
        &self,
        element: Element,
        decode: impl Fn(&[u8]) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        match &self.payload {
            Payload::Fixed(parts) => match parts.as_slice() {
                [part] => decode(&self.part(part)?),
                parts => {
                    let mut values = Vec::with_capacity(self.len());
                    for part in parts {
                        values.extend(decode(&self.part(part)?)?);
                    }
                    Ok(values)
                }
            },
            Payload::External { file, offset } => {
                decode(&external::read(file, *offset, self.len() * element.size())?)
            }
            Payload::Varints(_) | Payload::Opaque => Err(self.error("its values are not decoded")),
        }
    }

    fn part(&self, part: &Range<usize>) -> Result<Cow<'_, [u8]>> {
        let read = self.source.part(part.clone());
        read.map_err(|error| self.source.unreadable(error))
    }

    fn decoded(&self, element: Element, bytes: &[u8]) -> Result<Vec<f32>> {
        element
            .decode(bytes, ByteOrder::Little)
            .map_err(|problem| self.error(&problem))
    }

    fn integers_in(&self, parts: &[Range<usize>]) -> Result<Vec<i64>> {
        let mut values = Vec::with_capacity(self.len());
        for part in parts {
            let bytes = self.part(part)?;
            let more = wire::integers(&bytes, 0..bytes.len());
            values.extend(more.map_err(|problem| self.error(&problem))?);
        }
        Ok(values)
    }

    pub(super) fn error(&self, problem: &str) -> Error {
        let Self { name, element, .. } = self;
        self.source
            .error(&format!("tensor `{name}` ({element}): {problem}"))
    }
}

/// Whether an integer that was stored with variable length is one of the element's; truth values may be any.
fn in_range(element: Element, value: i64) -> bool {
    match element {
        Element::I32 => i32::try_from(value).is_ok(),
        Element::I16 => i16::try_from(value).is_ok(),
        Element::I8 => i8::try_from(value).is_ok(),
        Element::U16 => u16::try_from(value).is_ok(),
        Element::U8 => u8::try_from(value).is_ok(),
        Element::U32 => u32::try_from(value).is_ok(),
        Element::Bool => matches!(value, 0 | 1),
        Element::U64 => value >= 0,
        _ => true,
    }
}

fn integers(element: Element, bytes: &[u8]) -> Outcome<Vec<i64>> {
    macro_rules! numbers {
        ($type:ty) => {{
            let (elements, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
            let value = |bytes: &[u8; size_of::<$type>()]| <$type>::from_le_bytes(*bytes);
            Ok(elements
                .iter()
                .map(|bytes| i64::from(value(bytes)))
                .collect())
        }};
    }
    match element {
        Element::I64 => numbers!(i64),
        Element::I32 => numbers!(i32),
        Element::I16 => numbers!(i16),
        Element::I8 => numbers!(i8),
        Element::U32 => numbers!(u32),
        Element::U16 => numbers!(u16),
        Element::U8 => numbers!(u8),
        Element::Bool => Ok(bytes.iter().map(|byte| i64::from(*byte != 0)).collect()),
        Element::U64 => {
            let (elements, _) = bytes.as_chunks::<8>();
            let value = |bytes: &[u8; 8]| {
                let value = u64::from_le_bytes(*bytes);
                i64::try_from(value).map_err(|_| format!("the value {value} does not fit"))
            };
            elements.iter().map(value).collect()
        }
        _ => Err("expected integers".to_owned()),
    }
}
