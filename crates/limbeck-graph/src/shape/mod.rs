//! Shape inference: what an operator makes of its inputs.
//!
//! A failure is a sentence of expected and got, to which the caller adds the node's name.

mod arrange;
mod recurrent;
mod window;

use crate::ir::{Conv1d, Conv2d, ConvTranspose2d, Dim, Kind, Op, Pool1d, Pool2d, Shape, ValueType};

pub use window::{Window, transposed_size, windows};

/// More values than this, per row or in a weight, are taken for a mistake: 64 GiB of floats.
pub const MAX_VALUES: usize = 1 << 34;

/// The values that `op` computes from `inputs`.
///
/// # Errors
/// If the number of inputs, a rank or a size does not fit, or an attribute is out of range.
pub fn infer(op: &Op, inputs: &[&ValueType]) -> Result<Vec<ValueType>, String> {
    let outputs = outputs(op, inputs)?;
    match outputs
        .iter()
        .find(|output| output.shape.len_per_row() > MAX_VALUES)
    {
        Some(huge) => Err(format!(
            "its output {huge} has more than {MAX_VALUES} values per row"
        )),
        None => Ok(outputs),
    }
}

fn outputs(op: &Op, inputs: &[&ValueType]) -> Result<Vec<ValueType>, String> {
    let (fewest, most) = op.arity();
    if inputs.len() < fewest || inputs.len() > most {
        let expected = match (fewest, most) {
            (1, 1) => "1 input".to_owned(),
            (fewest, usize::MAX) => format!("{fewest} or more inputs"),
            (fewest, most) if fewest < most => format!("{fewest} to {most} inputs"),
            (fewest, _) => format!("{fewest} inputs"),
        };
        return Err(format!("expected {expected}, got {}", inputs.len()));
    }
    if let Op::Embedding(table) = op {
        let [tokens] = inputs else {
            return Err("expected 1 input".to_owned());
        };
        if tokens.kind != Kind::Tokens {
            return Err(format!("expected token ids, got floats {tokens}"));
        }
        positive("tokens", table.tokens)?;
        positive("size", table.size)?;
        let mut shape = tokens.shape.clone();
        shape.0.push(Dim::Fixed(table.size));
        return Ok(vec![ValueType::float(shape)]);
    }
    if let (Op::TokensAsFloats, [tokens]) = (op, inputs) {
        if tokens.kind != Kind::Tokens {
            return Err(format!("expected token ids, got floats {tokens}"));
        }
        return Ok(vec![ValueType::float(tokens.shape.clone())]);
    }
    if inputs.iter().any(|input| input.kind == Kind::Tokens) {
        return Err("expected floats, got token ids: they need an embedding first".to_owned());
    }
    let shapes: Vec<&Shape> = inputs.iter().map(|input| &input.shape).collect();
    if let Op::Split(split) = op {
        return Ok(cut(shapes[0], split.axis, &split.sizes)?
            .into_iter()
            .map(ValueType::float)
            .collect());
    }
    if let Op::Recurrent(recurrent) = op {
        let outputs = recurrent::outputs(recurrent, &shapes)?;
        return Ok(outputs.into_iter().map(ValueType::float).collect());
    }
    single(op, &shapes).map(|shape| vec![ValueType::float(shape)])
}

fn single(op: &Op, inputs: &[&Shape]) -> Result<Shape, String> {
    match op {
        Op::Parameter(parameter) => value(&parameter.shape),
        Op::Constant(constant) => value(&constant.shape),
        Op::Add
        | Op::Multiply
        | Op::Subtract
        | Op::Divide
        | Op::Maximum
        | Op::Minimum
        | Op::Compare(_)
        | Op::Where => inputs
            .iter()
            .skip(1)
            .try_fold(inputs[0].clone(), |shape, other| broadcast(&shape, other)),
        Op::Concatenate(concatenate) => join(inputs, concatenate.axis),
        Op::MatMul => product(inputs[0], inputs[1]),
        _ => unary(op, inputs[0]),
    }
}

/// The shape of a parameter or a constant.
fn value(sizes: &[usize]) -> Result<Shape, String> {
    if sizes.is_empty() || sizes.len() > 6 {
        return Err(format!("expected a shape of 1 to 6 sizes, got {sizes:?}"));
    }
    sizes.iter().try_for_each(|&size| positive("shape", size))?;
    Ok(Shape::fixed(sizes))
}

