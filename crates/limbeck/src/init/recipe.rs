//! A proposal as commented TOML.

use std::path::{Component, Path, PathBuf};

use super::{Measured, ModelOrigin, ModelProposal, Optimizer, Proposal, is_embedded, near_chance};
use crate::data::Normalization;

/// The run's name: letters, digits and `-_.` only.
pub(super) fn name(student: &str, teacher: &str) -> String {
    let name = format!("{student}-from-{teacher}");
    let plain = |c: char| match c {
        c if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') => c,
        _ => '-',
    };
    let name: String = name.chars().map(plain).collect();
    match name.strip_prefix('.') {
        Some(rest) => format!("run-{rest}"),
        None => name,
    }
}

/// The recipe.
pub(super) fn text(proposal: &Proposal, base: &Path) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    line("# Written by `limbeck init`. Check it with `limbeck plan`, run it with `limbeck run`.");
    line(&format!("name = {}", quoted(&proposal.name)));
    line(&format!(
        "seeds = {:?} # several trainings per arm, so that the difference has an interval",
        proposal.training.seeds
    ));
    line("baseline = true # the same student on labels alone, with the same budget");
    line("");
    for part in [
        data(proposal, base),
        teacher(proposal, base),
        student(proposal, base),
        method(proposal),
        train(proposal),
        taps(proposal),
    ] {
        part.iter().for_each(|part| line(part));
    }
    text.trim_end().to_owned() + "\n"
}

fn data(proposal: &Proposal, base: &Path) -> Vec<String> {
    let data = &proposal.data;
    let path = match is_embedded(&data.path) {
        true => data.path.clone(),
        false => relative(Path::new(&data.path), base),
    };
    let [channels, height, width] = data.shape;
    let mut lines = vec![
        "[data]".to_owned(),
        format!(
            "path = {} # {} training rows of {channels}x{height}x{width}, {} classes",
            quoted(&path),
            data.rows,
            data.classes
        ),
    ];
    if let Some([height, width]) = data.resize {
        lines.push(format!(
            "resize = [{height}, {width}] # the size that the models take"
        ));
    }
    if let Some(share) = data.test {
        lines.push(format!(
            "test = {share} # the data has no test split, so some rows are held out"
        ));
    }
    match (proposal.fresh, proposal.student.measured.first()) {
        (false, Some(best)) => {
            lines.push(format!(
                "normalize = {} # what the student was trained with, see there",
                values(&best.candidate.normalization)
            ));
        }
        _ => lines.push(
            "normalize = \"train\" # mean and deviation of the training rows; the student starts from scratch"
                .to_owned(),
        ),
    }
    if !proposal.training.augment.is_empty() {
        lines.push(format!(
            "augment = {:?} # new views every epoch, on which the teacher answers too",
            proposal.training.augment
        ));
    }
    lines.push(String::new());
    lines
}

fn teacher(proposal: &Proposal, base: &Path) -> Vec<String> {
    let teacher = &proposal.teacher;
    let mut lines = vec!["[teacher]".to_owned()];
    lines.extend(source(teacher, base));
    if teacher.runs_on == "tract" {
        lines.push(
            "# An operator of this file cannot be trained here, so it answers through tract; `limbeck inspect` says which."
                .to_owned(),
        );
    }
    let Some(best) = teacher.measured.first() else {
        lines.push("# It has no weights and is trained first, on labels.".to_owned());
        lines.push(String::new());
        return lines;
    };
    lines.extend(measured(&teacher.measured, proposal));
    lines.push(format!(
        "normalize = {} # {}: the best of these",
        values(&best.candidate.normalization),
        best.candidate.what
    ));
    if best.accuracy <= near_chance(proposal.data.chance, proposal.data.measured_rows) {
        lines.push(
            "# It is hardly better than chance: check that its classes are in the order of the data's, and its normalisation."
                .to_owned(),
        );
    }
    lines.push(String::new());
    lines
}

fn student(proposal: &Proposal, base: &Path) -> Vec<String> {
    let student = &proposal.student;
    let mut lines = vec!["[student]".to_owned()];
    lines.extend(source(student, base));
    if let Some(best) = student.measured.first() {
        lines.extend(measured(&student.measured, proposal));
        lines.push(match proposal.fresh {
            true => format!(
                "init = \"fresh\" # at most {} right, near the {} of guessing: its weights are untrained and are drawn per seed",
                percent(best.accuracy),
                percent(proposal.data.chance)
            ),
            false => format!(
                "init = \"file\" # {} right: it is trained and goes on from there",
                percent(best.accuracy)
            ),
        });
    }
    lines.push(String::new());
    lines
}

fn method(proposal: &Proposal) -> Vec<String> {
    let training = &proposal.training;
    vec![
        "[method]".to_owned(),
        "name = \"soft-targets\" # needs nothing but the outputs, so it fits every pair of classifiers"
            .to_owned(),
        format!(
            "temperature = {:?} # 2 to 8 suit small students",
            training.temperature
        ),
        format!(
            "alpha = {:?} # the weight of the teacher; the labels have the rest",
            training.alpha
        ),
        String::new(),
    ]
}

