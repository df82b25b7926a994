//! Reads attributes: the value must be in the field that the declared type names, and in no other.

use super::Outcome;
use super::node::Attribute;
use super::read::Reader;
use super::wire::{Field, Fields};

/// The names of `AttributeProto.AttributeType` and the field that holds each type's value.
const TYPES: [(i64, &str, u64); 14] = [
    (1, "FLOAT", 2),
    (2, "INT", 3),
    (3, "STRING", 4),
    (4, "TENSOR", 5),
    (5, "GRAPH", 6),
    (6, "FLOATS", 7),
    (7, "INTS", 8),
    (8, "STRINGS", 9),
    (9, "TENSORS", 10),
    (10, "GRAPHS", 11),
    (11, "SPARSE_TENSOR", 22),
    (12, "SPARSE_TENSORS", 23),
    (13, "TYPE_PROTO", 14),
    (14, "TYPE_PROTOS", 15),
];

/// The field that refers to an attribute of an enclosing function.
const REFERENCE: u64 = 21;

impl Reader<'_> {
    /// The name and the value of an attribute.
    pub(super) fn attribute(&mut self, fields: Fields<'_>) -> Outcome<(String, Attribute)> {
        let mut name = "";
        let mut declared = 0;
        let mut values = Vec::new();
        for field in fields {
            let field = field?;
            match field.number {
                1 => name = field.text()?,
                20 => declared = field.integer()?,
                REFERENCE if !field.text()?.is_empty() => {
                    return Err(format!(
                        "attribute `{name}` refers to an attribute of a function, outside of any"
                    ));
                }
                2..=11 | 14 | 15 | 22 | 23 => {
                    self.charge(size_of_val(&field))?;
                    values.push(field);
                }
                _ => {}
            }
        }
        let wrong = |problem: String| format!("attribute `{name}` {problem}");
        let Some(&(_, kind, number)) = TYPES.iter().find(|(known, ..)| *known == declared) else {
            return Err(wrong(format!("declares the unknown type {declared}")));
        };
        if let Some(other) = values.iter().find(|field| field.number != number) {
            let got = TYPES.iter().find(|(.., field)| *field == other.number);
            let got = got.map_or("another type", |(_, kind, _)| kind);
            return Err(wrong(format!("declares {kind} but holds {got}")));
        }
        let last = values.last();
        let value = match kind {
            "FLOAT" => Attribute::Float(last.map_or(Ok(0.0), Field::float)?),
            "INT" => Attribute::Int(last.map_or(Ok(0), Field::integer)?),
            "STRING" => Attribute::Text(self.own(last.map_or(Ok(""), Field::text)?)?),
            "TENSOR" => match values.as_slice() {
                [one] => Attribute::Tensor(self.tensor(one.message()?).map_err(wrong)?),
                _ => return Err(wrong(format!("declares TENSOR but holds {}", values.len()))),
            },
            "FLOATS" => {
                let mut floats = Vec::new();
                for field in &values {
                    self.charge(field.len())?;
                    floats.extend(field.floats()?);
                }
                Attribute::Floats(floats)
            }
            "INTS" => {
                let mut integers = Vec::new();
                for field in &values {
                    self.charge(field.len().saturating_mul(size_of::<i64>()))?;
                    integers.extend(field.integers()?);
                }
                Attribute::Ints(integers)
            }
            "STRINGS" => {
                let texts = values.iter().map(|field| self.own(field.text()?));
                Attribute::Texts(texts.collect::<Outcome<_>>()?)
            }
            "TENSORS" => {
                let tensors = values.iter().map(|field| self.tensor(field.message()?));
                Attribute::Tensors(tensors.collect::<Outcome<_>>().map_err(wrong)?)
            }
            "GRAPH" | "GRAPHS" => {
                return Err(wrong(
                    "holds a graph of its own; branches and loops (If, Loop, Scan) are not supported".to_owned(),
                ));
            }
            other => return Err(wrong(format!("is a {other}, which is not supported"))),
        };
        Ok((self.own(name)?, value))
    }
}
