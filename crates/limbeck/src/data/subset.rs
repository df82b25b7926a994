//! Some rows of a set: stratified splits, limited labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use limbeck_graph::Seed;
use rand::seq::SliceRandom;

use super::hash::ContentHash;
use super::{Dataset, DatasetInfo, Sample, SampleId};
use crate::{Error, Result};

/// Some rows of a set; they keep their identities.
#[derive(Clone, Debug)]
pub struct Subset {
    parent: Arc<dyn Dataset>,
    rows: Vec<usize>,
    info: DatasetInfo,
}

impl Subset {
    /// The given rows of `parent`, in the given order.
    ///
    /// # Errors
    /// If there are none or one does not exist.
    pub fn new(parent: Arc<dyn Dataset>, rows: Vec<usize>) -> Result<Self> {
        let name = &parent.info().name;
        if rows.is_empty() {
            return Err(Error::Data(format!(
                "a subset of data set `{name}` would hold no rows"
            )));
        }
        if let Some(row) = rows.iter().find(|row| **row >= parent.len()) {
            return Err(Error::Data(format!(
                "data set `{name}` has {} rows, so there is no row {row}",
                parent.len()
            )));
        }
        let mut info = parent.info().clone();
        info.hash = ContentHash::of_subset(&info.hash, &rows);
        Ok(Self { parent, rows, info })
    }

    /// The first `count` rows of `parent`.
    ///
    /// # Errors
    /// If `count` is 0 or above the number of rows.
    pub fn first(parent: Arc<dyn Dataset>, count: usize) -> Result<Self> {
        Self::new(parent, (0..count).collect())
    }

    /// The rows of the parent, in this set's order.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }
}

impl Dataset for Subset {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn id(&self, index: usize) -> SampleId {
        self.parent.id(self.rows[index])
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.parent.label(self.rows[index])
    }

    fn sample(&self, index: usize) -> Result<Sample> {
        self.parent.sample(self.rows[index])
    }
}

/// How many rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// This many.
    Rows(usize),
    /// This share of all, 0 to 1, rounded to the nearest row.
    Fraction(f64),
}

impl Amount {
    /// The number of rows out of `total`.
    pub fn rows(self, total: usize) -> usize {
        match self {
            Self::Rows(rows) => rows,
            Self::Fraction(fraction) => (fraction * total as f64).round() as usize,
        }
    }
}

/// Holds out a stratified part of `set`: the rest, and the part held out, each in the set's order.
///
/// Which rows depends on `seed` and `purpose` (such as `validation`) alone.
///
/// # Errors
/// If either part would be empty.
pub fn hold_out(
    set: &Arc<dyn Dataset>,
    amount: Amount,
    seed: Seed,
    purpose: &str,
) -> Result<(Subset, Subset)> {
    let count = amount.rows(set.len());
    if count == 0 || count >= set.len() {
        return Err(Error::Data(format!(
            "holding out {count} of the {} rows of data set `{}` for {purpose} would leave an empty part",
            set.len(),
            set.info().name
        )));
    }
    let held = choose(set, &shares(set, count), seed, purpose);
    let mut is_held = vec![false; set.len()];
    for row in &held {
        is_held[*row] = true;
    }
    let rest = (0..set.len()).filter(|row| !is_held[*row]).collect();
    Ok((
        Subset::new(Arc::clone(set), rest)?,
        Subset::new(Arc::clone(set), held)?,
    ))
}

/// A stratified part of `set`, in the set's order: each class keeps its share, to the nearest row.
///
/// # Errors
/// If the part would be empty or larger than the set.
pub fn stratified(
    set: &Arc<dyn Dataset>,
    amount: Amount,
    seed: Seed,
    purpose: &str,
) -> Result<Subset> {
    let count = amount.rows(set.len());
    if count == 0 || count > set.len() {
        return Err(Error::Data(format!(
            "expected a part of 1 to {} rows of data set `{}`, got {count}",
            set.len(),
            set.info().name
        )));
    }
    Subset::new(
        Arc::clone(set),
        choose(set, &shares(set, count), seed, purpose),
    )
}

/// `count` labelled rows of each class, in the set's order.
///
/// # Errors
/// If a class has fewer.
pub fn labels_per_class(
    set: &Arc<dyn Dataset>,
    count: usize,
    seed: Seed,
    purpose: &str,
) -> Result<Subset> {
    let available = rows_by_class(set);
    let mut wanted = BTreeMap::new();
    for (class, name) in set.info().classes.iter().enumerate() {
        let rows = available.get(&Some(class as u32)).map_or(0, Vec::len);
        if rows < count {
            return Err(Error::Data(format!(
                "expected {count} rows of each class in data set `{}`, but class `{name}` has {rows}",
                set.info().name
            )));
        }
        wanted.insert(Some(class as u32), count);
    }
    Subset::new(Arc::clone(set), choose(set, &wanted, seed, purpose))
}

fn rows_by_class(set: &Arc<dyn Dataset>) -> BTreeMap<Option<u32>, Vec<usize>> {
    let mut rows: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for row in 0..set.len() {
        rows.entry(set.label(row)).or_default().push(row);
    }
    rows
}

