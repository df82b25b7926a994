//! Element types of ONNX tensors.

use std::fmt;

use crate::weights::element::Element;

/// The type of a tensor's elements (`TensorProto.DataType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElementType {
    /// `FLOAT`.
    F32,
    /// `DOUBLE`.
    F64,
    /// `FLOAT16`.
    F16,
    /// `BFLOAT16`.
    BF16,
    /// `INT64`.
    I64,
    /// `INT32`.
    I32,
    /// `INT16`.
    I16,
    /// `INT8`.
    I8,
    /// `UINT64`.
    U64,
    /// `UINT32`.
    U32,
    /// `UINT16`.
    U16,
    /// `UINT8`.
    U8,
    /// `BOOL`.
    Bool,
    /// Any other type, by its number: texts, complex numbers, numbers below 8 bits.
    Other(i32),
}

/// The names of the other types, by their number.
const OTHERS: [(i32, &str); 15] = [
    (0, "undefined"),
    (8, "string"),
    (14, "complex64"),
    (15, "complex128"),
    (17, "float8e4m3fn"),
    (18, "float8e4m3fnuz"),
    (19, "float8e5m2"),
    (20, "float8e5m2fnuz"),
    (21, "uint4"),
    (22, "int4"),
    (23, "float4e2m1"),
    (24, "float8e8m0"),
    (25, "uint2"),
    (26, "int2"),
    (27, "float6e2m3"),
];

impl ElementType {
    /// The type of ONNX's number `number`.
    pub(super) const fn from_number(number: i32) -> Self {
        match number {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            4 => Self::U16,
            5 => Self::I16,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            12 => Self::U32,
            13 => Self::U64,
            16 => Self::BF16,
            other => Self::Other(other),
        }
    }

    /// Whether its values are real numbers that [`Tensor::floats`](super::Tensor::floats) decodes.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::BF16)
    }

    /// The type as the weights' readers know it; none for the other types.
    pub(super) const fn element(self) -> Option<Element> {
        Some(match self {
            Self::F32 => Element::F32,
            Self::F64 => Element::F64,
            Self::F16 => Element::F16,
            Self::BF16 => Element::BF16,
            Self::I64 => Element::I64,
            Self::I32 => Element::I32,
            Self::I16 => Element::I16,
            Self::I8 => Element::I8,
            Self::U64 => Element::U64,
            Self::U32 => Element::U32,
            Self::U16 => Element::U16,
            Self::U8 => Element::U8,
            Self::Bool => Element::Bool,
            Self::Other(_) => return None,
        })
    }

    /// The number of the field of `TensorProto` that holds its values, where they are not raw.
    pub(super) const fn field(self) -> Option<u64> {
        Some(match self {
            Self::F32 => 4,
            Self::F64 => 10,
            Self::I64 => 7,
            Self::U64 | Self::U32 => 11,
            Self::Other(_) => return None,
            _ => 5,
        })
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::I16 => "int16",
            Self::I8 => "int8",
            Self::U64 => "uint64",
            Self::U32 => "uint32",
            Self::U16 => "uint16",
            Self::U8 => "uint8",
            Self::Bool => "bool",
            Self::Other(number) => {
                return match OTHERS.iter().find(|(known, _)| known == number) {
                    Some((_, name)) => formatter.write_str(name),
                    None => write!(formatter, "type {number}"),
                };
            }
        })
    }
}
