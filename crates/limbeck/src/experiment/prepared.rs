//! A plan with its data opened and its networks built.

use burn::tensor::Device;
use limbeck_graph::cost::Cost;
use limbeck_graph::ir::Graph;
use limbeck_graph::tract::TractNetwork;
use limbeck_graph::{Network, Taps, weights};

use super::SPLIT_SEED;
use crate::data::Splits;
use crate::model::{OnnxModel, check_graph, check_onnx};
use crate::recipe::{ModelPlan, Plan};
use crate::train::TrainSettings;
use crate::{Error, Result};

/// A plan with its data opened and its networks built.
pub struct Prepared {
    /// The student's data.
    pub splits: Splits,
    /// The data of teachers that are trained first; `None` where there is none to train.
    pub teacher_splits: Option<Splits>,
    /// The student, with what is not trained marked as frozen.
    pub student: Graph,
    /// The teachers' networks, in the order of the plan.
    pub teachers: Vec<TeacherNetwork>,
}

/// The network of a teacher.
#[derive(Clone, Debug)]
pub enum TeacherNetwork {
    /// One that this program could train too.
    Graph(Graph),
    /// An ONNX file that tract runs, since an operator of it is not supported here.
    Tract(OnnxModel, TractNetwork),
}

impl TeacherNetwork {
    /// The graph, where this program runs it.
    pub const fn graph(&self) -> Option<&Graph> {
        match self {
            Self::Graph(graph) => Some(graph),
            Self::Tract(..) => None,
        }
    }

    /// What a reader should know of a teacher that tract runs.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Graph(_) => None,
            Self::Tract(model, _) => Some(format!(
                "the teacher `{}` runs on tract, which trains nothing and is slower, because of {}",
                model.name(),
                model.reason().unwrap_or_default()
            )),
        }
    }

    /// Its trainable values, `cost` being that of its graph; of a file that tract runs all real values in it.
    pub(super) fn parameters(&self, cost: Option<&Cost>) -> u64 {
        match (self, cost) {
            (Self::Tract(model, _), _) => model.initialiser_values(),
            (Self::Graph(_), Some(cost)) => cost.parameters as u64,
            (Self::Graph(graph), None) => graph.parameter_count() as u64,
        }
    }

    fn has_tap(&self, name: &str) -> Result<()> {
        let names: Vec<String> = match self {
            Self::Graph(graph) => {
                let nodes = graph
                    .nodes
                    .iter()
                    .flat_map(limbeck_graph::ir::Node::outputs);
                graph.taps.keys().cloned().chain(nodes).collect()
            }
            Self::Tract(_, network) => network.tap_names(),
        };
        match names.iter().any(|known| known == name) {
            true => Ok(()),
            false => Err(Error::unknown(
                "tap",
                name,
                names.iter().map(String::as_str).collect::<Vec<_>>(),
            )),
        }
    }
}

impl Prepared {
    /// Opens the data and builds the networks of a plan. What can be wrong with either is found here, before anything is written
    /// or trained.
    ///
    /// # Errors
    /// If the data is unusable, a network does not fit its images, a checkpoint does not fit its network, or the training
    /// settings do not fit the data.
    pub fn of(plan: &Plan) -> Result<Self> {
        let splits = plan.data.open(&plan.folder, SPLIT_SEED)?;
        let student = student(plan, &splits)?;
        check_training("train", &plan.train, &splits)?;
        let mut teachers = Vec::new();
        let mut teacher_splits = None;
        if let Some(teacher) = &plan.teacher {
            for member in &teacher.members {
                teachers.push(teacher_network(&member.model, &splits)?);
            }
            if teacher.members.iter().any(|m| !m.model.is_given()) {
                let own = match teacher.data == plan.data {
                    true => splits.clone(),
                    false => teacher.data.open(&plan.folder, SPLIT_SEED)?,
                };
                same_kind(&splits, &own)?;
                check_training("teacher.train", &teacher.train, &own)?;
                teacher_splits = Some(own);
            }
        }
        let prepared = Self {
            splits,
            teacher_splits,
            student,
            teachers,
        };
        prepared.check_taps(plan)?;
        Ok(prepared)
    }

    fn check_taps(&self, plan: &Plan) -> Result<()> {
        let method = plan.method.build();
        let student = TeacherNetwork::Graph(self.student.clone());
        for name in method.student_taps().names() {
            student.has_tap(name)?;
        }
        for name in method.teacher_taps().iter().flat_map(Taps::names) {
            self.teachers
                .iter()
                .try_for_each(|network| network.has_tap(name))?;
        }
        Ok(())
    }
}

