//! The checked plan: every setting valid before anything runs.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `name` | the run's name, a folder under `runs/` | the recipe's file name |
//! | `seeds` | one training per seed and arm; each seed fixes initial weights, data order, augmentation and dropout | `[1]` |
//! | `baseline` | also train the same student on labels alone, with the same seeds | `true`, unless the method is `labels` |
//! | `device` | `cpu`, `cuda:0`, `wgpu`, `metal`, `rocm` | `"cpu"` |
//! | `[data]` | see [`DataSettings`] | |
//! | `[teacher]` | see [`TeacherPlan`] | none, for the method `labels` |
//! | `[student]` | see [`ModelPlan`] | |
//! | `[method]` | see [`method`](crate::method) | `name = "labels"` |
//! | `[train]` | see [`TrainSettings`] | |

use std::path::{Path, PathBuf};

use limbeck_graph::{Precision, Seed, zoo};
use serde::Serialize;

use super::{Problems, RawRecipe, Section};
use crate::data::{DataSettings, Normalization};
use crate::device::DeviceChoice;
use crate::method::{self, MethodSettings};
use crate::teacher::EnsembleMean;
use crate::train::TrainSettings;
use crate::{Error, Result};

/// The largest number of teachers that `teacher.members` can ask for.
const MOST_MEMBERS: usize = 1000;

/// A checked recipe.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The run's name.
    pub name: String,
    /// One training per seed and arm.
    pub seeds: Vec<Seed>,
    /// Whether the student is also trained on labels alone.
    pub baseline: bool,
    /// The device of the recipe; the command line may override it.
    pub device: DeviceChoice,
    /// The student's data.
    pub data: DataSettings,
    /// Who teaches; `None` for the method `labels`.
    pub teacher: Option<TeacherPlan>,
    /// Who learns.
    pub student: ModelPlan,
    /// What is compared.
    pub method: MethodSettings,
    /// How it is trained.
    pub train: TrainSettings,
    /// The folder that relative paths start from.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The recipe as typed.
    #[serde(skip)]
    pub text: String,
}

/// A network: `[student]`, and each member of `[teacher]`.
///
/// | key | meaning | default |
/// |---|---|---|
/// | `arch` | a name of `limbeck models` | required |
/// | `weights` | a checkpoint to start from (`.safetensors`, `.pt`, `.pth`) | fresh weights |
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelPlan {
    /// The network's name in the zoo.
    pub arch: String,
    /// A checkpoint to start from.
    pub weights: Option<PathBuf>,
}

/// Who teaches: `[teacher]`.
///
/// | key | meaning | default |
/// |---|---|---|
/// | `arch` | a name of `limbeck models` | required, unless every member has its own |
/// | `weights` | a checkpoint, or a list of them: an ensemble | the teacher is trained first, on labels |
/// | `members` | how many teachers to train, each with its own seed | 1 |
/// | `mean` | `arithmetic` or `geometric` mean of an ensemble's distributions | `"arithmetic"` |
/// | `normalize` | the teacher's own `[mean.., std..]`, where it was trained with another normalisation than `data.normalize` | what its file says, else the student's |
/// | `precision` | `fp32`, or `bf16` for a teacher that answers faster where the processor multiplies bfloat16 | `"fp32"` |
/// | `minimum_accuracy` | stop when the teacher's accuracy on the test split is below, 0 to 1 | 0 |
/// | `seed` | the seed of its training | 0 |
/// | `[[teacher.member]]` | members of different networks, each with `arch`, `weights`, `normalize` | |
/// | `[teacher.train]` | keys that differ from `[train]` while the teacher is trained | |
/// | `[teacher.data]` | keys that differ from `[data]` while the teacher is trained | |
#[derive(Clone, Debug, Serialize)]
pub struct TeacherPlan {
    /// At least one.
    pub members: Vec<MemberPlan>,
    /// How several distributions become one.
    pub mean: EnsembleMean,
    /// What it multiplies in while it teaches. It is trained in 32-bit floats.
    pub precision: Precision,
    /// The bar, 0 to 1.
    pub minimum_accuracy: f64,
    /// The data of members that are trained first.
    pub data: DataSettings,
    /// The training of members that are trained first.
    pub train: TrainSettings,
}

/// One teacher of an ensemble.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberPlan {
    /// The network; without weights it is trained first.
    pub model: ModelPlan,
    /// Its own input normalisation.
    pub normalization: Option<Normalization>,
    /// The seed of its training.
    pub seed: Seed,
}

