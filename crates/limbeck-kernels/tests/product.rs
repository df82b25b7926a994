//! Linear layers against plain loops in `f64`.

mod reference;

use limbeck_kernels::product::{
    Linear, linear, linear_backward_bias_on, linear_backward_input, linear_backward_input_on,
    linear_backward_weight, linear_backward_weight_on, linear_on,
};
use limbeck_kernels::{Activation, Processor};
use proptest::prelude::*;
use reference::{assert_close, assert_same_for_any_threads, random, wide};

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..20, 1usize..150]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn forward_and_gradients(
        batch in size(),
        inputs in size(),
        outputs in prop_oneof![size(), 250usize..300],
        with_bias: bool,
        seed in 0u64..1 << 40,
    ) {
        let sizes = Linear { batch, inputs, outputs };
        let (input, weight) = (random(seed, batch * inputs), random(seed + 1, outputs * inputs));
        let bias = with_bias.then(|| random(seed + 2, outputs));
        let gradient = random(seed + 3, batch * outputs);
        let (x, w, g) = (wide(&input), wide(&weight), wide(&gradient));
        let mut output = vec![0.0f64; batch * outputs];
        let mut of_input = vec![0.0f64; batch * inputs];
        let mut of_weight = vec![0.0f64; outputs * inputs];
        let mut of_bias = vec![0.0f64; outputs];
        for b in 0..batch {
            for o in 0..outputs {
                let mut sum = bias.as_ref().map_or(0.0, |bias| f64::from(bias[o]));
                for i in 0..inputs {
                    sum += x[b * inputs + i] * w[o * inputs + i];
                    of_input[b * inputs + i] += g[b * outputs + o] * w[o * inputs + i];
                    of_weight[o * inputs + i] += g[b * outputs + o] * x[b * inputs + i];
                }
                output[b * outputs + o] = sum.max(0.0);
                of_bias[o] += g[b * outputs + o];
            }
        }
        for processor in Processor::available() {
            let mut found = vec![f32::NAN; output.len()];
            let bias = bias.as_deref();
            linear_on(processor, sizes, &input, &weight, bias, Activation::Relu, &mut found);
            assert_close("output", &found, &output, 1e-5);
            let mut found = vec![f32::NAN; of_input.len()];
            linear_backward_input_on(processor, sizes, &gradient, &weight, &mut found);
            assert_close("gradient of input", &found, &of_input, 1e-5);
            let mut found = vec![f32::NAN; of_weight.len()];
            linear_backward_weight_on(processor, sizes, &input, &gradient, &mut found);
            assert_close("gradient of weight", &found, &of_weight, 1e-5);
            let mut found = vec![f32::NAN; of_bias.len()];
            linear_backward_bias_on(processor, &gradient, &mut found);
            assert_close("gradient of bias", &found, &of_bias, 1e-5);
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for batch in [3, 70] {
        let sizes = Linear {
            batch,
            inputs: 333,
            outputs: 777,
        };
        let (input, weight) = (random(1, batch * 333), random(2, 333 * 777));
        let gradient = random(3, batch * 777);
        assert_same_for_any_threads(|| {
            let mut output = vec![0.0; batch * 777];
            let mut of_input = vec![0.0; batch * 333];
            let mut of_weight = vec![0.0; 333 * 777];
            linear(sizes, &input, &weight, None, Activation::None, &mut output);
            linear_backward_input(sizes, &gradient, &weight, &mut of_input);
            linear_backward_weight(sizes, &input, &gradient, &mut of_weight);
            [output, of_input, of_weight].concat()
        });
    }
}
