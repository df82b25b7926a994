//! A training in progress: epochs, steps, evaluations and checkpoints.

mod guard;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::Device;
use limbeck_graph::weights::write_safetensors;
use limbeck_graph::{Network, Seed, Taps};
use serde_json::{Map, Value};

use guard::{expect_same, first_not_finite};

use super::average::Average;
use super::batches::BatchSource;
use super::checkpoint::{Checkpoint, State, remove_unfinished};
use super::evaluation::evaluate;
use super::gradient::{self, squared_norm};
use super::learning_rate::LearningRate;
use super::log::{Log, StepReport};
use super::objective::Objective;
use super::optimizer::Optimizer;
use super::parameters::{self, Named, Weights};
use super::progress::{Event, Progress};
use super::run_directory::RunDirectory;
use super::settings::TrainSettings;
use super::tally::Tally;
use super::trainer::{Outcome, Trainer};
use crate::data::Batch;
use crate::eval::{self, Metrics};
use crate::method::Method;
use crate::teacher::Teacher;
use crate::{Error, Result};

/// The measured quality of a student after an epoch.
#[derive(Clone, Debug)]
struct Scores {
    epoch: u64,
    validation: Option<Metrics>,
    test: Option<Metrics>,
}

/// A training in progress, apart from the student.
pub(super) struct Session<'a> {
    teacher: Option<(&'a dyn Teacher, Taps)>,
    method: &'a dyn Method,
    train: &'a dyn BatchSource,
    validation: Option<&'a dyn BatchSource>,
    test: Option<&'a dyn BatchSource>,
    settings: &'a TrainSettings,
    seed: Seed,
    device: Device,
    run: &'a RunDirectory,
    metadata: BTreeMap<String, String>,
    interrupt: Arc<AtomicBool>,
    progress: &'a mut dyn Progress,
    rates: LearningRate,
    log: Log,
    state: State,
    optimizer: Optimizer,
    average: Option<Average>,
    best: Option<Weights>,
    best_scores: Option<Scores>,
    last_scores: Option<Scores>,
    last_checkpoint: Option<PathBuf>,
}

impl<'a> Session<'a> {
    /// Checks that everything fits together and goes to where the newest checkpoint is.
    pub(super) fn open<S: Network>(trainer: Trainer<'a, S>) -> Result<(Self, S)> {
        let Trainer {
            student,
            teacher,
            method,
            train,
            unaugmented,
            validation,
            test,
            settings,
            seed,
            device,
            run,
            metadata,
            interrupt,
            progress,
        } = trainer;
        let device = device.without_autodiff();
        let mut student = student.train();
        if train.batches_per_epoch() == 0 {
            let reason =
                "the training set holds less than one batch; choose a smaller `train.batch`";
            return Err(Error::Data(reason.to_owned()));
        }
        if settings.early_stopping.is_some() && validation.is_none() {
            let reason = "`train.early_stopping` needs a validation split, and the data has none; \
                          set `data.validation` or leave early stopping out";
            return Err(Error::Data(reason.to_owned()));
        }
        let teacher = asked(method, teacher)?;
        prepare(method, teacher.as_ref(), unaugmented, &device)?;

        remove_unfinished(run.path())?;
        remove_unfinished(&run.checkpoints())?;
        let newest = Checkpoint::newest(run)?;
        let mut state = State::start(seed.value(), settings.fingerprint());
        let mut optimizer = Optimizer::new(&settings.optimizer);
        let mut average = settings.average.map(|decay| Average::new(decay, &student));
        let mut best = None;
        let mut last_checkpoint = None;
        if let Some((path, checkpoint)) = newest.checkpoint {
            expect_same(run, &state, &checkpoint.state)?;
            student = parameters::load(student, &checkpoint.student)?;
            optimizer.load(&student, checkpoint.optimizer, &device)?;
            if let (Some(decay), Some(values)) = (settings.average, checkpoint.average) {
                average = Some(Average::restore(decay, values, &device)?);
            }
            best = checkpoint.best;
            state = checkpoint.state;
            last_checkpoint = Some(path);
        }
        let steps_per_epoch = train.batches_per_epoch().div_ceil(settings.accumulate) as u64;
        let log = Log::open(run, &state.log, state.step + 1)?;
        let mut session = Self {
            teacher,
            method,
            train,
            validation,
            test,
            settings,
            seed,
            device,
            run,
            metadata,
            interrupt,
            progress,
            rates: settings.learning_rates(steps_per_epoch),
            log,
            state,
            optimizer,
            average,
            best,
            best_scores: None,
            last_scores: None,
            last_checkpoint,
        };
        for sentence in newest.damaged {
            session.warn(&sentence)?;
        }
        session.progress.event(Event::Start {
            step: session.state.step,
            steps: session.rates.steps,
            epochs: settings.epochs,
        });
        Ok((session, student))
    }

