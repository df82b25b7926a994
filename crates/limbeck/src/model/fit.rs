//! Whether a model takes the data's images and answers with its classes.

use limbeck_graph::ir::{Dim, Graph, Kind, ValueType};
use limbeck_graph::onnx::{Dimension, ElementType, ValueInfo, ValueKind};

use super::OnnxModel;

/// Checks that `graph` has one input `[batch, channels, height, width]` of the data's `shape`, and `[batch, classes]` as its first
/// output.
///
/// # Errors
/// One sentence: expected, got, what to try.
pub fn check_graph(graph: &Graph, shape: [usize; 3], classes: usize) -> Result<(), String> {
    let [input] = graph.inputs.as_slice() else {
        return Err(wrong_inputs(graph.inputs.iter().map(|input| &input.name)));
    };
    let ValueType { kind, shape: takes } = &input.value;
    let sizes: Option<Vec<Option<usize>>> = match (kind, takes.dims()) {
        (Kind::Float, [Dim::Batch, rest @ ..]) => {
            let sizes = rest.iter().map(|dim| match dim {
                Dim::Fixed(size) => Some(Some(*size)),
                _ => None,
            });
            sizes.collect()
        }
        _ => None,
    };
    check_input(&input.name, &input.value.to_string(), sizes, shape)?;
    let analysis = graph.validate().map_err(|error| error.to_string())?;
    let output = graph.outputs.first().map_or("", String::as_str);
    let answers = analysis
        .value(graph, output)
        .map_err(|error| error.to_string())?;
    let got = match answers.shape.dims() {
        [Dim::Batch, Dim::Fixed(size)] => Some(Some(*size)),
        _ => None,
    };
    check_output(output, &answers.to_string(), got, classes)
}

/// [`check_graph`] for a file: what it does not say of its shapes is left to the run.
///
/// # Errors
/// One sentence: expected, got, what to try.
pub fn check_onnx(model: &OnnxModel, shape: [usize; 3], classes: usize) -> Result<(), String> {
    if let Some(graph) = model.graph() {
        return check_graph(graph, shape, classes);
    }
    let graph = model.file().graph();
    let [input] = graph.inputs.as_slice() else {
        return Err(wrong_inputs(graph.inputs.iter().map(|input| &input.name)));
    };
    if let Some((float, dimensions)) = tensor(input) {
        let sizes = float.then(|| dimensions.iter().skip(1).map(known).collect());
        check_input(&input.name, &words(dimensions), sizes, shape)?;
    }
    let Some(output) = graph.outputs.first() else {
        return Err("it has no output".to_owned());
    };
    match tensor(output) {
        None => Ok(()),
        Some((_, dimensions)) => {
            let got = match dimensions {
                [_, size] => Some(known(size)),
                _ => None,
            };
            check_output(&output.name, &words(dimensions), got, classes)
        }
    }
}

fn wrong_inputs<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    format!(
        "expected one input for images, got {} (`{}`); export the model with the images as its only input",
        names.len(),
        names.join("`, `")
    )
}

/// `sizes` are those behind the batch, `None` where the model does not say; `None` altogether where it takes no batch of floats.
fn check_input(
    name: &str,
    takes: &str,
    sizes: Option<Vec<Option<usize>>>,
    shape: [usize; 3],
) -> Result<(), String> {
    let [channels, height, width] = shape;
    let expected = format!("[batch, {channels}, {height}, {width}]");
    let fits = |sizes: &[Option<usize>]| {
        sizes.len() == 3
            && sizes
                .iter()
                .zip(shape)
                .all(|(size, side)| size.is_none_or(|size| size == side))
    };
    let sizes = match sizes {
        Some(sizes) if fits(&sizes) => return Ok(()),
        other => other,
    };
    let advice = match sizes.as_deref() {
        Some(&[c, Some(h), Some(w)]) if c.is_none_or(|c| c == channels) => {
            format!("set `data.resize = [{h}, {w}]`, or export the model for these images")
        }
        Some(&[Some(c), _, _]) if c != channels => {
            format!("it is for images of {c} channels, choose data of that kind")
        }
        _ => "export the model so that it takes images [batch, channels, height, width]".to_owned(),
    };
    Err(format!(
        "input `{name}`: expected {expected} as the data has, got {takes}; {advice}"
    ))
}

/// `got` is the number of classes, `Some(None)` where the model does not say, and `None` where the output is something else.
fn check_output(
    name: &str,
    answers: &str,
    got: Option<Option<usize>>,
    classes: usize,
) -> Result<(), String> {
    match got {
        Some(size) if size.is_none_or(|size| size == classes) => Ok(()),
        Some(_) => Err(format!(
            "output `{name}`: expected [batch, {classes}], one value per class of the data, got {answers}; \
             use data with these classes, or export a model with a head for {classes}"
        )),
        None => Err(format!(
            "output `{name}`: expected [batch, {classes}], one value per class of the data, got {answers}; \
             export the model with the logits as its first output"
        )),
    }
}

/// Whether a value holds floats, and its dimensions, as far as the file says.
fn tensor(value: &ValueInfo) -> Option<(bool, &[Dimension])> {
    match &value.kind {
        ValueKind::Tensor {
            element,
            shape: Some(shape),
        } => Some((ElementType::is_float(*element), shape)),
        _ => None,
    }
}

const fn known(dimension: &Dimension) -> Option<usize> {
    match dimension {
        Dimension::Known(size) => Some(*size),
        _ => None,
    }
}

/// A shape as a file says it.
fn words(dimensions: &[Dimension]) -> String {
    let words: Vec<String> = dimensions
        .iter()
        .map(|dimension| match dimension {
            Dimension::Known(size) => size.to_string(),
            Dimension::Symbol(name) => name.clone(),
            Dimension::Unknown => "?".to_owned(),
        })
        .collect();
    format!("[{}]", words.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use limbeck_graph::build::Builder;
    use limbeck_graph::ir::Linear;
    use limbeck_graph::zoo;

    use super::*;

    #[test]
    fn images_and_classes_must_be_the_datas() {
        let graph = zoo::build("lenet5", [1, 28, 28], 10).unwrap();
        assert_eq!(check_graph(&graph, [1, 28, 28], 10), Ok(()));
        let message = check_graph(&graph, [1, 8, 8], 10).unwrap_err();
        assert_eq!(
            message,
            "input `input`: expected [batch, 1, 8, 8] as the data has, got [batch, 1, 28, 28]; \
             set `data.resize = [28, 28]`, or export the model for these images"
        );
        let message = check_graph(&graph, [3, 28, 28], 10).unwrap_err();
        assert!(message.ends_with("it is for images of 1 channels, choose data of that kind"));
        let message = check_graph(&graph, [1, 28, 28], 3).unwrap_err();
        assert!(
            message
                .contains("expected [batch, 3], one value per class of the data, got [batch, 10]"),
            "{message}"
        );
    }

    #[test]
    fn other_inputs_than_images_are_refused() {
        let mut b = Builder::new("rows");
        let x = b.rows(64);
        let y = b.linear("fc", x, Linear::new(64, 10));
        let message = check_graph(&b.finish(y).unwrap(), [1, 8, 8], 10).unwrap_err();
        assert!(
            message.contains("got [batch, 64]; export the model so that"),
            "{message}"
        );
    }
}
