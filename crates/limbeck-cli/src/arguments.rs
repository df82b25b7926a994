//! What can be typed on the command line.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use limbeck::data::Normalization;
use limbeck::device::DeviceChoice;
use limbeck::graph::Precision;

/// Distil a small model from a trained one, and prove what it is worth.
#[derive(Debug, Parser)]
#[command(
    name = "limbeck",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        limbeck demo                                 a distilled student in under a minute\n  \
        limbeck run recipes/soft-targets.toml        the main job\n  \
        limbeck eval model.pth --arch resnet-20 --data cifar10 --normalize 0.5,0.5\n\n\
        Exit codes: 0 done, 1 the machine failed (disk, device), 2 wrong input, 3 a check failed, \
        130 interrupted with a checkpoint.\n\n\
        Environment: LIMBECK_KERNELS chooses the instructions of the CPU device (avx512, avx2, portable; off for Burn's own \
        operations; by default the best of the machine), RUST_LOG what is logged."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print errors and results only, no progress
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Processor to compute on: cpu, cuda:0, wgpu, metal or rocm (the last four need a build with the feature of
    /// that name)
    #[arg(long, global = true, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceChoice>,
    /// Threads of the CPU device [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a teacher, a student alone and a distilled student on embedded digits, with report
    #[command(after_help = "Example:\n  limbeck demo --out runs/demo")]
    Demo(Demo),
    /// Run a recipe
    #[command(after_help = "Examples:\n  limbeck run recipes/soft-targets.toml\n  \
                            limbeck run recipes/soft-targets.toml --resume")]
    Run(Run),
    /// Check a recipe and print what a run needs: memory, disk and time
    #[command(after_help = "Example:\n  limbeck plan recipes/soft-targets.toml")]
    Plan(Plan),
    /// Layers, shapes, taps, parameters and multiply-adds of a model, and what of it would train
    #[command(after_help = "Examples:\n  limbeck inspect resnet-20 --classes 10\n  \
                            limbeck inspect student.onnx\n  \
                            limbeck inspect model.pth --arch resnet-20 --input 3x32x32")]
    Inspect(Inspect),
    /// Measure a model or a finished run on a data set
    #[command(after_help = "Examples:\n  \
        limbeck eval model.pth --arch resnet-20 --data cifar10 --normalize 0.5,0.5 --json\n  \
        limbeck eval teacher.onnx --data cifar10 --normalize 0.5,0.5\n  \
        limbeck eval runs/demo --data digits")]
    Eval(Eval),
    /// Print a commented recipe for two models and a data set, ready to run
    #[command(after_help = "Example:\n  \
        limbeck init --teacher teacher.onnx --student student.onnx --data cifar10 --out recipe.toml")]
    Init(Init),
    /// Run a model on tensors from a file
    #[command(after_help = "Example:\n  \
        limbeck infer student.onnx --inputs rows.safetensors --out answers.safetensors --taps layer1")]
    Infer(Infer),
    /// The methods, with their papers and settings
    #[command(after_help = "Example:\n  limbeck methods soft-targets")]
    Methods(Named),
    /// The model zoo
    #[command(after_help = "Example:\n  limbeck models resnet")]
    Models(Named),
    /// The data sets, and downloads
    #[command(after_help = "Examples:\n  limbeck datasets\n  limbeck datasets get fashion_mnist")]
    Datasets(Datasets),
    /// Write a run's student or another model for other programs, and check that it computes the same
    #[command(after_help = "Examples:\n  \
        limbeck export runs/demo --to onnx --out student.onnx\n  \
        limbeck export model.pth --arch resnet-20 --to onnx --data cifar10 --out model.onnx")]
    Export(Export),
    /// Write a run's report again, or compare several runs
    #[command(after_help = "Example:\n  limbeck report runs/a runs/b --out comparison")]
    Report(Report),
    /// Time the work of training
    #[command(
        subcommand,
        after_help = "Example:\n  limbeck bench step --teacher resnet-56 --student resnet-20 --threads 2"
    )]
    Bench(Bench),
}

/// `limbeck bench`
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// One distillation step: teacher forward, student forward and backward, update
    #[command(after_help = "Example:\n  \
        limbeck bench step --teacher resnet-56 --student resnet-20 --method kd --batch 64 --classes 100 --threads 2 --json")]
    Step(BenchStep),
}

