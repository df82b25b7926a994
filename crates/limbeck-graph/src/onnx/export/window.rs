//! Convolutions and pooling windows.

use super::messages::AttributeProto;
use super::writer::Step;
use crate::ir::{Conv1d, Conv2d, ConvTranspose2d, Pool1d, Pool2d};

pub(super) fn conv1d(step: &mut Step<'_, '_>, conv: &Conv1d) {
    let [before, after] = conv.padding;
    let attributes = vec![
        AttributeProto::ints("dilations", &[conv.dilation]),
        AttributeProto::int("group", conv.groups),
        AttributeProto::ints("kernel_shape", &[conv.kernel]),
        AttributeProto::ints("pads", &[before, after]),
        AttributeProto::ints("strides", &[conv.stride]),
    ];
    convolution(step, "Conv", attributes);
}

pub(super) fn conv2d(step: &mut Step<'_, '_>, conv: &Conv2d) {
    let [[top, bottom], [left, right]] = conv.padding;
    let attributes = vec![
        AttributeProto::ints("dilations", &conv.dilation),
        AttributeProto::int("group", conv.groups),
        AttributeProto::ints("kernel_shape", &conv.kernel),
        AttributeProto::ints("pads", &[top, left, bottom, right]),
        AttributeProto::ints("strides", &conv.stride),
    ];
    convolution(step, "Conv", attributes);
}

pub(super) fn conv_transpose2d(step: &mut Step<'_, '_>, conv: &ConvTranspose2d) {
    let [height, width] = conv.padding;
    let attributes = vec![
        AttributeProto::ints("dilations", &conv.dilation),
        AttributeProto::int("group", conv.groups),
        AttributeProto::ints("kernel_shape", &conv.kernel),
        AttributeProto::ints("output_padding", &conv.output_padding),
        AttributeProto::ints("pads", &[height, width, height, width]),
        AttributeProto::ints("strides", &conv.stride),
    ];
    convolution(step, "ConvTranspose", attributes);
}

fn convolution(step: &mut Step<'_, '_>, op_type: &str, attributes: Vec<AttributeProto>) {
    let weight = step.weight("weight").unwrap_or_default();
    let bias = step.weight("bias");
    let mut inputs = vec![step.input(0), &weight];
    inputs.extend(bias.as_deref());
    step.finish(op_type, &inputs, attributes);
}

/// A pooling window, one entry per axis.
struct Pool {
    kernel: Vec<usize>,
    stride: Vec<usize>,
    padding: Vec<usize>,
    count_include_pad: bool,
}

pub(super) fn pool1d(step: &mut Step<'_, '_>, op_type: &str, pool: &Pool1d) {
    let window = Pool {
        kernel: vec![pool.kernel],
        stride: vec![pool.stride],
        padding: vec![pool.padding],
        count_include_pad: pool.count_include_pad,
    };
    pooling(step, op_type, &window);
}

pub(super) fn pool2d(step: &mut Step<'_, '_>, op_type: &str, pool: &Pool2d) {
    let window = Pool {
        kernel: pool.kernel.to_vec(),
        stride: pool.stride.to_vec(),
        padding: pool.padding.to_vec(),
        count_include_pad: pool.count_include_pad,
    };
    pooling(step, op_type, &window);
}

/// Windows that hang over the end are written as more padding there: `ceil_mode` means other windows in other programs.
fn pooling(step: &mut Step<'_, '_>, op_type: &str, pool: &Pool) {
    let (input, output) = (step.input_shape(0), step.output_shape());
    let overhang: Vec<usize> = (0..pool.kernel.len())
        .map(|axis| {
            let size = |shape: &crate::ir::Shape| shape.size(axis + 2).unwrap_or(1);
            let reach = (size(output) - 1) * pool.stride[axis] + pool.kernel[axis];
            reach.saturating_sub(size(input) + 2 * pool.padding[axis])
        })
        .collect();
    let average = op_type == "AveragePool";
    let overhangs = overhang.iter().any(|&places| places > 0);
    let mut x = step.input(0).to_owned();
    let mut before = pool.padding.clone();
    let mut include = pool.count_include_pad;
    if average && include && overhangs {
        // The padding counts and the overhang does not, so the padding becomes part of the image.
        if before.iter().any(|&places| places > 0) {
            let side = || [0, 0].into_iter().chain(before.iter().copied());
            let sides = side().chain(side()).map(|places| places as i64).collect();
            let sides = step.integers("sides", sides);
            let zero = step.float("zero", 0.0);
            x = step.inner("padded", "Pad", &[&x, &sides, &zero], vec![]);
        }
        before.fill(0);
        include = false;
    }
    let after = before.iter().zip(&overhang).map(|(side, more)| side + more);
    let pads: Vec<usize> = before.iter().copied().chain(after).collect();
    let mut attributes = vec![
        AttributeProto::ints("kernel_shape", &pool.kernel),
        AttributeProto::ints("pads", &pads),
        AttributeProto::ints("strides", &pool.stride),
    ];
    if average {
        attributes.push(AttributeProto::int("count_include_pad", include.into()));
    }
    step.finish(op_type, &[&x], attributes);
}
