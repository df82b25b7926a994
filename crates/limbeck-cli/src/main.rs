//! The `limbeck` binary.

mod arguments;
mod command;
mod failure;
mod output;
mod progress;
mod summary;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Bench, Command};
use output::Output;

/// Tensors of a few megabytes come and go thousands of times a second; the system's allocator gives their memory back to the system
/// each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(arguments.global.quiet);
    let output = Output::new(&arguments.global);
    match dispatch(&arguments, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, &output),
    }
}

fn dispatch(arguments: &Arguments, output: &Output) -> limbeck::Result<()> {
    limbeck_kernels::processor::configured()
        .map_err(|error| limbeck::Error::Device(error.to_string()))?;
    let global = &arguments.global;
    match &arguments.command {
        Command::Demo(options) => command::demo::demo(options, global, output),
        Command::Run(options) => command::run::run(options, global, output),
        Command::Plan(options) => command::plan::plan(options, global, output),
        Command::Inspect(options) => command::inspect::inspect(options, output),
        Command::Eval(options) => command::eval::eval(options, global, output),
        Command::Init(options) => command::init::init(options, global, output),
        Command::Infer(options) => command::infer::infer(options, global, output),
        Command::Methods(options) => command::methods::methods(options, output),
        Command::Models(options) => command::models::models(options, output),
        Command::Datasets(options) => command::datasets::datasets(options, output),
        Command::Export(options) => command::export::export(options, global, output),
        Command::Report(options) => command::report::report(options, output),
        Command::Bench(Bench::Step(options)) => command::bench::step(options, global, output),
    }
}

/// Warnings of the library go to standard error; `RUST_LOG` asks for more.
fn start_log(quiet: bool) {
    use tracing_subscriber::EnvFilter;
    let default = if quiet { "error" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}