/// `limbeck bench step`
#[derive(Debug, Args)]
pub(crate) struct BenchStep {
    /// Architecture of the teacher
    #[arg(long, default_value = "resnet-56", value_name = "ARCH")]
    pub(crate) teacher: String,
    /// What the teacher multiplies in
    #[arg(long, default_value_t, value_name = "PRECISION", value_parser = precision())]
    pub(crate) precision: Precision,
    /// Architecture of the student
    #[arg(long, default_value = "resnet-20", value_name = "ARCH")]
    pub(crate) student: String,
    /// What the step compares: labels alone, or soft targets at temperature 4 with weight 0.9 beside them
    #[arg(long, default_value = "kd")]
    pub(crate) method: BenchMethod,
    /// Images per step
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Classes
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) classes: u32,
    /// Channels of the images
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Height and width of the images
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) size: u32,
    /// Steps counted
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) steps: u32,
    /// Steps before them that are not counted
    #[arg(long, default_value_t = 4)]
    pub(crate) warmup: u32,
}

/// The methods that `bench step` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchMethod {
    /// Cross entropy with the labels.
    None,
    /// Soft targets.
    Kd,
}

/// `limbeck demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Where to write the run
    #[arg(long, default_value = "runs/demo", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Continue an interrupted demo where its last checkpoint left it
    #[arg(long)]
    pub(crate) resume: bool,
}

/// `limbeck run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The recipe
    pub(crate) recipe: PathBuf,
    /// Continue an interrupted run where its last checkpoint left it
    #[arg(long)]
    pub(crate) resume: bool,
    /// Where to write the run [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Train with these seeds instead of the recipe's
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub(crate) seeds: Vec<u64>,
    /// Override a key of the recipe; paths are then relative to the present folder
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// `limbeck plan`
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The recipe
    pub(crate) recipe: PathBuf,
    /// Override a key of the recipe; paths are then relative to the present folder
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// `limbeck inspect`
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A model of the zoo, an ONNX file, a checkpoint (.safetensors, .pt, .pth), or a run
    pub(crate) model: String,
    /// The checkpoint's network, a name of `limbeck models`
    #[arg(long)]
    pub(crate) arch: Option<String>,
    /// Shape of the input, channels x height x width [default: the checkpoint's, else 3x32x32]
    #[arg(long, value_parser = parse_shape)]
    pub(crate) input: Option<Shape>,
    /// Number of classes [default: the checkpoint's, else 10]
    #[arg(long)]
    pub(crate) classes: Option<usize>,
}

/// `limbeck eval`
#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// A run directory, an ONNX file, or a checkpoint (.safetensors, .pt, .pth)
    pub(crate) model: PathBuf,
    /// Folder, file or name of the data
    #[arg(long, value_name = "PATH")]
    pub(crate) data: String,
    /// The checkpoint's network, a name of `limbeck models`
    #[arg(long)]
    pub(crate) arch: Option<String>,
    /// Mean and standard deviation of the pixels scaled to 0..1: two numbers, or two per channel (means first) [default: the run's,
    /// else the training set's]
    #[arg(long, value_name = "MEAN,STD", value_parser = parse_normalization)]
    pub(crate) normalize: Option<Normalization>,
    /// Which part of the data
    #[arg(long, value_enum, default_value_t = SplitName::Test)]
    pub(crate) split: SplitName,
    /// Rows per batch
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// What the network multiplies in, fp32 or bf16, as of `teacher.precision`
    #[arg(long, default_value_t, value_name = "PRECISION", value_parser = precision())]
    pub(crate) precision: Precision,
    /// Write the logits, labels and ids to a safetensors file
    #[arg(long, value_name = "FILE")]
    pub(crate) predictions: Option<PathBuf>,
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SplitName {
    Train,
    Validation,
    Test,
}

/// A command that lists things, or shows one.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Show this one in full
    pub(crate) name: Option<String>,
}

/// `limbeck datasets`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Datasets {
    /// Show this one in full
    pub(crate) name: Option<String>,
    #[command(subcommand)]
    pub(crate) action: Option<DatasetsAction>,
}

/// What to do with data sets.
#[derive(Debug, Subcommand)]
pub(crate) enum DatasetsAction {
    /// Download a data set from the Hugging Face hub, checked against its SHA-256
    Get {
        /// Its name in `limbeck datasets`
        name: String,
        /// Where to put it
        #[arg(long, default_value = "data", value_name = "DIR")]
        out: PathBuf,
    },
}

