#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod decode;
mod hostile;
mod import;
mod messages;
mod read;
mod shared;
mod write;

use std::path::Path;

use prost::Message;

use super::{Model, Tensor};
use crate::Result;

fn parse(model: &messages::ModelProto) -> Result<Model> {
    Model::from_bytes(model.encode_to_vec(), Path::new("model.onnx"))
}

/// What is wrong with a model.
fn problem(model: &messages::ModelProto) -> String {
    let message = parse(model).unwrap_err().to_string();
    let start = "cannot use `model.onnx` as an ONNX model: ";
    assert!(message.starts_with(start), "{message}");
    assert!(
        !message.contains('\n') && !message.ends_with('.'),
        "{message}"
    );
    message[start.len()..].to_owned()
}

/// What is wrong with the small model after a change.
fn problem_after(change: impl FnOnce(&mut messages::GraphProto)) -> String {
    problem(&messages::model(change))
}

fn initialiser(tensor: messages::TensorProto) -> Result<Tensor> {
    let name = tensor.name.clone();
    let model = parse(&messages::model(|graph| graph.initializer.push(tensor)))?;
    Ok(model.graph().initialisers[&name].clone())
}
