//! Disks that are full or read-only: exit code 1, the last checkpoint intact, and the run goes on when there is room.
//!
//! File systems of their own need a superuser; for everybody else these tests print that they were skipped.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{Desk, Done, LABELS};

/// A file system in memory on the folder `disk` of a desk, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(desk: &Desk, options: &str) -> Option<Self> {
        let at = desk.path("disk");
        std::fs::create_dir(&at).unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", options, "none"], &at);
        if !mounted {
            println!("skipped: this user cannot mount a file system");
        }
        mounted.then_some(Self(at))
    }

    fn remount(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], &self.0));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
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

/// A desk with a recipe of a few epochs, and the student of an unbroken run of it.
fn desk() -> (Desk, Vec<u8>) {
    let desk = Desk::new();
    desk.write("recipe.toml", LABELS.replace("epochs = 2", "epochs = 6"));
    desk.limbeck(&["run", "recipe.toml", "--out", "whole"])
        .succeeded();
    let student = desk.read("whole/student.safetensors");
    (desk, student)
}

const RUN: [&str; 4] = ["run", "recipe.toml", "--out", "disk/run"];
const RESUME: [&str; 5] = ["run", "recipe.toml", "--out", "disk/run", "--resume"];

#[test]
fn a_full_disk_stops_the_run_and_more_space_lets_it_go_on() {
    let (desk, whole) = desk();
    // Room for the descriptions and a checkpoint or two, not for all that is kept.
    let Some(disk) = Disk::mount(&desk, "size=64k") else {
        return;
    };
    let done = desk.limbeck(&RUN).failed(
        1,
        &[
            "cannot write `disk/run/",
            "No space left on device",
            "free some space or choose another folder",
        ],
    );
    assert_eq!(done.stderr.matches("error: ").count(), 1);
    assert!(!desk.path("disk/run/student.safetensors").exists());
    let kept: Vec<_> = std::fs::read_dir(desk.path("disk/run/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("state.json").is_file())
        .collect();
    assert!(!kept.is_empty());
    disk.remount("size=8m");
    let done = desk.limbeck(&RESUME).succeeded();
    assert!(
        done.stderr.contains("continuing after step "),
        "{}",
        done.stderr
    );
    assert_eq!(desk.read("disk/run/student.safetensors"), whole);
    desk.has_nothing_partial();
}

#[test]
fn a_full_disk_leaves_the_files_of_other_commands_alone() {
    let (desk, whole) = desk();
    let Some(_disk) = Disk::mount(&desk, "size=16k") else {
        return;
    };
    desk.write("disk/student.safetensors", &whole);
    let export =
        |out: &str| desk.limbeck(&["export", "whole", "--to", "safetensors", "--out", out]);
    while std::fs::write(desk.path("disk/fill"), vec![0; 16 << 10]).is_ok() {}
    let before = desk.content("disk");
    export("disk/student.safetensors").failed(
        1,
        &[
            "cannot write `disk/student.safetensors`",
            "No space left on device",
        ],
    );
    desk.limbeck(&[
        "eval",
        "whole",
        "--data",
        "digits",
        "--predictions",
        "disk/p.safetensors",
    ])
    .failed(1, &["cannot write `disk/p.safetensors`"]);
    desk.limbeck(&["report", "whole", "whole", "--out", "disk/report"])
        .failed(1, &["cannot write `disk/report"]);
    let after = desk.content("disk");
    assert!(before == after, "{:?}", after.keys());
    // Standard output can be full, too.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let output = desk
        .command(&["methods"])
        .stdout(full.unwrap())
        .output()
        .unwrap();
    Done::of(&output).failed(
        1,
        &[
            "cannot write `(standard output)`",
            "No space left on device",
        ],
    );
}

#[test]
fn a_read_only_run_directory_stays_as_it_is() {
    let (desk, whole) = desk();
    let Some(disk) = Disk::mount(&desk, "size=8m") else {
        return;
    };
    // A run that is not finished: its last part is missing.
    desk.limbeck(&RUN).succeeded();
    std::fs::remove_file(desk.path("disk/run/summary.json")).unwrap();
    std::fs::remove_file(desk.path("disk/run/result.json")).unwrap();
    let before = desk.content("disk");
    disk.remount("ro");
    desk.limbeck(&RESUME)
        .failed(1, &["cannot write `disk/run/", "Read-only file system"]);
    desk.limbeck(&["run", "recipe.toml", "--out", "disk/new"])
        .failed(1, &["cannot write `disk/new`", "Read-only file system"]);
    assert!(desk.content("disk") == before);
    disk.remount("rw");
    desk.limbeck(&RESUME).succeeded();
    assert_eq!(desk.read("disk/run/student.safetensors"), whole);
    // A finished run can still be read there.
    disk.remount("ro");
    desk.limbeck(&["eval", "disk/run", "--data", "digits"])
        .succeeded();
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_too() {
    let (desk, whole) = desk();
    // `ulimit -f` counts blocks of 512 or 1024 bytes; a log of this run is larger, its checkpoints are smaller.
    let limited = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 12 && exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_limbeck"))
        .args(["run", "recipe.toml", "--out", "run"])
        .current_dir(desk.path(""))
        .output()
        .unwrap();
    Done::of(&limited).failed(1, &["cannot write `run/"]);
    assert!(!desk.path("run/student.safetensors").exists());
    desk.limbeck(&["run", "recipe.toml", "--out", "run", "--resume"])
        .succeeded();
    assert_eq!(desk.read("run/student.safetensors"), whole);
    desk.has_nothing_partial();
}
