//! The real ones.

pub(crate) use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak, atomic},
    thread,
};

pub(crate) use crossbeam_channel as channel;

/// Starts the threads of the CPU kernels; 0 for one per core.
pub(crate) fn kernel_pool(
    threads: usize,
) -> Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("moss-kernel-{index}"))
        .build()
}
