//! Plugins as a program uses them.

#![allow(clippy::unwrap_used)]

mod calculator;
mod commands;
#[cfg(feature = "http")]
mod hostile;
mod limits;
#[cfg(unix)]
mod programs;
#[cfg(feature = "http")]
mod servers;
mod shapes;
mod solver;
#[cfg(feature = "http")]
mod support;
