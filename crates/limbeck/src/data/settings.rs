//! The recipe's `[data]` table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use limbeck_graph::Seed;
use serde::Serialize;

use super::{
    Amount, Change, Dataset, Fill, Normalization, OpenOptions, Source, Split, View, digits,
    hold_out, labels_per_class, stratified,
};
use crate::recipe::Section;
use crate::{Error, Result};

/// Where rows that are held out come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HeldOut {
    /// Another file or folder.
    Path(String),
    /// A stratified share of the training rows, above 0 and below 1.
    Fraction(f64),
    /// This many of the training rows, stratified.
    Rows(usize),
}

impl HeldOut {
    fn amount(&self) -> Option<Amount> {
        match *self {
            Self::Path(_) => None,
            Self::Fraction(share) => Some(Amount::Fraction(share)),
            Self::Rows(rows) => Some(Amount::Rows(rows)),
        }
    }
}

/// The largest number of classes, as of a network's outputs.
const MOST_CLASSES: usize = 1 << 20;

/// How pixels are normalised.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// By mean and standard deviation of each channel of the training rows.
    Train,
    /// Pixels stay in 0..1.
    None,
    /// By these values.
    Values(Normalization),
}

/// The checked `[data]` table of a recipe.
///
/// | key | default | meaning |
/// |---|---|---|
/// | `path` | | a file or folder, recognised by what is in it, or `"digits"`; relative to the recipe's folder, else to the working one |
/// | `train` | | instead of `path`: the training data alone |
/// | `test` | the test split of `path` | the test data: a path, or a share (`0.2`) or count (`1000`) of the training rows to hold out, stratified |
/// | `validation` | the validation split of `path`, if any | the validation data, as for `test` |
/// | `limit` | all | training rows to keep, a count or a share, stratified |
/// | `labels_per_class` | all | training rows to keep of each class |
/// | `classes` | from the data | the number of classes, where the files do not tell it |
/// | `resize` | | scale all images to this size: `32` or `[height, width]` |
/// | `normalize` | `"train"` | `"train"` (mean and deviation of the training rows), `"none"` (0..1), or means and then deviations on 0..1: `[0.5, 0.5]`, or twice as many values as channels |
/// | `augment` | `[]` | random changes of training images, in this order: `"crop"`, `"flip"`, `"rotate"`, `"shift"`, `"color"`, `"erase"` |
/// | `crop.padding` | `4` | zeros on each side of which a window of the original size is taken |
/// | `flip.probability` | `0.5` | how often an image is mirrored |
/// | `rotate.degrees` | `15` | the largest angle either way, 0 to 180 |
/// | `shift.vertical`, `shift.horizontal` | `1` | the largest move in pixels |
/// | `color.brightness`, `color.contrast`, `color.saturation` | `0.4` | strength s of a factor in 1 - s..1 + s, 0 to 1 |
/// | `erase.probability` | `0.5` | how often a rectangle is erased |
/// | `erase.area` | `[0.02, 0.4]` | the smallest and the largest share of the image |
/// | `erase.aspect` | `0.3` | the smallest aspect ratio r; the largest is 1 / r |
/// | `erase.fill` | `"noise"` | `"noise"` or `"zero"` |
///
/// Rows are held out before `limit` and `labels_per_class` apply. Which rows follows from the run's seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataSettings {
    /// Everything in one place.
    pub path: Option<String>,
    /// The training data alone.
    pub train: Option<String>,
    /// The test data, if not the test split of `path`.
    pub test: Option<HeldOut>,
    /// The validation data, if not the validation split of `path`.
    pub validation: Option<HeldOut>,
    /// Training rows to keep.
    pub limit: Option<HeldOut>,
    /// Training rows to keep of each class.
    pub labels_per_class: Option<usize>,
    /// The number of classes, where the files do not tell it.
    pub classes: Option<usize>,
    /// `[height, width]` to scale images to.
    pub resize: Option<[usize; 2]>,
    /// How pixels are normalised.
    pub normalize: Normalize,
    /// Random changes of training images.
    pub augment: View,
}

impl Default for DataSettings {
    /// The embedded digits, normalised, as they are.
    fn default() -> Self {
        Self {
            path: Some(digits::NAME.to_owned()),
            train: None,
            test: None,
            validation: None,
            limit: None,
            labels_per_class: None,
            classes: None,
            resize: None,
            normalize: Normalize::Train,
            augment: View::none(),
        }
    }
}

/// What a recipe's data opens to.
#[derive(Clone, Debug)]
pub struct Splits {
    /// The rows to learn from.
    pub train: Arc<dyn Dataset>,
    /// The rows to choose settings and stop by.
    pub validation: Option<Arc<dyn Dataset>>,
    /// The rows for the final figures.
    pub test: Option<Arc<dyn Dataset>>,
    /// The normalisation of all of them.
    pub normalization: Normalization,
    /// The augmentation of training rows.
    pub view: View,
}

