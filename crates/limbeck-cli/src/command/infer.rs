//! `limbeck infer`: a model on tensors from a file.

use limbeck::Result;
use limbeck::device::DeviceChoice;
use limbeck::infer;
use limbeck::model::{Hints, ModelFile};
use serde_json::json;

use super::threads;
use crate::arguments::{Global, Infer};
use crate::output::{Output, table};

pub(crate) fn infer(options: &Infer, global: &Global, output: &Output) -> Result<()> {
    threads(global)?;
    let device = global.device.unwrap_or(DeviceChoice::CPU).open()?;
    let model = ModelFile::read(&options.model)?.into_model(Hints {
        arch: options.arch.as_deref(),
        ..Hints::default()
    })?;
    let tensors = infer::read_tensors(&options.inputs)?;
    let batch = options.batch as usize;
    let answers = infer::run(&model, tensors, &options.taps, batch, &device)?;
    infer::write_tensors(&options.out, &answers)?;
    let shapes: Vec<(&String, &Vec<usize>)> = answers
        .iter()
        .map(|(name, tensor)| (name, &tensor.shape))
        .collect();
    let value = json!({
        "model": options.model,
        "runs_on": model.onnx.as_ref().map_or("limbeck", |onnx| onnx.engine()),
        "out": options.out,
        "tensors": shapes
            .iter()
            .map(|(name, shape)| json!({ "name": name, "shape": shape }))
            .collect::<Vec<_>>(),
    });
    output.result(&value, || {
        let rows = shapes
            .iter()
            .map(|(name, shape)| vec![(*name).clone(), format!("{shape:?}")])
            .collect();
        format!(
            "{}\n\nwritten to {}",
            table(&["tensor", "shape"], rows, &[]),
            options.out.display()
        )
    })
}
