//! Downloads, the search for models, and verification, with a hub on this machine.
//!
//! One binary, so that the tests are linked once.
#![allow(clippy::unwrap_used)]

mod adopted;
mod download;
mod networks;
mod resolve;
mod support;
mod verify;
