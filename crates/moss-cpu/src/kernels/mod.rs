//! CPU kernels: written once over [`simd::Simd`], compiled for each instruction set, and selected at
//! run time.
//!
//! All `unsafe` code of the crate is here, in these places: views of values as bytes (`plain`), rows
//! of vectors (`rows`), tiles of a result that threads write at the same time (`columns`),
//! `prefetch`, and the calls of functions that are compiled for an instruction set (`features`,
//! `avx2`, `avx512`). The kernels consist of safe code.
#![allow(unsafe_code)]

mod aligned;
pub(crate) mod attention;
mod avx2;
mod avx512;
mod columns;
pub(crate) mod dense;
mod dot;
mod element;
pub(crate) mod elementwise;
mod features;
mod floats;
pub(crate) mod gptq;
mod int8_head;
mod isa;
mod plain;
mod portable;
mod prefetch;
mod rows;
mod simd;
mod sum;
#[cfg(test)]
mod tests;

pub(crate) use aligned::Aligned;
pub(crate) use columns::{Columns, split_columns};
pub(crate) use floats::Floats;
pub(crate) use int8_head::quantize_head;
pub use isa::{Isa, cpu_features};
pub(crate) use sum::sum_of;
