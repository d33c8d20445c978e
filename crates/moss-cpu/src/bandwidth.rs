//! Measurement of the read bandwidth of memory, the upper bound for decode.

use std::{hint::black_box, time::Instant};

use rayon::prelude::*;

use crate::kernels::{cpu_features, sum_of};

/// Bytes that are read, more than any cache has.
const BYTES: usize = 1 << 30;
/// Bytes that one task reads in order.
const TASK_BYTES: usize = 4 << 20;
const PASSES: usize = 5;

/// Returns the read bandwidth in bytes per second of the threads of the current rayon pool: the
/// maximum of several passes over a gibibyte, with the widest loads of the processor.
pub fn read_bandwidth() -> f64 {
    // Written, because all untouched pages are mapped to the same page of zeros.
    let data: Vec<f32> = (0..BYTES / 4).into_par_iter().map(|i| i as f32).collect();
    let isa = cpu_features();
    let pass = || {
        let start = Instant::now();
        black_box(
            data.par_chunks(TASK_BYTES / 4)
                .map(|values| sum_of(isa, values))
                .sum::<f32>(),
        );
        BYTES as f64 / start.elapsed().as_secs_f64()
    };
    (0..PASSES).map(|_| pass()).fold(0.0, f64::max)
}
