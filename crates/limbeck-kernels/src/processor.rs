//! Which instructions the kernels may use.

use std::ffi::OsStr;
use std::fmt;
use std::sync::OnceLock;

/// A family of vector instructions that the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Processor {
    /// Plain Rust that the compiler vectorises for the target's baseline; every machine has it.
    Portable,
    /// 256-bit vectors with fused multiply-add (AVX2 and FMA).
    Avx2,
    /// 512-bit vectors (AVX-512 F, BW, DQ and VL).
    Avx512,
}

/// The environment variable that lowers [`Processor::best`]: `portable`, `avx2` or `avx512`; with `off`, tensors are computed
/// by Burn's own operations. Capitals don't matter, and an empty value is as good as none.
pub const VARIABLE: &str = "LIMBECK_KERNELS";

/// What [`VARIABLE`] asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// Nothing: the widest family of the machine.
    #[default]
    Widest,
    /// A family, or the widest of the machine where that is narrower.
    Family(Processor),
    /// Burn's own operations for tensors.
    Off,
}

impl Choice {
    fn read(value: &OsStr) -> Result<Self, UnknownProcessor> {
        let value = value.to_string_lossy();
        match value.to_ascii_lowercase().as_str() {
            "" => Ok(Self::Widest),
            "avx512" => Ok(Self::Family(Processor::Avx512)),
            "avx2" => Ok(Self::Family(Processor::Avx2)),
            "portable" => Ok(Self::Family(Processor::Portable)),
            "off" => Ok(Self::Off),
            _ => Err(UnknownProcessor {
                value: value.into_owned(),
            }),
        }
    }
}

/// A value of [`VARIABLE`] that means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownProcessor {
    /// The value.
    pub value: String,
}

impl fmt::Display for UnknownProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the environment variable `{VARIABLE}` must be `avx512`, `avx2`, `portable` or `off`, got `{}`",
            self.value
        )
    }
}

impl std::error::Error for UnknownProcessor {}

/// What [`VARIABLE`] asks for. It is read once.
///
/// # Errors
///
/// If its value is none of those that [`VARIABLE`] names. [`Processor::best`] and [`switched_off`] then take no notice of it.
pub fn configured() -> Result<Choice, UnknownProcessor> {
    static CHOICE: OnceLock<Result<Choice, UnknownProcessor>> = OnceLock::new();
    CHOICE
        .get_or_init(|| Choice::read(&std::env::var_os(VARIABLE).unwrap_or_default()))
        .clone()
}

/// Whether [`VARIABLE`] switches the kernels off. It is read once.
#[must_use]
pub fn switched_off() -> bool {
    configured() == Ok(Choice::Off)
}

impl Processor {
    /// The widest family of this machine, or the narrower one that [`VARIABLE`] asks for. It is
    /// read once.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Processor> = OnceLock::new();
        *BEST.get_or_init(|| {
            let widest = Self::widest();
            match configured() {
                Ok(Choice::Family(asked)) => asked.min(widest),
                _ => widest,
            }
        })
    }

    /// Every family that this machine can run, the plainest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        [Self::Portable, Self::Avx2, Self::Avx512]
            .into_iter()
            .filter(|family| family.is_available())
            .collect()
    }

    /// Whether this machine can run the family.
    #[must_use]
    pub fn is_available(self) -> bool {
        self <= Self::widest()
    }

    #[cfg(target_arch = "x86_64")]
    fn widest() -> Self {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (avx2, avx512) {
            (true, true) => Self::Avx512,
            (true, false) => Self::Avx2,
            _ => Self::Portable,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn widest() -> Self {
        Self::Portable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_the_portable_family() {
        assert_eq!(Processor::available()[0], Processor::Portable);
    }

    #[test]
    fn the_variable_names_a_family_or_none() {
        let read = |value: &str| Choice::read(value.as_ref());
        assert_eq!(read(""), Ok(Choice::Widest));
        assert_eq!(read("avx512"), Ok(Choice::Family(Processor::Avx512)));
        assert_eq!(read("AVX2"), Ok(Choice::Family(Processor::Avx2)));
        assert_eq!(read("Portable"), Ok(Choice::Family(Processor::Portable)));
        assert_eq!(read("off"), Ok(Choice::Off));
        for value in ["sse", "0", " avx2", "no"] {
            let error = read(value).expect_err("no family has this name");
            assert_eq!(
                error.to_string(),
                format!(
                    "the environment variable `LIMBECK_KERNELS` must be `avx512`, `avx2`, `portable` or `off`, got `{value}`"
                )
            );
        }
    }

    #[test]
    fn the_best_family_is_available() {
        assert!(Processor::available().contains(&Processor::best()));
    }
}
