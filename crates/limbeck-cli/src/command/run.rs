//! `limbeck run`: the main job.

use std::path::PathBuf;
use std::sync::Arc;

use limbeck::experiment::{self, Settings};
use limbeck::recipe::{Plan, RawRecipe};
use limbeck::report::Summary;
use limbeck::{Error, Result};

use super::{interrupt, threads};
use crate::arguments::{Global, Run};
use crate::output::Output;
use crate::progress::Watcher;
use crate::summary;

pub(crate) fn run(options: &Run, global: &Global, output: &Output) -> Result<()> {
    let mut overrides = options.set.clone();
    if !options.seeds.is_empty() {
        overrides.push(format!("seeds={:?}", options.seeds));
    }
    let plan = read(&options.recipe, &overrides)?;
    let out = options
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(&plan.name));
    let summary = execute(&plan, &out, options.resume, global, output)?;
    output.result(&summary, || summary::text(&summary, &out))
}

/// Reads and checks a recipe, with the keys that the command line overrides.
pub(super) fn read(recipe: &std::path::Path, overrides: &[String]) -> Result<Plan> {
    let mut raw = RawRecipe::read(recipe)?;
    for assignment in overrides {
        raw.set(assignment)?;
    }
    let stem = recipe
        .file_stem()
        .map_or("run".into(), |stem| stem.to_string_lossy());
    Plan::check(&raw, &stem)
}

/// Runs a plan, watched on the terminal.
pub(super) fn execute(
    plan: &Plan,
    out: &std::path::Path,
    resume: bool,
    global: &Global,
    output: &Output,
) -> Result<Summary> {
    let threads = threads(global)?;
    if resume && !out.is_dir() {
        return Err(Error::RunDirectory {
            path: out.to_owned(),
            reason: "does not exist, so there is nothing to resume; leave out `--resume`"
                .to_owned(),
        });
    }
    let interrupt = interrupt()?;
    let mut watcher = Watcher::new(output, Arc::clone(&interrupt));
    experiment::run(
        plan,
        Settings {
            out,
            resume,
            device: global.device.unwrap_or(plan.device),
            threads,
            interrupt,
            observer: &mut watcher,
        },
    )
}
