//! Getting the teachers: read from checkpoints, or trained first; then measured.

use limbeck_graph::cost::Cost;
use limbeck_graph::ir::Graph;
use limbeck_graph::run::CompiledGraph;
use limbeck_graph::weights;

use super::arm::Training;
use super::{Experiment, label};
use crate::data::{Normalization, Splits};
use crate::eval::{self, Latency, Predictions, Quantiles};
use crate::method::MethodSettings;
use crate::recipe::{MemberPlan, TeacherPlan};
use crate::report::{Arm, ArmRun, Role};
use crate::teacher::{Ensemble, Frozen, Renormalization, Teacher};
use crate::{Error, Result};

/// The teachers of an experiment, measured.
pub(super) struct Teachers {
    pub teacher: Ensemble,
    pub arm: Arm,
    pub predictions: Predictions,
}

impl Experiment<'_, '_> {
    /// Reads or trains the plan's teachers, measures them together on the test split, and holds them to
    /// the recipe's bar.
    pub(super) fn teachers(&mut self) -> Result<Option<Teachers>> {
        let plan = self.plan;
        let Some(teacher_plan) = &plan.teacher else {
            return Ok(None);
        };
        let graphs = self.prepared.teachers.clone();
        let mut networks = Vec::new();
        let own_splits = self.prepared.teacher_splits.clone();
        let mut seconds = 0.0;
        let mut file_bytes = 0;
        for (index, (member, graph)) in teacher_plan.members.iter().zip(&graphs).enumerate() {
            let (network, normalization) = match &member.model.weights {
                Some(path) => {
                    file_bytes += std::fs::metadata(path)
                        .map_err(|e| Error::read(path, e))?
                        .len();
                    let checkpoint = weights::read_checkpoint(path)?;
                    let normalization = member
                        .normalization
                        .clone()
                        .or_else(|| Normalization::from_metadata(&checkpoint.metadata));
                    let tensors = weights::fit(graph, checkpoint.tensors)?;
                    let network = graph.compile(member.seed, &self.device)?.load(&tensors)?;
                    (network, normalization)
                }
                None => {
                    let splits = own_splits
                        .as_ref()
                        .expect("the data is opened for every teacher without weights");
                    let (network, trained) =
                        self.train_teacher(teacher_plan, member, graph, splits, index)?;
                    seconds += trained.seconds;
                    file_bytes += trained.file_bytes;
                    (network, Some(splits.normalization.clone()))
                }
            };
            networks.push((network, normalization));
        }
        self.measure_teachers(
            teacher_plan,
            &graphs,
            networks,
            Spent {
                seconds,
                file_bytes,
            },
        )
        .map(Some)
    }

    fn train_teacher(
        &mut self,
        teacher_plan: &TeacherPlan,
        member: &MemberPlan,
        graph: &Graph,
        splits: &Splits,
        index: usize,
    ) -> Result<(CompiledGraph, Spent)> {
        let count = teacher_plan.members.len();
        let (folder, part) = match count {
            1 => ("teacher".to_owned(), "teacher".to_owned()),
            _ => (
                format!("teacher-{}", index + 1),
                format!("teacher {} of {count}", index + 1),
            ),
        };
        self.settings.observer.begin(&part);
        let training = Training {
            graph,
            arch: &member.model.arch,
            weights: None,
            seed: member.seed,
            method: &MethodSettings::LABELS,
            settings: &teacher_plan.train,
            splits,
            directory: self.settings.out.join(folder),
            timed: false,
        };
        let measured = self.train(&training, None)?;
        let file = training.directory.join("student.safetensors");
        let network = graph
            .compile(member.seed, &self.device)?
            .load(&weights::read(&file)?)?;
        Ok((
            network,
            Spent {
                seconds: measured.run.seconds,
                file_bytes: measured.file_bytes,
            },
        ))
    }

    fn measure_teachers(
        &mut self,
        plan: &TeacherPlan,
        graphs: &[Graph],
        networks: Vec<(CompiledGraph, Option<Normalization>)>,
        spent: Spent,
    ) -> Result<Teachers> {
        let shape = self.prepared.splits.train.info().shape;
        let mut members: Vec<Box<dyn Teacher>> = Vec::new();
        let mut latency: Option<Latency> = None;
        for (network, normalization) in networks {
            let own = eval::latency(&network, shape, &self.device)?;
            latency = Some(latency.map_or(own, |sum| one_after_another(sum, own)));
            let mut frozen = Frozen::in_precision(&network, &self.device, plan.precision);
            let student = &self.prepared.splits.normalization;
            if let Some(own) = normalization.filter(|own| own != student) {
                frozen = frozen.with_renormalization(Renormalization::between(student, &own)?);
            }
            members.push(Box::new(frozen));
        }
        let teacher = Ensemble::new(members, plan.mean)?;
        let loader = self.evaluation_loader(&self.prepared.splits)?;
        let predictions = eval::predict_teacher(&teacher, loader.epoch(0, 0), &self.device)?;
        let metrics = predictions.metrics()?;
        self.settings
            .observer
            .measured(label(Role::Teacher), &metrics);
        if metrics.top1 < plan.minimum_accuracy {
            return Err(Error::WeakTeacher {
                accuracy: metrics.top1,
                minimum: plan.minimum_accuracy,
            });
        }
        let costs = graphs
            .iter()
            .map(Cost::of)
            .collect::<limbeck_graph::Result<Vec<_>>>()?;
        let mut archs: Vec<&str> = plan.members.iter().map(|m| m.model.arch.as_str()).collect();
        archs.dedup();
        let count = plan.members.len();
        let arm = Arm {
            role: Role::Teacher,
            label: if count == 1 {
                "teacher".to_owned()
            } else {
                format!("ensemble of {count}")
            },
            architecture: archs.join(" + "),
            parameters: costs.iter().map(|cost| cost.parameters as u64).sum(),
            multiply_adds: costs.iter().map(|cost| cost.multiply_adds as u64).sum(),
            file_bytes: spent.file_bytes,
            latency,
            runs: vec![ArmRun {
                // An ensemble has no seed of its own, a checkpoint none that is known.
                seed: (count == 1 && spent.seconds > 0.0).then(|| plan.members[0].seed.value()),
                metrics,
                seconds: spent.seconds,
                directory: (count == 1 && spent.seconds > 0.0).then(|| "teacher".into()),
                agreement: None,
            }],
        };
        Ok(Teachers {
            teacher,
            arm,
            predictions,
        })
    }
}

/// The time of two networks that run one after the other; quantiles add up as an upper bound.
fn one_after_another(a: Latency, b: Latency) -> Latency {
    let sum = |a: Quantiles, b: Quantiles| Quantiles {
        p10: a.p10 + b.p10,
        median: a.median + b.median,
        p90: a.p90 + b.p90,
    };
    Latency {
        batch1_ms: sum(a.batch1_ms, b.batch1_ms),
        batch64_ms: sum(a.batch64_ms, b.batch64_ms),
    }
}

/// What training a teacher took, and what its file takes.
#[derive(Clone, Copy)]
struct Spent {
    seconds: f64,
    file_bytes: u64,
}
