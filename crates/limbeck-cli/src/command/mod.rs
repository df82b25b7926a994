//! One file per command.

pub(crate) mod bench;
pub(crate) mod datasets;
pub(crate) mod demo;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod inspect;
pub(crate) mod methods;
pub(crate) mod models;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use limbeck::data::Normalization;
use limbeck::graph::weights::{self, HostTensor};
use limbeck::graph::zoo;
use limbeck::graph::{self, ir::Graph};
use limbeck::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::arguments::{Global, parse_shape};
use crate::failure::INTERRUPTED;

/// Sets the threads of the CPU device and says how many there are.
///
/// This thread is one of them: work that it hands out it begins itself, instead of waking another thread and waiting, which costs
/// more than a small operation takes. With a single thread it stays apart, since it waits for data that is read with these threads too.
fn threads(global: &Global) -> Result<usize> {
    let count = match global.threads {
        Some(threads) => usize::from(threads),
        None => std::env::var("RAYON_NUM_THREADS")
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|&count| count > 0)
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count);
    let pool = if count > 1 {
        pool.use_current_thread()
    } else {
        pool
    };
    pool.build_global()
        .map_err(|error| Error::Device(format!("cannot start {count} threads: {error}")))?;
    Ok(rayon::current_num_threads())
}

/// A flag that Ctrl-C and a request to terminate set; a second one ends the process at once. A lost terminal is left to the
/// system, so that `nohup` keeps a run going.
fn interrupt() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let listen = |signal: i32| -> std::io::Result<()> {
        // In this order the first signal finds the flag still down.
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&flag))?;
        flag::register(signal, Arc::clone(&flag))?;
        Ok(())
    };
    listen(SIGINT)
        .and_then(|()| listen(SIGTERM))
        .map_err(|error| Error::Device(format!("cannot listen for Ctrl-C: {error}")))?;
    Ok(flag)
}

/// Weights as a file holds them, with what the file says of them.
struct Checkpoint {
    path: PathBuf,
    tensors: BTreeMap<String, HostTensor>,
    metadata: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Reads the weights at `path`, a file or a run directory.
    fn read(path: &Path) -> Result<Self> {
        let path = weights_file(path)?;
        let weights::Checkpoint {
            tensors, metadata, ..
        } = weights::read_checkpoint(&path)?;
        Ok(Self {
            path,
            tensors,
            metadata,
        })
    }

    /// `[channels, height, width]` of the images it was trained on, if it says so.
    fn input(&self) -> Option<[usize; 3]> {
        let text = self.metadata.get("input")?;
        parse_shape(text).ok().map(|shape| shape.0)
    }

    /// Fits the weights into their network. What the caller does not know is taken from what the file says of itself, and
    /// the number of classes from its classifier.
    fn into_model(
        self,
        arch: Option<&str>,
        shape: Option<[usize; 3]>,
        classes: Option<usize>,
    ) -> Result<Model> {
        let said = |key: &str| self.metadata.get(key).map(String::as_str);
        let arch = arch.or(said("arch")).ok_or_else(|| {
            Error::Data(format!(
                "`{}` does not say which network it holds; name it with `--arch`, see `limbeck models`",
                self.path.display()
            ))
        })?;
        let shape = shape.or_else(|| self.input()).unwrap_or([3, 32, 32]);
        let classes = classes
            .or_else(|| said("classes").and_then(|text| text.parse().ok()))
            .or_else(|| classes_of(&self.tensors))
            .unwrap_or(10);
        let graph = zoo::build(arch, shape, classes)?;
        let tensors = weights::fit(&graph, self.tensors).map_err(|error| {
            let path = self.path.display();
            match error {
                graph::Error::Mismatch(_) => Error::Data(format!("`{path}`: {error}")),
                other => other.into(),
            }
        })?;
        Ok(Model {
            graph,
            tensors,
            metadata: self.metadata,
        })
    }
}

/// A network with the weights that a file holds for it.
struct Model {
    graph: Graph,
    tensors: BTreeMap<String, HostTensor>,
    metadata: BTreeMap<String, String>,
}

impl Model {
    /// The normalisation that the file names.
    fn normalization(&self) -> Option<Normalization> {
        Normalization::from_metadata(&self.metadata)
    }
}

/// The number of classes of a checkpoint: the length of the bias of its classifier.
fn classes_of(tensors: &BTreeMap<String, HostTensor>) -> Option<usize> {
    let is_classifier = |name: &str| {
        ["fc.", "linear.", "classifier.", "head."]
            .iter()
            .any(|word| name.contains(word))
    };
    tensors
        .iter()
        .filter(|(name, tensor)| is_classifier(name) && tensor.shape.len() == 2)
        .map(|(_, tensor)| tensor.shape[0])
        .next_back()
}

/// The student file of a run directory, or `path` itself if it is a file.
fn weights_file(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let student = path.join("student.safetensors");
    if student.is_file() {
        return Ok(student);
    }
    Err(Error::RunDirectory {
        path: path.to_owned(),
        reason:
            "has no `student.safetensors`; if its run is not finished, continue it with `--resume`"
                .to_owned(),
    })
}
