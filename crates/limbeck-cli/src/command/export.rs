//! `limbeck export`: a run's student for other programs, checked by reading it back.

use std::path::Path;

use limbeck::device::DeviceChoice;
use limbeck::graph::weights::{read_checkpoint, write_safetensors};
use limbeck::graph::{Feature, Inputs, Network, Seed, Taps};
use limbeck::{Error, Result, files};
use rand::RngExt;
use serde_json::json;

use super::{Checkpoint, threads};
use crate::arguments::{Export, ExportFormat, Global};
use crate::output::{Output, bytes};

/// Rows that the exported student and the run's are compared on.
const ROWS: usize = 64;

pub(crate) fn export(options: &Export, global: &Global, output: &Output) -> Result<()> {
    threads(global)?;
    let device = global.device.unwrap_or(DeviceChoice::CPU).open()?;
    let ExportFormat::Safetensors = options.to;
    let out = match &options.out {
        Some(out) => out.clone(),
        None => options.run.join("export").join("student.safetensors"),
    };
    let model = Checkpoint::read(&options.run)?.into_model(None, None, None)?;
    let trained = model
        .graph
        .compile(Seed::new(0), &device)?
        .load(&model.tensors)?;
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|source| Error::write(folder, source))?;
    }
    write_safetensors(&out, &trained.weights(), &model.metadata)?;

    let read_back = read_checkpoint(&out)?;
    let exported = model
        .graph
        .compile(Seed::new(1), &device)?
        .load(&read_back.tensors)?;
    let shape = model.graph.inputs[0].value.shape.sizes(ROWS);
    let mut random = Seed::new(0).stream("parity", &[]);
    let values = (0..shape.iter().product::<usize>())
        .map(|_| random.random_range(-2.0..2.0))
        .collect();
    let inputs = Inputs::float(Feature::from_vec(values, &shape, &device)?);
    let largest = difference(&trained, &exported, &inputs)?;
    let parity = json!({
        "exported": out,
        "format": "safetensors",
        "rows": ROWS,
        "largest_difference": largest,
        "metadata": model.metadata,
    });
    write_parity(&out, &parity)?;
    if largest > 0.0 {
        return Err(Error::Check(format!(
            "the exported student differs from the trained one by {largest}; the file `{}` is not to be used",
            out.display()
        )));
    }
    let size = std::fs::metadata(&out).map_or(0, |metadata| metadata.len());
    output.result(&parity, || {
        format!(
            "{} ({}), largest difference of the logits on {ROWS} rows: {largest}",
            out.display(),
            bytes(size)
        )
    })
}

fn write_parity(out: &Path, parity: &serde_json::Value) -> Result<()> {
    let path = out.with_file_name("parity.json");
    files::write_atomic(&path, format!("{parity:#}\n").as_bytes())
}

fn difference(a: &impl Network, b: &impl Network, inputs: &Inputs) -> Result<f32> {
    let a = a.forward(inputs, &Taps::none())?.output.to_vec()?;
    let b = b.forward(inputs, &Taps::none())?.output.to_vec()?;
    Ok(a.iter()
        .zip(&b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max))
}
