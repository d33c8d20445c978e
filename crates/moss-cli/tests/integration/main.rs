//! The built binary, as its users run it.
//!
//! One binary, so that the tests are linked once.
#![allow(clippy::unwrap_used)]

mod candle;
mod chat;
mod checkpoints;
mod chinese;
mod chinese_tables;
mod cli;
mod config_edits;
mod doctor;
mod download;
mod encodings;
#[cfg(unix)]
mod escapes;
mod failures;
mod generate;
#[cfg(unix)]
mod interrupts;
#[cfg(target_os = "linux")]
mod memory;
mod overwriting;
mod plan;
mod plugins;
mod prompt_cache;
#[cfg(unix)]
mod serve;
mod support;
#[cfg(unix)]
mod terminal;
mod tools;
#[cfg(unix)]
mod truncation;
#[cfg(unix)]
mod typed_ahead;
