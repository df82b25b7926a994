//! What the teacher knows: inputs with the soft labels it gives them.

use std::collections::BTreeMap;

use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A test input with the answers to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// The sample's identity.
    pub id: u64,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// The values, `[height, width, channels]` row major, before normalisation.
    #[serde(with = "pixels")]
    pub pixels: Vec<u8>,
    /// The true class, if it is known.
    pub label: Option<u32>,
    /// The teacher's probabilities at the method's temperature, `[classes]`.
    pub teacher: Vec<f32>,
    /// The distilled student's probabilities at the same temperature, `[classes]`; empty if there
    /// is no student.
    pub student: Vec<f32>,
}

/// Pixels as base64 text.
mod pixels {
    use super::STANDARD;
    use base64::Engine as _;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(pixels: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(pixels))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD
            .decode(String::deserialize(from)?)
            .map_err(D::Error::custom)
    }
}

/// Probabilities at temperature 1 from those at `temperature`: `p_i^T / sum_j p_j^T`.
pub fn at_temperature_one(probabilities: &[f32], temperature: f64) -> Vec<f64> {
    let most = probabilities.iter().copied().fold(0.0_f32, f32::max);
    let powers: Vec<f64> = probabilities
        .iter()
        .map(|p| (f64::from(*p) / f64::from(most)).powf(temperature))
        .collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The entropy of a distribution in bits, `-sum_i p_i log2 p_i`: 0 when certain.
pub fn entropy(probabilities: &[f64]) -> f64 {
    probabilities
        .iter()
        .filter(|p| **p > 0.0)
        .map(|p| -p * p.log2())
        .sum()
}

/// Chooses rows worth a look: the `uncertain` rows of highest entropy, then of each class the
/// `per_class` rows whose entropy is nearest to the class's median. Returns row numbers, in this
/// order, each at most once.
///
/// `labels` and `entropies` have one entry per row.
pub fn choose(
    labels: &[Option<u32>],
    entropies: &[f64],
    uncertain: usize,
    per_class: usize,
) -> Vec<usize> {
    let rows = labels.len().min(entropies.len());
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by(|one, other| entropies[*other].total_cmp(&entropies[*one]));
    let rest = order.split_off(uncertain.min(rows));
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for row in rest {
        if let Some(label) = labels[row] {
            classes.entry(label).or_default().push(row);
        }
    }
    for rows in classes.into_values() {
        let first = (rows.len() - per_class.min(rows.len())) / 2;
        order.extend(rows.into_iter().skip(first).take(per_class));
    }
    order
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    /// At temperature 2, 3/4 and 1/4 come from 9/10 and 1/10.
    #[test]
    fn sharpening_undoes_the_temperature() {
        let sharp = at_temperature_one(&[0.75, 0.25], 2.0);
        assert!(
            (sharp[0] - 0.9).abs() < 1e-12 && (sharp[1] - 0.1).abs() < 1e-12,
            "{sharp:?}"
        );
        assert_eq!(entropy(&[0.25; 4]), 2.0);
        assert_eq!(entropy(&[1.0, 0.0]), 0.0);
    }

    #[test]
    fn uncertain_rows_come_first_then_typical_ones() {
        let labels = [0, 0, 0, 0, 1, 1].map(Some);
        let entropies = [0.1, 0.2, 0.3, 0.9, 0.5, 0.4];
        assert_eq!(choose(&labels, &entropies, 1, 1), [3, 1, 4]);
        assert_eq!(choose(&labels, &entropies, 99, 1).len(), 6);
        assert!(choose(&[], &[], 3, 3).is_empty());
    }

    #[test]
    fn pictures_survive_a_round_trip() {
        let good = picture(vec![0.5, 0.5]);
        let text = serde_json::to_string(&good).unwrap();
        assert_eq!(serde_json::from_str::<Picture>(&text).unwrap(), good);
    }

    /// Two by two pixels of class 0.
    pub(in crate::report) fn picture(teacher: Vec<f32>) -> Picture {
        Picture {
            id: 7,
            height: 2,
            width: 2,
            channels: 1,
            pixels: vec![0, 85, 170, 255],
            label: Some(0),
            student: teacher.clone(),
            teacher,
        }
    }
}
