//! A model on tensors from a file, in batches of bounded size.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use limbeck_graph::ir::Kind;
use limbeck_graph::onnx::ValueKind;
use limbeck_graph::weights::HostTensor;
use limbeck_graph::{Feature, InputTensor, Inputs, Precision, Taps};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::model::Opened;
use crate::teacher::Teacher;
use crate::{Error, Result};

/// A tensor of a file, row major.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// Real numbers.
    Floats(HostTensor),
    /// Whole numbers, such as token ids.
    Integers {
        /// The sizes, outermost first.
        shape: Vec<usize>,
        /// The values.
        values: Vec<i64>,
    },
}

impl Given {
    fn shape(&self) -> &[usize] {
        match self {
            Self::Floats(tensor) => &tensor.shape,
            Self::Integers { shape, .. } => shape,
        }
    }
}

/// Reads the tensors of a safetensors file: F32 and F64 as real numbers, I64 and I32 as whole ones.
///
/// # Errors
/// If the file cannot be read, is no safetensors file, is empty, or holds another type.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Given>> {
    let bytes = std::fs::read(path).map_err(|source| Error::read(path, source))?;
    let invalid = |reason: String| Error::format(path, "safetensors", reason);
    let file = SafeTensors::deserialize(&bytes).map_err(|error| invalid(error.to_string()))?;
    if file.is_empty() {
        return Err(invalid("expected at least one tensor, got none".to_owned()));
    }
    let read = |(name, view): (String, TensorView<'_>)| {
        let shape = view.shape().to_vec();
        let data = view.data();
        let floats = |values| Ok(Given::Floats(HostTensor::new(shape.clone(), values)?));
        let integers = |values| {
            let shape = shape.clone();
            Ok(Given::Integers { shape, values })
        };
        let given: Result<Given> = match view.dtype() {
            Dtype::F32 => floats(elements(data).map(f32::from_le_bytes).collect()),
            Dtype::F64 => floats(
                elements(data)
                    .map(|b| f64::from_le_bytes(b) as f32)
                    .collect(),
            ),
            Dtype::I64 => integers(elements(data).map(i64::from_le_bytes).collect()),
            Dtype::I32 => integers(
                elements(data)
                    .map(|b| i32::from_le_bytes(b).into())
                    .collect(),
            ),
            other => Err(invalid(format!(
                "tensor `{name}`: expected F32, F64, I64 or I32, got {other:?}"
            ))),
        };
        Ok((name, given?))
    };
    file.tensors().into_iter().map(read).collect()
}

fn elements<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    data.as_chunks::<N>().0.iter().copied()
}

/// Runs `model` on `inputs` in batches of at most `batch` rows.
///
/// The result has every output under the name that an ONNX file gives it (`output` for other networks), and every tap under the
/// name asked for. A model with a single input takes a single tensor of any name.
///
/// # Errors
/// If an input is missing, unknown or of the wrong kind, rows do not agree, or the model refuses them.
pub fn run(
    model: &Opened,
    inputs: BTreeMap<String, Given>,
    taps: &[String],
    batch: usize,
    device: &Device,
) -> Result<BTreeMap<String, HostTensor>> {
    let inputs = named(model, inputs)?;
    let rows = rows(&inputs)?;
    let network = model.frozen(device, Precision::Fp32)?;
    let wanted = Taps::new(taps.iter().cloned());
    let mut joined: BTreeMap<String, HostTensor> = BTreeMap::new();
    for first in (0..rows).step_by(batch) {
        let count = batch.min(rows - first);
        let answers = answer(
            model,
            &network,
            &inputs,
            first..first + count,
            &wanted,
            device,
        )?;
        for (name, part) in answers {
            join(&mut joined, name, part, count, rows)?;
        }
    }
    Ok(joined)
}

/// The inputs under the model's names, in its order. A file may hold other tensors beside them, such as expected outputs.
fn named(model: &Opened, mut inputs: BTreeMap<String, Given>) -> Result<Vec<(String, Given)>> {
    let expected = input_names(model);
    if let ([only], 1) = (expected.as_slice(), inputs.len())
        && let Some((_, given)) = inputs.pop_first()
    {
        return Ok(vec![(only.clone(), given)]);
    }
    let mut ordered = Vec::new();
    for name in &expected {
        let given = inputs.remove(name).ok_or_else(|| {
            Error::unknown("input tensor", name, inputs.keys().map(String::as_str))
        })?;
        ordered.push((name.clone(), given));
    }
    Ok(ordered)
}

fn input_names(model: &Opened) -> Vec<String> {
    match (&model.graph, &model.onnx) {
        (Some(graph), _) => graph
            .inputs
            .iter()
            .map(|input| input.name.clone())
            .collect(),
        (None, Some(onnx)) => {
            let inputs = onnx.file().graph().inputs.iter();
            inputs.map(|input| input.name.clone()).collect()
        }
        (None, None) => Vec::new(),
    }
}

