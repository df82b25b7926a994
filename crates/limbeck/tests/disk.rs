//! A disk that is full or read-only stops a run with a clear error and loses nothing.
//!
//! Needs a file system of its own, so only a superuser on Linux runs these tests; for everybody else they print
//! that they were skipped.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use limbeck::Error;
use support::{Case, result_of};

/// A file system in memory, unmounted when dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", options, "none"], folder.path());
        if !mounted {
            println!("skipped: this user cannot mount a file system");
        }
        mounted.then_some(Self { folder })
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(mount(&["-o", &options], self.folder.path()), "{options}");
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).status();
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    Command::new("mount")
        .args(arguments)
        .arg(at)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn unbroken() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    Case::new().run_in(&path).unwrap();
    result_of(&path)
}

#[test]
fn a_full_disk_stops_the_run_and_more_space_lets_it_go_on() {
    // Room for one checkpoint of about 20 kB and the logs, not for the second.
    let Some(disk) = Disk::new("size=72k") else {
        return;
    };
    let case = Case::new();
    match case.run_in(&disk.run()) {
        Err(error @ (Error::Write { .. } | Error::Graph(_))) => {
            let message = error.to_string();
            assert!(message.starts_with("cannot write `"), "{message}");
            assert!(message.contains("No space left on device"), "{message}");
            assert!(message.contains("free some space"), "{message}");
        }
        other => panic!("expected a write error, got {other:?}"),
    }
    assert!(disk.run().join("checkpoints/step-7/state.json").is_file());
    assert!(!disk.run().join("student.safetensors").exists());
    disk.remount("size=8m");
    case.run_in(&disk.run()).unwrap();
    assert_eq!(result_of(&disk.run()), unbroken());
}

#[test]
fn a_read_only_run_directory_is_an_error_and_stays_as_it_is() {
    let Some(disk) = Disk::new("size=8m") else {
        return;
    };
    let mut case = Case::new();
    case.stop_after = Some(9);
    assert!(matches!(
        case.run_in(&disk.run()),
        Err(Error::Interrupted { .. })
    ));
    case.stop_after = None;
    disk.remount("ro");
    match case.run_in(&disk.run()) {
        Err(Error::Write { path, source }) => {
            assert!(path.starts_with(disk.run()));
            assert_eq!(source.kind(), ErrorKind::ReadOnlyFilesystem);
        }
        other => panic!("expected a write error, got {other:?}"),
    }
    disk.remount("rw");
    case.run_in(&disk.run()).unwrap();
    assert_eq!(result_of(&disk.run()), unbroken());
}
