//! Running a plan: the teacher, the student alone and the student distilled, over paired seeds.
//!
//! Paired means: for one seed both arms begin with the same weights, see the same rows in the same order under
//! the same views, and train for the same number of steps. What differs is the loss. The last epoch counts,
//! and the test split decides nothing.
//!
//! With one seed and no baseline, the run directory is that one training. Otherwise it holds one run directory per training:
//!
//! ```text
//! runs/<name>/
//!   recipe.toml  plan.json  summary.json  report.html  report.md  figures/
//!   student.safetensors        the distilled student of the first seed
//!   student.onnx  parity.json  the same for other programs, and how closely one of them agrees
//!   teacher/                   where the recipe trains one; teacher-1/ .. for an ensemble
//!   alone-seed-1/ ..           the same student on labels alone
//!   distilled-seed-1/ ..
//! ```

mod arm;
mod estimate;
mod pictures;
mod prepared;
mod provenance;
mod teachers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use limbeck_graph::Seed;

pub use estimate::{Estimate, estimate};
pub use prepared::{Prepared, TeacherNetwork};
pub use provenance::{BURN_VERSION, Hashes, Provenance};

use arm::{Measured, Training};
use pictures::Question;
use teachers::Teachers;

use crate::device::DeviceChoice;
use crate::eval::Metrics;
use crate::loss::Temperature;
use crate::method::{self, MethodSettings};
use crate::model::{OnnxModel, STUDENT_ONNX};
use crate::recipe::{Init, Plan};
use crate::report::{self, Arm, DataSummary, MethodSummary, Picture, Role, Summary};
use crate::teacher::Teacher;
use crate::train::{Progress, RunDirectory};
use crate::{Error, Result, files};

/// The seed of splits and subsets: every training of a run sees the same rows, whatever its own seed.
const SPLIT_SEED: Seed = Seed::new(0);

/// Where and how a plan is run.
pub struct Settings<'a> {
    /// The run directory.
    pub out: &'a Path,
    /// Continue what an interrupted run left there.
    pub resume: bool,
    /// The device.
    pub device: DeviceChoice,
    /// The threads of the CPU device, for the record.
    pub threads: usize,
    /// When set, the run writes a checkpoint and stops.
    pub interrupt: Arc<AtomicBool>,
    /// Who watches.
    pub observer: &'a mut dyn Observer,
}

/// What a run reports while it goes on.
pub trait Observer: Progress {
    /// A part of the run begins, such as `student distilled, seed 2 (4 of 6)`.
    fn begin(&mut self, part: &str);

    /// A network was measured on the test split.
    fn measured(&mut self, part: &str, metrics: &Metrics);
}

/// Runs a plan and writes its report.
///
/// # Errors
/// If the data, a checkpoint or the run directory is unusable, if training leaves the finite numbers, or
/// [`Error::Interrupted`] after a checkpoint.
pub fn run(plan: &Plan, settings: Settings<'_>) -> Result<Summary> {
    let device = settings.device.open()?;
    let prepared = Prepared::of(plan)?;
    let provenance = Provenance::of(
        plan,
        &settings.device.to_string(),
        settings.threads,
        &prepared.splits,
    )?;
    let top = open_directory(settings.out, settings.resume, plan, &provenance.to_json()?)?;
    if settings.resume
        && let Some(summary) = finished(settings.out)?
    {
        return Ok(summary);
    }
    let mut experiment = Experiment {
        plan,
        prepared,
        device,
        provenance,
        settings,
        top: Arc::new(top),
    };
    experiment.run()
}

/// The result of a run that has nothing left to do.
fn finished(out: &Path) -> Result<Option<Summary>> {
    let files = [
        "student.safetensors",
        STUDENT_ONNX,
        "parity.json",
        "summary.json",
        "report.md",
        "report.html",
    ];
    let complete = files.iter().all(|name| out.join(name).is_file());
    complete.then(|| report::read(out)).transpose()
}

struct Experiment<'p, 's> {
    plan: &'p Plan,
    prepared: Prepared,
    device: Device,
    provenance: Provenance,
    settings: Settings<'s>,
    /// The run directory, locked until the end.
    top: Arc<RunDirectory>,
}

/// One training of the student.
struct StudentArm {
    role: Role,
    seed: Seed,
    method: MethodSettings,
    directory: PathBuf,
    /// Whether its latency is measured. All students are the same network, so one figure serves them all.
    timed: bool,
}

