//! What commands ask of the GPU kernels themselves. A build without CUDA has the same functions,
//! and no cards.

#[cfg_attr(feature = "cuda", path = "enabled.rs")]
#[cfg_attr(not(feature = "cuda"), path = "disabled.rs")]
mod kernels;

use moss::kernels::{GptqBits, KernelError};

pub(crate) use kernels::{cards, compare, load_cublas, times};

/// A card as the kernels see it.
#[derive(Debug)]
pub(crate) struct KernelCard {
    pub(crate) ordinal: usize,
    pub(crate) name: String,
    /// 10 x major + minor.
    pub(crate) capability: u32,
    /// The code it gets, such as `sm_90`.
    pub(crate) code: String,
    /// Version of CUDA that the driver offers: 1000 x major + 10 x minor.
    pub(crate) driver_cuda: u32,
    /// Bytes of memory.
    pub(crate) total: u64,
    pub(crate) free: u64,
    pub(crate) ecc: bool,
    /// Clocks at most, in MHz: multiprocessors, memory.
    pub(crate) clocks: [u32; 2],
    /// Bytes a second of a copy within the card, or why it could not be measured.
    pub(crate) bandwidth: Result<f64, KernelError>,
}

/// A kernel beside the CPU's, at one shape.
#[derive(Debug, Clone)]
pub(crate) struct Comparison {
    pub(crate) kernel: String,
    pub(crate) shape: String,
    pub(crate) max_error: f64,
    pub(crate) allowed: f64,
    pub(crate) reason: String,
    /// Every run gave the same bits.
    pub(crate) repeats: bool,
    pub(crate) passed: bool,
}

/// What is to be timed.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "cuda"), allow(dead_code))] // nobody times it there
pub(crate) struct Timed {
    /// `None` for f16.
    pub(crate) bits: Option<GptqBits>,
    pub(crate) layers: usize,
    /// Positions of the decode step, its own included.
    pub(crate) context: usize,
    pub(crate) prompt: usize,
}

/// One kernel by itself.
#[derive(Debug, Clone)]
pub(crate) struct KernelTime {
    pub(crate) kernel: &'static str,
    pub(crate) calls: usize,
    /// Bytes and floating-point operations of a run.
    pub(crate) bytes: u64,
    pub(crate) operations: f64,
    pub(crate) seconds: f64,
}

/// A step or a prompt.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    pub(crate) kernels: Vec<KernelTime>,
    pub(crate) seconds: f64,
}

/// Both, and the yardstick of the same run.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) card: String,
    /// Bytes a second of a copy within the card.
    pub(crate) bandwidth: f64,
    pub(crate) step: Whole,
    pub(crate) prompt: Whole,
}

/// Answers of this module.
pub(crate) type Answer<T> = Result<T, KernelError>;