impl DataSettings {
    /// Reads the `[data]` table. Mistakes are recorded in the section.
    pub fn check(section: &mut Section) -> Self {
        let path = section.optional::<String>("path");
        let train = section.optional::<String>("train");
        match (&path, &train) {
            (Some(_), Some(_)) => {
                section.problem("train", "give either `path` or `train`, not both");
            }
            (None, None) if !section.has("path") && !section.has("train") => section.problem(
                "path",
                "is missing; expected a file, a folder or \"digits\", in quotes",
            ),
            _ => {}
        }
        let labels_per_class = at_least(section, "labels_per_class", 1);
        let classes = section.count_up_to("classes", 2, 2, MOST_CLASSES);
        let classes = section.has("classes").then_some(classes);
        Self {
            path,
            train,
            test: held_out(section, "test", true),
            validation: held_out(section, "validation", true),
            limit: held_out(section, "limit", false),
            labels_per_class,
            classes,
            resize: resize(section),
            normalize: normalize(section),
            augment: augment(section),
        }
    }

    /// Opens the data. Relative paths start from `base`, the recipe's folder, or else from the working one.
    ///
    /// # Errors
    /// If a path does not exist, is not recognised or holds broken rows, the parts differ in shape or classes, or too few rows
    /// would be left.
    pub fn open(&self, base: &Path, seed: Seed) -> Result<Splits> {
        let options = OpenOptions {
            resize: self.resize,
            classes: self.classes,
        };
        let place = |path: &str| Source::recognise(&locate(base, path)?);
        let named = self
            .train
            .as_deref()
            .or(self.path.as_deref())
            .unwrap_or(digits::NAME);
        let source = place(named)?;
        let mut train = source.open(Split::Train, &options)?;
        let own = |split: Split| {
            let there = self.train.is_none() && source.splits().contains(&split);
            there.then(|| source.open(split, &options)).transpose()
        };
        let mut part =
            |wanted: &Option<HeldOut>, split: Split| -> Result<Option<Arc<dyn Dataset>>> {
                match wanted {
                    None => own(split),
                    Some(HeldOut::Path(path)) => place(path)?.open(split, &options).map(Some),
                    Some(rows) => {
                        let amount = rows.amount().unwrap_or(Amount::Rows(0));
                        let (rest, held) = hold_out(&train, amount, seed, &split.to_string())?;
                        train = Arc::new(rest);
                        Ok(Some(Arc::new(held)))
                    }
                }
            };
        let test = part(&self.test, Split::Test)?;
        let validation = part(&self.validation, Split::Validation)?;
        for part in [&validation, &test].into_iter().flatten() {
            same_kind(train.as_ref(), part.as_ref())?;
        }
        if let Some(amount) = self.limit.as_ref().and_then(HeldOut::amount) {
            train = Arc::new(stratified(&train, amount, seed, "limit")?);
        }
        if let Some(count) = self.labels_per_class {
            train = Arc::new(labels_per_class(&train, count, seed, "labels")?);
        }
        let normalization = match &self.normalize {
            Normalize::Train => Normalization::fit(train.as_ref())?,
            Normalize::None => Normalization::none(),
            Normalize::Values(values) => values.clone(),
        };
        normalization.check(train.info().shape[0])?;
        Ok(Splits {
            train,
            validation,
            test,
            normalization,
            view: self.augment.clone(),
        })
    }
}

/// The path below `base` if it exists, otherwise as typed, below the working folder.
fn locate(base: &Path, path: &str) -> Result<PathBuf> {
    let typed = Path::new(path);
    if path == digits::NAME || typed.is_absolute() {
        return Ok(typed.to_owned());
    }
    let below = base.join(typed);
    if below.exists() {
        return Ok(below);
    }
    if typed.exists() {
        return Ok(typed.to_owned());
    }
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .unwrap_or_else(|_| path.to_owned())
            .display()
            .to_string()
    };
    let (first, second) = (absolute(&below), absolute(typed));
    Err(Error::Data(if first == second {
        format!(
            "there is no file or folder `{first}`; data is {}",
            super::RECOGNISED
        )
    } else {
        format!(
            "there is neither `{first}` nor `{second}`; data is {}",
            super::RECOGNISED
        )
    }))
}

fn same_kind(train: &dyn Dataset, other: &dyn Dataset) -> Result<()> {
    let (train, other) = (train.info(), other.info());
    if train.shape != other.shape {
        return Err(Error::Shape {
            what: format!("images of `{}`", other.origin),
            expected: format!("{:?} as in the training data", train.shape),
            got: format!("{:?}; set `data.resize`", other.shape),
        });
    }
    if train.classes != other.classes {
        return Err(Error::Data(format!(
            "`{}` has {} classes (`{}`, ...), but the training data has {} (`{}`, ...)",
            other.origin,
            other.classes.len(),
            other.classes.first().map_or("", String::as_str),
            train.classes.len(),
            train.classes.first().map_or("", String::as_str)
        )));
    }
    Ok(())
}

