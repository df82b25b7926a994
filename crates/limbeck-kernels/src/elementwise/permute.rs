//! Axes in another order.

use rayon::prelude::*;

use super::nchw_to_nhwc;

/// Elements of one task.
const TASK: usize = 32 * 1024;

/// Writes `input` of the sizes `sizes` to `output` with its axes in the order `axes`.
///
/// # Panics
///
/// If the lengths disagree, or `axes` is not an order of the axes.
pub fn permute(sizes: &[usize], axes: &[usize], input: &[f32], output: &mut [f32]) {
    let length: usize = sizes.iter().product();
    assert_eq!(input.len(), length, "the input has the sizes");
    assert_eq!(output.len(), length, "the output is as long as the input");
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    assert!(
        sorted.iter().copied().eq(0..sizes.len()),
        "the axes are those of the sizes"
    );
    if length == 0 {
        return;
    }
    let (sizes, axes) = merged(sizes, axes);
    let rank = axes.len();
    match axes[..] {
        [] | [0] => output.copy_from_slice(input),
        [1, 0] => nchw_to_nhwc(sizes[1], sizes[0], input, output),
        [0, 2, 1] => nchw_to_nhwc(sizes[2], sizes[1], input, output),
        _ if axes[rank - 1] == rank - 1 => rows(&sizes, &axes, input, output),
        _ => elements(&sizes, &axes, input, output),
    }
}

/// Axes of size 1 left out, and neighbours that stay neighbours made one.
fn merged(sizes: &[usize], axes: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for &axis in axes.iter().filter(|&&axis| sizes[axis] != 1) {
        match runs.last_mut() {
            Some(run) if follows(run[run.len() - 1], axis, sizes) => run.push(axis),
            _ => runs.push(vec![axis]),
        }
    }
    let mut order: Vec<usize> = (0..runs.len()).collect();
    order.sort_by_key(|&run| runs[run][0]);
    let size = |run: &usize| runs[*run].iter().map(|&axis| sizes[axis]).product();
    let mut axes = vec![0; runs.len()];
    for (place, &run) in order.iter().enumerate() {
        axes[run] = place;
    }
    (order.iter().map(size).collect(), axes)
}

/// Whether only axes of size 1 lie between two axes.
fn follows(before: usize, axis: usize, sizes: &[usize]) -> bool {
    axis > before && sizes[before + 1..axis].iter().all(|&size| size == 1)
}

/// The distance in the input of one place along each axis of the output.
fn strides(sizes: &[usize], axes: &[usize]) -> Vec<usize> {
    let stride = |&axis: &usize| sizes[axis + 1..].iter().product();
    axes.iter().map(stride).collect()
}

/// The place in the input of the values whose outer axes of the output are at `index`, counted together.
fn place(mut index: usize, sizes: &[usize], axes: &[usize], strides: &[usize]) -> usize {
    let mut place = 0;
    for (axis, stride) in axes.iter().zip(strides).rev() {
        place += index % sizes[*axis] * stride;
        index /= sizes[*axis];
    }
    place
}

/// The last axis stays: its rows are copied.
fn rows(sizes: &[usize], axes: &[usize], input: &[f32], output: &mut [f32]) {
    let rank = sizes.len();
    let width = sizes[rank - 1];
    let (outer, strides) = (&axes[..rank - 1], strides(sizes, axes));
    let count = TASK.div_ceil(width);
    let tasks = output.par_chunks_mut(count * width).enumerate();
    tasks.for_each(|(task, output)| {
        for (row, output) in output.chunks_exact_mut(width).enumerate() {
            let from = place(task * count + row, sizes, outer, &strides[..rank - 1]);
            output.copy_from_slice(&input[from..from + width]);
        }
    });
}

fn elements(sizes: &[usize], axes: &[usize], input: &[f32], output: &mut [f32]) {
    let rank = sizes.len();
    let strides = strides(sizes, axes);
    let (width, step) = (sizes[axes[rank - 1]], strides[rank - 1]);
    let (outer, strides) = (&axes[..rank - 1], &strides[..rank - 1]);
    let count = TASK.div_ceil(width);
    let tasks = output.par_chunks_mut(count * width).enumerate();
    tasks.for_each(|(task, output)| {
        for (row, output) in output.chunks_exact_mut(width).enumerate() {
            let from = place(task * count + row, sizes, outer, strides);
            let values = input[from..].iter().step_by(step);
            for (output, value) in output.iter_mut().zip(values) {
                *output = *value;
            }
        }
    });
}
