//! Threads, locks, atomics and channels: those of the standard library and of crossbeam, or with the
//! feature `shuttle` those of the test runner that explores interleavings
//! (`tests/interleavings.rs`).

#[cfg(feature = "shuttle")]
mod explored;
#[cfg(not(feature = "shuttle"))]
mod native;

#[cfg(feature = "shuttle")]
pub(crate) use explored::{
    Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak, atomic, channel, kernel_pool, thread,
};
#[cfg(not(feature = "shuttle"))]
pub(crate) use native::{
    Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak, atomic, channel, kernel_pool, thread,
};
