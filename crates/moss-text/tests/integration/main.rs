//! Tokenizer files, tokenization, and prompts.
//!
//! One binary, so that the tests are linked once.
#![allow(clippy::unwrap_used)]

mod alignment;
mod prompt;
#[allow(clippy::print_stdout)] // the number of examples compared
mod tokenizer;
mod tokenizer_files;
