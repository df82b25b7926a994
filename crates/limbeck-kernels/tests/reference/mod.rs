//! Random inputs and tolerances that the tests share.
#![allow(dead_code)]

/// `length` values spread evenly over `[-1, 1)`, the same for the same seed.
pub(crate) fn random(seed: u64, length: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x51_7cc1_b727_220a;
    (0..length)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = state;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^= bits >> 31;
            (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Values as `f64`.
pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// Panics unless every value is within `tolerance` of the expected one, relative to that one plus
/// the root mean square of all.
#[track_caller]
pub(crate) fn assert_close(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}: lengths differ");
    let squares: f64 = expected.iter().map(|value| value * value).sum();
    let size = (squares / expected.len().max(1) as f64).sqrt();
    for (index, (&got, &want)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(
            error <= tolerance * (want.abs() + size) + 1e-30,
            "{what}[{index}] is {got}, expected {want}"
        );
    }
}

/// Runs `work` on pools of one, two and three threads and panics unless the bits agree.
#[track_caller]
pub(crate) fn assert_same_for_any_threads(work: impl Fn() -> Vec<f32> + Sync) {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let values = pool.expect("a pool can be built").install(&work);
        values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let one = run(1);
    assert!(one == run(2), "two threads change the result");
    assert!(one == run(3), "three threads change the result");
}
