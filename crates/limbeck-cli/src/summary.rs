//! The result of a run on a terminal.

use std::path::Path;

use limbeck::report::{Arm, Summary};

use crate::output::{bytes, table, thousands};

/// Teacher, student alone and student distilled side by side, the verdict, and where the report is.
pub(crate) fn text(summary: &Summary, out: &Path) -> String {
    let rows = summary.arms.iter().map(row).collect();
    let table = table(
        &[
            "",
            "network",
            "accuracy",
            "NLL",
            "ECE",
            "parameters",
            "multiply-adds",
            "file",
            "ms at batch 1",
        ],
        rows,
        &[2, 3, 4, 5, 6, 7, 8],
    );
    let mut text = format!("\n{table}\n\n{}\n", summary.verdict());
    for warning in &summary.warnings {
        text.push_str(&format!("note: {warning}\n"));
    }
    text.push_str(&format!(
        "report: {}\nstudent: {}\n",
        out.join("report.html").display(),
        out.join("student.safetensors").display()
    ));
    text
}

fn row(arm: &Arm) -> Vec<String> {
    let of = |metric: fn(&limbeck::eval::Metrics) -> f64| -> Vec<f64> {
        arm.runs.iter().map(|run| metric(&run.metrics)).collect()
    };
    let (accuracy, spread) = mean_and_deviation(&of(|m| m.top1));
    let spread = spread.map_or_else(String::new, |s| format!(" +- {:.2}", 100.0 * s));
    vec![
        arm.label.clone(),
        arm.architecture.clone(),
        format!("{:.2} %{spread}", 100.0 * accuracy),
        format!("{:.3}", mean_and_deviation(&of(|m| m.nll)).0),
        format!("{:.3}", mean_and_deviation(&of(|m| m.ece)).0),
        thousands(arm.parameters),
        arm.multiply_adds
            .map_or_else(|| "unknown".to_owned(), thousands),
        bytes(arm.file_bytes),
        arm.latency
            .map_or_else(String::new, |l| format!("{:.3}", l.batch1_ms.median)),
    ]
}

/// The mean, and the sample standard deviation where there are several values.
fn mean_and_deviation(values: &[f64]) -> (f64, Option<f64>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (
        mean,
        (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_the_sample_deviation() {
        assert_eq!(mean_and_deviation(&[2.0]), (2.0, None));
        let (mean, spread) = mean_and_deviation(&[1.0, 2.0, 3.0]);
        assert_eq!((mean, spread), (2.0, Some(1.0)));
    }
}
