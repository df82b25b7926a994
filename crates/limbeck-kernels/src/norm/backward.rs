//! The gradient of a training batch norm with its residual and activation.

use rayon::prelude::*;

use crate::activation::{Activation, pass};
use crate::dispatch::{self, Kernel};
use crate::processor::Processor;
use crate::sharing::Shared;
use crate::sums::{Place, Terms, column_sums};
use crate::vector::Vector;

/// Elements of one task.
const CHUNK: usize = 32 * 1024;

/// What the forward pass of `output = act(gamma (input - mean) / deviation + beta + residual)`
/// leaves behind.
#[derive(Debug, Clone, Copy)]
pub struct BatchNormSaved<'a> {
    /// What was normalized, `[rows, channels]`.
    pub input: &'a [f32],
    /// How to tell where the activation passed. Not looked at where there was none.
    pub output: NormOutput<'a>,
    /// Mean of each channel, `[channels]`.
    pub mean: &'a [f32],
    /// `1 / sqrt(variance + epsilon)` of each channel, `[channels]`.
    pub inverse_standard_deviation: &'a [f32],
    /// The learnt scale, `[channels]`.
    pub gamma: &'a [f32],
    /// What was applied last.
    pub activation: Activation,
}

/// What came out of a batch norm.
#[derive(Debug, Clone, Copy)]
pub enum NormOutput<'a> {
    /// Its values, `[rows, channels]`.
    Saved(&'a [f32]),
    /// Scale and offset of the forward pass, `[channels]` each, by which the input tells the values again,
    /// to the bit, without another matrix being read. Only where no residual was added.
    Recomputed {
        /// The factor.
        scale: &'a [f32],
        /// The term.
        offset: &'a [f32],
    },
}

/// Where the gradients of a batch norm go.
#[derive(Debug)]
pub struct BatchNormGradients<'a> {
    /// Of the input, `[rows, channels]`.
    pub input: &'a mut [f32],
    /// Of `gamma`, `[channels]`.
    pub gamma: &'a mut [f32],
    /// Of `beta`, `[channels]`.
    pub beta: &'a mut [f32],
    /// Of the residual, `[rows, channels]`, where there was one.
    pub residual: Option<&'a mut [f32]>,
    /// Added to the gradient of the input, `[rows, channels]`: what came around the layers behind it.
    pub add: Option<&'a [f32]>,
}

/// The gradients of a training batch norm, given that of its output, `[rows, channels]`.
///
/// With `g` the output's gradient where the activation passes and zero elsewhere, and
/// `h = (input - mean) / deviation`:
/// `residual = g`, `beta = sum g`, `gamma = sum g h` and
/// `input = gamma / deviation (g - mean_rows(g) - h mean_rows(g h))`.
///
/// # Panics
///
/// If the lengths disagree.
pub fn backward(saved: BatchNormSaved<'_>, grad_output: &[f32], gradients: BatchNormGradients<'_>) {
    backward_on(Processor::best(), saved, grad_output, gradients);
}

/// [`backward`] with the instructions of `processor`.
///
/// # Panics
///
/// As [`backward`], and if this machine lacks the instructions.
pub fn backward_on(
    processor: Processor,
    saved: BatchNormSaved<'_>,
    grad_output: &[f32],
    mut gradients: BatchNormGradients<'_>,
) {
    let channels = saved.mean.len();
    let rows = super::rows(grad_output.len(), channels);
    check(&saved, grad_output.len(), &gradients);
    let residual = gradients.residual.as_mut().map(|slice| Shared::new(slice));
    let mask = Mask::of(&saved);
    let terms = MaskedGradient {
        saved: &saved,
        mask,
        grad_output,
        masked: residual,
    };
    // SAFETY: every slice has `rows` rows of `channels` channels.
    let (sum, product) = unsafe {
        match (mask, residual) {
            (Mask::Nothing, None) => sums::<NOTHING, false>(processor, rows, terms),
            (Mask::Nothing, _) => sums::<NOTHING, true>(processor, rows, terms),
            (Mask::Saved(_), None) => sums::<SAVED, false>(processor, rows, terms),
            (Mask::Saved(_), _) => sums::<SAVED, true>(processor, rows, terms),
            (Mask::Recomputed { .. }, None) => sums::<RECOMPUTED, false>(processor, rows, terms),
            (Mask::Recomputed { .. }, _) => sums::<RECOMPUTED, true>(processor, rows, terms),
        }
    };
    let mut slopes = vec![0.0f32; 3 * channels];
    for channel in 0..channels {
        let inverse = f64::from(saved.inverse_standard_deviation[channel]);
        let scale = f64::from(saved.gamma[channel]) * inverse;
        gradients.beta[channel] = sum[channel] as f32;
        gradients.gamma[channel] = (product[channel] * inverse) as f32;
        slopes[channel] = scale as f32;
        slopes[channels + channel] = (-scale * sum[channel] / rows as f64) as f32;
        slopes[2 * channels + channel] =
            (-scale * product[channel] * inverse * inverse / rows as f64) as f32;
    }
    let (masked, mask) = match &gradients.residual {
        Some(residual) => (&**residual, Mask::Nothing),
        None => (grad_output, mask),
    };
    let whole = InputGradient {
        input: saved.input,
        gradient: masked,
        add: gradients.add,
        mean: saved.mean,
        slopes: &slopes,
        activation: saved.activation,
        mask,
    };
    whole.write(processor, gradients.input);
}

