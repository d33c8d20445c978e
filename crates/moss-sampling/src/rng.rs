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

    /// Returns the number that [`Rng::uniform`] returns after `ahead` others, and consumes none.
    pub(crate) fn peek(&self, ahead: usize) -> f64 {
        if ahead == 0 {
            return self.next;
        }
        let mut source = self.source.clone();
        let numbers = std::iter::repeat_with(|| source.random());
        numbers.take(ahead).last().unwrap_or(self.next)
    }

    /// Returns the next number and consumes it.
    pub(crate) fn uniform(&mut self) -> f64 {
        std::mem::replace(&mut self.next, self.source.random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peeking_ahead_returns_the_numbers_that_follow() {
        let mut rng = Rng::new(Some(3));
        rng.uniform();
        let peeked: Vec<f64> = (0..200).map(|ahead| rng.peek(ahead)).collect();
        let drawn: Vec<f64> = (0..200).map(|_| rng.uniform()).collect();
        assert_eq!(peeked, drawn);
    }
}