impl Plan {
    /// Checks a recipe.
    ///
    /// # Errors
    /// [`Error::Recipe`] with every mistake in it.
    pub fn check(raw: &RawRecipe, default_name: &str) -> Result<Self> {
        let problems = Problems::default();
        let mut root = Section::root(raw.table.clone(), problems.clone());
        let name = check_name(&mut root, default_name);
        let seeds = check_seeds(&mut root);
        let device = check_device(&mut root);

        let before = problems.count();
        let data = match root.section("data") {
            Some(mut section) => {
                let data = DataSettings::check(&mut section);
                section.finish();
                Some(data)
            }
            None => {
                if !root.has("data") {
                    root.problem(
                        "data",
                        "is missing; expected a table such as `[data]` with `path = \"digits\"`",
                    );
                }
                None
            }
        };
        let mut train_section = root.section("train").unwrap_or_else(|| root.empty("train"));
        let train = TrainSettings::check(&mut train_section);
        train_section.finish();
        // A mistake in the tables that the teacher's lie over is reported here, once.
        let base = (problems.count() == before).then(|| Base {
            data: table(&raw.table, "data"),
            train: table(&raw.table, "train"),
        });
        let method = match root.section("method") {
            Some(mut section) => {
                let method = method::check(&mut section);
                section.finish();
                method
            }
            None => (!root.has("method")).then_some(MethodSettings::LABELS),
        };
        let student = match root.section("student") {
            Some(mut section) => {
                let student = check_model(&mut section, None, &raw.folder);
                section.finish();
                student
            }
            None => {
                if !root.has("student") {
                    root.problem(
                        "student",
                        "is missing; expected a table with `arch = \"resnet-8\"` or another model",
                    );
                }
                None
            }
        };
        let mut teacher = None;
        let needs_teacher = method.as_ref().is_some_and(MethodSettings::needs_teacher);
        if let Some(mut section) = root.section("teacher") {
            teacher = check_teacher(&mut section, base.as_ref(), &raw.folder);
            section.finish();
        } else if needs_teacher && !root.has("teacher") {
            root.problem(
                "teacher",
                "is missing; the method needs one, expected a table with `arch` and `weights`",
            );
        }
        let baseline = root.or("baseline", needs_teacher);
        if baseline && method.is_some() && !needs_teacher {
            root.problem(
                "baseline",
                "is for methods with a teacher; the method `labels` is the baseline itself, leave the key out",
            );
        }
        root.finish();

        match (data, student, method) {
            (Some(data), Some(student), Some(method)) if problems.is_empty() => Ok(Self {
                name,
                seeds,
                baseline,
                device,
                data,
                teacher: teacher.filter(|_| needs_teacher),
                student,
                method,
                train,
                folder: raw.folder.clone(),
                text: raw.text.clone(),
            }),
            _ => Err(Error::Recipe {
                problems: problems.into_vec(),
            }),
        }
    }

    /// Reads and checks a recipe file.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, or has mistakes.
    pub fn read(path: &Path) -> Result<Self> {
        let raw = RawRecipe::read(path)?;
        let stem = path
            .file_stem()
            .map_or("run".into(), |stem| stem.to_string_lossy().into_owned());
        Self::check(&raw, &stem)
    }
}

fn table(root: &toml::Table, name: &str) -> toml::Table {
    root.get(name)
        .and_then(toml::Value::as_table)
        .cloned()
        .unwrap_or_default()
}

fn check_name(root: &mut Section, default: &str) -> String {
    let name = root.or("name", default.to_owned());
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        root.problem(
            "name",
            format!("expected letters, digits, `-`, `_` and `.`, because it names a folder, got `{name}`"),
        );
    }
    name
}

fn check_seeds(root: &mut Section) -> Vec<Seed> {
    let seeds = root.or("seeds", vec![1_u64]);
    if seeds.is_empty() {
        root.problem("seeds", "expected at least one seed");
    }
    let mut unique = seeds.clone();
    unique.sort_unstable();
    unique.dedup();
    if unique.len() != seeds.len() {
        root.problem(
            "seeds",
            "expected different seeds; the same seed gives the same student",
        );
    }
    seeds.into_iter().map(Seed::new).collect()
}

fn check_device(root: &mut Section) -> DeviceChoice {
    let Some(text) = root.optional::<String>("device") else {
        return DeviceChoice::CPU;
    };
    text.parse().unwrap_or_else(|error: Error| {
        root.problem("device", error.to_string());
        DeviceChoice::CPU
    })
}

fn check_model(section: &mut Section, arch: Option<&str>, folder: &Path) -> Option<ModelPlan> {
    // Both are read before either decides, so that every mistake is reported.
    let arch = check_arch(section, arch);
    let weights = match section.optional::<String>("weights") {
        Some(text) => Some(check_file(section, &text, folder)?),
        None => None,
    };
    Some(ModelPlan {
        arch: arch?,
        weights,
    })
}

