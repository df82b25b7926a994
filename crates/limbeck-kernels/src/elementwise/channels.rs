//! Copies that move channels of `[rows, channels]` images (rows = batch * height * width).

use rayon::prelude::*;

/// Elements of one task.
const TASK: usize = 32 * 1024;

/// Puts the channels of several images side by side: each part is `[rows, its channels]`, and
/// `output` is `[rows, sum of channels]`.
///
/// # Panics
///
/// If the lengths disagree.
pub fn concatenate(rows: usize, parts: &[&[f32]], output: &mut [f32]) {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    assert_eq!(
        output.len(),
        total,
        "the output is as long as the parts together"
    );
    assert!(rows > 0, "images have rows");
    for part in parts {
        assert_eq!(
            part.len() % rows,
            0,
            "a part is not a whole number of channels"
        );
    }
    let channels = total / rows;
    if channels == 0 {
        return;
    }
    let task_rows = TASK.div_ceil(channels);
    let tasks = output.par_chunks_mut(task_rows * channels).enumerate();
    tasks.for_each(|(task, output)| {
        let mut first = 0;
        for part in parts {
            let width = part.len() / rows;
            let part = &part[task * task_rows * width..];
            for (row, output) in output.chunks_exact_mut(channels).enumerate() {
                output[first..first + width].copy_from_slice(&part[row * width..][..width]);
            }
            first += width;
        }
    });
}

/// Takes [`concatenate`]d channels apart again, which is also its gradient: `input` is
/// `[rows, sum of channels]`, and each part is `[rows, its channels]`.
///
/// # Panics
///
/// If the lengths disagree.
pub fn split(rows: usize, input: &[f32], parts: &mut [&mut [f32]]) {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    assert_eq!(
        input.len(),
        total,
        "the input is as long as the parts together"
    );
    assert!(rows > 0, "images have rows");
    let mut first = 0;
    for part in parts {
        narrow(rows, first, input, part);
        first += part.len() / rows;
    }
}

/// One part of a [`split`]: the channels from `first` of `input`, which is `[rows, channels]`, as
/// many as `output`, `[rows, its channels]`, has.
///
/// # Panics
///
/// If the lengths are not a whole number of channels, or `input` has too few.
pub fn narrow(rows: usize, first: usize, input: &[f32], output: &mut [f32]) {
    assert!(rows > 0, "images have rows");
    assert_eq!(
        input.len() % rows,
        0,
        "the input is not a whole number of channels"
    );
    assert_eq!(
        output.len() % rows,
        0,
        "a part is not a whole number of channels"
    );
    let (channels, width) = (input.len() / rows, output.len() / rows);
    assert!(
        first + width <= channels,
        "the part ends behind the channels"
    );
    if width == 0 {
        return;
    }
    let task_rows = TASK.div_ceil(channels);
    let tasks = output.par_chunks_mut(task_rows * width).enumerate();
    tasks.for_each(|(task, output)| {
        let input = &input[task * task_rows * channels..];
        for (row, output) in output.chunks_exact_mut(width).enumerate() {
            output.copy_from_slice(&input[row * channels + first..][..width]);
        }
    });
}

/// `ShuffleNet`'s channel shuffle of `[rows, channels]`: channel `m` of group `g` becomes channel
/// `m * groups + g`. Its gradient is the shuffle with `channels / groups` groups.
///
/// # Panics
///
/// If the lengths differ, are not a whole number of rows, or `groups` does not divide `channels`.
pub fn shuffle(channels: usize, groups: usize, input: &[f32], output: &mut [f32]) {
    assert_eq!(
        input.len(),
        output.len(),
        "input and output differ in length"
    );
    assert!(channels > 0 && groups > 0, "there are channels and groups");
    assert_eq!(
        channels % groups,
        0,
        "the groups do not divide the channels"
    );
    assert_eq!(
        input.len() % channels,
        0,
        "the elements are not a whole number of rows"
    );
    let width = channels / groups;
    let chunk = TASK.div_ceil(channels) * channels;
    let tasks = output.par_chunks_mut(chunk).zip(input.par_chunks(chunk));
    tasks.for_each(|(output, input)| {
        let rows = output
            .chunks_exact_mut(channels)
            .zip(input.chunks_exact(channels));
        for (output, input) in rows {
            for (group, input) in input.chunks_exact(width).enumerate() {
                for (output, value) in output[group..].iter_mut().step_by(groups).zip(input) {
                    *output = *value;
                }
            }
        }
    });
}
