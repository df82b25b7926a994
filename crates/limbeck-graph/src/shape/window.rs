//! How many windows fit along an axis.

/// A sliding window along one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Places in the window.
    pub kernel: usize,
    /// The step between windows.
    pub stride: usize,
    /// Places added before and after.
    pub padding: [usize; 2],
    /// The distance between the window's places.
    pub dilation: usize,
    /// Whether a last window that hangs over the end counts.
    pub ceil: bool,
}

impl Window {
    /// A pooling window.
    ///
    /// # Errors
    /// If the padding is more than half the window, which would leave windows without a value.
    pub(crate) fn pool(
        kernel: usize,
        stride: usize,
        padding: usize,
        ceil: bool,
    ) -> Result<Self, String> {
        if padding > kernel / 2 {
            return Err(format!(
                "expected a padding of at most half the window ({}), got {padding}",
                kernel / 2
            ));
        }
        Ok(Self {
            kernel,
            stride,
            padding: [padding; 2],
            dilation: 1,
            ceil,
        })
    }

    /// The places from the first to the last of the window.
    fn reach(&self) -> Result<usize, String> {
        for (attribute, value) in [
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("dilation", self.dilation),
        ] {
            if value == 0 {
                return Err(format!("expected a positive `{attribute}`, got 0"));
            }
        }
        (self.kernel - 1)
            .checked_mul(self.dilation)
            .and_then(|reach| reach.checked_add(1))
            .ok_or_else(|| "the window is too large".to_owned())
    }
}

/// The number of windows over `size` places, as PyTorch counts them.
///
/// With padded size `n` and window reach `r = dilation * (kernel - 1) + 1` that is `(n - r) / stride + 1`, rounded
/// down, or up in ceil mode unless the last window would start in the padding after the end.
///
/// # Errors
/// If no window fits.
pub fn windows(size: usize, window: &Window) -> Result<usize, String> {
    let reach = window.reach()?;
    let [before, after] = window.padding;
    let padded = size
        .checked_add(before)
        .and_then(|sum| sum.checked_add(after))
        .ok_or_else(|| "the padding is too large".to_owned())?;
    if padded < reach || size == 0 {
        return Err(format!(
            "the window reaches over {reach} places, but only {padded} are there with padding"
        ));
    }
    let room = padded - reach;
    if !window.ceil {
        return Ok(room / window.stride + 1);
    }
    let count = room.div_ceil(window.stride) + 1;
    let starts_past_end = (count - 1) * window.stride >= size + before;
    Ok(if starts_past_end { count - 1 } else { count })
}

/// The size that a transposed convolution makes of `size` places:
/// `(size - 1) * stride - padding + dilation * (kernel - 1) + 1 + output padding`.
///
/// # Errors
/// If nothing is left, or the output padding is neither below the stride nor below the dilation.
pub fn transposed_size(
    size: usize,
    window: &Window,
    output_padding: usize,
) -> Result<usize, String> {
    let reach = window.reach()?;
    if output_padding >= window.stride.max(window.dilation) {
        return Err(format!(
            "expected an `output_padding` below the stride {} or the dilation {}, got {output_padding}",
            window.stride, window.dilation
        ));
    }
    let full = size
        .checked_sub(1)
        .and_then(|steps| steps.checked_mul(window.stride))
        .and_then(|span| span.checked_add(reach)?.checked_add(output_padding))
        .ok_or_else(|| {
            format!("a transposed convolution over {size} places is too small or too large")
        })?;
    let [before, after] = window.padding;
    before
        .checked_add(after)
        .and_then(|cut| full.checked_sub(cut))
        .filter(|&left| left > 0)
        .ok_or_else(|| format!("the padding {before} + {after} cuts all {full} places"))
}
