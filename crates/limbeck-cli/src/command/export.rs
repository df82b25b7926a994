//! `limbeck export`: a model for other programs, checked by running what was written.

use std::path::Path;
use std::sync::Arc;

use limbeck::data::{Dataset, Normalization, OpenOptions, Source, Split, digits};
use limbeck::device::DeviceChoice;
use limbeck::graph::ir::{Graph, Kind};
use limbeck::graph::run::CompiledGraph;
use limbeck::graph::weights::{read_checkpoint, write_safetensors};
use limbeck::graph::{Feature, InputTensor, Inputs, Network, Seed, Taps};
use limbeck::model::{Hints, ModelFile, OnnxModel, Opened, Rows, write_onnx, write_parity};
use limbeck::report::Summary;
use limbeck::{Error, Result, report};
use rand::RngExt;
use serde_json::json;

use super::threads;
use crate::arguments::{Export, ExportFormat, Global};
use crate::output::{Output, bytes};

/// Random rows that weights are compared on where there is no data.
const ROWS: usize = 64;

pub(crate) fn export(options: &Export, global: &Global, output: &Output) -> Result<()> {
    threads(global)?;
    let out = match (&options.out, options.model.is_dir()) {
        (Some(out), _) => out.clone(),
        (None, true) => {
            let ending = match options.to {
                ExportFormat::Safetensors => "safetensors",
                ExportFormat::Onnx => "onnx",
            };
            options.model.join("export/student").with_extension(ending)
        }
        (None, false) => {
            return Err(Error::Data(format!(
                "`{}` is no run directory; say where to write with `--out`",
                options.model.display()
            )));
        }
    };
    let model = ModelFile::read(&options.model)?.into_model(Hints {
        arch: options.arch.as_deref(),
        ..Hints::default()
    })?;
    let network = model.compile(&DeviceChoice::CPU.open()?)?;
    let set = rows_of(options, &model)?;
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|source| Error::write(folder, source))?;
    }
    let normalization = options
        .normalize
        .clone()
        .or_else(|| model.normalization())
        .unwrap_or_else(Normalization::none);
    let rows = set.as_ref().map(|set| Rows {
        set,
        normalization: &normalization,
    });
    match options.to {
        ExportFormat::Safetensors => weights(&model, &network, rows, &out, output),
        ExportFormat::Onnx => onnx(&model, &network, rows, &out, output),
    }
}

/// Writes ONNX and holds tract to the same answers.
fn onnx(
    model: &Opened,
    network: &CompiledGraph,
    rows: Option<Rows<'_>>,
    out: &Path,
    output: &Output,
) -> Result<()> {
    let rows = rows.ok_or_else(|| {
        Error::Data(
            "the exported file is compared on real rows; name a data set with `--data`".to_owned(),
        )
    })?;
    let source = model.onnx.as_ref().and_then(OnnxModel::imported);
    let network_weights = network.weights();
    write_onnx(
        source,
        network.graph(),
        &network_weights,
        &model.metadata,
        out,
    )?;
    let exported = rows.compare(network, out)?;
    write_parity(out, &exported)?;
    exported.check(out)?;
    output.result(&exported, || {
        format!(
            "{} ({}), {} differs by {:.1e} of the largest output on {} rows",
            out.display(),
            size(out),
            exported.parity.runtime,
            exported.parity.largest_relative,
            exported.parity.rows
        )
    })
}

/// Writes the weights and reads them back.
fn weights(
    model: &Opened,
    network: &CompiledGraph,
    rows: Option<Rows<'_>>,
    out: &Path,
    output: &Output,
) -> Result<()> {
    let graph = network.graph();
    let mut metadata = model.metadata.clone();
    if model.onnx.is_some() {
        // The graph stays where it is, so the file no longer has it at its side.
        metadata.remove("model");
    }
    write_safetensors(out, &network.weights(), &metadata)?;
    let read_back = read_checkpoint(out)?;
    let exported = graph
        .compile(Seed::new(1), &DeviceChoice::CPU.open()?)?
        .load(&read_back.tensors)?;
    let inputs = match rows {
        Some(rows) => rows.inputs()?,
        None => random_rows(graph)?,
    };
    let largest = difference(network, &exported, &inputs)?;
    let parity = json!({
        "exported": out,
        "format": "safetensors",
        "rows": ROWS,
        "largest_difference": largest,
        "metadata": metadata,
    });
    write_parity(out, &parity)?;
    if largest > 0.0 {
        return Err(Error::Check(format!(
            "the exported student differs from the trained one by {largest}; the file `{}` is not to be used",
            out.display()
        )));
    }
    output.result(&parity, || {
        format!(
            "{} ({}), largest difference of the logits on {ROWS} rows: {largest}",
            out.display(),
            size(out)
        )
    })
}

/// The rows to compare on: those of `--data`, else of the run.
fn rows_of(options: &Export, model: &Opened) -> Result<Option<Arc<dyn Dataset>>> {
    let place = match &options.data {
        Some(place) => place.clone(),
        None => match summary(&options.model)? {
            None => return Ok(None),
            Some(summary) if summary.data.name == digits::NAME => digits::NAME.to_owned(),
            Some(summary) => summary.data.origin,
        },
    };
    let scale = OpenOptions {
        resize: model.input().map(|[_, height, width]| [height, width]),
        classes: None,
    };
    let source = Source::recognise(Path::new(&place)).map_err(|error| match &options.data {
        Some(_) => error,
        None => Error::Data(format!("{error}; name the run's data with `--data`")),
    })?;
    let split = match source.splits().contains(&Split::Test) {
        true => Split::Test,
        false => Split::Train,
    };
    source.open(split, &scale).map(Some)
}

/// The summary of a run, also of one of its trainings.
fn summary(run: &Path) -> Result<Option<Summary>> {
    let above = run.parent().unwrap_or(Path::new(""));
    [run, above]
        .into_iter()
        .find(|folder| run.is_dir() && folder.join("summary.json").is_file())
        .map(report::read)
        .transpose()
}

fn random_rows(graph: &Graph) -> Result<Inputs> {
    let mut random = Seed::new(0).stream("parity", &[]);
    let mut inputs = Inputs::default();
    for input in &graph.inputs {
        if input.value.kind == Kind::Tokens {
            return Err(Error::Data(
                "a network that reads token ids is exported to `--to onnx`".to_owned(),
            ));
        }
        let shape = input.value.shape.sizes(ROWS);
        let values = (0..shape.iter().product::<usize>())
            .map(|_| random.random_range(-2.0..2.0))
            .collect();
        let feature = Feature::from_vec(values, &shape, &DeviceChoice::CPU.open()?)?;
        inputs = inputs.with(&input.name, InputTensor::Float(feature));
    }
    Ok(inputs)
}

fn difference(a: &impl Network, b: &impl Network, inputs: &Inputs) -> Result<f32> {
    let a = a.forward(inputs, &Taps::none())?.output.to_vec()?;
    let b = b.forward(inputs, &Taps::none())?.output.to_vec()?;
    Ok(a.iter()
        .zip(&b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max))
}

fn size(path: &Path) -> String {
    bytes(std::fs::metadata(path).map_or(0, |metadata| metadata.len()))
}
