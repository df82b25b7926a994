//! A run that is killed at random moments, some of them inside a checkpoint write, ends with the bits of one
//! that was not.
//!
//! The process that trains is this test's own executable, started again. `LIMBECK_KILLS` says how often it is killed,
//! 4 times unless set.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use limbeck::Seed;
use rand::RngExt;
use support::{Case, log_of, result_of};

const FOLDER: &str = "LIMBECK_TEST_RUN_DIRECTORY";

fn kills() -> u64 {
    std::env::var("LIMBECK_KILLS").map_or(4, |text| text.parse().unwrap())
}

/// A checkpoint after every step, so that much of the time is spent in writing them.
fn case() -> Case {
    let mut case = Case::new();
    case.settings.epochs = 2 * kills();
    case.settings.average = Some(0.99);
    case.settings.early_stopping = Some(100);
    case.settings.checkpoint_every = Some(1);
    case
}

/// What the killed process does; nothing when run as a test.
#[test]
fn train_where_the_environment_says() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        case().run_in(Path::new(&folder)).unwrap();
    }
}

fn spawn(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "train_where_the_environment_says"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn newest_step(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder.join("checkpoints")) else {
        return 0;
    };
    entries
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()?
                .strip_prefix("step-")?
                .parse()
                .ok()
        })
        .max()
        .unwrap_or(0)
}

fn has_unfinished_checkpoint(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder.join("checkpoints")) else {
        return false;
    };
    entries.any(|entry| {
        let name = entry.unwrap().file_name();
        name.to_string_lossy().starts_with(".tmp-")
    })
}

#[test]
fn a_killed_run_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let started = Instant::now();
    assert!(spawn(&whole).wait().unwrap().success());
    let length = started.elapsed();

    let mut moments = Seed::new(0).stream("kill", &[]);
    let (mut kills_done, mut unfinished) = (0, 0);
    while kills_done < kills() {
        let before = newest_step(&killed);
        let mut child = spawn(&killed);
        if kills_done % 2 == 0 {
            // While it starts or resumes.
            sleep(Duration::from_millis(moments.random_range(0..60)));
        } else {
            // After at least one more checkpoint, so that the run gets somewhere.
            let deadline = Instant::now() + 20 * length + Duration::from_secs(20);
            while newest_step(&killed) == before && child.try_wait().unwrap().is_none() {
                assert!(Instant::now() < deadline, "no progress after step {before}");
                sleep(Duration::from_millis(1));
            }
            sleep(length.mul_f64(moments.random_range(0.0..0.5 / kills() as f64)));
        }
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills_done += 1;
        unfinished += u64::from(has_unfinished_checkpoint(&killed));
    }
    assert!(kills_done > 0, "the run ended before the first kill");
    assert!(spawn(&killed).wait().unwrap().success());
    println!("{kills_done} kills, {unfinished} of them inside a checkpoint write");
    assert_eq!(result_of(&whole), result_of(&killed));
    assert_eq!(log_of(&whole), log_of(&killed));
}
