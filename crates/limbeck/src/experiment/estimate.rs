//! What a run needs, before any work: memory and disk by counting, time by measuring a few steps.

use std::time::Instant;

use burn::tensor::Device;
use limbeck_graph::cost::Cost;
use limbeck_graph::ir::Graph;
use limbeck_graph::{Feature, Inputs, Network, Precision, Seed, Taps, each_rank};
use rand::RngExt;
use serde::Serialize;

use super::{Prepared, TeacherNetwork};
use crate::Result;
use crate::device::DeviceChoice;
use crate::recipe::Plan;
use crate::train::{OptimizerSettings, TrainSettings};

/// Steps that are timed, after one that is not.
const TIMED: usize = 3;
/// Bytes of one line of `log.jsonl` and its TensorBoard events.
const LOG_BYTES_PER_STEP: u64 = 700;

/// What a run needs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The device that was measured.
    pub device: String,
    /// Rows per batch.
    pub batch: usize,
    /// Rows trained on.
    pub train_rows: u64,
    /// Trainings: teachers that the recipe trains, and one per seed and arm.
    pub trainings: u64,
    /// Optimiser steps of all trainings.
    pub steps: u64,
    /// The student's trainable values.
    pub student_parameters: u64,
    /// The teachers' trainable values; of a teacher that tract runs all real values of its file.
    pub teacher_parameters: u64,
    /// Which teachers run on tract, and why.
    pub notes: Vec<String>,
    /// Measured: forward, backward and update of the student on one batch, milliseconds.
    pub student_step_ms: f64,
    /// Measured: the teachers' answers to one batch, milliseconds.
    pub teacher_forward_ms: f64,
    /// Peak memory: weights, gradients, optimiser, activations, the decoded training set.
    pub memory_bytes: u64,
    /// Checkpoints, students and logs.
    pub disk_bytes: u64,
    /// Seconds of training; evaluation adds a little.
    pub seconds: f64,
}

/// Estimates what `plan` needs on a device.
///
/// # Errors
/// If the device cannot be opened or a network cannot be run.
pub fn estimate(plan: &Plan, prepared: &Prepared, choice: DeviceChoice) -> Result<Estimate> {
    let device = &choice.open()?;
    let student_cost = Cost::of(&prepared.student)?;
    let teachers = &prepared.teachers;
    let teacher_costs = teachers
        .iter()
        .map(|network| network.graph().map(Cost::of).transpose())
        .collect::<limbeck_graph::Result<Vec<_>>>()?;
    let shape = prepared.splits.train.info().shape;
    let rows = prepared.splits.train.len() as u64;
    let student_step_ms = step_ms(&prepared.student, shape, plan.train.batch, device)?;
    let mut teacher_forward_ms = 0.0;
    for teacher in teachers {
        teacher_forward_ms += forward_ms(teacher, shape, plan.train.batch, device)?;
    }

    let student_steps = steps(&plan.train, rows);
    let pairs = plan.seeds.len() as f64;
    let alone = if plan.baseline { pairs } else { 0.0 };
    let mut seconds = batches(&plan.train, rows) as f64
        * (alone * student_step_ms + pairs * (student_step_ms + teacher_forward_ms))
        / 1e3;
    let arms = plan.seeds.len() as u64 * if plan.baseline { 2 } else { 1 };
    let (mut trainings, mut all_steps) = (arms, arms * student_steps);
    let mut disk_bytes = arms * disk(&plan.train, &student_cost, student_steps);
    let mut memory_bytes = training_memory(&plan.train, &student_cost)
        + teachers
            .iter()
            .zip(&teacher_costs)
            .map(|(teacher, cost)| match cost {
                Some(cost) => inference_memory(&plan.train, cost),
                None => 4 * teacher.parameters(None),
            })
            .sum::<u64>();
    if let (Some(teacher), Some(splits)) = (&plan.teacher, &prepared.teacher_splits) {
        let teacher_rows = splits.train.len() as u64;
        for ((member, network), cost) in teacher.members.iter().zip(teachers).zip(&teacher_costs) {
            let (Some(graph), Some(cost), false) = (network.graph(), cost, member.model.is_given())
            else {
                continue;
            };
            let steps = steps(&teacher.train, teacher_rows);
            let step_ms = step_ms(graph, shape, teacher.train.batch, device)?;
            seconds += batches(&teacher.train, teacher_rows) as f64 * step_ms / 1e3;
            trainings += 1;
            all_steps += steps;
            disk_bytes += disk(&teacher.train, cost, steps);
            memory_bytes = memory_bytes.max(training_memory(&teacher.train, cost));
        }
    }
    let pixels: u64 = shape.iter().map(|&side| side as u64).product();
    Ok(Estimate {
        device: choice.to_string(),
        batch: plan.train.batch,
        train_rows: rows,
        trainings,
        steps: all_steps,
        student_parameters: student_cost.parameters as u64,
        teacher_parameters: teachers
            .iter()
            .zip(&teacher_costs)
            .map(|(teacher, cost)| teacher.parameters(cost.as_ref()))
            .sum(),
        notes: teachers.iter().filter_map(TeacherNetwork::note).collect(),
        student_step_ms,
        teacher_forward_ms,
        memory_bytes: memory_bytes + rows * pixels,
        disk_bytes,
        seconds,
    })
}