fn check(saved: &BatchNormSaved<'_>, length: usize, gradients: &BatchNormGradients<'_>) {
    let channels = saved.mean.len();
    assert_eq!(
        saved.input.len(),
        length,
        "input and gradient differ in length"
    );
    assert_eq!(
        gradients.input.len(),
        length,
        "the input's gradient has another length"
    );
    match saved.output {
        _ if saved.activation == Activation::None => {}
        NormOutput::Saved(output) => {
            assert_eq!(output.len(), length, "output and gradient differ in length");
        }
        NormOutput::Recomputed { scale, offset } => {
            assert_eq!(scale.len(), channels, "one scale per channel");
            assert_eq!(offset.len(), channels, "one offset per channel");
        }
    }
    if let Some(add) = gradients.add {
        assert_eq!(add.len(), length, "what is added has another length");
    }
    if let Some(residual) = &gradients.residual {
        assert_eq!(
            residual.len(),
            length,
            "the residual's gradient has another length"
        );
    }
    let inverse = saved.inverse_standard_deviation.len();
    assert_eq!(inverse, channels, "one standard deviation per channel");
    assert_eq!(saved.gamma.len(), channels, "one gamma per channel");
    assert_eq!(
        gradients.gamma.len(),
        channels,
        "one gradient of gamma per channel"
    );
    assert_eq!(
        gradients.beta.len(),
        channels,
        "one gradient of beta per channel"
    );
}

/// Whether and how gradients are masked, as a constant of the kernels.
type Masking = u8;
const NOTHING: Masking = 0;
const SAVED: Masking = 1;
const RECOMPUTED: Masking = 2;

/// What tells where the activation passed.
#[derive(Clone, Copy)]
enum Mask<'a> {
    Nothing,
    Saved(&'a [f32]),
    Recomputed { scale: &'a [f32], offset: &'a [f32] },
}

impl<'a> Mask<'a> {
    fn of(saved: &BatchNormSaved<'a>) -> Self {
        match saved.output {
            _ if saved.activation == Activation::None => Self::Nothing,
            NormOutput::Saved(output) => Self::Saved(output),
            NormOutput::Recomputed { scale, offset } => Self::Recomputed { scale, offset },
        }
    }

    /// What came out at `place`, where `input` went in.
    ///
    /// # Safety
    ///
    /// `place` lies within the rows and channels.
    #[inline(always)]
    unsafe fn output<V: Vector, const WHOLE: bool>(&self, input: V, place: Place) -> V {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Nothing => input,
                Self::Saved(output) => place.load::<V, WHOLE>(output.as_ptr().add(place.index)),
                Self::Recomputed { scale, offset } => {
                    let scale = place.load::<V, WHOLE>(scale.as_ptr().add(place.channel));
                    let offset = place.load::<V, WHOLE>(offset.as_ptr().add(place.channel));
                    input.mul_add(scale, offset)
                }
            }
        }
    }
}

/// `sum g` and `sum g (input - mean)` of every channel; `g` is also written to `masked` if `KEEP`.
///
/// # Safety
///
/// All slices have `rows` rows, and `MASKING` is that of the mask.
unsafe fn sums<const MASKING: Masking, const KEEP: bool>(
    processor: Processor,
    rows: usize,
    terms: MaskedGradient<'_>,
) -> (Vec<f64>, Vec<f64>) {
    let channels = terms.saved.mean.len();
    let terms = Specialised::<_, MASKING, KEEP>(terms);
    // SAFETY: the caller's promise.
    unsafe { column_sums(processor, rows, channels, &terms) }
}

struct MaskedGradient<'a> {
    saved: &'a BatchNormSaved<'a>,
    mask: Mask<'a>,
    grad_output: &'a [f32],
    masked: Option<Shared<'a>>,
}

/// Terms whose branches are constants, so that the loops have none.
struct Specialised<T, const MASKING: Masking, const KEEP: bool>(T);

