//! Getting the teachers: read from checkpoints, or trained first; then measured.

use std::collections::BTreeMap;
use std::path::Path;

use limbeck_graph::cost::Cost;
use limbeck_graph::ir::Graph;
use limbeck_graph::run::CompiledGraph;
use limbeck_graph::{Network, Precision, weights};

use super::arm::Training;
use super::{Experiment, TeacherNetwork, label};
use crate::data::{Normalization, Splits};
use crate::eval::{self, Latency, Predictions, Quantiles};
use crate::method::MethodSettings;
use crate::model::BatchNormMode;
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
        let networks = self.prepared.teachers.clone();
        let own_splits = self.prepared.teacher_splits.clone();
        let mut asked = Asked::default();
        let mut spent = Spent::default();
        for (index, (member, network)) in teacher_plan.members.iter().zip(&networks).enumerate() {
            let precision = teacher_plan.precision;
            match network {
                TeacherNetwork::Tract(model, network) => {
                    spent.file_bytes += size_of_file(model.path())?;
                    let normalization = told(member, &model.file().header().metadata);
                    self.ask(network, normalization, precision, &mut asked)?;
                }
                TeacherNetwork::Graph(graph) if member.model.is_given() => {
                    let (network, normalization, bytes) = self.given_teacher(member, graph)?;
                    spent.file_bytes += bytes;
                    self.ask(&network, normalization, precision, &mut asked)?;
                }
                TeacherNetwork::Graph(graph) => {
                    let splits = own_splits
                        .as_ref()
                        .expect("the data is opened for every teacher without weights");
                    let (network, trained) =
                        self.train_teacher(teacher_plan, member, graph, splits, index)?;
                    spent.seconds += trained.seconds;
                    spent.file_bytes += trained.file_bytes;
                    let normalization = Some(splits.normalization.clone());
                    self.ask(&network, normalization, precision, &mut asked)?;
                }
            }
        }
        self.measure_teachers(teacher_plan, &networks, asked, spent)
            .map(Some)
    }

    /// A network whose weights are given, what its file says of its inputs, and the file's size.
    fn given_teacher(
        &self,
        member: &MemberPlan,
        graph: &Graph,
    ) -> Result<(CompiledGraph, Option<Normalization>, u64)> {
        let model = &member.model;
        let network = graph.compile(member.seed, &self.device)?;
        if let Some(path) = &model.weights {
            let checkpoint = weights::read_checkpoint(path)?;
            let normalization = told(member, &checkpoint.metadata);
            let network = network.load(&model.fit(graph, checkpoint.tensors)?)?;
            return Ok((network, normalization, size_of_file(path)?));
        }
        let onnx = model
            .onnx()
            .expect("a network without a checkpoint whose weights are given is a file");
        let own = model.given(graph)?.unwrap_or_default();
        let normalization = told(member, &onnx.file().header().metadata);
        Ok((
            network.load(&own)?,
            normalization,
            size_of_file(onnx.path())?,
        ))
    }

    /// Adds a member to those that are asked.
    fn ask<N: Network + Send + 'static>(
        &self,
        network: &N,
        normalization: Option<Normalization>,
        precision: Precision,
        asked: &mut Asked,
    ) -> Result<()> {
        let shape = self.prepared.splits.train.info().shape;
        let own = eval::latency(network, shape, &self.device)?;
        asked.latency = Some(asked.latency.map_or(own, |sum| one_after_another(sum, own)));
        let mut frozen = Frozen::in_precision(network, &self.device, precision);
        let student = &self.prepared.splits.normalization;
        if let Some(own) = normalization.filter(|own| own != student) {
            frozen = frozen.with_renormalization(Renormalization::between(student, &own)?);
        }
        asked.members.push(Box::new(frozen));
        Ok(())
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
            model: &member.model,
            fresh: true,
            batch_norm: BatchNormMode::Train,
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
        networks: &[TeacherNetwork],
        asked: Asked,
        spent: Spent,
    ) -> Result<Teachers> {
        let teacher = Ensemble::new(asked.members, plan.mean)?;
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
        let costs = networks
            .iter()
            .map(|network| network.graph().map(Cost::of).transpose())
            .collect::<limbeck_graph::Result<Vec<_>>>()?;
        let parameters = networks.iter().zip(&costs);
        let mut archs: Vec<String> = plan.members.iter().map(|m| m.model.name()).collect();
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
            parameters: parameters
                .map(|(network, cost)| network.parameters(cost.as_ref()))
                .sum(),
            multiply_adds: costs
                .iter()
                .map(|cost| Some(cost.as_ref()?.multiply_adds as u64))
                .sum(),
            file_bytes: spent.file_bytes,
            latency: asked.latency,
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

/// What a member's recipe or file says of the inputs it was trained with.
fn told(member: &MemberPlan, metadata: &BTreeMap<String, String>) -> Option<Normalization> {
    let recipe = member.normalization.clone();
    recipe.or_else(|| Normalization::from_metadata(metadata))
}

fn size_of_file(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path).map_err(|source| Error::read(path, source))?;
    Ok(metadata.len())
}

/// Members that are ready to teach.
#[derive(Default)]
struct Asked {
    members: Vec<Box<dyn Teacher>>,
    latency: Option<Latency>,
}

/// What training a teacher took, and what its file takes.
#[derive(Clone, Copy, Default)]
struct Spent {
    seconds: f64,
    file_bytes: u64,
}
