//! Explicit randomness: one seed, split into named streams.
//!
//! Every use of randomness asks for its own stream by name and position, so adding a draw in one place never
//! shifts the numbers of another, and a resumed run needs no generator state: the stream of
//! step 1000 follows from the seed alone.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The one seed of a run.
///
/// ```
/// use limbeck_graph::Seed;
/// use rand::Rng;
///
/// let seed = Seed::new(7);
/// let a = seed.stream("shuffle", &[0]).next_u64();
/// assert_eq!(a, seed.stream("shuffle", &[0]).next_u64());
/// assert_ne!(a, seed.stream("shuffle", &[1]).next_u64());
/// assert_ne!(a, seed.stream("dropout", &[0]).next_u64());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(u64);

impl Seed {
    /// Wraps a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The number the user typed.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The generator of the stream `name` at `position` (an epoch, a step, a sample id: whatever
    /// identifies the draw). Streams of different names or positions are independent.
    pub fn stream(self, name: &str, position: &[u64]) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.key(name, position))
    }

    /// A derived seed for another library's generator, such as a Burn device's.
    pub fn derive(self, name: &str, position: &[u64]) -> u64 {
        let key = self.key(name, position);
        u64::from_le_bytes([
            key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7],
        ])
    }

    fn key(self, name: &str, position: &[u64]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0.to_le_bytes());
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        for part in position {
            hash.update(part.to_le_bytes());
        }
        hash.finalize().into()
    }
}
