//! The yardstick: how fast this machine reads memory with the threads at hand.

use std::{hint::black_box, time::Instant};

use rayon::prelude::*;

/// Bytes that no cache holds.
const BYTES: usize = 1 << 30;
const PASSES: usize = 5;

/// Read bandwidth in bytes a second, on the current rayon pool: the best of several passes over a gigabyte.
pub fn read_bandwidth() -> f64 {
    // Written, so that every page is its own: untouched pages are all one page of zeros.
    let data: Vec<u64> = (0..BYTES / 8).into_par_iter().map(|i| i as u64).collect();
    let pass = || {
        let start = Instant::now();
        let sum = data.par_chunks(1 << 17).map(|run| run.iter().fold(0u64, |a, b| a.wrapping_add(*b)));
        black_box(sum.reduce(|| 0, u64::wrapping_add));
        BYTES as f64 / start.elapsed().as_secs_f64()
    };
    (0..PASSES).map(|_| pass()).fold(0.0, f64::max)
}
