//! Reads tensors: finds their values and checks that they are complete, without decoding them.

use std::ops::Range;
use std::sync::Arc;

use super::Outcome;
use super::element::ElementType;
use super::external;
use super::read::{Reader, element_type, pair};
use super::tensor::{Payload, Tensor};
use super::wire::{self, Field, Fields};
use crate::weights::element::Element;

/// The most dimensions of a tensor; ONNX's own operators know no more than a few.
const MAX_RANK: usize = 32;

/// The field of values of any type as bytes.
const RAW: u64 = 9;

impl Reader<'_> {
    /// A tensor, whose values stay where they are.
    pub(super) fn tensor(&mut self, fields: Fields<'_>) -> Outcome<Tensor> {
        self.charge(size_of::<Tensor>())?;
        let mut tensor = Tensor {
            name: String::new(),
            shape: Vec::new(),
            element: ElementType::Other(0),
            payload: Payload::Opaque,
            source: Arc::clone(self.source),
        };
        let mut dims = Vec::new();
        let mut values = Vec::new();
        let mut external = External::default();
        for field in fields {
            let field = field?;
            match field.number {
                1 => {
                    self.charge(field.len().saturating_mul(size_of::<i64>()))?;
                    dims.extend(field.integers()?);
                }
                2 => tensor.element = element_type(&field)?,
                3 => return Err("a tensor in segments is not supported".to_owned()),
                8 => tensor.name = self.own(field.text()?)?,
                13 => external.take(field.message()?)?,
                14 => external.used = field.integer()? == 1,
                4..=7 | RAW..=11 => {
                    self.charge(size_of_val(&field))?;
                    values.push(field);
                }
                _ => {}
            }
        }
        self.complete(&mut tensor, &dims, &values, &external)
            .map_err(|problem| {
                let Tensor { name, element, .. } = &tensor;
                format!("tensor `{name}` ({element}): {problem}")
            })?;
        Ok(tensor)
    }

    fn complete(
        &mut self,
        tensor: &mut Tensor,
        dims: &[i64],
        values: &[Field<'_>],
        external: &External<'_>,
    ) -> Outcome<()> {
        tensor.shape = shape(dims)?;
        let count = tensor
            .shape
            .iter()
            .try_fold(1usize, |count, &dimension| count.checked_mul(dimension));
        let element = tensor.element.element();
        let bytes = count.and_then(|count| count.checked_mul(element.map_or(1, Element::size)));
        let (Some(count), Some(bytes)) = (count, bytes) else {
            return Err(format!("the dimensions {dims:?} are too large"));
        };
        if tensor.element == ElementType::Other(0) {
            return Err("it has no element type".to_owned());
        }
        if external.used {
            if !values.is_empty() {
                return Err("it has values both inside the model and in another file".to_owned());
            }
            if element.is_some() {
                tensor.payload = self.outside(external, bytes)?;
            }
            return Ok(());
        }
        let Some(typed) = tensor.element.field() else {
            return Ok(());
        };
        let number = values.first().map_or(RAW, |field| field.number);
        if let Some(other) = values.iter().find(|field| field.number != number) {
            return Err(format!(
                "it has values in both fields {number} and {}",
                other.number
            ));
        }
        if number != RAW && number != typed {
            return Err(format!(
                "its values are in field {number}, expected {RAW} or {typed}"
            ));
        }
        if number == RAW && values.len() > 1 {
            return Err("it has raw values twice".to_owned());
        }
        self.charge(values.len().saturating_mul(size_of::<Range<usize>>()))?;
        let fixed = match number {
            RAW => Some(1),
            4 => Some(4),
            10 => Some(8),
            _ => None,
        };
        let parts = values.iter().map(|field| match fixed {
            Some(size) if number != RAW => field.fixed(size),
            Some(_) => field.bytes(),
            None => field.packed(),
        });
        let parts: Vec<_> = parts.collect::<Outcome<_>>()?;
        let file = self.bytes;
        let (got, wanted, unit) = if fixed.is_some() {
            (parts.iter().map(Range::len).sum(), bytes, "bytes")
        } else {
            let counts = parts.iter().map(|part| wire::count(&file[part.clone()]));
            (counts.sum::<usize>(), count, "values")
        };
        if got != wanted {
            return Err(format!(
                "the dimensions {dims:?} ask for {wanted} {unit}, got {got}"
            ));
        }
        tensor.payload = match fixed {
            Some(_) => Payload::Fixed(parts),
            None => Payload::Varints(parts),
        };
        Ok(())
    }

    fn outside(&mut self, external: &External<'_>, bytes: usize) -> Outcome<Payload> {
        let location = external.location;
        let file = match self.files.get(location) {
            Some(file) => Arc::clone(file),
            None => {
                let file = Arc::new(external::locate(&self.source.path, location)?);
                let location = self.own(location)?;
                self.files.insert(location, Arc::clone(&file));
                file
            }
        };
        let offset = number("offset", external.offset)?.unwrap_or(0);
        let wanted = bytes as u64;
        if let Some(length) = number("length", external.length)?
            && length != wanted
        {
            return Err(format!(
                "its external data claims {length} bytes, expected {wanted}"
            ));
        }
        match offset.checked_add(wanted) {
            Some(end) if end <= file.length => Ok(Payload::External { file, offset }),
            _ => Err(format!(
                "its {wanted} bytes from byte {offset} on end after the file `{location}` of {} bytes",
                file.length
            )),
        }
    }
}

/// What a tensor says of its values in another file.
#[derive(Debug, Default)]
struct External<'a> {
    used: bool,
    location: &'a str,
    offset: Option<&'a str>,
    length: Option<&'a str>,
}

impl<'a> External<'a> {
    fn take(&mut self, fields: Fields<'a>) -> Outcome<()> {
        let (key, value) = pair(fields)?;
        match key {
            "location" => self.location = value,
            "offset" => self.offset = Some(value),
            "length" => self.length = Some(value),
            _ => {}
        }
        Ok(())
    }
}

fn number(key: &str, text: Option<&str>) -> Outcome<Option<u64>> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|_| format!("the {key} of its external data is `{text}`, expected a number"))
    };
    text.map(parse).transpose()
}

fn shape(dims: &[i64]) -> Outcome<Vec<usize>> {
    if dims.len() > MAX_RANK {
        return Err(format!(
            "it has {} dimensions, at most {MAX_RANK} are supported",
            dims.len()
        ));
    }
    dims.iter()
        .map(|&dimension| {
            usize::try_from(dimension)
                .map_err(|_| format!("the dimensions {dims:?} must be zero or more"))
        })
        .collect()
}