/// `limbeck init`
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Who knows: an ONNX file, a checkpoint of the zoo, or a name of `limbeck models` to be trained first
    #[arg(long, value_name = "MODEL")]
    pub(crate) teacher: String,
    /// Who learns: an ONNX file, a checkpoint of the zoo, or a name of `limbeck models`
    #[arg(long, value_name = "MODEL")]
    pub(crate) student: String,
    /// Folder, file or name of the data
    #[arg(long, value_name = "PATH")]
    pub(crate) data: String,
    /// The network of a teacher's checkpoint that does not say it, a name of `limbeck models`
    #[arg(long, value_name = "ARCH")]
    pub(crate) teacher_arch: Option<String>,
    /// The network of a student's checkpoint that does not say it
    #[arg(long, value_name = "ARCH")]
    pub(crate) student_arch: Option<String>,
    /// Where to write the recipe [default: print it]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `limbeck infer`
#[derive(Debug, Args)]
pub(crate) struct Infer {
    /// An ONNX file, a run directory, or a checkpoint (.safetensors, .pt, .pth)
    pub(crate) model: PathBuf,
    /// A safetensors file with one tensor per input under its name in the model; a single one may have any name. Token ids are
    /// I64 or I32, everything else F32 or F64
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs: PathBuf,
    /// Where to write the outputs, a safetensors file
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Values inside the model to write too, by name; `limbeck inspect` lists them
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub(crate) taps: Vec<String>,
    /// The checkpoint's network, a name of `limbeck models`
    #[arg(long)]
    pub(crate) arch: Option<String>,
    /// Rows that are run at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
}

/// `limbeck export`
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The run directory, or an ONNX file or checkpoint
    pub(crate) model: PathBuf,
    /// The format
    #[arg(long, value_enum)]
    pub(crate) to: ExportFormat,
    /// The file to write [default: RUN/export/student.FORMAT]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The data whose first rows are compared [default: the run's]
    #[arg(long, value_name = "PATH")]
    pub(crate) data: Option<String>,
    /// Mean and standard deviation of the pixels of these rows [default: what the model says, else 0..1]
    #[arg(long, value_name = "MEAN,STD", value_parser = parse_normalization)]
    pub(crate) normalize: Option<Normalization>,
    /// The checkpoint's network, a name of `limbeck models`
    #[arg(long)]
    pub(crate) arch: Option<String>,
}

/// A format that students are exported to.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Weights under PyTorch's names, as `safetensors.torch.load_file` reads them
    Safetensors,
    /// The whole network: the file that it was read from with the trained weights, or a fresh one for a network of the zoo
    Onnx,
}

/// `limbeck report`
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Run directories
    #[arg(required = true, num_args = 1..)]
    pub(crate) runs: Vec<PathBuf>,
    /// Where to write a comparison of several runs
    #[arg(long, default_value = "runs/comparison", value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// `[channels, height, width]`
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape(pub(crate) [usize; 3]);

pub(crate) fn parse_shape(text: &str) -> Result<Shape, String> {
    let parts: Vec<usize> = text
        .split('x')
        .map(|part| part.parse().ok().filter(|&n| n > 0))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("expected CHANNELSxHEIGHTxWIDTH such as 3x32x32, got `{text}`"))?;
    match parts.as_slice() {
        &[channels, height, width] => Ok(Shape([channels, height, width])),
        _ => Err(format!(
            "expected three numbers such as 3x32x32, got `{text}`"
        )),
    }
}

fn precision() -> impl TypedValueParser<Value = Precision> {
    let names = Precision::CHOICES.map(|(name, _)| name);
    PossibleValuesParser::new(names).map(|text| {
        let known = Precision::CHOICES.iter().find(|(name, _)| *name == text);
        known.expect("clap lets no other value through").1
    })
}

fn parse_normalization(text: &str) -> Result<Normalization, String> {
    let numbers: Vec<f64> = text
        .split(',')
        .map(|part| part.trim().parse::<f64>().ok().filter(|n| n.is_finite()))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("expected numbers such as 0.5,0.5, got `{text}`"))?;
    Normalization::from_values(&numbers).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn normalization_takes_one_value_or_one_per_channel() {
        let one = parse_normalization("0.5,0.25").unwrap();
        assert_eq!((one.mean, one.std), (vec![0.5], vec![0.25]));
        let three = parse_normalization("0.1, 0.2, 0.3, 1, 2, 3").unwrap();
        assert_eq!(three.mean, vec![0.1, 0.2, 0.3]);
        assert_eq!(three.std, vec![1.0, 2.0, 3.0]);
        for bad in ["", "0.5", "0.5,0", "a,b", "0.5,nan"] {
            assert!(parse_normalization(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Arguments::command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("limbeck "),
                "{} has no example",
                command.get_name()
            );
        }
    }
}