impl Experiment<'_, '_> {
    fn run(&mut self) -> Result<Summary> {
        let out = self.settings.out.to_owned();
        let arms = self.student_arms();
        let plan_model = self.plan.student.model.onnx();
        let nested = arms.len() > 1;
        let teachers = self.teachers()?;
        let mut measured: Vec<(Role, Measured)> = Vec::new();
        for (index, arm) in arms.iter().enumerate() {
            let part = format!(
                "{}, seed {} ({} of {})",
                label(arm.role),
                arm.seed.value(),
                index + 1,
                arms.len()
            );
            self.settings.observer.begin(&part);
            let result = self.train_student(arm, teachers.as_ref())?;
            self.settings.observer.measured(&part, &result.run.metrics);
            measured.push((arm.role, result));
        }
        let summary = self.summarize(teachers.as_ref(), &measured)?;
        let pictures = self.pictures(teachers.as_ref(), &measured)?;
        if nested {
            // The arms are in the order of the seeds, so the first of its kind is of the first seed.
            let distilled = measured.iter().find(|(role, _)| *role == Role::Distilled);
            if let Some((_, measured)) = distilled.or(measured.first()) {
                copy_student(&measured.directory, &out, plan_model)?;
            }
        }
        report::write(&out, &summary, &pictures)?;
        Ok(summary)
    }

    fn train_student(&mut self, arm: &StudentArm, teachers: Option<&Teachers>) -> Result<Measured> {
        let plan = self.plan;
        // The graph and the splits are shared by every training; cheap copies let `self` be borrowed.
        let (graph, splits) = (self.prepared.student.clone(), self.prepared.splits.clone());
        let training = Training {
            graph: &graph,
            model: &plan.student.model,
            fresh: plan.student.init == Init::Fresh,
            batch_norm: plan.student.batch_norm,
            seed: arm.seed,
            method: &arm.method,
            settings: &plan.train,
            splits: &splits,
            directory: arm.directory.clone(),
            timed: arm.timed,
        };
        let teacher = teachers.map(|teachers| &teachers.teacher as &dyn Teacher);
        let mut measured = self.train(&training, teacher)?;
        if let Some(teachers) = teachers {
            measured.run.agreement = Some(
                measured
                    .predictions
                    .agreement(&teachers.predictions)?
                    .equal_argmax,
            );
        }
        Ok(measured)
    }

    /// The inputs of the report's picture page: what the teacher knows of them, and what the distilled student of the first seed
    /// has learned.
    fn pictures(
        &self,
        teachers: Option<&Teachers>,
        measured: &[(Role, Measured)],
    ) -> Result<Vec<Picture>> {
        let Some(teachers) = teachers else {
            return Ok(Vec::new());
        };
        let splits = &self.prepared.splits;
        let student = measured.iter().find(|(role, _)| *role == Role::Distilled);
        Question {
            set: splits
                .test
                .as_ref()
                .or(splits.validation.as_ref())
                .unwrap_or(&splits.train),
            normalization: &splits.normalization,
            teacher: &teachers.teacher,
            temperature: self.plan.method.temperature().unwrap_or(Temperature::ONE),
            device: &self.device,
        }
        .pictures(
            &teachers.predictions,
            student.map(|(_, measured)| &measured.predictions),
        )
    }

    fn student_arms(&self) -> Vec<StudentArm> {
        let plan = self.plan;
        let nested = plan.baseline || plan.seeds.len() > 1;
        let out = self.settings.out;
        let mut arms = Vec::new();
        for &seed in &plan.seeds {
            let directory = |name: &str| match nested {
                true => out.join(format!("{name}-seed-{}", seed.value())),
                false => out.to_owned(),
            };
            if plan.baseline {
                arms.push(StudentArm {
                    role: Role::Alone,
                    seed,
                    method: MethodSettings::LABELS,
                    directory: directory("alone"),
                    timed: arms.is_empty(),
                });
            }
            let role = if plan.teacher.is_some() {
                Role::Distilled
            } else {
                Role::Alone
            };
            let name = if plan.teacher.is_some() {
                "distilled"
            } else {
                "alone"
            };
            arms.push(StudentArm {
                role,
                seed,
                method: plan.method,
                directory: directory(name),
                timed: arms.is_empty(),
            });
        }
        arms
    }

