//! Do ONNX files give the outputs that another program computed?
//!
//! `cargo run -p limbeck-graph --example onnx_outputs -- FILE.onnx..` runs each file on the tensors of the safetensors file beside it
//! (inputs under the model's names, the expected output under that of the output) and prints the largest difference.
//! It must stay below 1e-4 of the largest output.

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use limbeck_graph::ir::Kind;
use limbeck_graph::onnx::Imported;
use limbeck_graph::{Feature, InputTensor, Inputs, Network, Seed, Taps};
use safetensors::{Dtype, SafeTensors};

type Failure = Box<dyn std::error::Error>;

fn main() {
    let mut failed = 0;
    for path in std::env::args().skip(1) {
        match compare(Path::new(&path)) {
            Ok((difference, nodes)) => {
                println!("ok    {difference:9.2e}  {nodes:4} nodes  {path}");
            }
            Err(error) => {
                failed += 1;
                println!("FAIL  {path}: {error}");
            }
        }
    }
    println!("{failed} failed");
}

/// The largest difference and the number of nodes.
fn compare(path: &Path) -> Result<(f32, usize), Failure> {
    let bytes = std::fs::read(path.with_extension("safetensors"))?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let imported = Imported::read(path)?;
    let device = Device::flex();
    let network = imported
        .graph()
        .compile(Seed::new(0), &device)?
        .load(&imported.weights()?)?;
    let mut inputs = Inputs::default();
    for input in &imported.graph().inputs {
        let view = tensors.tensor(&input.name)?;
        let shape = view.shape().to_vec();
        let tensor = match input.value.kind {
            Kind::Float => {
                InputTensor::Float(Feature::from_vec(floats(view.data()), &shape, &device)?)
            }
            Kind::Tokens => {
                let data = TensorData::new(integers(view.dtype(), view.data()), shape);
                InputTensor::Tokens(Tensor::<2, Int>::from_data(data, &device))
            }
        };
        inputs = inputs.with(&input.name, tensor);
    }
    let expected = tensors.tensor(&imported.graph().outputs[0])?;
    let trace = network.forward(&inputs, &Taps::none())?;
    if trace.output.shape() != expected.shape() {
        return Err(format!(
            "expected {:?}, got {:?}",
            expected.shape(),
            trace.output.shape()
        )
        .into());
    }
    let expected = floats(expected.data());
    let largest = expected
        .iter()
        .fold(1.0_f32, |most, value| most.max(value.abs()));
    let differences = trace.output.to_vec()?.into_iter().zip(&expected);
    let difference = differences.fold(0.0_f32, |most, (a, b)| match (a - b).abs() {
        distance if distance.is_nan() => f32::INFINITY,
        distance => most.max(distance),
    });
    match difference <= 1e-4 * largest {
        true => Ok((difference, imported.graph().nodes.len())),
        false => Err(format!("the output differs by {difference:e}").into()),
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks();
    values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

fn integers(element: Dtype, bytes: &[u8]) -> Vec<i64> {
    match element {
        Dtype::I32 => {
            let (values, _) = bytes.as_chunks();
            let values = values.iter().map(|bytes| i32::from_le_bytes(*bytes));
            values.map(i64::from).collect()
        }
        _ => {
            let (values, _) = bytes.as_chunks();
            values
                .iter()
                .map(|bytes| i64::from_le_bytes(*bytes))
                .collect()
        }
    }
}
