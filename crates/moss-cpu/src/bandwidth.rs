//! The yardstick: how fast this machine reads memory with the threads at hand.

use std::{hint::black_box, time::Instant};

use rayon::prelude::*;

use crate::kernels::{cpu_features, sum_of};

/// Bytes that no cache holds.
const BYTES: usize = 1 << 30;
/// Bytes that one task reads in order.
const RUN: usize = 4 << 20;
const PASSES: usize = 5;

/// Read bandwidth in bytes a second, on the current rayon pool: the best of several passes over a
/// gigabyte, with the widest loads that the machine has.
pub fn read_bandwidth() -> f64 {
    // Written, so that every page is its own: untouched pages are all one page of zeros.
    let data: Vec<f32> = (0..BYTES / 4).into_par_iter().map(|i| i as f32).collect();
    let isa = cpu_features();
    let pass = || {
        let start = Instant::now();
        black_box(
            data.par_chunks(RUN / 4)
                .map(|run| sum_of(isa, run))
                .sum::<f32>(),
        );
        BYTES as f64 / start.elapsed().as_secs_f64()
    };
    (0..PASSES).map(|_| pass()).fold(0.0, f64::max)
}
