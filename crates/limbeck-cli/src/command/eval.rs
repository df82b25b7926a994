//! `limbeck eval`: a model on a data set.

use std::path::Path;
use std::sync::Arc;

use limbeck::data::{Loader, LoaderSettings, Normalization, OpenOptions, Source, Split};
use limbeck::device::DeviceChoice;
use limbeck::eval;
use limbeck::model::{Hints, ModelFile};
use limbeck::{Error, Result};
use serde_json::json;

use super::threads;
use crate::arguments::{Eval, Global, SplitName};
use crate::output::{Output, table, thousands};

pub(crate) fn eval(options: &Eval, global: &Global, output: &Output) -> Result<()> {
    threads(global)?;
    let device = global.device.unwrap_or(DeviceChoice::CPU).open()?;
    let split = match options.split {
        SplitName::Train => Split::Train,
        SplitName::Validation => Split::Validation,
        SplitName::Test => Split::Test,
    };
    let file = ModelFile::read(&options.model)?;
    // A student that was trained on scaled images is measured on images of that size.
    let scale = OpenOptions {
        resize: file.input().map(|[_, height, width]| [height, width]),
        classes: None,
    };
    let source = Source::recognise(Path::new(&options.data))?;
    let set = source.open(split, &scale)?;
    let info = set.info().clone();
    let model = file.into_model(Hints {
        arch: options.arch.as_deref(),
        shape: Some(info.shape),
        classes: None,
    })?;
    let normalization = match options.normalize.clone().or_else(|| model.normalization()) {
        Some(normalization) => normalization,
        None => Normalization::fit(source.open(Split::Train, &scale)?.as_ref())?,
    };
    let classes = model.classes().unwrap_or(info.classes.len());
    // Where classes are known by number only, the highest ones may not occur among the rows.
    let numbered = (0..)
        .zip(&info.classes)
        .all(|(n, name)| name.parse() == Ok::<usize, _>(n));
    let fits = info.classes.len() == classes || numbered && info.classes.len() < classes;
    if !fits {
        return Err(Error::Data(format!(
            "the model has {classes} classes and `{}` has {}; they must agree",
            options.data,
            info.classes.len()
        )));
    }
    let loader = Loader::new(
        Arc::clone(&set),
        LoaderSettings {
            batch: options.batch as usize,
            normalization: normalization.clone(),
            ..LoaderSettings::default()
        },
    )?;
    let network = model.frozen(&device, options.precision)?;
    let predictions = eval::predict_teacher(&network, loader.epoch(0, 0), &device)?;
    let metrics = predictions.metrics()?;
    if let Some(path) = &options.predictions {
        predictions.save(path)?;
    }
    let value = json!({
        "model": options.model,
        "arch": model.graph.as_ref().map_or(&model.name, |graph| &graph.name),
        "runs_on": model.onnx.as_ref().map_or("limbeck", |onnx| onnx.engine()),
        "data": info.origin,
        "split": split,
        "input": info.shape,
        "normalization": normalization,
        "precision": options.precision.on(&device),
        "top1": metrics.top1,
        "top5": metrics.top5,
        "nll": metrics.nll,
        "ece": metrics.ece,
        "brier": metrics.brier,
        "count": metrics.count,
        "per_class": metrics.per_class,
    });
    output.result(&value, || {
        let mut rows = vec![vec![
            "top-1".to_owned(),
            format!("{:.2} %", 100.0 * metrics.top1),
        ]];
        if let Some(top5) = metrics.top5 {
            rows.push(vec!["top-5".to_owned(), format!("{:.2} %", 100.0 * top5)]);
        }
        rows.push(vec!["NLL".to_owned(), format!("{:.4}", metrics.nll)]);
        rows.push(vec!["ECE".to_owned(), format!("{:.4}", metrics.ece)]);
        rows.push(vec!["Brier".to_owned(), format!("{:.4}", metrics.brier)]);
        rows.push(vec!["rows".to_owned(), thousands(metrics.count)]);
        table(&["metric", "value"], rows, &[1])
    })
}
