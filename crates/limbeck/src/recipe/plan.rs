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
//! | `[student]` | see [`StudentPlan`] | |
//! | `[method]` | see [`method`](crate::method) | `name = "labels"` |
//! | `[train]` | see [`TrainSettings`] | |

use std::path::{Path, PathBuf};

use limbeck_graph::Seed;
use serde::Serialize;

use super::model::ModelFiles;
use super::student::{StudentPlan, check_student};
use super::teacher::{Base, TeacherPlan, check_teacher};
use super::{Problems, RawRecipe, Section};
use crate::data::DataSettings;
use crate::device::DeviceChoice;
use crate::method::{self, MethodSettings};
use crate::train::TrainSettings;
use crate::{Error, Result};

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
    pub student: StudentPlan,
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
        let mut files = ModelFiles::default();
        let student = match root.section("student") {
            Some(mut section) => {
                let student = check_student(&mut section, &raw.folder, &mut files);
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
            teacher = check_teacher(&mut section, base.as_ref(), &raw.folder, &mut files);
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

#[cfg(test)]
mod tests;