/// Whether the model reads whole numbers at the input `name`.
fn takes_tokens(model: &Opened, name: &str) -> bool {
    match (&model.graph, &model.onnx) {
        (Some(graph), _) => graph
            .inputs
            .iter()
            .any(|input| input.name == name && input.value.kind == Kind::Tokens),
        (None, Some(onnx)) => onnx.file().graph().inputs.iter().any(|input| {
            matches!(&input.kind, ValueKind::Tensor { element, .. } if input.name == name && !element.is_float())
        }),
        (None, None) => false,
    }
}

fn rows(inputs: &[(String, Given)]) -> Result<usize> {
    let mut rows = None;
    for (name, given) in inputs {
        let got = match given.shape() {
            [] | [0, ..] => {
                return Err(Error::Shape {
                    what: format!("input `{name}`"),
                    expected: "[rows, ...] with at least one row".to_owned(),
                    got: format!("{:?}", given.shape()),
                });
            }
            [got, ..] => *got,
        };
        let known = *rows.get_or_insert(got);
        if known != got {
            return Err(Error::Shape {
                what: format!("input `{name}`"),
                expected: format!("{known} rows, as the other inputs have"),
                got: got.to_string(),
            });
        }
    }
    rows.ok_or_else(|| Error::Data("the model has no input".to_owned()))
}

/// Outputs and taps for some of the rows.
fn answer(
    model: &Opened,
    network: &dyn Teacher,
    inputs: &[(String, Given)],
    rows: std::ops::Range<usize>,
    taps: &Taps,
    device: &Device,
) -> Result<Vec<(String, HostTensor)>> {
    let mut batch = Inputs::default();
    for (name, given) in inputs {
        let tokens = takes_tokens(model, name);
        batch = batch.with(name, part(name, given, rows.clone(), tokens, device)?);
    }
    let answer = network.answer(&batch, taps)?;
    let trace = answer
        .members
        .into_iter()
        .next()
        .ok_or_else(|| Error::Data("the model gave no answer".to_owned()))?;
    let host =
        |feature: &Feature| Ok::<_, Error>(HostTensor::new(feature.shape(), feature.to_vec()?)?);
    let outputs = output_names(model);
    let mut answers = Vec::new();
    for (position, (name, value)) in outputs.iter().enumerate() {
        let feature = match position {
            0 => &trace.output,
            _ => trace.feature(value)?,
        };
        answers.push((name.clone(), host(feature)?));
    }
    for tap in taps.names() {
        answers.push((tap.clone(), host(trace.feature(tap)?)?));
    }
    Ok(answers)
}

/// The outputs' names for the user, and those under which a network records them.
fn output_names(model: &Opened) -> Vec<(String, String)> {
    let file = model.onnx.as_ref().map(|onnx| &onnx.file().graph().outputs);
    match (&model.graph, file) {
        (Some(graph), Some(outputs)) => outputs
            .iter()
            .zip(&graph.outputs)
            .map(|(info, value)| (info.name.clone(), value.clone()))
            .collect(),
        (None, Some(outputs)) => outputs
            .iter()
            .map(|info| (info.name.clone(), info.name.clone()))
            .collect(),
        (Some(graph), None) => {
            let further = graph.outputs.iter().skip(1).cloned();
            std::iter::once(("output".to_owned(), graph.outputs[0].clone()))
                .chain(further.map(|name| (name.clone(), name)))
                .collect()
        }
        (None, None) => Vec::new(),
    }
}

/// Some rows of an input on the device.
fn part(
    name: &str,
    given: &Given,
    rows: std::ops::Range<usize>,
    tokens: bool,
    device: &Device,
) -> Result<InputTensor> {
    let mut shape = given.shape().to_vec();
    let per_row: usize = shape[1..].iter().product();
    let values = rows.start * per_row..rows.end * per_row;
    shape[0] = rows.len();
    match (given, tokens) {
        (Given::Floats(tensor), false) => {
            let feature = Feature::from_vec(tensor.values[values].to_vec(), &shape, device)?;
            Ok(InputTensor::Float(feature))
        }
        (Given::Integers { values: all, .. }, true) => {
            let [count, length] = *shape.as_slice() else {
                return Err(Error::Shape {
                    what: format!("input `{name}`"),
                    expected: "token ids [rows, length]".to_owned(),
                    got: format!("{:?}", given.shape()),
                });
            };
            let data = TensorData::new(all[values].to_vec(), [count, length]);
            Ok(InputTensor::Tokens(Tensor::<2, Int>::from_data(
                data, device,
            )))
        }
        (_, tokens) => {
            let kinds = ["real numbers (F32)", "token ids (I64)"];
            Err(Error::Shape {
                what: format!("input `{name}`"),
                expected: kinds[usize::from(tokens)].to_owned(),
                got: kinds[usize::from(!tokens)].to_owned(),
            })
        }
    }
}

