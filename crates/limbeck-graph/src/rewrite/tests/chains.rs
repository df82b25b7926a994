//! All rewrites over random small networks.

use proptest::prelude::*;

use super::{expect_same, network_of, norms};
use crate::Seed;
use crate::ir::{BatchNorm, Conv2d, Linear};
use crate::rewrite::{Deepening, Weighted, Widening, deepen, fold_batch_norms, widen};

/// One layer of a chain: its channels, kernel, whether it has a bias, a norm, and a shortcut around a second convolution.
type Layer = (usize, usize, bool, bool, bool);

fn chain(layers: &[Layer]) -> Weighted {
    network_of(&[3, 7, 6], |b, mut x| {
        for (index, &(channels, kernel, bias, norm, shortcut)) in layers.iter().enumerate() {
            let name = |part: &str| format!("{part}{index}");
            let conv = Conv2d::new(b.channels(x), channels, kernel).padding(kernel / 2);
            x = b.conv2d(&name("conv"), x, conv.bias(bias));
            if norm {
                x = b.batch_norm_with(&name("norm"), x, BatchNorm::new(channels).affine(bias));
            }
            x = b.relu(&name("relu"), x);
            if shortcut {
                let conv = Conv2d::new(channels, channels, 1).bias(bias);
                let y = b.conv2d(&name("inner"), x, conv);
                x = b.add(&name("sum"), y, x);
            }
        }
        let x = b.flatten("flatten", x);
        let features = b.channels(x);
        b.linear("fc", x, Linear::new(features, 4))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rewrites_one_after_the_other_keep_the_function(
        layers in proptest::collection::vec(
            (1_usize..7, prop_oneof![Just(1_usize), Just(3)], any::<bool>(), any::<bool>(), any::<bool>()),
            1..4,
        ),
        more in 0_usize..9,
        seed in any::<u64>(),
    ) {
        let before = chain(&layers);
        let widening = Widening { channels: layers[0].0 + more, noise: 0.0, seed: Seed::new(seed) };
        let wider = widen(before.clone(), "conv0", &widening).unwrap();
        expect_same(&before, &wider, "widened");
        let layer = Deepening { prefix: "new".to_owned(), kernel: 3, statistics: None };
        let deeper = deepen(wider, "relu0", &layer).unwrap();
        expect_same(&before, &deeper, "widened and deepened");
        let folded = fold_batch_norms(deeper).unwrap();
        prop_assert!(norms(&folded).is_empty());
        expect_same(&before, &folded, "widened, deepened and folded");
    }
}
