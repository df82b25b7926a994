//! Element types of files and their conversion to `f32`.

/// The type of a tensor's elements in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    /// A type without a real value in `f32`: its name and its size in bytes.
    Unsupported(&'static str, usize),
}

/// The order of the bytes within an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

impl Element {
    /// Bytes per element, at least 1.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::Unsupported(_, size) => size,
        }
    }

    /// The elements in `bytes` as `f32`, rounded to the nearest where they do not fit; a last part of an
    /// element is left out.
    ///
    /// # Errors
    /// If the type has no value in `f32`.
    pub(crate) fn decode(self, bytes: &[u8], order: ByteOrder) -> Result<Vec<f32>, String> {
        macro_rules! numbers {
            ($type:ty) => {{
                const SIZE: usize = size_of::<$type>();
                let from = match order {
                    ByteOrder::Little => <$type>::from_le_bytes,
                    ByteOrder::Big => <$type>::from_be_bytes,
                };
                let (elements, _) = bytes.as_chunks::<SIZE>();
                Ok(elements
                    .iter()
                    .map(|&element| from(element) as f32)
                    .collect())
            }};
        }
        macro_rules! halves {
            ($type:ty) => {{
                let from = match order {
                    ByteOrder::Little => <$type>::from_le_bytes,
                    ByteOrder::Big => <$type>::from_be_bytes,
                };
                let (elements, _) = bytes.as_chunks::<2>();
                Ok(elements
                    .iter()
                    .map(|&element| from(element).to_f32())
                    .collect())
            }};
        }
        match self {
            Self::F64 => numbers!(f64),
            Self::F32 => numbers!(f32),
            Self::F16 => halves!(half::f16),
            Self::BF16 => halves!(half::bf16),
            Self::I64 => numbers!(i64),
            Self::I32 => numbers!(i32),
            Self::I16 => numbers!(i16),
            Self::I8 => numbers!(i8),
            Self::U64 => numbers!(u64),
            Self::U32 => numbers!(u32),
            Self::U16 => numbers!(u16),
            Self::U8 => numbers!(u8),
            Self::Bool => Ok(bytes.iter().map(|&byte| f32::from(byte != 0)).collect()),
            Self::Unsupported(name, _) => Err(format!(
                "its elements are of type {name}; save it as float32"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn little(element: Element, bytes: &[u8]) -> Vec<f32> {
        element.decode(bytes, ByteOrder::Little).unwrap()
    }

    #[test]
    fn every_type_has_its_value() {
        assert_eq!(little(Element::F64, &(-1.5f64).to_le_bytes()), [-1.5]);
        assert_eq!(
            little(Element::F32, &f32::MIN_POSITIVE.to_le_bytes()),
            [f32::MIN_POSITIVE]
        );
        assert_eq!(little(Element::F16, &[0x00, 0x3c, 0x00, 0xc0]), [1.0, -2.0]);
        assert_eq!(
            little(Element::BF16, &[0x80, 0x3f, 0x40, 0xc0]),
            [1.0, -3.0]
        );
        assert_eq!(little(Element::I64, &(-7i64).to_le_bytes()), [-7.0]);
        assert_eq!(little(Element::I8, &[0xff, 0x01]), [-1.0, 1.0]);
        assert_eq!(little(Element::U8, &[0xff, 0x01]), [255.0, 1.0]);
        assert_eq!(
            little(Element::U64, &u64::MAX.to_le_bytes()),
            [18_446_744_073_709_551_615.0]
        );
        assert_eq!(little(Element::Bool, &[0, 1, 2]), [0.0, 1.0, 1.0]);
    }

    #[test]
    fn big_endian_reverses_each_element() {
        let decode =
            |element: Element, bytes: &[u8]| element.decode(bytes, ByteOrder::Big).unwrap();
        assert_eq!(decode(Element::F32, &[0x3f, 0x80, 0, 0]), [1.0]);
        assert_eq!(decode(Element::F16, &[0x3c, 0]), [1.0]);
        assert_eq!(decode(Element::BF16, &[0x3f, 0x80]), [1.0]);
        assert_eq!(decode(Element::I16, &[0xff, 0xfe]), [-2.0]);
    }

    #[test]
    fn a_type_without_a_value_is_named() {
        let error = Element::Unsupported("complex64", 8).decode(&[0; 8], ByteOrder::Little);
        assert!(error.unwrap_err().contains("complex64"));
    }
}
