//! Linear layers and matrix products.

use super::array::Array;
use super::call::Call;
use super::constant::Arithmetic;
use super::lowering::{Lowering, last_size, transpose};
use super::value::{Tensor, Value};
use crate::initialise::Initialiser;
use crate::ir::{Dim, Linear, Op, Shape, WeightKind};
use crate::onnx::Outcome;

impl Lowering<'_> {
    pub(super) fn gemm(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let (alpha, beta) = (call.float("alpha", 1.0)?, call.float("beta", 1.0)?);
        let x = match call.flag("transA", false)? {
            false => call.input(0)?.clone(),
            true => self.swapped(call.input(0)?)?,
        };
        // As `[outputs, inputs]`.
        let matrix = match call.flag("transB", false)? {
            true => call.input(1)?.clone(),
            false => self.swapped(call.input(1)?)?,
        };
        let bias = call.optional(2).cloned();
        let x = self.tensor(&x)?;
        let vector = |value: &Value| match value {
            Value::Weight(weight) => weight.shape.iter().rev().skip(1).all(|size| *size == 1),
            Value::Floats(array) => array.shape.iter().rev().skip(1).all(|size| *size == 1),
            _ => false,
        };
        if let Some(layer) = self.layer(&x, &matrix, alpha)? {
            let outputs = layer.outputs;
            let fits = |value: &Value| {
                vector(value) && value.shape().len_per_row() == outputs && beta == 1.0
            };
            return match &bias {
                None => self
                    .linear(&x, layer.bias(false), &matrix, None)
                    .map(Value::Tensor),
                Some(bias) if fits(bias) => self
                    .linear(&x, layer.bias(true), &matrix, Some(bias))
                    .map(Value::Tensor),
                Some(bias) => {
                    let product = self.linear(&x, layer.bias(false), &matrix, None)?;
                    self.add_scaled(product, bias, beta)
                }
            };
        }
        let matrix = self.swapped(&matrix)?;
        let matrix = self.tensor(&matrix)?;
        let product = self.emit(Op::MatMul, &[&x, &matrix])?;
        let product = self.line(&product, alpha, 0.0)?;
        match bias {
            Some(bias) => self.add_scaled(product, &bias, beta),
            None => Ok(Value::Tensor(product)),
        }
    }

    fn add_scaled(&mut self, product: Tensor, bias: &Value, beta: f64) -> Outcome<Value> {
        let factor = Value::Floats(Array::scalar(beta));
        let bias = match beta {
            1.0 => bias.clone(),
            _ => self.binary(Arithmetic::Multiply, bias, &factor)?,
        };
        self.binary(Arithmetic::Add, &Value::Tensor(product), &bias)
    }

    /// The linear layer that a product of `x` with the transposed `matrix` is, if the file holds the matrix.
    fn layer(&self, x: &Tensor, matrix: &Value, alpha: f64) -> Outcome<Option<Linear>> {
        let shape = match matrix {
            Value::Weight(weight) if self.can_bind(weight, &weight.shape) => &weight.shape,
            Value::Floats(array) => &array.shape,
            _ => return Ok(None),
        };
        let &[outputs, inputs] = shape.as_slice() else {
            return Ok(None);
        };
        let fits = alpha == 1.0 && x.shape.rank() >= 2 && last_size(&x.shape).is_ok();
        Ok(fits.then(|| Linear::new(inputs, outputs)))
    }

    fn linear(
        &mut self,
        x: &Tensor,
        layer: Linear,
        matrix: &Value,
        bias: Option<&Value>,
    ) -> Outcome<Tensor> {
        let op = Op::Linear(layer);
        let initialiser = Initialiser::default_of(&op, WeightKind::Weight);
        let weights = self.weights_of(&op, matrix, bias, initialiser)?;
        self.emit_with(op, &[x], weights)
    }

    /// A value of two axes with these swapped.
    fn swapped(&mut self, value: &Value) -> Outcome<Value> {
        if value.shape().rank() != 2 {
            return Err(format!("expected a matrix, got {}", value.words()));
        }
        Ok(match value {
            Value::Weight(weight) => Value::Weight(weight.transposed(&[1, 0])),
            Value::Floats(array) => Value::Floats(array.transpose(&[1, 0])?),
            other => {
                let tensor = self.tensor(other)?;
                Value::Tensor(self.emit(transpose(&[1, 0]), &[&tensor])?)
            }
        })
    }

    pub(super) fn mat_mul(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let (a, b) = (call.input(0)?.clone(), call.input(1)?.clone());
        self.product(&a, &b).map(Value::Tensor)
    }

    pub(super) fn product(&mut self, a: &Value, b: &Value) -> Outcome<Tensor> {
        let a_shape = a.shape();
        if matches!(b, Value::Weight(_) | Value::Floats(_))
            && b.shape().rank() == 2
            && a_shape.rank() >= 2
            && matches!(a, Value::Tensor(_))
        {
            let matrix = self.swapped(b)?;
            let x = self.tensor(a)?;
            if let Some(layer) = self.layer(&x, &matrix, 1.0)? {
                return self.linear(&x, layer.bias(false), &matrix, None);
            }
        }
        let (mut x, mut y) = (self.tensor(a)?, self.tensor(b)?);
        // A list is a row on the left and a column on the right.
        let (row, column) = (x.shape.rank() == 1, y.shape.rank() == 1);
        if row {
            let shape = [Dim::Fixed(1), x.shape.0[0]].into_iter().collect();
            x = self.view(&x, &shape)?;
        }
        if column {
            let shape = [y.shape.0[0], Dim::Fixed(1)].into_iter().collect();
            y = self.view(&y, &shape)?;
        }
        let product = self.emit(Op::MatMul, &[&x, &y])?;
        let mut dims = product.shape.0.clone();
        if column {
            dims.pop();
        }
        if row {
            let place = dims.len() - if column { 1 } else { 2 };
            dims.remove(place);
        }
        self.view(&product, &Shape(dims))
    }

    /// A product of one or two values written with one letter per axis.
    pub(super) fn einsum(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let equation: String = call
            .text("equation", "")?
            .chars()
            .filter(|letter| !letter.is_whitespace())
            .collect();
        let known = || format!("the equation `{equation}` is not known; use matrix products");
        let (inputs, output) = equation.split_once("->").ok_or_else(known)?;
        let inputs: Vec<Vec<char>> = inputs
            .split(',')
            .map(|part| part.chars().collect())
            .collect();
        let output: Vec<char> = output.chars().collect();
        let plain = |letters: &[char]| {
            let unique = (1..letters.len()).all(|at| !letters[..at].contains(&letters[at]));
            unique && letters.iter().all(char::is_ascii_alphabetic)
        };
        if !inputs.iter().all(|letters| plain(letters)) || !plain(&output) {
            return Err(known());
        }
        match inputs.as_slice() {
            [a] => {
                let x = self.first(call)?;
                if a.len() != x.shape.rank() || output.iter().any(|letter| !a.contains(letter)) {
                    return Err(known());
                }
                self.summed(&x, a, &output).map(Value::Tensor)
            }
            [a, b] => {
                let (x, y) = (call.input(0)?.clone(), call.input(1)?.clone());
                if a.len() != x.shape().rank() || b.len() != y.shape().rank() {
                    return Err(known());
                }
                if output
                    .iter()
                    .any(|letter| !a.contains(letter) && !b.contains(letter))
                {
                    return Err(known());
                }
                self.contracted(&x, a, &y, b, &output).map(Value::Tensor)
            }
            _ => Err(known()),
        }
    }

    /// `x` with the axes `from`, summed over those that are not in `to` and put in that order.
    fn summed(&mut self, x: &Tensor, from: &[char], to: &[char]) -> Outcome<Tensor> {
        let axes: Vec<usize> = (0..from.len())
            .filter(|&axis| !to.contains(&from[axis]))
            .collect();
        let mut x = x.clone();
        let mut letters = from.to_vec();
        if !axes.is_empty() {
            let reduce = crate::ir::Reduce {
                reduction: crate::ir::Reduction::Sum,
                axes: axes.clone(),
            };
            x = self.emit(Op::Reduce(reduce), &[&x])?;
            let dims = x.shape.dims().iter().enumerate();
            let kept = dims
                .filter(|(axis, _)| !axes.contains(axis))
                .map(|(_, dim)| *dim);
            let kept: Shape = kept.collect();
            x = self.view(&x, &kept)?;
            letters.retain(|letter| to.contains(letter));
        }
        self.ordered(&x, &letters, to)
    }

    fn ordered(&mut self, x: &Tensor, from: &[char], to: &[char]) -> Outcome<Tensor> {
        if from == to {
            return Ok(x.clone());
        }
        let place = |letter: &char| from.iter().position(|other| other == letter);
        let axes = to.iter().map(place).collect::<Option<Vec<_>>>();
        let axes = axes.ok_or("an axis of the equation is missing")?;
        self.emit(transpose(&axes), &[x])
    }

    /// The sum of products: a matrix product with the axes of both in front, then those of one, then those that are
    /// summed.
    fn contracted(
        &mut self,
        a: &Value,
        a_letters: &[char],
        b: &Value,
        b_letters: &[char],
        output: &[char],
    ) -> Outcome<Tensor> {
        let shared = |letter: &&char| a_letters.contains(letter) && b_letters.contains(letter);
        let both: Vec<char> = output.iter().filter(shared).copied().collect();
        let summed: Vec<char> = a_letters
            .iter()
            .filter(|letter| shared(letter) && !output.contains(letter))
            .copied()
            .collect();
        let own = |letters: &[char], other: &[char]| -> Vec<char> {
            let mine = letters.iter().filter(|letter| !other.contains(letter));
            mine.filter(|letter| output.contains(letter))
                .copied()
                .collect()
        };
        let (left, right) = (own(a_letters, b_letters), own(b_letters, a_letters));
        // The axes of one side that are not in the output are summed first.
        let keep = |letters: &[char], own: &[char]| -> Vec<char> {
            both.iter()
                .chain(own)
                .chain(&summed)
                .filter(|letter| letters.contains(letter))
                .copied()
                .collect()
        };
        let (x, y) = (self.tensor(a)?, self.tensor(b)?);
        let x = self.summed(&x, a_letters, &keep(a_letters, &left))?;
        let y_letters: Vec<char> = both.iter().chain(&summed).chain(&right).copied().collect();
        let y = self.summed(&y, b_letters, &y_letters)?;
        let dims = |tensor: &Tensor, from: usize, count: usize| -> Vec<Dim> {
            tensor.shape.dims()[from..from + count].to_vec()
        };
        let batch = dims(&x, 0, both.len());
        let rows = dims(&x, both.len(), left.len());
        let inner = dims(&x, both.len() + left.len(), summed.len());
        let columns = dims(&y, both.len() + summed.len(), right.len());
        let joined = |dims: &[Dim]| -> Outcome<Dim> {
            let batches: Vec<usize> = dims.iter().filter_map(|dim| dim.batches()).collect();
            let count = dims
                .iter()
                .map(|dim| dim.size(1))
                .fold(1, usize::saturating_mul);
            match batches.len() {
                0 => Ok(Dim::Fixed(count)),
                1 => Ok(Dim::times_batch(count)),
                _ => Err("the batch stands twice in one value".to_owned()),
            }
        };
        let (row, sum, column) = (joined(&rows)?, joined(&inner)?, joined(&columns)?);
        let shape = |last: [Dim; 2]| -> Shape { batch.iter().copied().chain(last).collect() };
        let x = self.view(&x, &shape([row, sum]))?;
        let y = self.view(&y, &shape([sum, column]))?;
        let product = self.emit(Op::MatMul, &[&x, &y])?;
        let letters: Vec<char> = both.iter().chain(&left).chain(&right).copied().collect();
        let whole: Shape = batch.iter().chain(&rows).chain(&columns).copied().collect();
        let product = self.view(&product, &whole)?;
        self.ordered(&product, &letters, output)
    }
}
