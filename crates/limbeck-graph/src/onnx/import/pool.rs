//! Pooling.

use super::array::Array;
use super::call::Call;
use super::constant::Arithmetic;
use super::convolution::Windows;
use super::lowering::Lowering;
use super::value::{Tensor, Value};
use crate::ir::{Fill, Op, Pad, Pool1d, Pool2d, Slice};
use crate::onnx::Outcome;

impl Lowering<'_> {
    pub(super) fn global_pool(&mut self, call: &Call<'_>) -> Outcome<Value> {
        let x = self.first(call)?;
        let op = match call.node.op_type.as_str() {
            "GlobalAveragePool" => Op::GlobalAvgPool,
            _ => Op::GlobalMaxPool,
        };
        self.emit(op, &[&x]).map(Value::Tensor)
    }

    pub(super) fn pool(&mut self, call: &Call<'_>) -> Outcome<Value> {
        if call.wants(1) && self.is_used(&call.node.outputs[1]) {
            return Err("its indices are used, which is not known to training".to_owned());
        }
        let x = self.first(call)?;
        let windows = self.windows(call, &x, None)?;
        if windows.dilation.iter().any(|dilation| *dilation != 1) {
            return self.dilated(call, &x, &windows).map(Value::Tensor);
        }
        let ceil = call.flag("ceil_mode", false)?;
        let largest = call.node.op_type == "MaxPool";
        let include = call.flag("count_include_pad", false)?;
        // The layer pads both sides alike and by at most half a window.
        let fits = windows
            .padding
            .iter()
            .zip(&windows.kernel)
            .all(|([before, after], kernel)| before == after && *before <= kernel / 2);
        if fits {
            return self
                .pooled(&x, &windows, largest, include, ceil)
                .map(Value::Tensor);
        }
        let bare = Windows {
            padding: vec![[0; 2]; windows.padding.len()],
            kernel: windows.kernel.clone(),
            stride: windows.stride.clone(),
            dilation: windows.dilation.clone(),
        };
        if ceil && !largest {
            return Err(format!(
                "its windows are padded by {:?} and may hang over the end (`ceil_mode`), which is not trained together",
                windows.padding
            ));
        }
        let value = if largest { f64::NEG_INFINITY } else { 0.0 };
        let padded = self.padded(&x, &windows, Fill::Constant { value })?;
        let y = self.pooled(&padded, &bare, largest, true, ceil)?;
        if largest || include {
            return Ok(Value::Tensor(y));
        }
        // What the mean of a window has to be multiplied with so that padding does not count.
        let mut share = Array::scalar(1.0);
        for (axis, kernel) in windows.kernel.iter().enumerate() {
            let length = x.shape.size(axis + 2).unwrap_or(1);
            let outputs = y.shape.size(axis + 2).unwrap_or(1);
            let before = windows.padding[axis][0];
            let factors = (0..outputs).map(|place| {
                let start = place * windows.stride[axis];
                let end = (start + kernel).min(before + length);
                let inside = end.saturating_sub(start.max(before)).max(1);
                *kernel as f64 / inside as f64
            });
            let mut shape = vec![1; windows.kernel.len()];
            shape[axis] = outputs;
            let factors = Array::new(shape, factors.collect());
            share = share.combine(&factors, |a, b| Ok(a * b))?;
        }
        let share = Value::Floats(share);
        self.binary(Arithmetic::Multiply, &Value::Tensor(y), &share)
    }

    /// The largest value of windows with gaps: of shifted copies, one for each place in the window.
    fn dilated(&mut self, call: &Call<'_>, x: &Tensor, windows: &Windows) -> Outcome<Tensor> {
        let places: usize = windows.kernel.iter().product();
        if call.node.op_type != "MaxPool" || call.flag("ceil_mode", false)? || places > 256 {
            return Err(format!(
                "its windows have dilation {:?}, trained are largest values of small windows with it",
                windows.dilation
            ));
        }
        let lowest = Fill::Constant {
            value: f64::NEG_INFINITY,
        };
        let padded = self.padded(x, windows, lowest)?;
        let mut copies: Vec<Tensor> = vec![padded];
        for axis in 0..windows.kernel.len() {
            let whole = copies[0].shape.size(axis + 2).unwrap_or(0);
            let reach = (windows.kernel[axis] - 1).saturating_mul(windows.dilation[axis]) + 1;
            let count = whole
                .checked_sub(reach)
                .map(|room| room / windows.stride[axis] + 1)
                .ok_or("its windows are larger than the image")?;
            let mut largest: Option<Tensor> = None;
            for place in 0..windows.kernel[axis] {
                let slice = Slice {
                    axis: axis + 2,
                    start: place * windows.dilation[axis],
                    count,
                    step: windows.stride[axis],
                };
                let copy = self.emit(Op::Slice(slice), &[&copies[0]])?;
                largest = Some(match largest {
                    Some(most) => self.emit(Op::Maximum, &[&most, &copy])?,
                    None => copy,
                });
            }
            copies = largest.into_iter().collect();
        }
        copies
            .pop()
            .ok_or_else(|| "its windows are empty".to_owned())
    }

    fn padded(&mut self, x: &Tensor, windows: &Windows, fill: Fill) -> Outcome<Tensor> {
        let mut sides = vec![[0; 2]; 2];
        sides.extend(&windows.padding);
        self.emit(Op::Pad(Pad { sides, fill }), &[x])
    }

    fn pooled(
        &mut self,
        x: &Tensor,
        windows: &Windows,
        largest: bool,
        include: bool,
        ceil: bool,
    ) -> Outcome<Tensor> {
        let op = match (windows.kernel.as_slice(), windows.padding.as_slice()) {
            (&[kernel], &[[padding, _]]) => {
                let pool = Pool1d::new(kernel)
                    .stride(windows.stride[0])
                    .padding(padding)
                    .ceil(ceil)
                    .count_include_pad(include);
                if largest {
                    Op::MaxPool1d(pool)
                } else {
                    Op::AvgPool1d(pool)
                }
            }
            (&[height, width], &[[vertical, _], [horizontal, _]]) => {
                let pool = Pool2d::new([height, width])
                    .stride([windows.stride[0], windows.stride[1]])
                    .padding([vertical, horizontal])
                    .ceil(ceil)
                    .count_include_pad(include);
                if largest {
                    Op::MaxPool2d(pool)
                } else {
                    Op::AvgPool2d(pool)
                }
            }
            _ => {
                return Err(format!(
                    "it pools over {} axes, trained are 1 and 2",
                    windows.kernel.len()
                ));
            }
        };
        self.emit(op, &[x])
    }
}