    fn summarize(
        &self,
        teachers: Option<&Teachers>,
        measured: &[(Role, Measured)],
    ) -> Result<Summary> {
        let plan = self.plan;
        let info = self.prepared.splits.train.info();
        let rows =
            |set: Option<&Arc<dyn crate::data::Dataset>>| set.map_or(0, |set| set.len() as u64);
        let mut arms: Vec<Arm> = Vec::new();
        let mut warnings = Vec::new();
        if let Some(teachers) = teachers {
            arms.push(teachers.arm.clone());
        }
        for role in [Role::Alone, Role::Distilled] {
            let of_role: Vec<&Measured> = measured
                .iter()
                .filter(|(r, _)| *r == role)
                .map(|(_, m)| m)
                .collect();
            let Some(first) = of_role.first() else {
                continue;
            };
            arms.push(Arm {
                role,
                label: label(role).to_owned(),
                architecture: plan.student.model.name(),
                parameters: first.cost.parameters as u64,
                multiply_adds: Some(first.cost.multiply_adds as u64),
                file_bytes: first.file_bytes,
                latency: measured.iter().find_map(|(_, student)| student.latency),
                runs: of_role.iter().map(|m| m.run.clone()).collect(),
            });
        }
        let splits = &self.prepared.splits;
        if splits.test.is_none() {
            let measured_on = match &splits.validation {
                Some(_) => "the rows held back from training",
                None => "the training rows themselves and say nothing of others",
            };
            warnings.push(format!(
                "the data has no test split; the figures are those of {measured_on}"
            ));
        }
        if let Some(asked) = plan.teacher.as_ref().map(|teacher| teacher.precision)
            && asked.on(&self.device) != asked
        {
            warnings.push(format!(
                "`teacher.precision` is {asked}, which this machine does not multiply in; the teacher answered in {}",
                asked.on(&self.device)
            ));
        }
        warnings.extend(
            self.prepared
                .teachers
                .iter()
                .filter_map(TeacherNetwork::note),
        );
        Ok(Summary {
            name: plan.name.clone(),
            created: provenance::now(),
            limbeck_version: self.provenance.limbeck.clone(),
            device: self.provenance.device.clone(),
            threads: self.provenance.threads,
            data: DataSummary {
                name: info.name.clone(),
                origin: info.origin.clone(),
                train_rows: self.prepared.splits.train.len() as u64,
                validation_rows: rows(self.prepared.splits.validation.as_ref()),
                test_rows: rows(self.prepared.splits.test.as_ref()),
                classes: info.classes.clone(),
                shape: info.shape,
            },
            method: MethodSummary {
                name: plan.method.name().to_owned(),
                paper: method_paper(plan.method.name()),
                settings: serde_json::to_value(plan.method).unwrap_or_default(),
            },
            arms,
            warnings,
            commands: vec![format!(
                "limbeck run recipe.toml --out {}",
                self.settings.out.display()
            )],
            hashes: self.provenance.hashes.clone(),
            versions: [("burn".to_owned(), BURN_VERSION.to_owned())].into(),
        })
    }
}

/// Opens a run directory: a new one, or with `--resume` the one that an interrupted run left.
fn open_directory(
    path: &Path,
    resume: bool,
    plan: &Plan,
    checked: &serde_json::Value,
) -> Result<RunDirectory> {
    if resume && path.is_dir() {
        RunDirectory::resume(path, &plan.text, &provenance::continued(path, checked))
    } else {
        RunDirectory::create(path, &plan.text, checked)
    }
}

/// The student of the run as a whole: of the arm trained in `directory`.
fn copy_student(directory: &Path, out: &Path, model: Option<&OnnxModel>) -> Result<()> {
    let copy = |name: &str| {
        let from = directory.join(name);
        let bytes = std::fs::read(&from).map_err(|source| Error::read(&from, source))?;
        files::write_atomic(&out.join(name), &bytes)
    };
    copy("parity.json")?;
    match model.and_then(OnnxModel::imported) {
        // Such a file may have others with its weights beside it.
        Some(imported) => {
            let weights = limbeck_graph::weights::read(directory.join("student.safetensors"))?;
            imported.write(out.join(STUDENT_ONNX), &weights)?;
        }
        None => copy(STUDENT_ONNX)?,
    }
    copy("student.safetensors")
}

fn method_paper(name: &str) -> String {
    let paper = method::find(name).ok().and_then(|info| info.paper);
    paper.map_or_else(String::new, |p| {
        format!("{}, \"{}\", {}", p.authors, p.title, p.year)
    })
}

fn label(role: Role) -> &'static str {
    match role {
        Role::Teacher => "teacher",
        Role::Alone => "student alone",
        Role::Distilled => "student distilled",
    }
}
