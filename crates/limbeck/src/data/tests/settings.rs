//! The recipe's `[data]` table.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use limbeck_graph::Seed;

use super::super::{
    Change, DataSettings, Dataset, Fill, Normalization, Normalize, SampleId, Splits,
};
use super::{idx, small_pixels, write};
use crate::recipe::{Problems, Section};

fn read(text: &str) -> (DataSettings, Vec<String>) {
    let problems = Problems::default();
    let mut section = Section::root(text.parse().unwrap(), problems.clone());
    let settings = DataSettings::check(&mut section);
    section.finish();
    (
        settings,
        problems
            .into_vec()
            .iter()
            .map(ToString::to_string)
            .collect(),
    )
}

fn valid(text: &str) -> DataSettings {
    let (settings, problems) = read(text);
    assert_eq!(problems, Vec::<String>::new());
    settings
}

fn opened(text: &str) -> Splits {
    valid(text).open(Path::new("."), Seed::new(4)).unwrap()
}

fn ids(set: &dyn Dataset) -> BTreeSet<SampleId> {
    (0..set.len()).map(|row| set.id(row)).collect()
}

#[test]
fn every_key_is_read() {
    let settings = valid(
        r#"
        path = "digits"
        test = 0.25
        validation = 100
        limit = 0.5
        labels_per_class = 20
        classes = 10
        resize = [12, 16]
        normalize = [0.5, 0.25]
        augment = ["flip", "crop", "rotate", "shift", "color", "erase"]
        crop.padding = 2
        flip.probability = 0.3
        rotate.degrees = 10
        shift.vertical = 2
        color.contrast = 0.1
        [erase]
        probability = 0.2
        area = [0.1, 0.2]
        aspect = 0.5
        fill = "zero"
        "#,
    );
    assert_eq!(settings.resize, Some([12, 16]));
    assert_eq!(settings.classes, Some(10));
    assert_eq!(settings.labels_per_class, Some(20));
    let values = Normalization {
        mean: vec![0.5],
        std: vec![0.25],
    };
    assert_eq!(settings.normalize, Normalize::Values(values));
    assert_eq!(
        settings.augment.changes(),
        [
            Change::Flip { probability: 0.3 },
            Change::Crop { padding: 2 },
            Change::Rotate { degrees: 10.0 },
            Change::Shift {
                vertical: 2,
                horizontal: 1
            },
            Change::Color {
                brightness: 0.4,
                contrast: 0.1,
                saturation: 0.4
            },
            Change::Erase {
                probability: 0.2,
                area: [0.1, 0.2],
                aspect: 0.5,
                fill: Fill::Zero
            },
        ]
    );
}

#[test]
fn mistakes_name_their_key() {
    let (_, problems) = read(
        r#"
        train = "a"
        path = "b"
        validation = 1.5
        test = 0
        limit = "some"
        resize = [1, 2, 3]
        normalize = "batch"
        augment = ["crop", "flop"]
        crop = { padding = -1, pad = 2 }
        erase = { probability = 0.5 }
        labels_per_class = 0
        clases = 10
        "#,
    );
    let expected = [
        ("train", "either `path` or `train`"),
        (
            "validation",
            "a path in quotes, a share above 0 and below 1, or a count of rows, got 1.5",
        ),
        ("test", "got 0"),
        ("limit", "expected a finite number"),
        (
            "resize",
            "expected a size or [height, width], each 1 to 4096, got [1, 2, 3]",
        ),
        ("normalize", "expected one of `train`, `none`, got `batch`"),
        (
            "augment",
            "there is no augmentation `flop`; did you mean `flip`",
        ),
        (
            "crop.padding",
            "expected a whole number of at least 0, got `-1`",
        ),
        ("crop.pad", "is not a known key"),
        ("erase", "has no effect; add `erase` to `augment`"),
        ("labels_per_class", "expected at least 1, got 0"),
        (
            "clases",
            "is not a known key; did you mean one of `classes`",
        ),
    ];
    for (key, reason) in expected {
        let start = format!("recipe key `{key}`: ");
        assert!(
            problems
                .iter()
                .any(|problem| problem.starts_with(&start) && problem.contains(reason)),
            "`{key}` with `{reason}` in {problems:#?}"
        );
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    let (_, problems) = read("");
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with("recipe key `path`: is missing"),
        "{problems:?}"
    );
    let (_, problems) = read("path = \"digits\"\nnormalize = [0.5]");
    assert!(
        problems[0].contains("the means and then as many"),
        "{problems:?}"
    );
}