/// How many of `count` rows each class gets: its exact share rounded down, and the rows left over to the classes with
/// the largest remainders.
fn shares(set: &Arc<dyn Dataset>, count: usize) -> BTreeMap<Option<u32>, usize> {
    let total = set.len() as u128;
    let mut shares = BTreeMap::new();
    let mut remainders = Vec::new();
    for (class, rows) in rows_by_class(set) {
        let product = rows.len() as u128 * count as u128;
        shares.insert(class, (product / total) as usize);
        remainders.push((std::cmp::Reverse(product % total), class));
    }
    remainders.sort_unstable();
    let left = count - shares.values().sum::<usize>();
    for (_, class) in remainders.into_iter().take(left) {
        *shares.entry(class).or_default() += 1;
    }
    shares
}

/// Per class the first `counts[class]` rows of a seeded shuffle, so that a larger part of the same seed contains a
/// smaller one; sorted.
fn choose(
    set: &Arc<dyn Dataset>,
    counts: &BTreeMap<Option<u32>, usize>,
    seed: Seed,
    purpose: &str,
) -> Vec<usize> {
    let mut chosen = Vec::new();
    for (class, mut rows) in rows_by_class(set) {
        let position = class.map_or(u64::MAX, u64::from);
        rows.shuffle(&mut seed.stream(&format!("subset/{purpose}"), &[position]));
        rows.truncate(counts.get(&class).copied().unwrap_or(0));
        chosen.append(&mut rows);
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::{MemorySet, Pixels, Split, digits};
    use super::*;

    /// A set whose class `i` has `counts[i]` rows, the classes taking turns.
    fn set(counts: &[usize]) -> Arc<dyn Dataset> {
        let mut labels = Vec::new();
        for turn in 0..counts.iter().copied().max().unwrap() {
            labels.extend((0..counts.len()).filter(|class| turn < counts[*class]));
        }
        let labels: Vec<u32> = labels.into_iter().map(|class| class as u32).collect();
        let info = DatasetInfo {
            name: "turns".to_owned(),
            classes: (0..counts.len())
                .map(|class| format!("class {class}"))
                .collect(),
            shape: [1, 1, 1],
            ..digits::all().info().clone()
        };
        let pixels = Pixels::U8(vec![0; labels.len()]);
        Arc::new(MemorySet::new(info, Split::Train, pixels, Some(labels)).unwrap())
    }

    fn counts(set: &dyn Dataset, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for row in 0..set.len() {
            counts[set.label(row).unwrap() as usize] += 1;
        }
        counts
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_complete_and_in_proportion(
            sizes in prop::collection::vec(1_usize..60, 1..6), share in 0.05_f64..0.95, seed: u64,
        ) {
            let set = set(&sizes);
            let count = Amount::Fraction(share).rows(set.len());
            prop_assume!(count > 0 && count < set.len());
            let (rest, held) =
                hold_out(&set, Amount::Fraction(share), Seed::new(seed), "validation").unwrap();
            prop_assert_eq!(held.len(), count);
            let all: BTreeSet<_> = rest.rows().iter().chain(held.rows()).copied().collect();
            prop_assert_eq!(all.len(), set.len());
            prop_assert!(held.rows().is_sorted() && rest.rows().is_sorted());
            let held = counts(&held, sizes.len());
            for (held, size) in held.iter().zip(&sizes) {
                let exact = *size as f64 * count as f64 / set.len() as f64;
                prop_assert!((*held as f64 - exact).abs() < 1.0, "{} of {}", held, exact);
            }
        }
    }

    #[test]
    fn a_part_follows_from_seed_and_purpose() {
        let set = digits::all();
        let part = |seed, purpose| {
            stratified(&set, Amount::Rows(100), Seed::new(seed), purpose)
                .unwrap()
                .rows()
                .to_vec()
        };
        assert_eq!(part(1, "limit"), part(1, "limit"));
        assert_ne!(part(1, "limit"), part(2, "limit"));
        assert_ne!(part(1, "limit"), part(1, "validation"));
    }

    #[test]
    fn more_labels_contain_fewer() {
        let set = digits::all();
        let rows = |count| -> BTreeSet<usize> {
            let part = labels_per_class(&set, count, Seed::new(5), "labels").unwrap();
            assert_eq!(counts(&part, 10), [count; 10]);
            part.rows().iter().copied().collect()
        };
        assert!(rows(4).is_subset(&rows(20)));
        let error = labels_per_class(&set, 175, Seed::new(5), "labels")
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "expected 175 rows of each class in data set `digits`, but class `8` has 174"
        );
    }

    #[test]
    fn rows_keep_identity_and_the_hash_names_them() {
        let set = digits::all();
        let part = Subset::new(Arc::clone(&set), vec![30, 10, 20]).unwrap();
        assert_eq!(part.id(1), set.id(10));
        assert_eq!(part.label(2), set.label(20));
        assert_eq!(part.sample(0).unwrap().image, set.sample(30).unwrap().image);
        let other = Subset::new(Arc::clone(&set), vec![10, 20, 30]).unwrap();
        assert_ne!(part.info().hash, other.info().hash);
        assert_ne!(part.info().hash, set.info().hash);
    }

    #[test]
    fn impossible_parts_are_refused() {
        let set = set(&[3, 3]);
        let seed = Seed::new(0);
        for amount in [Amount::Rows(0), Amount::Rows(6), Amount::Fraction(0.01)] {
            let error = hold_out(&set, amount, seed, "validation")
                .unwrap_err()
                .to_string();
            assert!(error.contains("would leave an empty part"), "{error}");
        }
        assert!(stratified(&set, Amount::Rows(7), seed, "limit").is_err());
        assert!(Subset::new(Arc::clone(&set), vec![6]).is_err());
        assert!(Subset::first(set, 0).is_err());
    }
}
