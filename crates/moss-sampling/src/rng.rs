//! Seeded random numbers, the same on every machine.

use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Uniform random numbers in `[0, 1)` from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Rng {
    source: ChaCha12Rng,
    next: f64,
    pub(crate) seed: u64,
}

impl Rng {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        let seed = seed.unwrap_or_else(rand::random);
        let mut source = ChaCha12Rng::seed_from_u64(seed);
        Self {
            next: source.random(),
            source,
            seed,
        }
    }

    /// Returns the number that [`Rng::uniform`] returns next.
    pub(crate) fn peek(&self) -> f64 {
        self.next
    }

    /// Returns the next number and consumes it.
    pub(crate) fn uniform(&mut self) -> f64 {
        std::mem::replace(&mut self.next, self.source.random())
    }
}
