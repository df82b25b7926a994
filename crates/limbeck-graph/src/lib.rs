//! Neural networks as data.
//!
//! A `Graph` is a value: named nodes, named weights, attributes. It is checked, its shapes are
//! inferred, its cost is known before it runs, and any node can be recorded by name. Compiling a
//! graph gives a Burn [`Module`](burn::module::Module), so Burn's optimisers and devices apply.
//!
//! | folder | what |
//! |---|---|
//! | [`ir`] | the graph: nodes, operators, weights, validation, shape inference |
//! | [`build`] | a builder that names things the way checkpoints do |
//! | [`run`] | the compiled graph on Burn tensors; memory layouts |
//! | [`rewrite`] | folded batch norms, other blocks, wider and deeper layers |
//! | [`derivative`] | gradients written as differentiable operations, for second derivatives |
//! | [`cost`] | parameters, multiply-adds and activation bytes per layer |
//! | [`weights`] | safetensors in and out, PyTorch checkpoints in |
//! | [`onnx`] | ONNX files as checked values, written back with other weights |
//! | [`tract`] | ONNX files run by another program: teachers that cannot be trained here, checks of exports |
//! | [`zoo`] | the networks of the literature |
//! | [`network`] | the trait that a user's own Burn module implements |

pub mod build;
pub mod cost;
pub mod derivative;
pub mod error;
pub mod feature;
pub mod files;
pub mod initialise;
pub mod ir;
pub mod network;
pub mod onnx;
pub mod random;
pub mod rewrite;
pub mod run;
pub mod shape;
pub mod tract;
pub mod weights;
pub mod zoo;

pub use error::Error;
pub use feature::Feature;
pub use network::{InputTensor, Inputs, Network, Precision, Taps, Trace};
pub use random::Seed;

/// The result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;
