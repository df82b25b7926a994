//! Which part of a data set.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Which part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// For training.
    Train = 0,
    /// For choosing settings and stopping.
    Validation = 1,
    /// For the final figures.
    Test = 2,
}

impl Split {
    /// The split that a file or folder name announces: a word of it (between characters that are neither letters nor
    /// digits) such as `train`, `val`, `dev`, `test` or `t10k`; `data_batch` is how CIFAR-10 calls its training files.
    pub fn from_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        if name.starts_with("data_batch") {
            return Some(Self::Train);
        }
        name.split(|letter: char| !letter.is_ascii_alphanumeric())
            .find_map(|word| match word {
                "train" | "training" => Some(Self::Train),
                "val" | "valid" | "validation" | "dev" => Some(Self::Validation),
                "test" | "testing" | "t10k" => Some(Self::Test),
                _ => None,
            })
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_announce_splits() {
        let split = |name: &str| Split::from_name(Path::new(name));
        assert_eq!(split("train-images-idx3-ubyte.gz"), Some(Split::Train));
        assert_eq!(split("t10k-labels-idx1-ubyte"), Some(Split::Test));
        assert_eq!(
            split("data/validation-00000-of-00001.parquet"),
            Some(Split::Validation)
        );
        assert_eq!(split("data_batch_3.bin"), Some(Split::Train));
        assert_eq!(split("test_batch.bin"), Some(Split::Test));
        assert_eq!(split("testament.parquet"), None);
        assert_eq!(split("test/0000.parquet"), None);
    }
}
