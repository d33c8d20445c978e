//! CPU kernels: written once over [`simd::Simd`], compiled for each instruction set, chosen at run
//! time.
//!
//! This is the module of the crate with `unsafe`: loads through pointers
//! into mapped weights, and the step from a detected instruction set to code compiled for it. Plans
//! in [`crate::linear`] and [`crate::ops`] have checked every length.
#![allow(unsafe_code)]

mod aligned;
pub(crate) mod attention;
mod avx2;
mod avx512;
pub(crate) mod dense;
mod disjoint_matrix;
mod dot;
pub(crate) mod elementwise;
pub(crate) mod gptq;
mod isa;
mod portable;
mod simd;
mod sum;
#[cfg(test)]
mod tests;

pub(crate) use aligned::Aligned;
pub(crate) use disjoint_matrix::DisjointMatrix;
pub use isa::{Isa, cpu_features};
pub(crate) use sum::sum_of;
