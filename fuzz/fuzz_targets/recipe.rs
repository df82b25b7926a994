//! Checks any text as a recipe; what follows a NUL character overrides keys, as `--set` does.
//!
//! `cargo +nightly fuzz run recipe fuzz/corpus/recipe recipes -- -rss_limit_mb=1024 -malloc_limit_mb=512`

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use limbeck::recipe::{Plan, RawRecipe};

fuzz_target!(|text: &str| {
    let mut parts = text.split('\0');
    let recipe = parts.next().unwrap_or_default();
    let Ok(mut raw) = RawRecipe::parse(recipe, Path::new("/nowhere")) else {
        return;
    };
    for assignment in parts {
        let _ = raw.set(assignment).map_err(|error| error.to_string());
    }
    let _ = Plan::check(&raw, "fuzzed").map_err(|error| error.to_string());
});
