//! The engine over a scripted model.
//!
//! One binary, so that the tests are linked once.
#![allow(clippy::unwrap_used)]

mod cancel;
mod chat;
mod deterministic;
mod drafts;
mod engine;
mod failures;
mod fairness;
mod faults;
mod health;
mod kinds;
mod preemption;
mod prefix_blocks;
mod prefixes;
mod properties;
mod sampled;
mod support;