impl<const MASKING: Masking, const KEEP: bool> Terms
    for Specialised<MaskedGradient<'_>, MASKING, KEEP>
{
    #[inline(always)]
    unsafe fn at<V: Vector, const WHOLE: bool>(&self, place: Place) -> (V, V) {
        let terms = &self.0;
        // SAFETY: the caller keeps `place` within the rows and channels.
        unsafe {
            let input = place.load::<V, WHOLE>(terms.saved.input.as_ptr().add(place.index));
            let mut gradient: V =
                place.load::<V, WHOLE>(terms.grad_output.as_ptr().add(place.index));
            if MASKING != NOTHING {
                let output = terms.mask.output::<V, WHOLE>(input, place);
                gradient = pass(terms.saved.activation, gradient, output);
            }
            if let (true, Some(masked)) = (KEEP, terms.masked) {
                place.store::<V, WHOLE>(gradient, masked.at(place.index));
            }
            let mean = place.load::<V, WHOLE>(terms.saved.mean.as_ptr().add(place.channel));
            (gradient, input.sub(mean))
        }
    }
}

/// `g a + b + (input - mean) c (+ add)` with `slopes` the `[3, channels]` values `a`, `b`, `c` and `g` the `gradient` where the
/// activation passes. Matrices are `[rows, channels]`.
struct InputGradient<'a> {
    input: &'a [f32],
    gradient: &'a [f32],
    add: Option<&'a [f32]>,
    mean: &'a [f32],
    slopes: &'a [f32],
    activation: Activation,
    mask: Mask<'a>,
}

impl InputGradient<'_> {
    fn write(&self, processor: Processor, result: &mut [f32]) {
        let channels = self.mean.len();
        let chunk = (CHUNK / channels).max(1) * channels;
        let chunks = result.par_chunks_mut(chunk).enumerate();
        chunks.for_each(|(index, result)| {
            let rows = InputGradientRows {
                of: self,
                first: index * chunk / channels,
                result,
            };
            // SAFETY: the rows lie in the matrices, which are all equally long.
            unsafe { dispatch::run(processor, rows) };
        });
    }
}

/// The rows of an [`InputGradient`] from `first`.
struct InputGradientRows<'a> {
    of: &'a InputGradient<'a>,
    first: usize,
    result: &'a mut [f32],
}

impl Kernel for InputGradientRows<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: every vector lies within its row; partial ones name the lanes that do.
        unsafe {
            match (self.of.mask, self.of.add) {
                (Mask::Nothing, None) => self.rows::<V, NOTHING, false>(),
                (Mask::Nothing, _) => self.rows::<V, NOTHING, true>(),
                (Mask::Saved(_), None) => self.rows::<V, SAVED, false>(),
                (Mask::Saved(_), _) => self.rows::<V, SAVED, true>(),
                (Mask::Recomputed { .. }, None) => self.rows::<V, RECOMPUTED, false>(),
                (Mask::Recomputed { .. }, _) => self.rows::<V, RECOMPUTED, true>(),
            }
        }
    }
}

impl InputGradientRows<'_> {
    #[inline(always)]
    unsafe fn rows<V: Vector, const MASKING: Masking, const ADD: bool>(self) {
        let channels = self.of.mean.len();
        for row in self.first..self.first + self.result.len() / channels {
            let mut channel = 0;
            let start = (row - self.first) * channels;
            // SAFETY: the places lie in the row.
            unsafe {
                let result = self.result.as_mut_ptr().add(start);
                while channel + V::LANES <= channels {
                    let place = Place::new::<V>(row, channel, channels);
                    let value = self.of.at::<V, MASKING, ADD, true>(place);
                    place.store::<V, true>(value, result.add(channel));
                    channel += V::LANES;
                }
                if channel < channels {
                    let place = Place::new::<V>(row, channel, channels);
                    let value = self.of.at::<V, MASKING, ADD, false>(place);
                    place.store::<V, false>(value, result.add(channel));
                }
            }
        }
    }
}

impl InputGradient<'_> {
    #[inline(always)]
    unsafe fn at<V: Vector, const MASKING: Masking, const ADD: bool, const WHOLE: bool>(
        &self,
        place: Place,
    ) -> V {
        let channels = self.mean.len();
        // SAFETY: the caller keeps `place` within the rows and channels.
        unsafe {
            let input: V = place.load::<V, WHOLE>(self.input.as_ptr().add(place.index));
            let mut gradient: V = place.load::<V, WHOLE>(self.gradient.as_ptr().add(place.index));
            if MASKING != NOTHING {
                let output = self.mask.output::<V, WHOLE>(input, place);
                gradient = pass(self.activation, gradient, output);
            }
            let slopes = self.slopes.as_ptr().add(place.channel);
            let mean = place.load::<V, WHOLE>(self.mean.as_ptr().add(place.channel));
            let constant = place.load::<V, WHOLE>(slopes.add(channels));
            let factor = place.load::<V, WHOLE>(slopes.add(2 * channels));
            let sum = input.sub(mean).mul_add(factor, constant);
            let mut result = gradient.mul_add(place.load::<V, WHOLE>(slopes), sum);
            if let (true, Some(add)) = (ADD, self.add) {
                result = result.add(place.load::<V, WHOLE>(add.as_ptr().add(place.index)));
            }
            result
        }
    }
}
