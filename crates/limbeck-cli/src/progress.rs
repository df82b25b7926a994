//! Progress: bars with an estimate on a terminal, plain lines in a pipe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use limbeck::eval::Metrics;
use limbeck::experiment::Observer;
use limbeck::train::{Event, Progress};

use crate::output::{Output, duration, tell};

/// Time between plain lines within an epoch.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);

/// Shows how a run goes on.
pub(crate) struct Watcher {
    /// What may be shown, and whether a person watches it.
    mode: Option<bool>,
    /// Set when the run was asked to stop.
    interrupt: Arc<AtomicBool>,
    part: String,
    bar: ProgressBar,
    epochs: u64,
    epoch: u64,
    first_step: u64,
    steps: u64,
    started: Instant,
    last_line: Instant,
    latest: String,
}

impl Watcher {
    pub(crate) fn new(output: &Output, interrupt: Arc<AtomicBool>) -> Self {
        Self {
            mode: output.progress(),
            interrupt,
            part: String::new(),
            bar: ProgressBar::hidden(),
            epochs: 0,
            epoch: 0,
            first_step: 0,
            steps: 0,
            started: Instant::now(),
            last_line: Instant::now(),
            latest: String::new(),
        }
    }

    fn line(&self, text: &str) {
        match self.mode {
            Some(true) => self.bar.suspend(|| tell(text)),
            Some(false) => tell(text),
            None => {}
        }
    }

    /// Time left of this part, from the steps that this process has done.
    fn left(&self, step: u64) -> String {
        let done = step.saturating_sub(self.first_step);
        if done == 0 {
            return String::new();
        }
        let per_step = self.started.elapsed().as_secs_f64() / done as f64;
        format!(
            ", {} left",
            duration(per_step * self.steps.saturating_sub(step) as f64)
        )
    }

    fn step(&mut self, step: u64, loss: f64) {
        let message = format!(
            "epoch {}/{} loss {loss:.4}{}",
            self.epoch + 1,
            self.epochs,
            self.latest
        );
        if self.mode == Some(true) {
            self.bar.set_position(step);
            self.bar.set_message(message);
        } else if self.last_line.elapsed() > PLAIN_INTERVAL {
            self.last_line = Instant::now();
            self.line(&format!(
                "{}: step {step}/{} {message}{}",
                self.part,
                self.steps,
                self.left(step)
            ));
        }
    }
}

impl Progress for Watcher {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start {
                step,
                steps,
                epochs,
            } => {
                (self.first_step, self.steps, self.epochs) = (step, steps, epochs);
                self.started = Instant::now();
                self.last_line = Instant::now();
                self.latest.clear();
                if self.mode == Some(true) {
                    self.bar = bar(steps, &self.part);
                    self.bar.set_position(step);
                }
                if step > 0 {
                    self.line(&format!("{}: continuing after step {step}", self.part));
                }
            }
            Event::Epoch(epoch) => self.epoch = epoch,
            Event::Step(report) => {
                // The run stops after this step.
                if self.interrupt.load(Ordering::Relaxed) {
                    self.line("interrupted: writing a checkpoint (again to stop at once)");
                }
                self.step(report.step, report.loss);
            }
            Event::Evaluation {
                epoch,
                split,
                top1,
                nll,
            } => {
                self.latest = format!(", {split} {:.2} %", 100.0 * top1);
                if self.mode == Some(false)
                    && (self.started.elapsed() > PLAIN_INTERVAL || epoch + 1 == self.epochs)
                {
                    self.last_line = Instant::now();
                    self.line(&format!(
                        "{}: epoch {}/{} {split} accuracy {:.2} %, NLL {nll:.4}",
                        self.part,
                        epoch + 1,
                        self.epochs,
                        100.0 * top1
                    ));
                }
            }
            Event::Warning(text) => self.line(&format!("warning: {text}")),
            _ => {}
        }
    }
}

impl Observer for Watcher {
    fn begin(&mut self, part: &str) {
        part.clone_into(&mut self.part);
    }

    fn measured(&mut self, part: &str, metrics: &Metrics) {
        self.bar.finish_and_clear();
        self.line(&format!(
            "{part}: accuracy {:.2} % of {} rows, NLL {:.4}, ECE {:.4}",
            100.0 * metrics.top1,
            metrics.count,
            metrics.nll,
            metrics.ece
        ));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn bar(steps: u64, part: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {msg} eta {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(8))
        .with_style(style)
        .with_prefix(part.to_owned())
}

/// Shows how a download goes on.
pub(crate) struct Download {
    bar: ProgressBar,
}

impl Download {
    pub(crate) fn new(name: &str, output: &Output) -> Self {
        let bar = match output.progress() {
            Some(true) => {
                ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8))
            }
            Some(false) => {
                tell(&format!("downloading {name}"));
                ProgressBar::hidden()
            }
            None => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template(
            "{prefix} {bar:32} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self {
            bar: bar.with_style(style).with_prefix(name.to_owned()),
        }
    }

    pub(crate) fn update(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