fn unary(op: &Op, input: &Shape) -> Result<Shape, String> {
    match op {
        Op::Conv1d(conv) => conv1d(conv, input),
        Op::Conv2d(conv) => conv2d(conv, input),
        Op::ConvTranspose2d(conv) => conv_transpose2d(conv, input),
        Op::Linear(linear) => {
            positive("inputs", linear.inputs)?;
            positive("outputs", linear.outputs)?;
            last_axis(input, linear.inputs)?;
            let mut shape = input.clone();
            shape.0.pop();
            shape.0.push(Dim::Fixed(linear.outputs));
            Ok(shape)
        }
        Op::BatchNorm(norm) => {
            positive("channels", norm.channels)?;
            at_least("epsilon", norm.epsilon, 0.0, false)?;
            in_range("momentum", norm.momentum, norm.momentum <= 1.0, "0 to 1")?;
            channels(input, norm.channels, 2..=6)?;
            Ok(input.clone())
        }
        Op::LayerNorm(norm) => {
            positive("size", norm.size)?;
            at_least("epsilon", norm.epsilon, 0.0, false)?;
            last_axis(input, norm.size)?;
            Ok(input.clone())
        }
        Op::Dropout(dropout) => {
            in_range(
                "rate",
                dropout.rate,
                dropout.rate < 1.0,
                "0 up to but not including 1",
            )?;
            Ok(input.clone())
        }
        Op::ScaleShift(line) => {
            if !line.scale.is_finite() || !line.shift.is_finite() {
                return Err(format!(
                    "expected finite numbers, got scale {} and shift {}",
                    line.scale, line.shift
                ));
            }
            Ok(input.clone())
        }
        Op::MaxPool1d(pool) | Op::AvgPool1d(pool) => pool1d(pool, input),
        Op::MaxPool2d(pool) | Op::AvgPool2d(pool) => pool2d(pool, input),
        Op::GlobalAvgPool | Op::GlobalMaxPool => {
            batched(input, 3..=4)?;
            let mut shape = input.clone();
            shape
                .0
                .iter_mut()
                .skip(2)
                .for_each(|dim| *dim = Dim::Fixed(1));
            Ok(shape)
        }
        Op::Reshape(reshape) => {
            batched(input, 1..=6)?;
            reshape
                .sizes
                .iter()
                .try_for_each(|&size| positive("sizes", size))?;
            let shape = input.with_sizes(&reshape.sizes);
            if shape.rank() > 6 {
                return Err(format!(
                    "expected at most 5 sizes after the batch, got {:?}",
                    reshape.sizes
                ));
            }
            let (from, to) = (input.len_per_row(), shape.len_per_row());
            if from != to {
                return Err(format!(
                    "cannot reshape {input} with {from} values per row to {shape} with {to}"
                ));
            }
            Ok(shape)
        }
        Op::View(view) => arrange::view(input, &view.shape),
        Op::Expand(expand) => arrange::expand(input, &expand.shape),
        Op::Slice(slice) => arrange::slice(input, slice),
        Op::Take(take) => arrange::take(input, take),
        Op::Pad(pad) => arrange::pad(input, pad),
        Op::Reduce(reduce) => arrange::reduce(input, &reduce.axes),
        Op::Transpose(transpose) => permute(input, &transpose.axes),
        Op::ChannelShuffle(shuffle) => {
            batched(input, 3..=4)?;
            positive("groups", shuffle.groups)?;
            divides("channels", input.size(1).unwrap_or(0), shuffle.groups)?;
            Ok(input.clone())
        }
        Op::Flatten => {
            batched(input, 2..=6)?;
            let row: usize = input.0[1..].iter().map(|dim| dim.size(1)).product();
            Ok(input.with_sizes(&[row]))
        }
        Op::Softmax(softmax) | Op::LogSoftmax(softmax) => {
            free_axis(input, softmax.axis)?;
            Ok(input.clone())
        }
        // Every other operator with one input works element by element.
        _ => Ok(input.clone()),
    }
}

