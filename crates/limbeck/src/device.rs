//! Which processor the tensors live on.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A device as users name it: `cpu`, `cuda:0`, `wgpu`, `metal`, `rocm:1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceChoice {
    kind: Kind,
    index: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Cpu,
    Cuda,
    Wgpu,
    Metal,
    Rocm,
}

const KINDS: [(&str, Kind); 5] = [
    ("cpu", Kind::Cpu),
    ("cuda", Kind::Cuda),
    ("wgpu", Kind::Wgpu),
    ("metal", Kind::Metal),
    ("rocm", Kind::Rocm),
];

impl DeviceChoice {
    /// The processor: the default.
    pub const CPU: Self = Self {
        kind: Kind::Cpu,
        index: 0,
    };

    /// Opens the device, without gradients; use [`Device::autodiff`] to train on it.
    ///
    /// # Errors
    /// If this build lacks the device's feature, or the machine lacks the device.
    pub fn open(self) -> Result<Device> {
        match self.kind {
            Kind::Cpu => Ok(Device::flex()),
            #[cfg(feature = "cuda")]
            Kind::Cuda => self.probe(Device::cuda),
            #[cfg(feature = "rocm")]
            Kind::Rocm => self.probe(Device::rocm),
            #[cfg(feature = "wgpu")]
            Kind::Wgpu => self.probe(|index| Device::wgpu(kind_of_gpu(index))),
            #[cfg(feature = "metal")]
            Kind::Metal => self.probe(|index| Device::metal(kind_of_gpu(index))),
            #[allow(unreachable_patterns, reason = "every device may be built in")]
            _ => Err(Error::Device(format!(
                "this build has no `{self}` device; build it with `cargo build --release --features {}`",
                self.name()
            ))),
        }
    }

    /// Burn's back ends panic where a driver or a device is missing; here that is the user's
    /// environment, so it becomes an error.
    #[cfg(any(
        feature = "cuda",
        feature = "rocm",
        feature = "wgpu",
        feature = "metal"
    ))]
    fn probe(self, open: impl FnOnce(usize) -> Device + std::panic::UnwindSafe) -> Result<Device> {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let opened = std::panic::catch_unwind(|| {
            let device = open(self.index);
            let probe = burn::tensor::Tensor::<1>::ones([2], &device)
                .sum()
                .into_data();
            (device, probe)
        });
        std::panic::set_hook(hook);
        opened.map(|(device, _)| device).map_err(|_| {
            Error::Device(format!(
                "device `{self}` cannot be opened; check that the machine has it and that its driver \
                 is installed, or use `--device cpu`"
            ))
        })
    }

    fn name(self) -> &'static str {
        // Every kind is listed, so the search cannot fail.
        KINDS
            .iter()
            .find(|(_, kind)| *kind == self.kind)
            .map_or("cpu", |(name, _)| name)
    }
}

#[cfg(any(feature = "wgpu", feature = "metal"))]
fn kind_of_gpu(index: usize) -> burn::tensor::DeviceKind {
    match index {
        0 => burn::tensor::DeviceKind::DefaultDevice,
        other => burn::tensor::DeviceKind::DiscreteGpu(other - 1),
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.index) {
            (Kind::Cpu | Kind::Wgpu | Kind::Metal, 0) => f.write_str(self.name()),
            (_, index) => write!(f, "{}:{index}", self.name()),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (
                name,
                index.parse().map_err(|_| {
                    Error::Device(format!(
                        "`{text}` is not a device: expected a number after the colon, as in `cuda:0`"
                    ))
                })?,
            ),
            None => (text, 0),
        };
        let kind = KINDS
            .iter()
            .find(|(word, _)| *word == name)
            .map(|(_, kind)| *kind);
        match kind {
            Some(Kind::Cpu) if index != 0 => Err(Error::Device(format!(
                "`{text}` is not a device: there is one `cpu`; choose its threads with `--threads`"
            ))),
            Some(kind) => Ok(Self { kind, index }),
            None => Err(Error::unknown(
                "device",
                name,
                KINDS.iter().map(|(word, _)| *word),
            )),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for name in [
            "cpu", "cuda:0", "cuda:3", "wgpu", "wgpu:1", "metal", "rocm:0",
        ] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!(
            "cuda".parse::<DeviceChoice>().unwrap().to_string(),
            "cuda:0"
        );
    }

    #[test]
    fn unknown_devices_suggest_the_nearest() {
        let error = "cudda".parse::<DeviceChoice>().unwrap_err().to_string();
        assert_eq!(error, "there is no device `cudda`; did you mean `cuda`?");
        assert!("cuda:x".parse::<DeviceChoice>().is_err());
        assert!("cpu:1".parse::<DeviceChoice>().is_err());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn an_absent_feature_says_how_to_build_it() {
        let error = "cuda:0"
            .parse::<DeviceChoice>()
            .unwrap()
            .open()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("cargo build --release --features cuda"),
            "{error}"
        );
    }
}
