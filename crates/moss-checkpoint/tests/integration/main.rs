//! Checkpoint folders, weight files and their metadata.
//!
//! One binary, so that the tests are linked once.
#![allow(clippy::unwrap_used)]

mod contents;
mod damage;
mod fixtures;
mod gptq;
mod gptq_conventions;
mod gptq_names;
mod hostile;
mod torch_zip;
mod weight_files;
mod write;
