//! Who teaches: `[teacher]`.

use std::path::{Path, PathBuf};

use limbeck_graph::{Precision, Seed};
use serde::Serialize;

use super::Section;
use super::model::{ModelFiles, ModelPlan, check_file, check_model, check_source, check_weights};
use crate::data::{DataSettings, Normalization};
use crate::teacher::EnsembleMean;
use crate::train::TrainSettings;

/// The largest number of teachers that `teacher.members` can ask for.
const MOST_MEMBERS: usize = 1000;

/// Who teaches: `[teacher]`.
///
/// | key | meaning | default |
/// |---|---|---|
/// | `arch` | a name of `limbeck models` | required, or `model`, unless every member has its own |
/// | `model` | an ONNX file instead of `arch`, which brings its weights | |
/// | `weights` | a checkpoint, or a list of them: an ensemble | the teacher is trained first, on labels |
/// | `members` | how many teachers to train, each with its own seed | 1 |
/// | `mean` | `arithmetic` or `geometric` mean of an ensemble's distributions | `"arithmetic"` |
/// | `normalize` | the teacher's own `[mean.., std..]`, where it was trained with another normalisation than `data.normalize` | what its file says, else the student's |
/// | `precision` | `fp32`, or `bf16` for a teacher that answers faster where the processor multiplies bfloat16 | `"fp32"` |
/// | `minimum_accuracy` | stop when the teacher's accuracy on the test split is below, 0 to 1 | 0 |
/// | `seed` | the seed of its training | 0 |
/// | `[[teacher.member]]` | members of different networks, each with `arch` or `model`, `weights`, `normalize` | |
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

fn check_normalization(section: &mut Section) -> Option<Normalization> {
    let numbers: Vec<f64> = section.optional("normalize")?;
    Normalization::from_values(&numbers)
        .map_err(|error| section.problem("normalize", error.to_string()))
        .ok()
}

/// The tables that `[teacher.data]` and `[teacher.train]` lie over.
pub(super) struct Base {
    pub(super) data: toml::Table,
    pub(super) train: toml::Table,
}

/// Reads the `[teacher]` table.
pub(super) fn check_teacher(
    section: &mut Section,
    base: Option<&Base>,
    folder: &Path,
    files: &mut ModelFiles,
) -> Option<TeacherPlan> {
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
    let members = check_members(section, first_seed, folder, files);
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

fn check_members(
    section: &mut Section,
    first_seed: u64,
    folder: &Path,
    files: &mut ModelFiles,
) -> Option<Vec<MemberPlan>> {
    let seed = |index: usize| Seed::new(first_seed.wrapping_add(index as u64));
    let tables = section.sections("member");
    if !tables.is_empty() {
        let arch = section.optional::<String>("arch");
        for key in ["model", "weights", "members", "normalize"] {
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
            let model = check_model(&mut table, arch.as_deref(), folder, files);
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
    let source = check_source(section, None, folder, files);
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
    let source = source?;
    let model = |weights: Option<PathBuf>| ModelPlan {
        source: source.clone(),
        weights,
    };
    let first = model(weights.first().cloned().flatten());
    if !check_weights(section, &first) {
        return None;
    }
    if first.onnx().is_some() && weights.is_empty() && count > 1 {
        section.problem(
            "members",
            format!("expected 1, since `model` brings the weights of one teacher, got {count}; name others in `[[teacher.member]]` tables"),
        );
        return None;
    }
    let member = |index: usize| MemberPlan {
        model: model(weights.get(index).cloned().flatten()),
        normalization: normalization.clone(),
        seed: seed(index),
    };
    Some((0..count).map(member).collect())
}