/// Puts the answers for `count` of `rows` rows behind those before them.
fn join(
    joined: &mut BTreeMap<String, HostTensor>,
    name: String,
    part: HostTensor,
    count: usize,
    rows: usize,
) -> Result<()> {
    let by_row = part
        .shape
        .first()
        .is_some_and(|first| first.is_multiple_of(count));
    if count < rows && !by_row {
        return Err(Error::Shape {
            what: format!("`{name}`"),
            expected: format!("rows that can be joined, [{count}, ...]"),
            got: format!("{:?}; set `--batch {rows}`", part.shape),
        });
    }
    match joined.get_mut(&name) {
        None => {
            joined.insert(name, part);
        }
        Some(before) if before.shape[1..] == part.shape[1..] => {
            before.shape[0] += part.shape[0];
            before.values.extend(part.values);
        }
        Some(before) => {
            return Err(Error::Shape {
                what: format!("`{name}`"),
                expected: format!("{:?} as in earlier batches", before.shape),
                got: format!("{:?}; set `--batch {rows}`", part.shape),
            });
        }
    }
    Ok(())
}

/// Writes tensors to a safetensors file in one step.
///
/// # Errors
/// If the file cannot be written.
pub fn write_tensors(path: &Path, tensors: &BTreeMap<String, HostTensor>) -> Result<()> {
    limbeck_graph::weights::write_safetensors(path, tensors, &BTreeMap::new())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use crate::files::write_atomic;
    use limbeck_graph::Seed;

    use super::*;

    fn model() -> Opened {
        Opened::zoo("mlp-8", [1, 2, 3], 4, Seed::new(5)).unwrap()
    }

    fn images(rows: usize) -> Given {
        let values = (0..rows * 6).map(|n| (n as f32 * 0.7).sin()).collect();
        Given::Floats(HostTensor::new(vec![rows, 1, 2, 3], values).unwrap())
    }

    fn ask(
        inputs: &[(&str, Given)],
        taps: &[&str],
        batch: usize,
    ) -> Result<BTreeMap<String, HostTensor>> {
        let inputs = inputs
            .iter()
            .map(|(name, given)| ((*name).to_owned(), given.clone()))
            .collect();
        let taps: Vec<String> = taps.iter().map(|&tap| tap.to_owned()).collect();
        run(&model(), inputs, &taps, batch, &Device::default())
    }

    #[test]
    fn batches_are_joined_in_order() {
        let whole = ask(&[("anything", images(7))], &["stage1"], 100).unwrap();
        assert_eq!(whole["output"].shape, [7, 4]);
        assert_eq!(whole["stage1"].shape[0], 7);
        assert_eq!(whole.len(), 2);
        let parts = ask(&[("input", images(7))], &["stage1"], 3).unwrap();
        for (name, part) in &parts {
            assert_eq!(part.shape, whole[name].shape);
            for (a, b) in part.values.iter().zip(&whole[name].values) {
                assert!((a - b).abs() < 1e-5, "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn tensors_beside_the_inputs_are_left_alone() {
        let alone = ask(&[("input", images(2))], &[], 8).unwrap();
        let beside = [("input", images(2)), ("output", images(3))];
        assert_eq!(ask(&beside, &[], 8).unwrap(), alone);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let message =
            |inputs: &[(&str, Given)], taps: &[&str]| ask(inputs, taps, 8).unwrap_err().to_string();
        let ids = Given::Integers {
            shape: vec![2, 6],
            values: vec![1; 12],
        };
        assert_eq!(
            message(&[("x", ids)], &[]),
            "input `input`: expected real numbers (F32), got token ids (I64)"
        );
        let strange = [("a", images(2)), ("b", images(2))];
        assert!(message(&strange, &[]).starts_with("there is no input tensor `input`"));
        assert!(message(&[("x", images(2))], &["stage9"]).contains("`stage9`"));
        let none = Given::Floats(HostTensor::new(vec![0, 1, 2, 3], vec![]).unwrap());
        assert!(message(&[("x", none)], &[]).contains("at least one row"));
    }

    #[test]
    fn files_are_read_by_their_types() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let f64s: Vec<u8> = [1.5_f64, -2.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let i32s: Vec<u8> = [7_i32, -1].iter().flat_map(|v| v.to_le_bytes()).collect();
        let views = [
            ("a", TensorView::new(Dtype::F64, vec![2], &f64s).unwrap()),
            ("b", TensorView::new(Dtype::I32, vec![1, 2], &i32s).unwrap()),
        ];
        write_atomic(&path, &safetensors::serialize(views, None).unwrap()).unwrap();
        let read = read_tensors(&path).unwrap();
        let floats = HostTensor::new(vec![2], vec![1.5, -2.0]).unwrap();
        assert_eq!(read["a"], Given::Floats(floats));
        let integers = Given::Integers {
            shape: vec![1, 2],
            values: vec![7, -1],
        };
        assert_eq!(read["b"], integers);
        let bytes = [0_u8; 2];
        let view = [("c", TensorView::new(Dtype::F16, vec![1], &bytes).unwrap())];
        write_atomic(&path, &safetensors::serialize(view, None).unwrap()).unwrap();
        let message = read_tensors(&path).unwrap_err().to_string();
        assert!(
            message.contains("tensor `c`: expected F32, F64, I64 or I32, got F16"),
            "{message}"
        );
    }
}
