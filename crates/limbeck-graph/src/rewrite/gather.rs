//! Rows of weights picked along an axis.

use crate::weights::HostTensor;

/// The slices `map` of `host` along `axis`, in that order; each multiplied by its factor of `factors`.
pub(super) fn gather(host: &HostTensor, axis: usize, map: &[usize], factors: &[f64]) -> HostTensor {
    let mut shape = host.shape.clone();
    let size = std::mem::replace(&mut shape[axis], map.len());
    let inner: usize = host.shape[axis + 1..].iter().product();
    let mut values = Vec::with_capacity(shape.iter().product());
    for outer in host.values.chunks_exact(size * inner) {
        for (&from, &factor) in map.iter().zip(factors) {
            let slice = &outer[from * inner..(from + 1) * inner];
            values.extend(
                slice
                    .iter()
                    .map(|&value| (f64::from(value) * factor) as f32),
            );
        }
    }
    HostTensor { shape, values }
}
