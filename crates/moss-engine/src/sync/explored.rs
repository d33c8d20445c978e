//! Those of shuttle: each operation is a point at which another thread may run.

pub(crate) mod channel;

use std::convert::Infallible;

pub(crate) use shuttle::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak, atomic},
    thread,
};

/// Runs the worker on its own thread: kernel threads are outside of what is explored.
pub(crate) struct NoPool;

impl NoPool {
    pub(crate) fn install<T>(&self, run: impl FnOnce() -> T) -> T {
        run()
    }
}

pub(crate) fn kernel_pool(_threads: usize) -> Result<NoPool, Infallible> {
    Ok(NoPool)
}
