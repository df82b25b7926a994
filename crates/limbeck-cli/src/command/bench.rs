//! `limbeck bench`: the time of the work, for comparison with other programs.

use limbeck::device::DeviceChoice;
use limbeck::graph::zoo;
use limbeck::loss::Temperature;
use limbeck::method::{MethodSettings, SoftTargetSettings};
use limbeck::train::{Benchmark, OptimizerSettings, Spread};
use limbeck::{Error, Result};
use serde_json::json;

use super::threads;
use crate::arguments::{BenchMethod, BenchStep, Global};
use crate::output::{Output, table};

pub(crate) fn step(options: &BenchStep, global: &Global, output: &Output) -> Result<()> {
    let threads = threads(global)?;
    let choice = global.device.unwrap_or(DeviceChoice::CPU);
    let size = options.size as usize;
    let shape = [options.channels as usize, size, size];
    let classes = options.classes as usize;
    let method = match options.method {
        BenchMethod::None => MethodSettings::LABELS,
        BenchMethod::Kd => MethodSettings::SoftTargets(SoftTargetSettings {
            temperature: Temperature::new(4.0)?,
            soft_weight: 0.9,
            hard_weight: 0.1,
            ..SoftTargetSettings::default()
        }),
    };
    let device = choice.open()?;
    let timing = Benchmark {
        teacher: zoo::build(&options.teacher, shape, classes)?,
        precision: options.precision,
        student: zoo::build(&options.student, shape, classes)?,
        method,
        optimizer: OptimizerSettings::Sgd {
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-4,
            decay_norms_and_biases: true,
        },
        batch: options.batch as usize,
        classes,
        shape,
        warmup: options.warmup as usize,
        steps: options.steps as usize,
    }
    .run(&device)?;
    let peak_rss_mib = peak_rss_mib()?;
    let value = json!({
        "peer": concat!("limbeck ", env!("CARGO_PKG_VERSION")),
        "teacher": options.teacher,
        "precision": options.precision.on(&device),
        "student": options.student,
        "method": match options.method {
            BenchMethod::None => "none",
            BenchMethod::Kd => "kd",
        },
        "batch": options.batch,
        "classes": options.classes,
        "channels": options.channels,
        "size": options.size,
        "steps": options.steps,
        "warmup": options.warmup,
        "threads": threads,
        "device": choice.to_string(),
        "step_ms": timing.step_ms,
        "teacher_forward_ms": timing.teacher_forward_ms,
        "student_forward_ms": timing.student_forward_ms,
        "peak_rss_mib": peak_rss_mib,
    });
    output.result(&value, || {
        let row = |what: &str, spread: Spread| {
            let number = |value: f64| format!("{value:.2}");
            vec![
                what.to_owned(),
                number(spread.median),
                number(spread.min),
                number(spread.max),
            ]
        };
        let mut text = table(
            &["", "median ms", "min", "max"],
            vec![
                row("step", timing.step_ms),
                row("teacher forward", timing.teacher_forward_ms),
                row("student forward", timing.student_forward_ms),
            ],
            &[1, 2, 3],
        );
        if let Some(peak) = peak_rss_mib {
            text.push_str(&format!("\npeak memory {peak:.0} MiB"));
        }
        text
    })
}

/// The most memory that the process ever had, where the system tells it.
fn peak_rss_mib() -> Result<Option<f64>> {
    let path = std::path::Path::new("/proc/self/status");
    if !path.is_file() {
        return Ok(None);
    }
    let status = std::fs::read_to_string(path).map_err(|source| Error::read(path, source))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    Ok(kib.map(|kib| kib / 1024.0))
}
