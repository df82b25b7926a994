//! What can go wrong with a graph, its weights or its inputs.

use std::path::PathBuf;

/// An error of this crate: one sentence with what, where, expected and got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor has another rank than its use needs.
    #[error("expected a tensor of rank {expected}, got shape {shape:?}")]
    Rank {
        /// The rank needed (the largest one supported, where a rank is too large).
        expected: usize,
        /// The shape found.
        shape: Vec<usize>,
    },
    /// A list of values does not fill a shape.
    #[error("shape {shape:?} does not hold {values} values")]
    Length {
        /// The shape.
        shape: Vec<usize>,
        /// The number of values.
        values: usize,
    },
    /// A device failed.
    #[error("the device could not hand over a tensor: {0}")]
    Device(String),
    /// A name that does not exist.
    #[error("there is no {kind} `{name}`{}", did_you_mean(nearest))]
    Unknown {
        /// What was looked for: an input, a tap, a model.
        kind: &'static str,
        /// The name given.
        name: String,
        /// Names that exist, nearest first.
        nearest: Vec<String>,
    },
    /// A network input of the wrong type or shape.
    #[error("input `{name}`: expected {expected}, got {got}")]
    Input {
        /// The input's name.
        name: String,
        /// What the network takes.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// A node of a graph is wrong.
    #[error("node `{node}` ({op}): {problem}")]
    Node {
        /// The node's name.
        node: String,
        /// The operator's name.
        op: &'static str,
        /// What is wrong, expected and got.
        problem: String,
    },
    /// A graph is wrong as a whole.
    #[error("graph `{graph}`: {problem}")]
    Graph {
        /// The graph's name.
        graph: String,
        /// What is wrong, expected and got.
        problem: String,
    },
    /// A rewrite does not apply to a graph.
    #[error("cannot {rewrite} `{place}`: {problem}")]
    Rewrite {
        /// What was to be done: widen, deepen, replace.
        rewrite: &'static str,
        /// The value or node that was named.
        place: String,
        /// What is in the way, expected and got.
        problem: String,
    },
    /// A file does not hold usable weights.
    #[error("cannot use `{}` as weights: {problem}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong, expected and got.
        problem: String,
    },
    /// A file is not a usable ONNX model, or a model cannot be written as asked.
    #[error("cannot use `{}` as an ONNX model: {problem}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is wrong and where, expected and got.
        problem: String,
    },
    /// An ONNX model has a node whose operator cannot be trained here.
    #[error(
        "cannot use `{}` as a network that trains: {node}: {problem} (operator set {opset}); \
         as a teacher it runs without training", path.display()
    )]
    Operator {
        /// The file.
        path: PathBuf,
        /// The node and its operator.
        node: String,
        /// The version of the operator set.
        opset: i64,
        /// What is not supported, and what to do.
        problem: String,
    },
    /// tract, which runs models that are not trained, cannot run this one.
    #[error("tract cannot run `{}`: {problem}", path.display())]
    Runtime {
        /// The model's file.
        path: PathBuf,
        /// What is wrong and at which node, and what to do.
        problem: String,
    },
    /// Weights do not fit a graph.
    #[error("{0}")]
    Mismatch(Box<crate::weights::Mismatch>),
    /// A file could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write `{}`: {source}; free some space or choose another folder", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// The names closest to `name` in spelling, nearest first, at most three; none if all are far off.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> = names
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.7)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored
        .into_iter()
        .take(3)
        .map(|(_, candidate)| candidate.to_owned())
        .collect()
}

/// `; did you mean ...?` for a list of candidates, nothing for an empty one.
pub fn did_you_mean(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        [one] => format!("; did you mean `{one}`?"),
        several => format!("; did you mean one of `{}`?", several.join("`, `")),
    }
}