/// Batches of one training.
fn batches(train: &TrainSettings, rows: u64) -> u64 {
    train.epochs * (rows / train.batch as u64)
}

/// Optimiser steps of one training.
fn steps(train: &TrainSettings, rows: u64) -> u64 {
    let batches = rows / train.batch as u64;
    train.epochs * batches.div_ceil(train.accumulate as u64)
}

/// Copies of the weights beside the student's own: the optimiser's, the average, the best student so far.
fn copies(train: &TrainSettings) -> u64 {
    let optimizer = match train.optimizer {
        OptimizerSettings::Sgd { momentum, .. } => u64::from(momentum > 0.0),
        OptimizerSettings::Adam { .. } | OptimizerSettings::AdamW { .. } => 2,
    };
    optimizer + u64::from(train.average.is_some()) + u64::from(train.early_stopping.is_some())
}

/// Weights, gradients and optimiser, and every activation with its gradient.
fn training_memory(train: &TrainSettings, cost: &Cost) -> u64 {
    let weights = 4 * (cost.parameters + cost.buffers) as u64;
    let activations = 2 * cost.activation_bytes as u64 * train.batch as u64;
    weights * (2 + copies(train)) + activations
}

/// Weights, and the two largest activations, since the others are freed on the way.
fn inference_memory(train: &TrainSettings, cost: &Cost) -> u64 {
    let largest = cost
        .layers
        .iter()
        .map(|layer| layer.activation_bytes)
        .max()
        .unwrap_or(0);
    4 * (cost.parameters + cost.buffers) as u64 + 2 * largest as u64 * train.batch as u64
}

fn disk(train: &TrainSettings, cost: &Cost, steps: u64) -> u64 {
    let weights = 4 * (cost.parameters + cost.buffers) as u64;
    // One checkpoint more than is kept while the newest is written, and the student itself.
    let checkpoints = (train.keep_checkpoints as u64 + 1) * (1 + copies(train));
    weights * (checkpoints + 1) + steps * LOG_BYTES_PER_STEP
}

fn random_batch(shape: [usize; 3], batch: usize, device: &Device) -> Result<Feature> {
    let shape = [batch, shape[0], shape[1], shape[2]];
    let mut random = Seed::new(0).stream("estimate", &[]);
    let values = (0..shape.iter().product())
        .map(|_| random.random_range(-1.0..1.0))
        .collect();
    Ok(Feature::from_vec(values, &shape, device)?)
}

fn forward_ms(
    teacher: &TeacherNetwork,
    shape: [usize; 3],
    batch: usize,
    device: &Device,
) -> Result<f64> {
    let inputs = Inputs::float(random_batch(shape, batch, device)?);
    match teacher {
        TeacherNetwork::Graph(graph) => {
            let network = graph.compile(Seed::new(0), device)?;
            forward_of(&network.prepared(Precision::Fp32), &inputs)
        }
        TeacherNetwork::Tract(_, network) => forward_of(network, &inputs),
    }
}

fn forward_of(network: &impl Network, inputs: &Inputs) -> Result<f64> {
    timed(|| {
        network.forward(inputs, &Taps::none())?.output.to_vec()?;
        Ok(())
    })
}

fn step_ms(graph: &Graph, shape: [usize; 3], batch: usize, device: &Device) -> Result<f64> {
    use burn::module::Module;
    let network = graph.compile(Seed::new(0), device)?.train();
    let images = random_batch(shape, batch, device)?;
    let inputs = Inputs::float(each_rank!(images, tensor => Feature::from(tensor.autodiff())));
    timed(|| {
        let output = network.forward(&inputs, &Taps::none())?.output;
        let loss = each_rank!(output, tensor => tensor.square().mean());
        let gradients = loss.backward();
        // Reading the loss waits for the device.
        Feature::from(loss.inner()).to_vec()?;
        drop(gradients);
        Ok(())
    })
}

