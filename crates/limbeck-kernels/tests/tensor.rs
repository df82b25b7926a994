//! Operations on tensors against Burn's own, gradients included.

mod reference;

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};
use limbeck_kernels::tensor::{self as kernels, Reduction, Window};
use proptest::prelude::*;
use reference::{assert_close, random, wide};

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff())
}

fn drawn<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    tensor(random(seed, shape.iter().product()), shape)
}

/// Values in disorder, none of them twice.
fn distinct(shape: [usize; 4]) -> Tensor<4> {
    let length: usize = shape.iter().product();
    let values = (0..length).map(|index| (index * 7919 % length) as f32);
    tensor(values.collect(), shape)
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor
        .to_data()
        .try_to_vec()
        .expect("tensors hold 32-bit floats")
}

/// Panics unless both functions of the leaves give the same values and gradients.
fn agree<const D: usize, const E: usize>(
    leaves: &[Tensor<D>],
    fast: impl Fn(&[Tensor<D>]) -> Vec<Tensor<E>>,
    slow: impl Fn(&[Tensor<D>]) -> Vec<Tensor<E>>,
) {
    let outcome = |function: &dyn Fn(&[Tensor<D>]) -> Vec<Tensor<E>>| {
        let leaves: Vec<Tensor<D>> = leaves
            .iter()
            .map(|leaf| leaf.clone().detach().require_grad())
            .collect();
        // An operation between a leaf and its function, as in a network.
        let inner: Vec<Tensor<D>> = leaves.iter().map(|leaf| leaf.clone() * 2.0).collect();
        let outputs = function(&inner);
        let loss = outputs.iter().enumerate().map(|(index, output)| {
            let weight = drawn(index as u64 + 77, output.dims());
            (output.clone() * weight).sum()
        });
        let loss = loss.reduce(|a, b| a + b).expect("there is an output");
        let gradients = loss.backward();
        let outputs: Vec<Vec<f32>> = outputs.iter().map(values).collect();
        let of_leaves: Vec<Option<Vec<f32>>> = leaves
            .iter()
            .map(|leaf| leaf.grad(&gradients).map(|gradient| values(&gradient)))
            .collect();
        (outputs, of_leaves)
    };
    let (found, expected) = (outcome(&fast), outcome(&slow));
    assert_eq!(found.0.len(), expected.0.len());
    for (found, expected) in found.0.iter().zip(&expected.0) {
        assert_close("output", found, &wide(expected), 1e-5);
    }
    for (found, expected) in found.1.iter().zip(&expected.1) {
        assert_eq!(found.is_some(), expected.is_some());
        if let (Some(found), Some(expected)) = (found, expected) {
            assert_close("gradient", found, &wide(expected), 1e-4);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn images_side_by_side(
        pixels in (1usize..4, 1usize..6, 1usize..6),
        widths in prop::collection::vec(1usize..24, 1..20),
        seed in 0u64..1 << 40,
    ) {
        let images: Vec<Tensor<4>> = (seed..).zip(&widths)
            .map(|(seed, &width)| drawn(seed, [pixels.0, pixels.1, pixels.2, width]))
            .collect();
        agree(
            &images,
            |images| vec![kernels::concatenate(images.to_vec())],
            |images| vec![Tensor::cat(images.to_vec(), 3)],
        );
    }

    #[test]
    fn elements_and_softmaxes(
        sizes in (1usize..6, 1usize..20, 1usize..40),
        seed in 0u64..1 << 40,
    ) {
        let shape = [sizes.0, sizes.1, sizes.2];
        let pair = [drawn::<3>(seed, shape), drawn(seed + 1, shape)];
        agree(
            &pair,
            |t| {
                let [a, b] = [&t[0], &t[1]].map(Clone::clone);
                let product = kernels::multiply(a.clone(), b.clone());
                vec![
                    kernels::add(a.clone(), b.clone()),
                    kernels::subtract(a.clone(), b),
                    kernels::multiply_add(product, 0.5, -2.0),
                    kernels::multiply(a.clone(), a),
                ]
            },
            |t| {
                let [a, b] = [&t[0], &t[1]].map(Clone::clone);
                let product = a.clone() * b.clone();
                vec![a.clone() + b.clone(), a.clone() - b, product * 0.5 - 2.0, a.clone() * a]
            },
        );
        agree(
            &pair[..1],
            |t| vec![kernels::softmax(t[0].clone()), kernels::log_softmax(3.0, t[0].clone())],
            |t| {
                let scaled = t[0].clone() / 3.0;
                vec![softmax(t[0].clone(), 2), log_softmax(scaled, 2)]
            },
        );
    }

    #[test]
    fn parts_of_the_channels(
        pixels in (1usize..4, 1usize..6, 1usize..6),
        parts in prop::collection::vec((1usize..24, 0usize..3), 1..6),
        seed in 0u64..1 << 40,
    ) {
        let widths: Vec<usize> = parts.iter().map(|(width, _)| *width).collect();
        let image = drawn(seed, [pixels.0, pixels.1, pixels.2, widths.iter().sum()]);
        // Some parts are used more than once, some not at all.
        let used = |split: Vec<Tensor<4>>| -> Vec<Tensor<4>> {
            let first = split[0].clone();
            let others = split.into_iter().zip(&parts).flat_map(|(part, (_, uses))| vec![part; *uses]);
            std::iter::once(first).chain(others).collect()
        };
        agree(
            &[image],
            |image| used(kernels::split(image[0].clone(), &widths)),
            |image| {
                let mut end = 0;
                used(widths.iter().map(|&width| {
                    end += width;
                    image[0].clone().narrow(3, end - width, width)
                }).collect())
            },
        );
    }

    #[test]
    fn windows(
        kernel in (1usize..5, 1usize..5),
        stride in (1usize..4, 1usize..4),
        padding in (0usize..3, 0usize..3),
        more in (0usize..8, 0usize..8),
        channels in 1usize..24,
        flags in (any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        let (maximum, ceil, count_padding) = flags;
        let (kernel, stride) = ([kernel.0, kernel.1], [stride.0, stride.1]);
        let padding = [padding.0.min(kernel[0] / 2), padding.1.min(kernel[1] / 2)];
        let size = [more.0 + kernel[0], more.1 + kernel[1]];
        let window = Window { kernel, stride, padding, ceil };
        let reduction = match maximum {
            true => Reduction::Maximum,
            false => Reduction::Average { count_padding },
        };
        agree(
            &[distinct([2, size[0], size[1], channels])],
            |image| vec![kernels::pool(image[0].clone(), window, reduction)],
            |image| {
                let image = image[0].clone().permute([0, 3, 1, 2]);
                let pooled = if maximum {
                    let mut options = MaxPoolOptions::new(kernel).with_stride(stride).with_padding(padding);
                    options.ceil_mode = ceil;
                    max_pool2d(image, options)
                } else {
                    let mut options = AvgPoolOptions::new(kernel).with_stride(stride).with_padding(padding);
                    options.ceil_mode = ceil;
                    options.count_include_pad = count_padding;
                    avg_pool2d(image, options)
                };
                vec![pooled.permute([0, 2, 3, 1])]
            },
        );
    }

    #[test]
    fn global_maxima(shape in (1usize..4, 1usize..10, 1usize..10, 1usize..40)) {
        let [batch, height, width, channels] = [shape.0, shape.1, shape.2, shape.3];
        agree(
            &[distinct([batch, height, width, channels])],
            |image| vec![kernels::global_max_pool(image[0].clone())],
            |image| {
                let flat: Tensor<3> = image[0].clone().reshape([batch, height * width, channels]);
                vec![flat.max_dim(1).reshape([batch, 1, 1, channels])]
            },
        );
    }

    #[test]
    fn layer_norms(
        rows in (1usize..6, 1usize..6, 1usize..6),
        channels in 2usize..70,
        epsilon in 1e-6f64..1e-2,
        seed in 0u64..1 << 40,
    ) {
        let norms = |shape: &[usize]| {
            let input = random(seed, shape.iter().product());
            match *shape {
                [a, b] => layer_norm(tensor(input, [a, b]), epsilon, seed),
                [a, b, c] => layer_norm(tensor(input, [a, b, c]), epsilon, seed),
                [a, b, c, d] => layer_norm(tensor(input, [a, b, c, d]), epsilon, seed),
                _ => unreachable!("ranks are 2 to 4"),
            }
        };
        norms(&[rows.0, channels]);
        norms(&[rows.0, rows.1, channels]);
        norms(&[rows.0, rows.1, rows.2, channels]);
    }
}

/// Compares the gradient of the input, and of gamma and beta as leaves of the same rank.
fn layer_norm<const D: usize>(input: Tensor<D>, epsilon: f64, seed: u64) {
    let channels = input.dims()[D - 1];
    let mut list = [1; D];
    list[D - 1] = channels;
    let leaves = [input, drawn(seed + 1, list), drawn(seed + 2, list)];
    let lists = |leaves: &[Tensor<D>]| -> [Tensor<1>; 2] {
        [1, 2].map(|leaf| leaves[leaf].clone().reshape([channels]))
    };
    agree(
        &leaves,
        |leaves| {
            let [gamma, beta] = lists(leaves);
            vec![kernels::layer_norm(leaves[0].clone(), gamma, beta, epsilon)]
        },
        |leaves| {
            let [gamma, beta] = lists(leaves);
            vec![burn::tensor::module::layer_norm(
                leaves[0].clone(),
                gamma,
                Some(beta),
                epsilon,
            )]
        },
    );
}

#[test]
fn a_split_can_be_split_again_and_put_together() {
    let widths = [5, 3, 8];
    agree(
        &[drawn(1, [2, 3, 3, 16])],
        |image| {
            let parts = kernels::split(image[0].clone(), &widths);
            let inner = kernels::split(parts[2].clone(), &[2, 6]);
            vec![kernels::concatenate(vec![
                parts[1].clone(),
                inner[1].clone(),
                parts[1].clone(),
            ])]
        },
        |image| {
            let inner = image[0].clone().narrow(3, 10, 6);
            let part = image[0].clone().narrow(3, 5, 3);
            vec![Tensor::cat(vec![part.clone(), inner, part], 3)]
        },
    );
}

#[test]
fn a_split_without_gradients_has_the_same_parts() {
    let image: Tensor<4> = drawn(1, [1, 2, 2, 5]);
    let plain = kernels::split(image.clone().inner(), &[2, 3]);
    let constant = kernels::split(image, &[2, 3]);
    for (plain, constant) in plain.iter().zip(&constant) {
        assert_eq!(values(plain), values(constant));
    }
    assert_eq!(plain[1].dims(), [1, 2, 2, 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn products_of_matrices(
        count in 1usize..5,
        sizes in (1usize..30, 1usize..30, 1usize..30),
        seed in 0u64..1 << 40,
    ) {
        let (rows, inner, columns) = sizes;
        let pair = [
            drawn::<3>(seed, [count, rows, inner]),
            drawn(seed + 1, [count, inner, columns]),
        ];
        agree(
            &pair,
            |t| vec![kernels::mat_mul(t[0].clone(), t[1].clone())],
            |t| vec![t[0].clone().matmul(t[1].clone())],
        );
    }

    #[test]
    fn axes_in_another_order(
        sizes in (1usize..5, 1usize..5, 1usize..20, 1usize..20),
        turn in 0usize..4,
        seed in 0u64..1 << 40,
    ) {
        let axes = [[0, 2, 1, 3], [2, 0, 3, 1], [0, 1, 3, 2], [1, 0, 2, 3]][turn];
        let leaf = [drawn::<4>(seed, [sizes.0, sizes.1, sizes.2, sizes.3])];
        agree(
            &leaf,
            |t| vec![kernels::permute(t[0].clone(), axes)],
            |t| vec![t[0].clone().permute(axes.map(|axis| axis as isize))],
        );
    }
}