/// The student's graph, with what is not trained marked.
fn student(plan: &Plan, splits: &Splits) -> Result<Graph> {
    let info = splits.train.info();
    let model = &plan.student.model;
    let Some(mut graph) = model.graph(info.shape, info.classes.len())? else {
        return mistake("student.model", "cannot be trained".to_owned());
    };
    check_fit("student", model, splits)?;
    if let Err(mistakes) = plan.student.selection.apply(&mut graph) {
        let problems = mistakes.into_iter().map(|mistake| crate::error::Problem {
            key: format!("student.{}", mistake.key),
            reason: mistake.reason,
        });
        return Err(Error::Recipe {
            problems: problems.collect(),
        });
    }
    check_weights("student", model, &graph)?;
    Ok(graph)
}

fn teacher_network(model: &ModelPlan, splits: &Splits) -> Result<TeacherNetwork> {
    let info = splits.train.info();
    check_fit("teacher", model, splits)?;
    match (model.graph(info.shape, info.classes.len())?, model.onnx()) {
        (Some(graph), _) => {
            check_weights("teacher", model, &graph)?;
            Ok(TeacherNetwork::Graph(graph))
        }
        (None, Some(onnx)) => {
            let network = TractNetwork::read(onnx.path(), &Device::default())?;
            Ok(TeacherNetwork::Tract(onnx.clone(), network))
        }
        (None, None) => mistake("teacher.arch", "cannot be built".to_owned()),
    }
}

fn mistake<T>(key: impl Into<String>, reason: String) -> Result<T> {
    Err(Error::Recipe {
        problems: vec![crate::error::Problem {
            key: key.into(),
            reason,
        }],
    })
}

/// Whether an ONNX file takes the data's images and knows its classes; networks of the zoo are built for them.
fn check_fit(table: &str, model: &ModelPlan, splits: &Splits) -> Result<()> {
    let Some(onnx) = model.onnx() else {
        return Ok(());
    };
    let info = splits.train.info();
    let fit = match onnx.graph() {
        Some(graph) => check_graph(graph, info.shape, info.classes.len()),
        None => check_onnx(onnx, info.shape, info.classes.len()),
    };
    fit.or_else(|reason| {
        mistake(
            format!("{table}.model"),
            format!("`{}`: {reason}", onnx.name()),
        )
    })
}

/// Whether the settings of the table `table` can be met with the rows there are.
fn check_training(table: &str, settings: &TrainSettings, splits: &Splits) -> Result<()> {
    let rows = splits.train.len();
    if settings.batch > rows {
        return mistake(
            format!("{table}.batch"),
            format!(
                "expected at most the {rows} training rows, got {}; lower it or raise `data.limit`",
                settings.batch
            ),
        );
    }
    if settings.early_stopping.is_some() && splits.validation.is_none() {
        return mistake(
            format!("{table}.early_stopping"),
            "needs validation rows, and the data has none; set `data.validation`, to 0.1 for example"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether the checkpoint that the network of the table `table` starts from fits it.
fn check_weights(table: &str, model: &ModelPlan, graph: &Graph) -> Result<()> {
    let Some(path) = &model.weights else {
        return Ok(());
    };
    match model.fit(graph, weights::read(path)?) {
        Err(Error::Graph(error @ limbeck_graph::Error::Mismatch(_))) => mistake(
            format!("{table}.weights"),
            format!("`{}`: {error}", path.display()),
        ),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

/// A teacher that is trained first has to take the student's images and know the student's classes.
fn same_kind(student: &Splits, teacher: &Splits) -> Result<()> {
    let (student, teacher) = (student.train.info(), teacher.train.info());
    if student.shape != teacher.shape {
        return Err(Error::Shape {
            what: "images of `teacher.data`".to_owned(),
            expected: format!("{:?} as in `data`", student.shape),
            got: format!("{:?}; set `teacher.data.resize`", teacher.shape),
        });
    }
    if student.classes != teacher.classes {
        return Err(Error::Data(format!(
            "`teacher.data` has {} classes and `data` has {}; a teacher must know the student's classes, in the same order",
            teacher.classes.len(),
            student.classes.len()
        )));
    }
    Ok(())
}
