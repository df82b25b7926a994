//! What went into an experiment: `plan.json`.

use std::io::Read;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::data::Splits;
use crate::recipe::{ModelPlan, Plan};
use crate::{Error, Result};

/// The version of Burn that trains; a test compares it with the lock file.
pub const BURN_VERSION: &str = "0.22.1";

/// SHA-256 checksums, in hexadecimal, by what they cover: `recipe`, `data.train`, `teacher.0`.
pub type Hashes = std::collections::BTreeMap<String, String>;

/// The content of `plan.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// Limbeck's version.
    pub limbeck: String,
    /// Burn's version.
    pub burn: String,
    /// The device that computes.
    pub device: String,
    /// The threads of the CPU device; results on the CPU are the same bits for the same number of threads.
    pub threads: usize,
    /// One training per seed and arm.
    pub seeds: Vec<u64>,
    /// Checksums of what went in.
    pub hashes: Hashes,
    /// The recipe as checked, defaults included.
    pub plan: serde_json::Value,
}

impl Provenance {
    /// Describes a run about to begin.
    ///
    /// # Errors
    /// If a teacher's or student's checkpoint cannot be read.
    pub fn of(plan: &Plan, device: &str, threads: usize, splits: &Splits) -> Result<Self> {
        let mut hashes = Hashes::new();
        hashes.insert("recipe".to_owned(), hash(plan.text.as_bytes()));
        hashes.insert("data.train".to_owned(), splits.train.info().hash.clone());
        if let Some(test) = &splits.test {
            hashes.insert("data.test".to_owned(), test.info().hash.clone());
        }
        for (index, member) in plan.teacher.iter().flat_map(|t| &t.members).enumerate() {
            hash_model(&member.model, &format!("teacher.{index}"), &mut hashes)?;
        }
        hash_model(&plan.student.model, "student", &mut hashes)?;
        Ok(Self {
            limbeck: env!("CARGO_PKG_VERSION").to_owned(),
            burn: BURN_VERSION.to_owned(),
            device: device.to_owned(),
            threads,
            seeds: plan.seeds.iter().map(|seed| seed.value()).collect(),
            hashes,
            plan: to_json(plan)?,
        })
    }

    /// The content of `plan.json`.
    ///
    /// # Errors
    /// If a number of the plan has no JSON form, which a checked plan does not hold.
    pub fn to_json(&self) -> Result<serde_json::Value> {
        to_json(self)
    }
}

/// The parts of `plan.json` that a continued run may change, since no result depends on them: the recipe's wording, the bar
/// for the teacher, and how checkpoints are kept.
const FREE: [&str; 8] = [
    "/hashes/recipe",
    "/plan/teacher/minimum_accuracy",
    "/plan/teacher/train/checkpoint_every",
    "/plan/teacher/train/keep_checkpoints",
    "/plan/train/checkpoint_every",
    "/plan/train/keep_checkpoints",
    "/train/checkpoint_every",
    "/train/keep_checkpoints",
];

/// What `plan.json` has to be where the run in `directory` is continued under the plan `described`: its free parts are those
/// that the run was begun with.
pub(super) fn continued(directory: &Path, described: &serde_json::Value) -> serde_json::Value {
    let mut described = described.clone();
    let begun = std::fs::read(directory.join("plan.json")).unwrap_or_default();
    let Ok(begun) = serde_json::from_slice::<serde_json::Value>(&begun) else {
        // Whoever opens the directory says what is wrong with it.
        return described;
    };
    for place in ["", "/experiment"] {
        for part in FREE {
            let part = format!("{place}{part}");
            if let (Some(now), Some(then)) = (described.pointer_mut(&part), begun.pointer(&part)) {
                now.clone_from(then);
            }
        }
    }
    described
}

/// A plan or a part of one as JSON.
pub(super) fn to_json(part: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(part)
        .map_err(|error| Error::Data(format!("the plan cannot be written as JSON: {error}")))
}

/// The SHA-256 checksum of `bytes`, in hexadecimal.
pub(super) fn hash(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The checksums of a checkpoint and of an ONNX file.
fn hash_model(model: &ModelPlan, key: &str, hashes: &mut Hashes) -> Result<()> {
    if let Some(path) = &model.weights {
        hashes.insert(key.to_owned(), hash_file(path)?);
    }
    if let Some(onnx) = model.onnx() {
        hashes.insert(format!("{key}.model"), hash_file(onnx.path())?);
    }
    Ok(())
}

fn hash_file(path: &Path) -> Result<String> {
    let unreadable = |source| Error::read(path, source);
    // A model may be too large to be held a second time.
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block).map_err(unreadable)? {
            0 => return Ok(hexadecimal(&hasher.finalize())),
            count => hasher.update(&block[..count]),
        }
    }
}

/// The present time, RFC 3339 with seconds.
pub(super) fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn the_recorded_burn_is_the_one_that_is_built() {
        let lock =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock"));
        // A published crate is built without the workspace's lock file.
        let Ok(lock) = lock else { return };
        assert!(lock.contains(&format!("name = \"burn\"\nversion = \"{BURN_VERSION}\"")));
    }

    #[test]
    fn a_continued_run_may_change_only_what_no_result_depends_on() {
        use serde_json::json;
        let folder = tempfile::tempdir().unwrap();
        let plan = |recipe: &str, bar: f64, keep: u32, batch: u32| {
            json!({
                "hashes": {"recipe": recipe, "data.train": "d"},
                "plan": {"teacher": {"minimum_accuracy": bar}, "train": {"keep_checkpoints": keep, "batch": batch}},
            })
        };
        let begun = plan("a", 0.9, 2, 64);
        let now = plan("b", 0.5, 1, 64);
        assert_eq!(continued(folder.path(), &now), now);
        std::fs::write(folder.path().join("plan.json"), begun.to_string()).unwrap();
        assert_eq!(continued(folder.path(), &now), begun);
        assert_ne!(continued(folder.path(), &plan("b", 0.5, 1, 32)), begun);
        // The same within the plan of one training.
        let (begun, now) = (json!({"experiment": begun}), json!({"experiment": now}));
        std::fs::write(folder.path().join("plan.json"), begun.to_string()).unwrap();
        assert_eq!(continued(folder.path(), &now), begun);
    }

    #[test]
    fn a_checksum_is_hexadecimal() {
        assert_eq!(
            hash(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