    pub(super) fn is_done(&self) -> bool {
        self.state.epoch >= self.settings.epochs || self.state.stopping.stopped()
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// What is left of the current epoch, and its evaluation.
    pub(super) fn epoch<S: Network>(&mut self, mut student: S) -> Result<S> {
        let epoch = self.state.epoch;
        self.progress.event(Event::Epoch(epoch));
        let train = self.train;
        let count = train.batches_per_epoch();
        let mut batches = train.epoch(epoch, self.state.batch.min(count));
        while self.state.batch < count {
            let group = self.settings.accumulate.min(count - self.state.batch);
            student = self.step(student, &mut *batches, group)?;
            let due = |every| self.state.step.is_multiple_of(every);
            let before_evaluation = self.state.batch < count;
            if self.is_interrupted()
                || before_evaluation && self.settings.checkpoint_every.is_some_and(due)
            {
                self.checkpoint(&student)?;
            }
            self.stop_if_interrupted()?;
        }
        drop(batches);
        if (epoch + 1).is_multiple_of(self.settings.evaluate_every)
            || epoch + 1 == self.settings.epochs
        {
            self.evaluate(&student)?;
        }
        self.state.epoch += 1;
        self.state.batch = 0;
        let due = match self.settings.checkpoint_every {
            None => true,
            Some(every) => self.state.step.is_multiple_of(every),
        };
        if due || self.is_done() || self.is_interrupted() {
            self.checkpoint(&student)?;
        }
        if !self.is_done() {
            self.stop_if_interrupted()?;
        }
        Ok(student)
    }

    fn stop_if_interrupted(&self) -> Result<()> {
        match &self.last_checkpoint {
            Some(checkpoint) if self.is_interrupted() => Err(Error::Interrupted {
                step: self.state.step,
                checkpoint: checkpoint.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// One optimiser step on the next `group` batches.
    fn step<S: Network>(
        &mut self,
        student: S,
        batches: &mut dyn Iterator<Item = Result<Batch>>,
        group: usize,
    ) -> Result<S> {
        let started = Instant::now();
        let step = self.state.step + 1;
        let learning_rate = self.rates.at(self.state.step);
        let mut tally = Tally::default();
        let mut gradients = Named::new();
        for position in 0..group {
            let batch = batches.next().unwrap_or_else(|| {
                let reason = format!("the data ended before step {step} of the announced batches");
                Err(Error::Data(reason))
            })?;
            let inputs = eval::inputs(&batch, &self.device)?;
            let answer = match &self.teacher {
                Some((teacher, taps)) => Some(teacher.answer(&inputs, taps)?),
                None => None,
            };
            let objective = Objective {
                method: self.method,
                answer: answer.as_ref(),
                progress: self.state.step as f64 / self.rates.steps as f64,
                seed: self.seed,
                position: [step, position as u64],
                device: &self.device,
            };
            let pass = objective.differentiate(&student, &inputs, &batch)?;
            let rows = batch.ids.len();
            tally.add(rows, pass.terms);
            if group == 1 {
                gradients = pass.gradients;
            } else {
                gradient::accumulate(&mut gradients, pass.gradients, rows as f64);
            }
        }
        if group > 1 {
            gradients = gradient::scaled(gradients, 1.0 / tally.rows() as f64);
        }
        let square = squared_norm(gradients.values(), &self.device);
        let numbers = tally.read(vec![square])?;
        let gradient_norm = f64::from(numbers.rest[0]).sqrt();
        if let Some((what, value)) = numbers.not_finite() {
            return Err(self.not_finite(&student, what, value, step)?);
        }
        if !gradient_norm.is_finite() {
            let (what, value) = match first_not_finite(&gradients)? {
                Some((name, value)) => (format!("the gradient of `{name}`"), value),
                None => ("the norm of the gradient".to_owned(), numbers.rest[0]),
            };
            return Err(self.not_finite(&student, what, value, step)?);
        }
        let terms = numbers.terms;
        self.watch_silent_terms(&terms, step)?;
        let gradients = gradient::clip(gradients, self.settings.clip, gradient_norm);
        let student = parameters::update(student, &mut self.optimizer, learning_rate, gradients);
        if let Some(average) = &mut self.average {
            average.update(&student, step);
        }
        let report = StepReport {
            step,
            epoch: self.state.epoch,
            learning_rate,
            loss: terms.iter().map(|term| term.weight * term.value).sum(),
            gradient_norm,
            terms,
            seconds: started.elapsed().as_secs_f64(),
        };
        self.state.step = step;
        self.state.batch += group;
        self.log.step(&report)?;
        self.progress.event(Event::Step(&report));
        Ok(student)
    }

    /// The student as it is evaluated and exported: averaged if there is an average, in evaluation mode.
    fn shown<S: Network>(&self, student: &S) -> Result<S> {
        let shown = student.valid();
        match &self.average {
            None => Ok(shown),
            Some(average) => parameters::load(shown, &average.weights()?),
        }
    }

    fn evaluate<S: Network>(&mut self, student: &S) -> Result<()> {
        self.expect_finite_weights(student)?;
        let shown = self.shown(student)?;
        let scores = self.scores(&shown)?;
        let (step, epoch) = (self.state.step, scores.epoch);
        for (split, metrics) in [("validation", &scores.validation), ("test", &scores.test)] {
            let Some(metrics) = metrics else {
                continue;
            };
            self.log
                .evaluation(step, epoch, split, &numbers_of(metrics))?;
            self.progress.event(Event::Evaluation {
                epoch,
                split,
                top1: metrics.top1,
                nll: metrics.nll,
            });
        }
        if let (Some(patience), Some(metrics)) = (self.settings.early_stopping, &scores.validation)
        {
            let stopping = &mut self.state.stopping;
            if stopping.observe(epoch, metrics.top1, metrics.nll, patience) {
                self.best = Some(parameters::weights(&shown)?);
                self.best_scores = Some(scores.clone());
            }
        }
        self.last_scores = Some(scores);
        Ok(())
    }

    fn scores<S: Network>(&self, shown: &S) -> Result<Scores> {
        let measure = |source: Option<&dyn BatchSource>| {
            source
                .map(|source| evaluate(shown, source, &self.device))
                .transpose()
        };
        Ok(Scores {
            epoch: self.state.epoch,
            validation: measure(self.validation)?,
            test: measure(self.test)?,
        })
    }

    fn checkpoint<S: Network>(&mut self, student: &S) -> Result<()> {
        self.expect_finite_weights(student)?;
        self.state.log = self.log.sync()?;
        let checkpoint = Checkpoint {
            state: self.state.clone(),
            student: parameters::weights(student)?,
            optimizer: self.optimizer.save()?,
            average: self.average.as_ref().map(Average::weights).transpose()?,
            best: self.best.clone(),
        };
        let path = checkpoint.write(self.run, self.settings.keep_checkpoints)?;
        self.progress.event(Event::Checkpoint(&path));
        self.last_checkpoint = Some(path);
        Ok(())
    }

    /// Writes the result.
    pub(super) fn finish<S: Network>(
        mut self,
        student: &S,
        started: Instant,
    ) -> Result<Outcome<S>> {
        let (student, chosen_epoch) = match (&self.best, self.state.stopping.best_epoch()) {
            (Some(best), Some(epoch)) => (parameters::load(student.valid(), best)?, epoch),
            _ => (self.shown(student)?, self.state.epoch.saturating_sub(1)),
        };
        let known = [self.best_scores.take(), self.last_scores.take()]
            .into_iter()
            .flatten()
            .find(|scores| scores.epoch == chosen_epoch);
        // A run that was resumed after its last epoch has not measured anything itself.
        let scores = match known {
            Some(scores) => scores,
            None => self.scores(&student)?,
        };
        self.log.sync()?;
        let mut metadata = std::mem::take(&mut self.metadata);
        // Readers made for PyTorch ask for this entry.
        metadata.insert("format".to_owned(), "pt".to_owned());
        write_safetensors(
            self.run.student_file(),
            &parameters::weights(&student)?,
            &metadata,
        )?;
        Ok(Outcome {
            student,
            steps: self.state.step,
            epochs: self.state.epoch,
            chosen_epoch,
            stopped_early: self.state.stopping.stopped(),
            validation: scores.validation,
            test: scores.test,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    fn warn(&mut self, sentence: &str) -> Result<()> {
        self.progress.event(Event::Warning(sentence));
        self.log.message("warning", self.state.step, sentence)
    }
}

/// The teacher and its taps, if the method asks it.
fn asked<'a>(
    method: &dyn Method,
    teacher: Option<&'a dyn Teacher>,
) -> Result<Option<(&'a dyn Teacher, Taps)>> {
    match (method.teacher_taps(), teacher) {
        (None, _) => Ok(None),
        (Some(taps), Some(teacher)) => Ok(Some((teacher, taps))),
        (Some(_), None) => Err(Error::Data(format!(
            "method `{}` needs a teacher, and there is none",
            method.name()
        ))),
    }
}

/// Lets the method look at the teacher's answers over the training set.
fn prepare(
    method: &mut dyn Method,
    teacher: Option<&(&dyn Teacher, Taps)>,
    unaugmented: Option<&dyn BatchSource>,
    device: &Device,
) -> Result<()> {
    let name = method.name();
    let mut answers: Box<dyn Iterator<Item = Result<_>>> = match (teacher, unaugmented) {
        (Some((teacher, taps)), Some(source)) => Box::new(
            source
                .epoch(0, 0)
                .map(|batch| teacher.answer(&eval::inputs(&batch?, device)?, taps)),
        ),
        _ => Box::new(std::iter::once_with(|| {
            Err(Error::Data(format!(
                "method `{name}` looks at the teacher's answers over the training set first, \
                 and was given none"
            )))
        })),
    };
    method.prepare(&mut answers)
}

/// The metrics that are single numbers, by name.
fn numbers_of(metrics: &Metrics) -> Map<String, Value> {
    let Ok(Value::Object(fields)) = serde_json::to_value(metrics) else {
        return Map::new();
    };
    fields
        .into_iter()
        .filter(|(_, value)| value.is_number())
        .collect()
}
