//! Fast fp32 operations for neural networks on the CPU.
//!
//! Images are `[batch, height, width, channels]` in memory, weights of convolutions
//! `[out_channels, in_channels / groups, height, width]`. Every operation runs on the rayon pool it
//! is called from, and every sum has an order that depends on the shapes alone: the same input
//! gives the same bits for any number of threads.

pub mod activation;
pub mod buffer;
pub mod convolution;
mod dispatch;
pub mod elementwise;
mod functions;
pub mod loss;
pub mod norm;
pub mod pool;
mod prefetch;
pub mod processor;
pub mod product;
mod scratch;
mod sharing;
mod sums;
pub mod tensor;
pub mod update;
pub mod vector;

pub use activation::Activation;
pub use processor::Processor;
pub use vector::Vector;
