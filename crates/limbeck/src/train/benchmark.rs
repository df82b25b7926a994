//! The time of one training step, without data loading: what is compared with other programs.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use limbeck_graph::ir::Graph;
use limbeck_graph::{Inputs, Network, Precision, Seed, Taps};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::gradient::{self, squared_norm};
use super::objective::Objective;
use super::optimizer::Optimizer;
use super::parameters;
use super::settings::OptimizerSettings;
use crate::data::{Batch, SampleId};
use crate::method::{Method, MethodSettings};
use crate::teacher::{Frozen, Teacher};
use crate::{Error, Result, eval};

/// One distillation step to be timed: teacher forward, student forward and backward, and the update, on random inputs that are in
/// memory already. Weights are random too; only the time counts.
#[derive(Clone, Debug)]
pub struct Benchmark {
    /// Who would teach.
    pub teacher: Graph,
    /// What the teacher multiplies in.
    pub precision: Precision,
    /// Who learns.
    pub student: Graph,
    /// What is compared. A method without a teacher leaves the teacher out of the step.
    pub method: MethodSettings,
    /// How the student is updated.
    pub optimizer: OptimizerSettings,
    /// Samples per step.
    pub batch: usize,
    /// Classes of both networks.
    pub classes: usize,
    /// `[channels, height, width]` of the inputs.
    pub shape: [usize; 3],
    /// Repetitions that are not counted.
    pub warmup: usize,
    /// Repetitions that are counted.
    pub steps: usize,
}

/// What [`Benchmark::run`] measured, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The whole step.
    pub step_ms: Spread,
    /// The teacher's forward pass, in evaluation.
    pub teacher_forward_ms: Spread,
    /// The student's forward pass, in evaluation.
    pub student_forward_ms: Spread,
}

/// The spread of repeated measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The fastest.
    pub min: f64,
    /// The slowest.
    pub max: f64,
}

impl Benchmark {
    /// Times the step and the forward passes on `device`.
    ///
    /// # Errors
    /// If a network refuses the inputs, or the device fails.
    pub fn run(&self, device: &Device) -> Result<Timing> {
        let device = device.clone().without_autodiff();
        let batch = self.batch();
        let inputs = eval::inputs(&batch, &device)?;
        let teacher = self.teacher.compile(Seed::new(1), &device)?;
        let teacher = Frozen::in_precision(&teacher, &device, self.precision);
        let mut student = Some(self.student.compile(Seed::new(0), &device)?.train());
        let method = self.method.build();
        let mut optimizer = Optimizer::new(&self.optimizer);
        let wait = || {
            device
                .sync()
                .map_err(|error| Error::Device(format!("the device failed: {error:?}")))
        };
        let mut count = 0;
        let step_ms = self.timed(|| {
            count += 1;
            if let Some(before) = student.take() {
                let work = Work {
                    teacher: &teacher,
                    method: &*method,
                    batch: &batch,
                    inputs: &inputs,
                    device: &device,
                };
                student = Some(work.step(before, &mut optimizer, count)?);
            }
            wait()
        })?;
        let teacher_forward_ms = self.timed(|| {
            teacher.answer(&inputs, &Taps::none())?;
            wait()
        })?;
        let student = student.map(|student| student.valid().prepared(Precision::Fp32));
        let student_forward_ms = self.timed(|| {
            if let Some(student) = &student {
                student.forward(&inputs, &Taps::none())?;
            }
            wait()
        })?;
        Ok(Timing {
            step_ms,
            teacher_forward_ms,
            student_forward_ms,
        })
    }

    fn batch(&self) -> Batch {
        let mut random = Seed::new(0).stream("benchmark", &[]);
        let count = self.batch * self.shape.iter().product::<usize>();
        Batch {
            epoch: 0,
            index: 0,
            ids: (0..self.batch as u64).map(SampleId).collect(),
            inputs: (0..count).map(|_| random.random_range(-1.0..1.0)).collect(),
            shape: self.shape,
            labels: Some(
                (0..self.batch)
                    .map(|_| random.random_range(0..self.classes as u32))
                    .collect(),
            ),
        }
    }

    fn timed(&self, mut work: impl FnMut() -> Result<()>) -> Result<Spread> {
        for _ in 0..self.warmup {
            work()?;
        }
        let mut times = Vec::with_capacity(self.steps);
        for _ in 0..self.steps {
            let begun = Instant::now();
            work()?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Spread::of(times).ok_or_else(|| Error::Check("no step was timed".to_owned()))
    }
}

/// What a step works on.
struct Work<'a> {
    teacher: &'a dyn Teacher,
    method: &'a dyn Method,
    batch: &'a Batch,
    inputs: &'a Inputs,
    device: &'a Device,
}

impl Work<'_> {
    /// What [`Trainer`](super::Trainer) does in a step, apart from its log.
    fn step<S: Network>(&self, student: S, optimizer: &mut Optimizer, step: u64) -> Result<S> {
        let Self {
            teacher,
            method,
            batch,
            inputs,
            device,
        } = *self;
        let answer = method
            .teacher_taps()
            .map(|taps| teacher.answer(inputs, &taps))
            .transpose()?;
        let objective = Objective {
            method,
            answer: answer.as_ref(),
            progress: 0.0,
            seed: Seed::new(0),
            position: [step, 0],
            device,
        };
        let pass = objective.differentiate(&student, inputs, batch)?;
        let mut numbers: Vec<_> = pass.terms.into_iter().map(|term| term.value).collect();
        numbers.push(squared_norm(pass.gradients.values(), device));
        gradient::read(numbers)?;
        Ok(parameters::update(student, optimizer, 1e-3, pass.gradients))
    }
}

impl Spread {
    fn of(mut times: Vec<f64>) -> Option<Self> {
        times.sort_by(f64::total_cmp);
        let (min, max) = (*times.first()?, *times.last()?);
        let middle = times.len() / 2;
        let median = match times.len() % 2 {
            1 => times[middle],
            _ => (times[middle - 1] + times[middle]) / 2.0,
        };
        Some(Self { median, min, max })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use limbeck_graph::zoo;

    use super::*;
    use crate::method::SoftTargetSettings;

    #[test]
    fn the_median_is_the_middle() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of(vec![4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn every_part_is_timed() {
        let shape = [1, 8, 8];
        let timing = Benchmark {
            teacher: zoo::build("resnet-8", shape, 10).unwrap(),
            precision: Precision::Bf16,
            student: zoo::build("mlp-8", shape, 10).unwrap(),
            method: MethodSettings::SoftTargets(SoftTargetSettings::default()),
            optimizer: super::super::TrainSettings::default().optimizer,
            batch: 4,
            classes: 10,
            shape,
            warmup: 1,
            steps: 3,
        }
        .run(&Device::flex())
        .unwrap();
        for spread in [
            timing.step_ms,
            timing.teacher_forward_ms,
            timing.student_forward_ms,
        ] {
            assert!(0.0 < spread.min && spread.min <= spread.median && spread.median <= spread.max);
        }
    }
}
