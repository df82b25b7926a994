//! Convolutions.

use std::collections::BTreeMap;

use super::call::{Call, size};
use super::lowering::Lowering;
use super::value::{Tensor, Value};
use crate::initialise::{Fan, Initialiser};
use crate::ir::{Conv1d, Conv2d, ConvTranspose2d, Op, WeightKind};
use crate::onnx::Outcome;

/// How windows slide, one entry per spatial axis.
pub(super) struct Windows {
    pub(super) kernel: Vec<usize>,
    pub(super) stride: Vec<usize>,
    pub(super) dilation: Vec<usize>,
    pub(super) padding: Vec<[usize; 2]>,
}

impl Lowering<'_> {
    /// The windows of a convolution or pooling over `x`, with what `auto_pad` asks for.
    pub(super) fn windows(
        &mut self,
        call: &Call<'_>,
        x: &Tensor,
        kernel: Option<&[usize]>,
    ) -> Outcome<Windows> {
        let axes = x.shape.rank().saturating_sub(2);
        let sizes = |name: &str, default: usize, count: usize| -> Outcome<Vec<usize>> {
            match call.ints(name)? {
                Some(values) if values.len() == count => values.into_iter().map(size).collect(),
                Some(values) => Err(format!(
                    "expected attribute `{name}` to hold {count} numbers for an input {}, got {values:?}",
                    x.shape
                )),
                None => Ok(vec![default; count]),
            }
        };
        let kernel = match (kernel, call.ints("kernel_shape")?) {
            (_, Some(_)) => sizes("kernel_shape", 1, axes)?,
            (Some(kernel), None) => kernel.to_vec(),
            (None, None) => return Err("expected attribute `kernel_shape`".to_owned()),
        };
        let stride = sizes("strides", 1, axes)?;
        let dilation = sizes("dilations", 1, axes)?;
        if kernel.len() != axes {
            return Err(format!(
                "expected a kernel of {axes} axes for an input {}, got {kernel:?}",
                x.shape
            ));
        }
        if kernel
            .iter()
            .chain(&stride)
            .chain(&dilation)
            .any(|size| *size == 0)
        {
            return Err("expected positive kernel, strides and dilations".to_owned());
        }
        let padding = match call.text("auto_pad", "NOTSET")? {
            "NOTSET" => {
                if let Some(negative) = call
                    .ints("pads")?
                    .and_then(|pads| pads.into_iter().find(|pad| *pad < 0))
                {
                    return Err(format!("expected `pads` of at least 0, got {negative}"));
                }
                let pads = sizes("pads", 0, 2 * axes)?;
                (0..axes)
                    .map(|axis| [pads[axis], pads[axis + axes]])
                    .collect()
            }
            "VALID" => vec![[0; 2]; axes],
            same @ ("SAME_UPPER" | "SAME_LOWER") => {
                let one = |axis: usize| {
                    let length = x.shape.size(axis + 2).unwrap_or(1);
                    let outputs = length.div_ceil(stride[axis]);
                    let reach = (kernel[axis] - 1).saturating_mul(dilation[axis]) + 1;
                    let needed = (outputs - 1)
                        .saturating_mul(stride[axis])
                        .saturating_add(reach)
                        .saturating_sub(length);
                    let [less, more] = [needed / 2, needed.div_ceil(2)];
                    if same == "SAME_UPPER" {
                        [less, more]
                    } else {
                        [more, less]
                    }
                };
                (0..axes).map(one).collect()
            }
            other => return Err(format!("the padding `{other}` is not known")),
        };
        Ok(Windows {
            kernel,
            stride,
            dilation,
            padding,
        })
    }

    pub(super) fn convolution(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let filters = call.input(1)?.clone();
        let shape = super::constant::fixed(&filters.shape()).unwrap_or_default();
        let [out_channels, per_group, kernel @ ..] = shape.as_slice() else {
            return Err(format!(
                "expected filters [outputs, inputs, sizes...], got {}",
                filters.words()
            ));
        };
        let groups = size(call.int("group", 1)?)?;
        let windows = self.windows(call, &x, Some(kernel))?;
        if windows.kernel != kernel {
            return Err(format!(
                "expected filters of size {:?}, got {kernel:?}",
                windows.kernel
            ));
        }
        let in_channels = per_group.saturating_mul(groups);
        let bias = call.optional(2).cloned();
        let op = match (windows.kernel.as_slice(), windows.padding.as_slice()) {
            (&[kernel], &[padding]) => Op::Conv1d(
                Conv1d::new(in_channels, *out_channels, kernel)
                    .stride(windows.stride[0])
                    .padding_sides(padding)
                    .dilation(windows.dilation[0])
                    .groups(groups)
                    .bias(bias.is_some()),
            ),
            (&[height, width], &[vertical, horizontal]) => Op::Conv2d(
                Conv2d::new(in_channels, *out_channels, [height, width])
                    .stride([windows.stride[0], windows.stride[1]])
                    .padding_sides([vertical, horizontal])
                    .dilation([windows.dilation[0], windows.dilation[1]])
                    .groups(groups)
                    .bias(bias.is_some()),
            ),
            _ => {
                return Err(format!(
                    "it convolves over {} axes, trained are 1 and 2",
                    windows.kernel.len()
                ));
            }
        };
        let initialiser = Initialiser::kaiming_normal_relu(Fan::Out);
        let weights = self.weights_of(&op, &filters, bias.as_ref(), initialiser)?;
        self.emit_with(op, &[&x], weights).map(Value::Tensor)
    }

    pub(super) fn transposed_convolution(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let filters = call.input(1)?.clone();
        let shape = super::constant::fixed(&filters.shape()).unwrap_or_default();
        let &[in_channels, per_group, height, width] = shape.as_slice() else {
            return Err(format!(
                "it convolves with {}, trained are transposed convolutions over images",
                filters.words()
            ));
        };
        if call.text("auto_pad", "NOTSET")? != "NOTSET" || call.ints("output_shape")?.is_some() {
            return Err("expected explicit `pads`, got `auto_pad` or `output_shape`".to_owned());
        }
        let groups = size(call.int("group", 1)?)?;
        let windows = self.windows(call, &x, Some(&[height, width]))?;
        let [[top, bottom], [left, right]] = windows.padding[..] else {
            return Err(format!("expected images, got {}", x.shape));
        };
        if top != bottom || left != right {
            return Err(format!(
                "expected the same padding on both sides, got {:?}",
                windows.padding
            ));
        }
        let extra = call.ints("output_padding")?.unwrap_or_else(|| vec![0; 2]);
        let extra = extra.into_iter().map(size).collect::<Outcome<Vec<_>>>()?;
        let &[extra_height, extra_width] = extra.as_slice() else {
            return Err(format!(
                "expected two numbers of `output_padding`, got {extra:?}"
            ));
        };
        let bias = call.optional(2).cloned();
        let mut conv = ConvTranspose2d::new(
            in_channels,
            per_group.saturating_mul(groups),
            [height, width],
        )
        .stride([windows.stride[0], windows.stride[1]])
        .padding([top, left])
        .output_padding([extra_height, extra_width])
        .groups(groups)
        .bias(bias.is_some());
        conv.dilation = [windows.dilation[0], windows.dilation[1]];
        let op = Op::ConvTranspose2d(conv);
        let initialiser = Initialiser::default_of(&op, WeightKind::Weight);
        let weights = self.weights_of(&op, &filters, bias.as_ref(), initialiser)?;
        self.emit_with(op, &[&x], weights).map(Value::Tensor)
    }

    /// The weight and the bias of a layer, bound to the file.
    pub(super) fn weights_of(
        &mut self,
        op: &Op,
        weight: &Value,
        bias: Option<&Value>,
        initialiser: Initialiser,
    ) -> Outcome<BTreeMap<String, String>> {
        let mut weights = BTreeMap::new();
        for needed in op.weights() {
            let (value, initialiser) = match (needed.role, bias) {
                ("bias", Some(bias)) => (bias, Initialiser::default_of(op, WeightKind::Bias)),
                _ => (weight, initialiser),
            };
            let name = self.bind(value, &needed.shape, needed.kind, initialiser)?;
            weights.insert(needed.role.to_owned(), name);
        }
        Ok(weights)
    }
}