fn conv1d(conv: &Conv1d, input: &Shape) -> Result<Shape, String> {
    grouped(conv.in_channels, conv.out_channels, conv.groups)?;
    channels(input, conv.in_channels, 3..=3)?;
    let length = Window {
        kernel: conv.kernel,
        stride: conv.stride,
        padding: conv.padding,
        dilation: conv.dilation,
        ceil: false,
    };
    let length = windows(input.size(2).unwrap_or(0), &length)?;
    Ok(input.with_sizes(&[conv.out_channels, length]))
}

fn conv2d(conv: &Conv2d, input: &Shape) -> Result<Shape, String> {
    grouped(conv.in_channels, conv.out_channels, conv.groups)?;
    channels(input, conv.in_channels, 4..=4)?;
    let along = |axis: usize| {
        let window = Window {
            kernel: conv.kernel[axis],
            stride: conv.stride[axis],
            padding: conv.padding[axis],
            dilation: conv.dilation[axis],
            ceil: false,
        };
        windows(input.size(axis + 2).unwrap_or(0), &window)
    };
    Ok(input.with_sizes(&[conv.out_channels, along(0)?, along(1)?]))
}

fn conv_transpose2d(conv: &ConvTranspose2d, input: &Shape) -> Result<Shape, String> {
    grouped(conv.in_channels, conv.out_channels, conv.groups)?;
    channels(input, conv.in_channels, 4..=4)?;
    let along = |axis: usize| {
        let window = Window {
            kernel: conv.kernel[axis],
            stride: conv.stride[axis],
            padding: [conv.padding[axis]; 2],
            dilation: conv.dilation[axis],
            ceil: false,
        };
        transposed_size(
            input.size(axis + 2).unwrap_or(0),
            &window,
            conv.output_padding[axis],
        )
    };
    Ok(input.with_sizes(&[conv.out_channels, along(0)?, along(1)?]))
}

fn pool1d(pool: &Pool1d, input: &Shape) -> Result<Shape, String> {
    batched(input, 3..=3)?;
    let window = Window::pool(pool.kernel, pool.stride, pool.padding, pool.ceil)?;
    let length = windows(input.size(2).unwrap_or(0), &window)?;
    Ok(input.with_sizes(&[input.size(1).unwrap_or(0), length]))
}

fn pool2d(pool: &Pool2d, input: &Shape) -> Result<Shape, String> {
    batched(input, 4..=4)?;
    let along = |axis: usize| {
        let window = Window::pool(
            pool.kernel[axis],
            pool.stride[axis],
            pool.padding[axis],
            pool.ceil,
        )?;
        windows(input.size(axis + 2).unwrap_or(0), &window)
    };
    Ok(input.with_sizes(&[input.size(1).unwrap_or(0), along(0)?, along(1)?]))
}

fn permute(input: &Shape, axes: &[usize]) -> Result<Shape, String> {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    if sorted.iter().copied().ne(0..input.rank()) {
        return Err(format!(
            "expected the axes of {input} in another order, got {axes:?}"
        ));
    }
    Ok(axes.iter().map(|&axis| input.0[axis]).collect())
}

fn cut(input: &Shape, axis: usize, sizes: &[usize]) -> Result<Vec<Shape>, String> {
    let whole = free_axis(input, axis)?;
    sizes.iter().try_for_each(|&size| positive("sizes", size))?;
    if sizes.iter().copied().fold(0, usize::saturating_add) != whole {
        return Err(format!(
            "expected sizes that sum to {whole} along axis {axis}, got {sizes:?}"
        ));
    }
    let with_size = |size: &usize| {
        let mut shape = input.clone();
        shape.0[axis] = Dim::Fixed(*size);
        shape
    };
    Ok(sizes.iter().map(with_size).collect())
}

fn join(inputs: &[&Shape], axis: usize) -> Result<Shape, String> {
    let mut whole = 0;
    for shape in inputs {
        whole = free_axis(shape, axis)?.saturating_add(whole);
        let same = shape.rank() == inputs[0].rank()
            && (0..shape.rank()).all(|other| other == axis || shape.0[other] == inputs[0].0[other]);
        if !same {
            return Err(format!(
                "expected the same sizes except along axis {axis}, got {} and {shape}",
                inputs[0]
            ));
        }
    }
    let mut shape = inputs[0].clone();
    shape.0[axis] = Dim::Fixed(whole);
    Ok(shape)
}

