//! `limbeck plan`: what a run needs, before any work.

use limbeck::Result;
use limbeck::experiment::{Prepared, estimate};

use super::{run, threads};
use crate::arguments::{Global, Plan};
use crate::output::{Output, bytes, duration, table, thousands};

pub(crate) fn plan(options: &Plan, global: &Global, output: &Output) -> Result<()> {
    threads(global)?;
    let plan = run::read(&options.recipe, &options.set)?;
    let prepared = Prepared::of(&plan)?;
    let estimate = estimate(&plan, &prepared, global.device.unwrap_or(plan.device))?;
    output.result(&estimate, || {
        let rows = vec![
            vec!["training rows".to_owned(), thousands(estimate.train_rows)],
            vec!["trainings".to_owned(), estimate.trainings.to_string()],
            vec!["steps, all trainings".to_owned(), thousands(estimate.steps)],
            vec![
                "student parameters".to_owned(),
                thousands(estimate.student_parameters),
            ],
            vec![
                "teacher parameters".to_owned(),
                thousands(estimate.teacher_parameters),
            ],
            vec!["memory, about".to_owned(), bytes(estimate.memory_bytes)],
            vec!["disk, about".to_owned(), bytes(estimate.disk_bytes)],
            vec!["time, about".to_owned(), duration(estimate.seconds)],
        ];
        let mut text = table(&["what", "needed"], rows, &[1]);
        text.push_str(&format!(
            "\n\nmeasured on {}: student step {:.2} ms, teacher forward {:.2} ms, at batch {}",
            estimate.device, estimate.student_step_ms, estimate.teacher_forward_ms, estimate.batch
        ));
        for note in &estimate.notes {
            text.push_str(&format!("\nnote: {note}"));
        }
        text
    })
}
