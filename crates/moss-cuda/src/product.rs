//! Outputs and scratch memory of the matrix products of prefill (GEMM).

use half::f16;
use moss_weights::KernelError;

use crate::{buffer::Buffer, device::Gpu};

/// Most output tiles of a product that is split over its inputs: each needs a semaphore.
pub(crate) const MAX_SEMAPHORES: usize = 4096;

/// Scratch memory of the matrix products of prefill.
#[derive(Debug)]
pub struct ProductScratch {
    /// Dequantized part of a packed weight.
    pub(crate) panel: Buffer<f16>,
    /// Zero between products.
    pub(crate) semaphores: Buffer<u32>,
}

impl ProductScratch {
    /// Allocates a panel of `panel_values`, which is at most [`crate::PANEL_VALUES`], or no panel
    /// if the GPU multiplies packed weights directly.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn new(gpu: &Gpu, panel_values: usize) -> Result<Self, KernelError> {
        let (panel, semaphores) = if gpu.multiplies_packed() {
            (0, MAX_SEMAPHORES)
        } else {
            (panel_values, 0)
        };
        Ok(Self {
            panel: gpu.zeros(panel)?,
            semaphores: gpu.zeros(semaphores)?,
        })
    }
}

/// The destination of a matrix product.
#[derive(Debug, Clone, Copy)]
pub enum Product<'a> {
    /// Overwrites `[tokens, stride]` f16.
    Store(&'a Buffer<f16>, usize),
    /// Is added to `[tokens, stride]` f32.
    Add(&'a Buffer<f32>, usize),
}
