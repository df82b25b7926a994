//! Views by hand and by property.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use rand::RngExt;

use super::pixels::colored;
use super::*;
use crate::data::Pixels;

fn image(height: usize, width: usize, channels: usize, seed: u64) -> Image {
    let mut random = Seed::new(seed).stream("image", &[]);
    let pixels = (0..height * width * channels)
        .map(|_| random.random())
        .collect();
    Image {
        height,
        width,
        channels,
        pixels: Pixels::U8(pixels),
    }
}

fn everything() -> View {
    View::new(vec![
        Change::Crop { padding: 2 },
        Change::Flip { probability: 0.5 },
        Change::Shift {
            vertical: 1,
            horizontal: 2,
        },
        Change::Rotate { degrees: 20.0 },
        Change::Color {
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
        },
        Change::Erase {
            probability: 0.5,
            area: [0.02, 0.4],
            aspect: 0.3,
            fill: Fill::Noise,
        },
    ])
    .unwrap()
}

proptest! {
    #[test]
    fn a_view_follows_from_seed_epoch_and_id(seed: u64, epoch: u64, id: u64, rows in 8_usize..14, columns in 8_usize..14, colour: bool) {
        let image = image(rows, columns, if colour { 3 } else { 1 }, seed);
        let view = |seed, epoch, id| {
            everything().apply(image.clone(), Seed::new(seed), epoch, SampleId(id))
        };
        let once = view(seed, epoch, id);
        prop_assert_eq!(&once, &view(seed, epoch, id));
        prop_assert_eq!(once.shape(), image.shape());
        let Pixels::F32(values) = &once.pixels else { panic!("colour changes give floats") };
        prop_assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
        prop_assert_ne!(&once, &view(seed, epoch.wrapping_add(1), id));
        prop_assert_ne!(&once, &view(seed, epoch, id.wrapping_add(1)));
        prop_assert_ne!(&once, &view(seed.wrapping_add(1), epoch, id));
    }

    #[test]
    fn a_flip_twice_is_the_image(rows in 1_usize..9, columns in 1_usize..9, seed: u64) {
        let image = image(rows, columns, 3, seed);
        prop_assert_eq!(image.clone().flipped().flipped(), image);
    }

    #[test]
    fn a_crop_is_a_window_of_the_padded_image(
        rows in 1_usize..9, columns in 1_usize..9, padding in 0_usize..6, seed: u64,
    ) {
        let image = image(rows, columns, 1, seed);
        let crop = View::new(vec![Change::Crop { padding }]).unwrap()
            .apply(image.clone(), Seed::new(seed), 0, SampleId(1));
        let Pixels::U8(values) = &image.pixels else { unreachable!("built from bytes") };
        let (padded_rows, padded_columns) = (rows + 2 * padding, columns + 2 * padding);
        let mut padded = vec![0; padded_rows * padded_columns];
        for row in 0..rows {
            for column in 0..columns {
                padded[(row + padding) * padded_columns + column + padding] =
                    values[row * columns + column];
            }
        }
        let window = |top: usize, left: usize| {
            let mut out = Vec::new();
            for row in top..top + rows {
                out.extend_from_slice(
                    &padded[row * padded_columns + left..row * padded_columns + left + columns],
                );
            }
            Pixels::U8(out)
        };
        let found = (0..=2 * padding)
            .any(|top| (0..=2 * padding).any(|left| window(top, left) == crop.pixels));
        prop_assert!(found);
    }
}