fn train(proposal: &Proposal) -> Vec<String> {
    let training = &proposal.training;
    let mut lines = vec![
        "[train]".to_owned(),
        format!(
            "epochs = {} # for {} rows and {} multiply-adds per image{}",
            training.epochs,
            proposal.data.rows,
            proposal.student.multiply_adds.unwrap_or_default(),
            if training.fresh {
                ""
            } else {
                ", from trained weights"
            }
        ),
        format!("batch = {}", training.batch),
    ];
    match training.optimizer {
        Optimizer::Sgd => {
            lines.push("optimizer = \"sgd\" # the student has batch norms".to_owned());
            lines.push("momentum = 0.9".to_owned());
            lines.push("nesterov = true".to_owned());
        }
        Optimizer::AdamW => lines.push(
            "optimizer = \"adamw\" # the student has no batch norms, so each weight gets a rate of its own".to_owned(),
        ),
    }
    lines.push(format!(
        "learning_rate = {:?}{}",
        training.learning_rate,
        if training.fresh {
            ""
        } else {
            " # a fifth of the rate from scratch, to keep what is known"
        }
    ));
    lines.push(format!("weight_decay = {:?}", training.weight_decay));
    lines.push("schedule = \"cosine\" # ends at 0, no milestones to choose".to_owned());
    if training.warmup > 0 {
        lines.push(format!("warmup = {}", training.warmup));
    }
    lines.push(String::new());
    lines
}

fn taps(proposal: &Proposal) -> Vec<String> {
    if proposal.taps.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![
        "# Values of teacher and student that match by shape, for methods that compare features (still to come):"
            .to_owned(),
        "# [taps]".to_owned(),
    ];
    let sizes = |shape: &[usize]| {
        let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
        sizes.join("x")
    };
    for pair in &proposal.taps {
        lines.push(format!(
            "# {} = {} # {} and {}",
            quoted(&pair.teacher),
            quoted(&pair.student),
            sizes(&pair.teacher_shape),
            sizes(&pair.student_shape)
        ));
    }
    lines
}

fn source(model: &ModelProposal, base: &Path) -> Vec<String> {
    let size = match model.parameters {
        None => String::new(),
        Some(parameters) => format!(" # {parameters} parameters"),
    };
    match &model.source {
        ModelOrigin::Arch(arch) => vec![format!("arch = {}{size}", quoted(arch))],
        ModelOrigin::Model(path) => {
            vec![format!("model = {}{size}", quoted(&relative(path, base)))]
        }
        ModelOrigin::Checkpoint { arch, weights } => vec![
            format!("arch = {}{size}", quoted(arch)),
            format!("weights = {}", quoted(&relative(weights, base))),
        ],
    }
}

fn measured(measured: &[Measured], proposal: &Proposal) -> Vec<String> {
    let rows = proposal.data.measured_rows;
    let mut lines = vec![format!(
        "# Right of {rows} training rows, by how pixels are normalised:"
    )];
    for Measured {
        candidate,
        accuracy,
        ..
    } in measured
    {
        lines.push(format!(
            "#   {} {} ({})",
            percent(*accuracy),
            values(&candidate.normalization),
            candidate.what
        ));
    }
    lines
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Means and deviations as a recipe has them.
fn values(normalization: &Normalization) -> String {
    let all = normalization.mean.iter().chain(&normalization.std);
    let written: Vec<String> = all.map(|value| format!("{value:?}")).collect();
    format!("[{}]", written.join(", "))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// `path` as seen from the folder `base`.
fn relative(path: &Path, base: &Path) -> String {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let base = match base.as_os_str().is_empty() {
        true => absolute(Path::new(".")),
        false => absolute(base),
    };
    let path = absolute(path);
    let leads_up = |path: &Path| path.components().any(|part| part == Component::ParentDir);
    // As typed where that is below the folder, so that a link stays one.
    if let (Ok(below), false) = (path.strip_prefix(&base), leads_up(&path)) {
        return below.to_string_lossy().into_owned();
    }
    // A step up leads to where a link points to, so none may be left on either side.
    let whole = |path: PathBuf| whole(&path).unwrap_or(path);
    let (path, base) = (whole(path), whole(base));
    let common = path
        .components()
        .zip(base.components())
        .take_while(|(a, b)| a == b)
        .count();
    let is_root = |part: Component<'_>| matches!(part, Component::RootDir | Component::Prefix(_));
    if path.components().take(common).all(is_root) {
        return path.to_string_lossy().into_owned();
    }
    let up = base.components().skip(common).map(|_| Component::ParentDir);
    let relative: PathBuf = up.chain(path.components().skip(common)).collect();
    relative.to_string_lossy().into_owned()
}

/// The path without links; its last part need not exist.
fn whole(path: &Path) -> Option<PathBuf> {
    if let Ok(whole) = path.canonicalize() {
        return Some(whole);
    }
    let folder = path.parent()?.canonicalize().ok()?;
    Some(folder.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn paths_are_as_seen_from_the_recipes_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["a/b", "c"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        let seen = |path: &str, base: &str| relative(&root.join(path), &root.join(base));
        assert_eq!(seen("a/x.onnx", "a"), "x.onnx");
        assert_eq!(seen("c", "a/b"), "../../c");
        assert_eq!(
            seen("a/b/../x.onnx", "a"),
            "a/x.onnx".trim_start_matches("a/")
        );
        assert_eq!(seen("c/new.onnx", "c"), "new.onnx");
    }
}
