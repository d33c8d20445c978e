//! Seeded random numbers, the same on every machine.

use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Uniform random numbers from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    source: ChaCha12Rng,
    pub(crate) seed: u64,
}

impl Rng {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        let seed = seed.unwrap_or_else(rand::random);
        Self {
            source: ChaCha12Rng::seed_from_u64(seed),
            seed,
        }
    }

    /// Returns a number in `[0, 1)`.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.source.random()
    }
}
