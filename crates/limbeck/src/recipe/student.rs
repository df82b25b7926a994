//! Who learns: `[student]`.

use std::path::Path;

use serde::Serialize;

use super::Section;
use super::model::{ModelFiles, ModelPlan, ModelSource, any_size, check_model};
use crate::model::{BatchNormMode, Selection};

/// Who learns: `[student]`, with the keys of [`ModelPlan`] and these.
///
/// | key | meaning | default |
/// |---|---|---|
/// | `init` | `file`: begin with the weights of `weights` or `model`; `fresh`: draw what is trained from the seed | `"file"` where there is one, else `"fresh"` |
/// | `train` | patterns (`*`, `?`) over names of weights: what is trained | all parameters that the model does not mark as constants |
/// | `freeze` | patterns over names of weights: what is not trained | nothing |
/// | `batch_norm` | `frozen`: batch norms use and keep their running statistics while the student trains | `"train"` |
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudentPlan {
    /// The network.
    #[serde(flatten)]
    pub model: ModelPlan,
    /// Where its first weights come from.
    pub init: Init,
    /// What is trained.
    #[serde(flatten)]
    pub selection: Selection,
    /// What batch norms do while it trains.
    pub batch_norm: BatchNormMode,
}

/// Where the first weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// A checkpoint or the model's file.
    File,
    /// Drawn from the seed.
    Fresh,
}

impl Init {
    const CHOICES: [(&'static str, Self); 2] = [("file", Self::File), ("fresh", Self::Fresh)];
}

impl StudentPlan {
    /// A network of the zoo, trained from scratch.
    pub fn zoo(arch: &str) -> Self {
        Self {
            model: ModelPlan::zoo(arch),
            init: Init::Fresh,
            selection: Selection::default(),
            batch_norm: BatchNormMode::default(),
        }
    }
}

/// Reads the `[student]` table.
pub(super) fn check_student(
    section: &mut Section,
    folder: &Path,
    files: &mut ModelFiles,
) -> Option<StudentPlan> {
    let batch_norm = section.choice(
        "batch_norm",
        &BatchNormMode::CHOICES,
        BatchNormMode::default(),
    );
    let selection = Selection {
        train: section.optional("train"),
        freeze: section.or("freeze", Vec::new()),
    };
    let model = check_model(section, None, folder, files);
    let given = model.as_ref().is_some_and(ModelPlan::is_given);
    let usual = if given { Init::File } else { Init::Fresh };
    let init = section.choice("init", &Init::CHOICES, usual);
    let model = model?;
    if init == Init::File && !given {
        section.problem(
            "init",
            "expected `fresh`, since a network of the zoo has no weights of its own, got `file`; name a checkpoint in `weights`",
        );
        return None;
    }
    let graph = match &model.source {
        ModelSource::Arch(arch) => any_size(arch).ok(),
        ModelSource::Model(onnx) => {
            if let Some(reason) = onnx.reason() {
                section.problem(
                    "model",
                    format!(
                        "`{}` cannot be trained: {reason}; it can be a teacher, as `teacher.model`",
                        onnx.name()
                    ),
                );
                return None;
            }
            onnx.graph().cloned()
        }
    };
    if let Err(mistakes) = selection.apply(&mut graph?) {
        for mistake in mistakes {
            section.problem(mistake.key, mistake.reason);
        }
        return None;
    }
    Some(StudentPlan {
        model,
        init,
        selection,
        batch_norm,
    })
}