#[test]
fn every_offset_of_a_crop_occurs_about_equally_often() {
    let mut values = vec![0; 25];
    values[12] = 255;
    let dot = Image {
        height: 5,
        width: 5,
        channels: 1,
        pixels: Pixels::U8(values),
    };
    let view = View::new(vec![Change::Crop { padding: 2 }]).unwrap();
    let mut counts = [0_u32; 25];
    for id in 0..5000 {
        let Pixels::U8(values) = view
            .apply(dot.clone(), Seed::new(3), 0, SampleId(id))
            .pixels
        else {
            unreachable!("crops keep bytes")
        };
        counts[values.iter().position(|value| *value == 255).unwrap()] += 1;
    }
    // 200 expected, standard deviation 13.9.
    assert!(
        counts.iter().all(|count| (140..260).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn rotation_by_hand() {
    let pixels = Pixels::F32(vec![0.25, 0.5, 0.75, 1.0]);
    let image = Image {
        height: 2,
        width: 2,
        channels: 1,
        pixels,
    };
    let quarter = image.clone().rotated(90.0);
    let Pixels::F32(values) = quarter.pixels else {
        unreachable!("rotations give floats")
    };
    // Counter-clockwise: the right column becomes the top row.
    for (value, expected) in values.iter().zip([0.5, 1.0, 0.25, 0.75]) {
        assert!((value - expected).abs() < 1e-6, "{values:?}");
    }
    let still = image.clone().rotated(0.0);
    assert_eq!(still, image);
}

#[test]
fn colour_by_hand() {
    let pixels = Pixels::F32(vec![0.2, 0.4, 0.6]);
    let image = Image {
        height: 1,
        width: 1,
        channels: 3,
        pixels,
    };
    // A single pixel is its own mean: contrast moves each value away from its grey, as saturation does.
    let grey = 0.299 * 0.4 + 0.587 * 0.8 + 0.114;
    let Pixels::F32(values) = colored(image, [2.0, 0.5, 1.0]).pixels else {
        unreachable!("colour changes give floats")
    };
    for (value, bright) in values.iter().zip([0.4, 0.8, 1.0]) {
        let expected = grey + 0.5 * (bright - grey);
        assert!((value - expected).abs() < 1e-6, "{values:?}");
    }
}

#[test]
fn erasing_leaves_the_rest_alone_and_keeps_to_the_area() {
    let image = Image {
        height: 20,
        width: 20,
        channels: 3,
        pixels: Pixels::F32(vec![0.5; 1200]),
    };
    let view = View::new(vec![Change::Erase {
        probability: 1.0,
        area: [0.1, 0.2],
        aspect: 0.5,
        fill: Fill::Zero,
    }])
    .unwrap();
    for id in 0..200 {
        let Pixels::F32(values) = view
            .apply(image.clone(), Seed::new(1), 0, SampleId(id))
            .pixels
        else {
            unreachable!("erasing gives floats")
        };
        assert!(values.iter().all(|value| *value == 0.0 || *value == 0.5));
        let share = values.iter().filter(|value| **value == 0.0).count() as f64 / 1200.0;
        assert!((0.08..0.23).contains(&share), "{share}");
    }
}

#[test]
fn another_change_leaves_the_draws_alone() {
    let image = image(8, 8, 1, 5);
    let crop = Change::Crop { padding: 2 };
    let alone = View::new(vec![crop.clone()]).unwrap();
    let with = View::new(vec![Change::Flip { probability: 0.0 }, crop]).unwrap();
    for id in 0..20 {
        let id = SampleId(id);
        assert_eq!(
            alone.apply(image.clone(), Seed::new(1), 2, id),
            with.apply(image.clone(), Seed::new(1), 2, id)
        );
    }
}

#[test]
fn parameters_are_checked() {
    let refuse = |change| View::new(vec![change]).unwrap_err().to_string();
    assert_eq!(
        refuse(Change::Flip { probability: 1.5 }),
        "flip probability must be between 0 and 1, got 1.5"
    );
    assert_eq!(
        refuse(Change::Rotate { degrees: f64::NAN }),
        "rotation must be between 0 and 180 degrees, got NaN"
    );
    let twice = vec![Change::Crop { padding: 1 }, Change::Crop { padding: 2 }];
    assert!(
        View::new(twice)
            .unwrap_err()
            .to_string()
            .contains("occurs twice")
    );
}