#[test]
fn parts_are_disjoint_and_limits_leave_held_out_rows_alone() {
    let whole = opened("path = \"digits\"\nvalidation = 0.1");
    let test = whole.test.as_ref().unwrap();
    let validation = whole.validation.as_ref().unwrap();
    assert_eq!(
        (whole.train.len(), validation.len(), test.len()),
        (1167, 130, 500)
    );
    let all: BTreeSet<_> = [&whole.train, validation, test]
        .into_iter()
        .flat_map(|set| ids(set.as_ref()))
        .collect();
    assert_eq!(all.len(), 1797);

    let limited = opened("path = \"digits\"\nvalidation = 0.1\nlimit = 200");
    assert_eq!(limited.train.len(), 200);
    assert_eq!(
        ids(limited.validation.unwrap().as_ref()),
        ids(validation.as_ref()),
        "a limit must not change the validation rows"
    );
    assert!(ids(limited.train.as_ref()).is_subset(&ids(whole.train.as_ref())));

    let few = opened("path = \"digits\"\nlabels_per_class = 4");
    assert_eq!(few.train.len(), 40);

    let other = valid("path = \"digits\"\nvalidation = 0.1")
        .open(Path::new("."), Seed::new(5))
        .unwrap();
    assert_ne!(
        ids(other.validation.unwrap().as_ref()),
        ids(validation.as_ref())
    );
}

#[test]
fn normalisation_comes_from_the_training_rows() {
    let whole = opened("path = \"digits\"");
    assert_eq!(
        whole.normalization,
        Normalization::fit(whole.train.as_ref()).unwrap()
    );
    let limited = opened("path = \"digits\"\nlimit = 100");
    assert_eq!(
        limited.normalization,
        Normalization::fit(limited.train.as_ref()).unwrap()
    );
    assert_ne!(limited.normalization, whole.normalization);
    let none = opened("path = \"digits\"\nnormalize = \"none\"");
    assert_eq!(none.normalization, Normalization::none());
    let wrong = valid("path = \"digits\"\nnormalize = [0.1, 0.2, 0.3, 1, 1, 1]");
    let message = wrong
        .open(Path::new("."), Seed::new(0))
        .unwrap_err()
        .to_string();
    assert_eq!(
        message,
        "means of the normalisation: expected 1 value, got 3"
    );
}

#[test]
fn paths_start_from_the_recipe() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "set/images.idx",
        &idx(0x08, &[6, 2, 3], &small_pixels()),
    );
    write(
        folder.path(),
        "set/labels.idx",
        &idx(0x08, &[6], &[0, 1, 2, 0, 1, 2]),
    );
    write(
        folder.path(),
        "small/images.idx",
        &idx(0x08, &[3, 1, 1], &[1, 2, 3]),
    );
    write(
        folder.path(),
        "small/labels.idx",
        &idx(0x08, &[3], &[0, 1, 2]),
    );
    let open = |text: &str| valid(text).open(folder.path(), Seed::new(1));
    // A set without splits gives no test rows of its own.
    let splits = open("path = \"set\"").unwrap();
    assert_eq!(splits.train.len(), 6);
    assert!(splits.test.is_none() && splits.validation.is_none());
    let splits = open("path = \"set\"\ntest = 3").unwrap();
    assert_eq!((splits.train.len(), splits.test.unwrap().len()), (3, 3));
    let splits = open("train = \"set\"\ntest = \"set/images.idx\"").unwrap();
    let (train, test) = (splits.train, splits.test.unwrap());
    assert_eq!((train.len(), test.len()), (6, 6));
    assert!(ids(train.as_ref()).is_disjoint(&ids(test.as_ref())));

    let message = open("train = \"set\"\ntest = \"small\"")
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("[1, 2, 3] as in the training data, got [1, 1, 1]"),
        "{message}"
    );
    let message = open("path = \"nowhere\"").unwrap_err().to_string();
    let tried = folder.path().join("nowhere").display().to_string();
    let working = std::path::absolute("nowhere")
        .unwrap()
        .display()
        .to_string();
    assert!(
        message.contains(&tried) && message.contains(&working),
        "{message}"
    );
    let message = open("path = \"set\"\nvalidation = 6")
        .unwrap_err()
        .to_string();
    assert!(message.contains("would leave an empty part"), "{message}");
}

#[test]
fn a_view_and_a_set_can_be_shared_between_threads() {
    fn shareable<T: Send + Sync>() {}
    shareable::<Splits>();
    shareable::<Arc<dyn Dataset>>();
}