fn check_arch(section: &mut Section, default: Option<&str>) -> Option<String> {
    let arch = match default {
        Some(default) => section.or("arch", default.to_owned()),
        None => section.required::<String>("arch")?,
    };
    // The data's own images are not known yet; these are large enough for every network, so that only the name is judged.
    match zoo::build(&arch, [3, 64, 64], 10) {
        Ok(_) => Some(arch),
        Err(error) => {
            section.problem("arch", error.to_string());
            None
        }
    }
}

fn check_file(section: &Section, text: &str, folder: &Path) -> Option<PathBuf> {
    let path = folder.join(text);
    if path.is_file() {
        return Some(path);
    }
    section.problem("weights", format!("there is no file `{}`", path.display()));
    None
}

fn check_normalization(section: &mut Section) -> Option<Normalization> {
    let numbers: Vec<f64> = section.optional("normalize")?;
    Normalization::from_values(&numbers)
        .map_err(|error| section.problem("normalize", error.to_string()))
        .ok()
}

/// The tables that `[teacher.data]` and `[teacher.train]` lie over.
struct Base {
    data: toml::Table,
    train: toml::Table,
}

fn check_teacher(section: &mut Section, base: Option<&Base>, folder: &Path) -> Option<TeacherPlan> {
    let mean = section.choice("mean", &EnsembleMean::CHOICES, EnsembleMean::Arithmetic);
    let precision = section.choice("precision", &Precision::CHOICES, Precision::Fp32);
    let minimum_accuracy = section.number("minimum_accuracy", 0.0, "a share from 0 to 1", |x| {
        (0.0..=1.0).contains(&x)
    });
    let first_seed: u64 = section.or("seed", 0);
    let own = base.map(|base| check_own_tables(section, base));
    if own.is_none() {
        // What these tables mean depends on the ones with a mistake.
        section.accept("data");
        section.accept("train");
    }
    let members = check_members(section, first_seed, folder);
    let (data, train) = own?;
    Some(TeacherPlan {
        members: members?,
        mean,
        precision,
        minimum_accuracy,
        data,
        train,
    })
}

fn check_own_tables(section: &mut Section, base: &Base) -> (DataSettings, TrainSettings) {
    let mut below = base.data.clone();
    if let Some(toml::Value::Table(typed)) = section.typed("data") {
        // One of the two says where the data is, so the other does not stay beside it.
        if typed.contains_key("train") {
            below.remove("path");
        }
        if typed.contains_key("path") {
            below.remove("train");
        }
    }
    let mut data_section = section.overlay("data", &below);
    let data = DataSettings::check(&mut data_section);
    data_section.finish();
    let mut train_section = section.overlay("train", &base.train);
    let train = TrainSettings::check(&mut train_section);
    train_section.finish();
    (data, train)
}

fn check_members(section: &mut Section, first_seed: u64, folder: &Path) -> Option<Vec<MemberPlan>> {
    let seed = |index: usize| Seed::new(first_seed.wrapping_add(index as u64));
    let tables = section.sections("member");
    if !tables.is_empty() {
        let arch = section.optional::<String>("arch");
        for key in ["weights", "members", "normalize"] {
            if section.has(key) {
                section.problem(
                    key,
                    "belongs into the `[[teacher.member]]` tables, where there are any",
                );
                section.accept(key);
            }
        }
        let mut members = Vec::new();
        for (index, mut table) in tables.into_iter().enumerate() {
            let model = check_model(&mut table, arch.as_deref(), folder);
            let normalization = check_normalization(&mut table);
            table.finish();
            members.push(model.map(|model| MemberPlan {
                model,
                normalization,
                seed: seed(index),
            }));
        }
        return members.into_iter().collect();
    }
    let arch = check_arch(section, None);
    let weights = section.one_or_more("weights");
    let count = section.count_up_to("members", weights.len().max(1), 1, MOST_MEMBERS);
    if !weights.is_empty() && count != weights.len() {
        section.problem(
            "members",
            format!(
                "expected one per file in `weights`, {}, got {count}",
                weights.len()
            ),
        );
    }
    let normalization = check_normalization(section);
    let weights: Vec<Option<PathBuf>> = weights
        .iter()
        .map(|text| check_file(section, text, folder))
        .collect();
    let arch = arch?;
    let member = |index: usize| MemberPlan {
        model: ModelPlan {
            arch: arch.clone(),
            weights: weights.get(index).cloned().flatten(),
        },
        normalization: normalization.clone(),
        seed: seed(index),
    };
    Some((0..count).map(member).collect())
}

#[cfg(test)]
mod tests;
