//! `limbeck demo`: a distilled student from embedded real data, with report.

use std::path::Path;

use limbeck::Result;
use limbeck::recipe::{Plan, RawRecipe};

use super::run::execute;
use crate::arguments::{Demo, Global};
use crate::output::Output;
use crate::summary;

/// The recipe of the demo; `limbeck run` does the same with this file.
const RECIPE: &str = include_str!("../../../../recipes/demo.toml");

pub(crate) fn demo(options: &Demo, global: &Global, output: &Output) -> Result<()> {
    let raw = RawRecipe::parse(RECIPE, Path::new(""))?;
    let plan = Plan::check(&raw, "demo")?;
    let summary = execute(&plan, &options.out, options.resume, global, output)?;
    output.result(&summary, || summary::text(&summary, &options.out))
}
