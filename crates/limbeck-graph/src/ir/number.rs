//! Numbers that may be infinite in a format that has no infinities.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

const POSITIVE: &str = "infinity";
const NEGATIVE: &str = "-infinity";

/// A finite number as it is, an infinite one as `"infinity"` or `"-infinity"`.
pub(super) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match *number {
        f64::INFINITY => serializer.serialize_str(POSITIVE),
        f64::NEG_INFINITY => serializer.serialize_str(NEGATIVE),
        finite => serializer.serialize_f64(finite),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Word(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Word(word) if word == POSITIVE => Ok(f64::INFINITY),
        Written::Word(word) if word == NEGATIVE => Ok(f64::NEG_INFINITY),
        Written::Word(word) => Err(D::Error::custom(format!(
            "expected a number, \"{POSITIVE}\" or \"{NEGATIVE}\", got \"{word}\""
        ))),
    }
}
