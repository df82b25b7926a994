//! Measured time of a forward pass.

use std::time::{Duration, Instant};

use burn::tensor::Device;
use limbeck_graph::{Feature, Inputs, Network, Precision, Seed, Taps};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Time of a forward pass in evaluation mode, milliseconds per batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// One input at a time.
    pub batch1_ms: Quantiles,
    /// 64 inputs at a time.
    pub batch64_ms: Quantiles,
}

/// Quantiles over repeated measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// One in ten was faster.
    pub p10: f64,
    /// The middle one.
    pub median: f64,
    /// One in ten was slower.
    pub p90: f64,
}

impl Quantiles {
    /// Quantiles of `values`, interpolated between neighbours; `None` if there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        let last = values.len().checked_sub(1)?;
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * last as f64;
            let (low, part) = (place.floor() as usize, place.fract());
            values[low] + part * (values[(low + 1).min(last)] - values[low])
        };
        Some(Self {
            p10: at(0.1),
            median: at(0.5),
            p90: at(0.9),
        })
    }
}

/// Passes that are run but not counted: caches fill, kernels are compiled and tuned.
const WARM_UP: usize = 3;
/// Passes counted, unless the time is up first.
const REPEATS: usize = 100;
/// Passes counted however long they take.
const MINIMUM_REPEATS: usize = 5;
/// Time for one batch size, after which no further pass is started.
const BUDGET: Duration = Duration::from_secs(1);

/// Measures a snapshot of `network` on inputs of `shape` `[channels, height, width]`: warm passes of evaluation on `device`,
/// each timed until the device has finished. It takes about two seconds for a small network.
///
/// # Errors
/// If the network refuses such inputs, or the device fails.
pub fn latency<N: Network>(network: &N, shape: [usize; 3], device: &Device) -> Result<Latency> {
    let device = device.clone().without_autodiff();
    let network = network.valid().to_device(&device);
    let network = network.prepared(Precision::Fp32);
    let measure = |batch: usize| time_passes(&network, batch, shape, &device);
    Ok(Latency {
        batch1_ms: measure(1)?,
        batch64_ms: measure(64)?,
    })
}

fn time_passes<N: Network>(
    network: &N,
    batch: usize,
    [channels, height, width]: [usize; 3],
    device: &Device,
) -> Result<Quantiles> {
    let mut random = Seed::new(0).stream("latency", &[]);
    let count = batch * channels * height * width;
    let values = (0..count)
        .map(|_| random.random_range(-1.0_f32..1.0))
        .collect();
    let images = Feature::from_vec(values, &[batch, channels, height, width], device)?;
    let inputs = Inputs::float(images);
    let pass = || -> Result<f64> {
        let start = Instant::now();
        let trace = network.forward(&inputs, &Taps::none())?;
        device
            .sync()
            .map_err(|error| Error::Device(format!("the device failed: {error:?}")))?;
        let seconds = start.elapsed().as_secs_f64();
        drop(trace);
        Ok(seconds * 1000.0)
    };
    for _ in 0..WARM_UP {
        pass()?;
    }
    let start = Instant::now();
    let mut times = Vec::with_capacity(REPEATS);
    while times.len() < MINIMUM_REPEATS || (times.len() < REPEATS && start.elapsed() < BUDGET) {
        times.push(pass()?);
    }
    Quantiles::of(times).ok_or_else(|| Error::Check("no pass was timed".to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::collections::BTreeMap;

    use super::*;
    use burn::module::Module;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Tensor;
    use limbeck_graph::Trace;

    #[test]
    fn quantiles_by_hand() {
        let of = |values: &[f64]| Quantiles::of(values.to_vec());
        let eleven: Vec<f64> = (0..11).rev().map(f64::from).collect();
        assert_eq!(
            of(&eleven),
            Some(Quantiles {
                p10: 1.0,
                median: 5.0,
                p90: 9.0
            })
        );
        assert_eq!(
            of(&[2.0]),
            Some(Quantiles {
                p10: 2.0,
                median: 2.0,
                p90: 2.0
            })
        );
        assert_eq!(of(&[3.0, 1.0]).unwrap().median, 2.0);
        assert_eq!(of(&[]), None);
    }

    #[derive(Module, Debug)]
    struct Flat {
        head: Linear,
    }

    impl Network for Flat {
        fn forward(&self, inputs: &Inputs, _: &Taps) -> limbeck_graph::Result<Trace> {
            let images: Tensor<4> = inputs.get_float(Inputs::DEFAULT)?.clone().try_into()?;
            let output = self.head.forward(images.flatten::<2>(1, 3)).into();
            Ok(Trace {
                output,
                features: BTreeMap::new(),
            })
        }

        fn tap_names(&self) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn a_larger_batch_takes_longer() {
        let device = Device::default();
        let network = Flat {
            head: LinearConfig::new(1024, 256).init(&device),
        };
        let latency = latency(&network, [1, 32, 32], &device).unwrap();
        for times in [latency.batch1_ms, latency.batch64_ms] {
            assert!(0.0 < times.p10 && times.p10 <= times.median && times.median <= times.p90);
        }
        assert!(latency.batch64_ms.p10 > latency.batch1_ms.p10);
    }
}