/// The shape of an elementwise operation that repeats axes of size 1, aligned at the last axis.
fn broadcast(a: &Shape, b: &Shape) -> Result<Shape, String> {
    let rank = a.rank().max(b.rank());
    let at = |shape: &Shape, axis: usize| {
        (axis + shape.rank())
            .checked_sub(rank)
            .map_or(Dim::Fixed(1), |axis| shape.0[axis])
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (left, right) if left == right => Ok(left),
            (Dim::Fixed(1), dim) | (dim, Dim::Fixed(1)) => Ok(dim),
            _ => Err(format!(
                "cannot combine {a} and {b}: axis {axis} differs and neither side is 1"
            )),
        })
        .collect()
}

fn product(a: &Shape, b: &Shape) -> Result<Shape, String> {
    let split = |shape: &Shape| match shape.dims() {
        [outer @ .., rows, columns] => {
            Some((outer.iter().copied().collect::<Shape>(), *rows, *columns))
        }
        _ => None,
    };
    let (Some((outer_a, rows, inner_a)), Some((outer_b, inner_b, columns))) = (split(a), split(b))
    else {
        return Err(format!(
            "expected two values of rank 2 or more, got {a} and {b}"
        ));
    };
    if inner_a != inner_b || inner_b.batches().is_some() {
        return Err(format!(
            "cannot multiply {a} and {b}: {inner_a} columns against {inner_b} rows"
        ));
    }
    let mut shape = broadcast(&outer_a, &outer_b)?;
    shape.0.extend([rows, columns]);
    Ok(shape)
}

fn positive(attribute: &str, value: usize) -> Result<(), String> {
    if value == 0 {
        return Err(format!("expected a positive `{attribute}`, got 0"));
    }
    Ok(())
}

fn at_least(attribute: &str, value: f64, least: f64, or_equal: bool) -> Result<(), String> {
    if value.is_finite() && (value > least || or_equal && value == least) {
        return Ok(());
    }
    Err(format!("expected `{attribute}` above {least}, got {value}"))
}

fn in_range(attribute: &str, value: f64, below_top: bool, range: &str) -> Result<(), String> {
    if value >= 0.0 && below_top {
        return Ok(());
    }
    Err(format!("expected `{attribute}` from {range}, got {value}"))
}

fn divides(what: &str, whole: usize, parts: usize) -> Result<(), String> {
    if whole.is_multiple_of(parts) {
        return Ok(());
    }
    Err(format!(
        "expected a number of {what} that {parts} groups divide, got {whole}"
    ))
}

fn grouped(in_channels: usize, out_channels: usize, groups: usize) -> Result<(), String> {
    positive("in_channels", in_channels)?;
    positive("out_channels", out_channels)?;
    positive("groups", groups)?;
    divides("input channels", in_channels, groups)?;
    divides("output channels", out_channels, groups)
}

fn batched(input: &Shape, ranks: std::ops::RangeInclusive<usize>) -> Result<(), String> {
    let again = input
        .dims()
        .iter()
        .skip(1)
        .any(|dim| dim.batches().is_some());
    if input.is_batched() && !again && ranks.contains(&input.rank()) {
        return Ok(());
    }
    let (low, high) = (ranks.start(), ranks.end());
    let rank = if low == high {
        format!("{low}")
    } else {
        format!("{low} to {high}")
    };
    let where_else = if again {
        " and has it nowhere else"
    } else {
        ""
    };
    Err(format!(
        "expected a shape of rank {rank} that starts with the batch{where_else}, got {input}"
    ))
}

fn channels(
    input: &Shape,
    expected: usize,
    ranks: std::ops::RangeInclusive<usize>,
) -> Result<(), String> {
    batched(input, ranks)?;
    if input.size(1) == Some(expected) {
        return Ok(());
    }
    let got = input.size(1).unwrap_or(0);
    Err(format!(
        "expected {expected} input channels, got {got} in {input}"
    ))
}

fn last_axis(input: &Shape, expected: usize) -> Result<(), String> {
    if input.rank() >= 2 && input.size(input.rank() - 1) == Some(expected) {
        return Ok(());
    }
    Err(format!(
        "expected a last axis of size {expected}, got {input}"
    ))
}

/// The size of an axis that exists and is not the batch.
fn free_axis(input: &Shape, axis: usize) -> Result<usize, String> {
    input
        .size(axis)
        .ok_or_else(|| format!("expected an axis of {input} other than the batch, got axis {axis}"))
}

#[cfg(test)]
mod tests;
