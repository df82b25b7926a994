//! One file per command.

pub(crate) mod bench;
pub(crate) mod datasets;
pub(crate) mod demo;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod infer;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod methods;
pub(crate) mod models;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod run;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use limbeck::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::arguments::Global;
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
