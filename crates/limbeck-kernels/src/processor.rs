//! Which instructions the kernels may use.

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

/// The environment variable that lowers [`Processor::best`]: `portable`, `avx2` or `avx512`.
pub const VARIABLE: &str = "LIMBECK_KERNELS";

impl Processor {
    /// The widest family of this machine, or the narrower one that [`VARIABLE`] asks for. It is
    /// read once.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Processor> = OnceLock::new();
        *BEST.get_or_init(|| {
            let widest = Self::widest();
            let asked = match std::env::var(VARIABLE).as_deref() {
                Ok("portable") => Self::Portable,
                Ok("avx2") => Self::Avx2,
                _ => widest,
            };
            asked.min(widest)
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
    fn the_best_family_is_available() {
        assert!(Processor::available().contains(&Processor::best()));
    }
}
