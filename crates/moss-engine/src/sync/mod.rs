//! Threads, locks, atomics and channels of the engine.

mod native;

pub(crate) use native::{channel, kernel_pool, sync::*, thread};
