//! `limbeck report`: the report again, or several runs side by side.

use limbeck::Result;
use limbeck::report;
use serde_json::json;

use crate::arguments::Report;
use crate::output::Output;

pub(crate) fn report(options: &Report, output: &Output) -> Result<()> {
    let written = match options.runs.as_slice() {
        [run] => report::rewrite(run)?,
        runs => report::write_comparison(runs, &options.out)?,
    };
    let value = json!({ "report": written });
    output.result(&value, || format!("report: {}", written.display()))
}
