//! What a model asks of tract, before tract sees it.

use tract_onnx::Onnx;

use crate::onnx::{self, Attribute, Model, Node};

/// The sets of operators that tract implements; it looks at the operator's name alone.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// The most values of a constant that a node makes from a list of sizes: 4 GiB of floats. tract makes it while it reads.
const MOST_VALUES: i64 = 1 << 30;

/// Checks that tract has every operator (it would say so too, but not what to do) and that no constant is huge.
///
/// # Errors
/// A sentence that names the node.
pub(super) fn check(model: &Model, framework: &Onnx) -> std::result::Result<(), String> {
    for node in &model.graph().nodes {
        let own = |function: &onnx::Function| {
            function.name == node.op_type && function.domain == node.domain
        };
        if model.header().functions.iter().any(own) {
            return Err(format!(
                "{node}: it calls a function that the model defines itself; inline the functions first \
                 (onnx.inliner.inline_local_functions)"
            ));
        }
        let known = DOMAINS.contains(&node.domain.as_str())
            && framework.op_register.0.contains_key(&node.op_type);
        if !known {
            let domain = match node.domain.as_str() {
                "" => String::new(),
                domain => format!(" of `{domain}`"),
            };
            return Err(format!(
                "{node}: tract does not have this operator{domain}; export the model with simpler operators"
            ));
        }
        check_size(node, model)?;
    }
    Ok(())
}

/// Checks the sizes that a node is given as a constant, where it fills or repeats something to these sizes.
fn check_size(node: &Node, model: &Model) -> std::result::Result<(), String> {
    let place = match node.op_type.as_str() {
        "ConstantOfShape" => 0,
        "Expand" | "Tile" => 1,
        _ => return Ok(()),
    };
    let Some(name) = node.inputs.get(place) else {
        return Ok(());
    };
    let graph = model.graph();
    let made = || {
        let maker = graph
            .nodes
            .iter()
            .find(|maker| maker.outputs.first() == Some(name))?;
        match maker.attributes.get("value") {
            Some(Attribute::Tensor(tensor)) if maker.op_type == "Constant" => Some(tensor),
            _ => None,
        }
    };
    let Some(Ok(sizes)) = graph
        .initialisers
        .get(name)
        .or_else(made)
        .map(onnx::Tensor::integers)
    else {
        return Ok(());
    };
    let values = sizes
        .iter()
        .try_fold(1i64, |values, size| values.checked_mul(*size));
    if values.is_none_or(|values| values > MOST_VALUES) {
        return Err(format!(
            "{node}: expected at most {MOST_VALUES} values, got the sizes {sizes:?}"
        ));
    }
    Ok(())
}
