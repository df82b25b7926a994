//! Reads any bytes as an IDX file.
//!
//! `cargo +nightly fuzz run idx -- -rss_limit_mb=1024 -malloc_limit_mb=512`

#![no_main]

use libfuzzer_sys::fuzz_target;
use limbeck::data::idx::{Values, parse};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(array) = parse(bytes) {
        let values = match &array.values {
            Values::U8(values) => values.len(),
            Values::I8(values) => values.len(),
            Values::I16(values) => values.len(),
            Values::I32(values) => values.len(),
            Values::F32(values) => values.len(),
            Values::F64(values) => values.len(),
        };
        assert_eq!(values, array.dimensions.iter().product::<usize>());
    }
});
