//! `limbeck init`: a recipe for two models and a data set.

use std::path::Path;

use limbeck::init::{Asked, Proposal, Request};
use limbeck::{Error, Result, files};
use serde_json::json;

use super::threads;
use crate::arguments::{Global, Init};
use crate::output::Output;

pub(crate) fn init(options: &Init, global: &Global, output: &Output) -> Result<()> {
    threads(global)?;
    if let Some(out) = options.out.as_ref().filter(|out| out.exists()) {
        return Err(Error::Data(format!(
            "`{}` exists already; choose another file or remove it",
            out.display()
        )));
    }
    let proposal = Proposal::of(&Request {
        teacher: Asked {
            model: &options.teacher,
            arch: options.teacher_arch.as_deref(),
        },
        student: Asked {
            model: &options.student,
            arch: options.student_arch.as_deref(),
        },
        data: &options.data,
    })?;
    let folder = options.out.as_deref().and_then(Path::parent);
    let recipe = proposal.to_toml(folder.unwrap_or(Path::new("")));
    if let Some(out) = &options.out {
        files::write_atomic(out, recipe.as_bytes())?;
    }
    let value = json!({ "recipe": recipe, "out": options.out, "proposal": proposal });
    output.result(&value, || match &options.out {
        None => recipe.clone(),
        Some(out) => format!(
            "the recipe is in {}; check it with `limbeck plan {0}`, run it with `limbeck run {0}`",
            out.display()
        ),
    })
}
