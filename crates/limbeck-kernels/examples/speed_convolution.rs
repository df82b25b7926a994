//! GFLOP/s of the convolution kernels, in each direction, at the fastest of many short repetitions.
//!
//! `cargo run --release -p limbeck-kernels --example speed_convolution [part of a name]`; the
//! number of threads is rayon's (`RAYON_NUM_THREADS`).

use std::hint::black_box;
use std::time::{Duration, Instant};

use limbeck_kernels::convolution::{
    Convolution, Epilogue, PackedWeight, backward_input, backward_weight, bf16_available, forward,
    forward_packed,
};

/// How long each direction of each shape is repeated.
const TIME: Duration = Duration::from_millis(150);

fn main() {
    let asked = std::env::args().nth(1).unwrap_or_default();
    println!(
        "{:<36} {:>8} {:>8} {:>8} {:>8}",
        "GFLOP/s", "forward", "input", "weight", "bf16"
    );
    for (name, of) in shapes() {
        if name.contains(&asked) {
            measure(&name, &of);
        }
    }
}

fn shapes() -> Vec<(String, Convolution)> {
    let mut shapes = Vec::new();
    let mut add = |batch, size, channels: [usize; 2], kernel, stride: usize| {
        let name = format!(
            "{batch}x{size}x{size} {}>{} k{kernel} s{stride}",
            channels[0], channels[1]
        );
        let of = Convolution::same([batch, size, size], channels, kernel);
        shapes.push((
            name,
            Convolution {
                stride: [stride; 2],
                ..of
            },
        ));
    };
    for (size, channels) in [
        (32, 16),
        (16, 32),
        (8, 64),
        (16, 128),
        (8, 256),
        (7, 512),
        (4, 512),
        (32, 64),
        (16, 64),
    ] {
        add(64, size, [channels; 2], 3, 1);
    }
    for (size, from, to) in [(32, 16, 32), (16, 32, 64), (32, 64, 128), (8, 256, 512)] {
        add(64, size, [from, to], 3, 2);
        add(64, size, [from, to], 1, 2);
    }
    for (size, from, to, kernel) in [
        (32, 3, 16, 3),
        (32, 3, 64, 3),
        (28, 1, 32, 3),
        (28, 1, 6, 5),
    ] {
        add(64, size, [from, to], kernel, 1);
    }
    add(64, 14, [6, 16], 5, 1);
    add(64, 16, [32, 32], 5, 1);
    for (size, from, to) in [
        (32, 16, 96),
        (16, 144, 24),
        (8, 384, 64),
        (7, 960, 160),
        (7, 160, 960),
        (8, 256, 64),
    ] {
        add(64, size, [from, to], 1, 1);
    }
    for (size, channels) in [(16, 24), (16, 58), (8, 116)] {
        add(64, size, [channels; 2], 1, 1);
        add(64, size, [channels; 2], 3, 1);
    }
    add(64, 16, [10, 10], 3, 1);
    for batch in [1, 16, 128, 512] {
        add(batch, 32, [16, 16], 3, 1);
        add(batch, 8, [64, 64], 3, 1);
    }
    for (size, channels) in [(64, 16), (96, 16), (64, 64), (96, 64)] {
        add(16, size, [channels; 2], 3, 1);
    }
    add(1, 7, [960, 160], 1, 1);
    add(1, 56, [64, 64], 3, 1);
    shapes
}

fn measure(name: &str, of: &Convolution) {
    let fill = |length: usize| -> Vec<f32> {
        (0..length)
            .map(|index| ((index * 7919) % 256) as f32 / 128.0 - 1.0)
            .collect()
    };
    let (input, weight) = (fill(of.input_length()), fill(of.weight_length()));
    let gradient = fill(of.output_length());
    let mut output = vec![0.0; of.output_length()];
    let mut grad_input = vec![0.0; of.input_length()];
    let mut grad_weight = vec![0.0; of.weight_length()];
    let speed = |seconds: f64| 2e-9 * of.multiply_adds() as f64 / seconds;
    let directions = [
        fastest(|| {
            forward(
                of,
                &input,
                &weight,
                Epilogue::default(),
                black_box(&mut output),
            )
        }),
        fastest(|| backward_input(of, &gradient, &weight, None, black_box(&mut grad_input))),
        fastest(|| backward_weight(of, &input, &gradient, black_box(&mut grad_weight), None)),
    ]
    .map(speed);
    print!("{name:<36}");
    for direction in directions {
        print!(" {direction:>8.1}");
    }
    if bf16_available() {
        let packed = PackedWeight::bf16(of, &weight);
        let seconds = fastest(|| {
            forward_packed(
                of,
                &input,
                &packed,
                Epilogue::default(),
                black_box(&mut output),
            );
        });
        print!(" {:>8.1}", speed(seconds));
    }
    println!();
}

/// Seconds of the fastest call.
fn fastest(mut call: impl FnMut()) -> f64 {
    call();
    let start = Instant::now();
    let mut best = f64::INFINITY;
    while start.elapsed() < TIME {
        let begin = Instant::now();
        call();
        best = best.min(begin.elapsed().as_secs_f64());
    }
    best
}