fn at_least(section: &mut Section, name: &str, minimum: usize) -> Option<usize> {
    let count = section.count(name, minimum, minimum);
    section.has(name).then_some(count)
}

fn held_out(section: &mut Section, name: &str, paths: bool) -> Option<HeldOut> {
    if paths && matches!(section.typed(name), Some(toml::Value::String(_))) {
        return section.optional::<String>(name).map(HeldOut::Path);
    }
    let expected = if paths {
        "a path in quotes, a share above 0 and below 1, or a count of rows"
    } else {
        "a share above 0 and below 1, or a count of rows"
    };
    if !section.has(name) {
        section.optional::<f64>(name);
        return None;
    }
    let value = section.number(name, f64::NAN, expected, |value| {
        (value > 0.0 && value < 1.0) || (value >= 1.0 && value.fract() == 0.0 && value < 1e15)
    });
    if value.is_nan() {
        None
    } else if value < 1.0 {
        Some(HeldOut::Fraction(value))
    } else {
        Some(HeldOut::Rows(value as usize))
    }
}

/// The largest side that `resize` accepts, in pixels.
const MAX_SIDE: usize = 4096;

fn resize(section: &mut Section) -> Option<[usize; 2]> {
    let size = if matches!(section.typed("resize"), Some(toml::Value::Array(_))) {
        section.optional::<Vec<usize>>("resize")
    } else {
        section
            .optional::<usize>("resize")
            .map(|side| vec![side, side])
    }?;
    match size[..] {
        [height, width] if (1..=MAX_SIDE).contains(&height) && (1..=MAX_SIDE).contains(&width) => {
            Some([height, width])
        }
        _ => {
            section.problem(
                "resize",
                format!("expected a size or [height, width], each 1 to {MAX_SIDE}, got {size:?}"),
            );
            None
        }
    }
}

fn normalize(section: &mut Section) -> Normalize {
    if matches!(section.typed("normalize"), Some(toml::Value::Array(_))) {
        let values = section.optional::<Vec<f64>>("normalize");
        return match values.map(|values| Normalization::from_values(&values)) {
            Some(Ok(values)) => Normalize::Values(values),
            Some(Err(error)) => {
                section.problem("normalize", error.to_string());
                Normalize::Train
            }
            None => Normalize::Train,
        };
    }
    let choices = [("train", Normalize::Train), ("none", Normalize::None)];
    section.choice("normalize", &choices, Normalize::Train)
}

fn share(section: &mut Section, name: &str, default: f64) -> f64 {
    section.number(name, default, "a number from 0 to 1", |value| {
        (0.0..=1.0).contains(&value)
    })
}

fn change(name: &str, section: &mut Section) -> Option<Change> {
    Some(match name {
        "crop" => Change::Crop {
            padding: section.count("padding", 4, 0),
        },
        "flip" => Change::Flip {
            probability: share(section, "probability", 0.5),
        },
        "rotate" => Change::Rotate {
            degrees: section.number("degrees", 15.0, "an angle from 0 to 180", |value| {
                (0.0..=180.0).contains(&value)
            }),
        },
        "shift" => Change::Shift {
            vertical: section.count("vertical", 1, 0),
            horizontal: section.count("horizontal", 1, 0),
        },
        "color" => Change::Color {
            brightness: share(section, "brightness", 0.4),
            contrast: share(section, "contrast", 0.4),
            saturation: share(section, "saturation", 0.4),
        },
        "erase" => Change::Erase {
            probability: share(section, "probability", 0.5),
            area: match section.optional::<Vec<f64>>("area").as_deref() {
                None => [0.02, 0.4],
                Some([low, high]) => [*low, *high],
                Some(other) => {
                    section.problem("area", format!("expected two shares, got {other:?}"));
                    [0.02, 0.4]
                }
            },
            aspect: section.number("aspect", 0.3, "a number above 0 and at most 1", |value| {
                value > 0.0 && value <= 1.0
            }),
            fill: section.choice(
                "fill",
                &[("noise", Fill::Noise), ("zero", Fill::Zero)],
                Fill::Noise,
            ),
        },
        _ => return None,
    })
}

/// The names of the random changes.
const CHANGES: [&str; 6] = ["crop", "flip", "rotate", "shift", "color", "erase"];

fn augment(section: &mut Section) -> View {
    let names = section
        .optional::<Vec<String>>("augment")
        .unwrap_or_default();
    let mut changes = Vec::new();
    for name in &names {
        if !CHANGES.contains(&name.as_str()) {
            section.problem(
                "augment",
                Error::unknown("augmentation", name, CHANGES).to_string(),
            );
            continue;
        }
        let mut parameters = section.section_or_empty(name);
        changes.extend(change(name, &mut parameters));
        parameters.finish();
    }
    for name in CHANGES {
        if section.section(name).is_some() && !names.iter().any(|named| named == name) {
            section.problem(name, format!("has no effect; add `{name}` to `augment`"));
        }
    }
    View::new(changes).unwrap_or_else(|error| {
        section.problem("augment", error.to_string());
        View::none()
    })
}