fn timed(mut step: impl FnMut() -> Result<()>) -> Result<f64> {
    step()?;
    let begun = Instant::now();
    for _ in 0..TIMED {
        step()?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e3 / TIMED as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::path::Path;

    use limbeck_graph::zoo;

    use super::*;
    use crate::recipe::RawRecipe;

    fn plan(text: &str) -> Plan {
        let raw = RawRecipe::parse(text, Path::new("")).unwrap();
        Plan::check(&raw, "estimate").unwrap()
    }

    /// The settings of a `[train]` table.
    fn train(text: &str) -> TrainSettings {
        plan(&format!(
            "[data]\npath = 'digits'\n[student]\narch = 'mlp-8'\n[train]\n{text}"
        ))
        .train
    }

    #[test]
    fn rows_that_fill_no_batch_are_left_out_of_every_epoch() {
        let settings = train("epochs = 3\nbatch = 64");
        // 1297 = 20 * 64 + 17
        assert_eq!((batches(&settings, 1297), steps(&settings, 1297)), (60, 60));
        let settings = train("epochs = 3\nbatch = 64\naccumulate = 8");
        // 20 batches are two groups of 8 and one of 4.
        assert_eq!((batches(&settings, 1297), steps(&settings, 1297)), (60, 9));
    }

    #[test]
    fn copies_of_the_weights_are_counted() {
        for (text, expected) in [
            ("optimizer = 'sgd'\nmomentum = 0.0", 0),
            ("optimizer = 'sgd'", 1),
            ("optimizer = 'adam'", 2),
            ("optimizer = 'adamw'\naverage = 0.99", 3),
            ("optimizer = 'sgd'\naverage = 0.99\nearly_stopping = 3", 3),
        ] {
            assert_eq!(copies(&train(text)), expected, "{text}");
        }
    }

    #[test]
    fn memory_and_disk_are_what_the_layers_of_a_small_network_take() {
        // 64 inputs, 8 hidden and 10 outputs: 64 * 8 + 8 + 8 * 10 + 10 values of 4 bytes.
        let weights = 4 * 610;
        let graph = zoo::build("mlp-8", [1, 8, 8], 10).unwrap();
        let cost = Cost::of(&graph).unwrap();
        assert_eq!(4 * (cost.parameters + cost.buffers), weights);
        let weights = weights as u64;
        // Flattened input, hidden, its activation, output; the input itself is the loader's.
        let activations = cost
            .layers
            .iter()
            .map(|layer| 4 * layer.output.iter().product::<usize>())
            .sum::<usize>();
        assert_eq!(cost.activation_bytes, activations);
        let settings = train("batch = 50\noptimizer = 'adam'\nkeep_checkpoints = 1");
        assert_eq!(
            training_memory(&settings, &cost),
            // Weights, gradients and two moments; every activation and its gradient.
            4 * weights + 2 * 50 * activations as u64
        );
        let largest = 4 * 64;
        assert_eq!(
            inference_memory(&settings, &cost),
            weights + 2 * 50 * largest
        );
        // Two checkpoints for a moment, each with two moments beside the weights; the student; the log.
        assert_eq!(
            disk(&settings, &cost, 100),
            2 * 3 * weights + weights + 100 * LOG_BYTES_PER_STEP
        );
    }

    #[test]
    fn every_training_of_a_plan_is_counted() {
        let plan = plan(
            "seeds = [1, 2, 3]\n[data]\npath = 'digits'\n[student]\narch = 'mlp-8'\n\
             [method]\nname = 'soft-targets'\n[train]\nepochs = 2\nbatch = 100\n\
             [teacher]\narch = 'mlp-16'\nmembers = 2\n[teacher.train]\nepochs = 5\nbatch = 50\n\
             [teacher.data]\nlimit = 500",
        );
        let prepared = Prepared::of(&plan).unwrap();
        let estimate = estimate(&plan, &prepared, DeviceChoice::CPU).unwrap();
        assert_eq!(estimate.device, "cpu");
        assert_eq!((estimate.batch, estimate.train_rows), (100, 1297));
        // Two teachers, and three seeds of two arms.
        assert_eq!(estimate.trainings, 2 + 3 * 2);
        assert_eq!(estimate.steps, 2 * 5 * 10 + 6 * 2 * 12);
        assert_eq!(estimate.student_parameters, 610);
        assert_eq!(
            estimate.teacher_parameters,
            2 * (64 * 16 + 16 + 16 * 10 + 10)
        );
        assert!(estimate.student_step_ms > 0.0 && estimate.teacher_forward_ms > 0.0);
        let student_seconds =
            24.0 * (6.0 * estimate.student_step_ms + 3.0 * estimate.teacher_forward_ms) / 1e3;
        assert!(estimate.seconds > student_seconds);
        assert!(
            estimate.memory_bytes > 1297 * 64 && estimate.disk_bytes > 244 * LOG_BYTES_PER_STEP
        );
    }
}
