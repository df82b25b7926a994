//! Speed of everything but the dense convolutions, at minimum time over many repetitions.
//!
//! `cargo run --release -p limbeck-kernels --example speed_rest [part of a name]`

mod depthwise;
mod elements;
mod norms;
mod pools;
mod products;
mod training;

use std::hint::black_box;
use std::time::Instant;

fn main() {
    println!("{:<44} {:>10} {:>12}", "operation", "ms", "per second");
    norms::run();
    products::run();
    depthwise::run();
    pools::run();
    elements::run();
    training::run();
}

/// What one run of an operation amounts to.
enum Work {
    /// Bytes read and written at least once.
    Bytes(usize),
    /// Multiplications and additions.
    Operations(usize),
}

/// Runs `operation` for half a second and prints its best time, if its name was asked for.
fn measure(name: &str, work: Work, mut operation: impl FnMut()) {
    if std::env::args()
        .nth(1)
        .is_some_and(|part| !name.contains(&part))
    {
        return;
    }
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < 0.5 {
        let start = Instant::now();
        operation();
        best = best.min(start.elapsed().as_secs_f64());
    }
    let (amount, unit) = match work {
        Work::Bytes(bytes) => (bytes, "GB/s"),
        Work::Operations(operations) => (operations, "GFLOP/s"),
    };
    let rate = amount as f64 / best / 1e9;
    println!("{name:<44} {:>10.3} {rate:>12.1} {unit}", best * 1e3);
}

/// `length` values in `[-1, 1)`.
fn values(length: usize) -> Vec<f32> {
    let value = |index: usize| (index.wrapping_mul(2_654_435_761) >> 8 & 0xffff) as f32;
    black_box(
        (0..length)
            .map(|index| value(index) / 32768.0 - 1.0)
            .collect(),
    )
}
