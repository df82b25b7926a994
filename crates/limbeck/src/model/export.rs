//! A network as an ONNX file, held against an independent runtime.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use limbeck_graph::ir::Graph;
use limbeck_graph::onnx::{self, Imported};
use limbeck_graph::tract::{self, Parity};
use limbeck_graph::weights::HostTensor;
use limbeck_graph::{Inputs, Network, Taps};
use serde::Serialize;

use crate::data::{Dataset, Loader, LoaderSettings, Normalization, Subset};
use crate::{Error, Result, eval, files};

/// The trained student as ONNX, in a run directory.
pub const STUDENT_ONNX: &str = "student.onnx";

/// Rows that are compared.
const ROWS: usize = 64;

/// Writes a network as ONNX: the file it was read from with other weights, or a fresh one that says `metadata` of itself.
///
/// # Errors
/// If the weights are not those of the graph, or the file cannot be written.
pub fn write_onnx(
    source: Option<&Imported>,
    graph: &Graph,
    weights: &BTreeMap<String, HostTensor>,
    metadata: &BTreeMap<String, String>,
    path: &Path,
) -> Result<()> {
    match source {
        Some(imported) => imported.write(path, weights)?,
        None => onnx::export(graph, weights, metadata, path)?,
    }
    Ok(())
}

/// Real rows on which an export is compared.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// The data; its first rows are taken.
    pub set: &'a Arc<dyn Dataset>,
    /// How the network wants them normalised.
    pub normalization: &'a Normalization,
}

/// How closely an exported file answers as the network does: `parity.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exported {
    /// The file's name.
    pub exported: String,
    /// The data that the rows are from.
    pub data: String,
    /// What ran it, on how many rows, and the largest difference.
    #[serde(flatten)]
    pub parity: Parity,
}

impl Rows<'_> {
    /// Runs the ONNX file at `path` with tract and compares its output with that of `network`.
    ///
    /// # Errors
    /// If the data cannot be read, either refuses the rows, or an output is not finite.
    pub fn compare(&self, network: &impl Network, path: &Path) -> Result<Exported> {
        let inputs = self.inputs()?;
        let network = network.valid().to_device(&Device::flex());
        let expected = network.forward(&inputs, &Taps::none())?.output;
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok(Exported {
            exported: name.to_string_lossy().into_owned(),
            data: self.set.info().origin.clone(),
            parity: tract::parity(path, &inputs, &expected)?,
        })
    }

    /// The rows, in one batch on the CPU.
    ///
    /// # Errors
    /// If the data cannot be read.
    pub fn inputs(&self) -> Result<Inputs> {
        let rows = self.set.len().min(ROWS);
        let loader = Loader::new(
            Arc::new(Subset::first(Arc::clone(self.set), rows)?),
            LoaderSettings {
                batch: ROWS,
                normalization: self.normalization.clone(),
                prefetch: 0,
                ..LoaderSettings::default()
            },
        )?;
        let batch = loader.epoch(0, 0).next();
        let batch =
            batch.ok_or_else(|| Error::Data("there are no rows to compare on".to_owned()))?;
        eval::inputs(&batch?, &Device::flex())
    }
}

impl Exported {
    /// An error if the file answers otherwise than the network.
    ///
    /// # Errors
    /// [`Error::Check`], which names the file at `path` and `parity.json` beside it.
    pub fn check(&self, path: &Path) -> Result<()> {
        if self.parity.passes() {
            return Ok(());
        }
        Err(Error::Check(format!(
            "{} answers otherwise than the trained network on {} rows: `{}` differs by {:.3e} of the largest output, \
             expected at most {:e}; see `{}`, and do not use the file",
            self.parity.runtime,
            self.parity.rows,
            path.display(),
            self.parity.largest_relative,
            self.parity.limit,
            path.with_file_name("parity.json").display()
        )))
    }
}

/// Writes `parity.json` beside the exported file.
///
/// # Errors
/// If it cannot be written.
pub fn write_parity(exported: &Path, parity: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(parity).map_err(|error| {
        Error::Data(format!("the comparison cannot be written as JSON: {error}"))
    })?;
    let path = exported.with_file_name("parity.json");
    files::write_atomic(&path, format!("{text}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_answers_are_a_failed_check_that_names_both_files() {
        let exported = |largest_relative| Exported {
            exported: "student.onnx".to_owned(),
            data: "digits".to_owned(),
            parity: Parity {
                runtime: "tract".to_owned(),
                rows: 64,
                values: 640,
                largest_expected: 1.0,
                largest_difference: largest_relative,
                largest_relative,
                row: 3,
                limit: Parity::LIMIT,
            },
        };
        let path = Path::new("runs/x/student.onnx");
        assert!(exported(1e-5).check(path).is_ok());
        for wrong in [2e-4, f64::NAN, f64::INFINITY] {
            let error = exported(wrong).check(path).map_err(|error| {
                assert!(matches!(error, Error::Check(_)));
                error.to_string()
            });
            let message = error.err().unwrap_or_default();
            assert!(message.contains("`runs/x/student.onnx`"), "{message}");
            assert!(message.contains("`runs/x/parity.json`"), "{message}");
        }
    }
}
