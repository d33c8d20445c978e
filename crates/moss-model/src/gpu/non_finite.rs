//! The report of the first non-finite value: one word in device memory.
//!
//! The word is `batch << 56 | layer << 48 | row << 32 | bits of the value`, or all ones. Kernels
//! write the minimum, so the earliest micro-batch, layer and row is reported. The layers after the
//! last are the runs of lm_head over a micro-batch.

use moss_cuda::{Buffer, CopyRun, Gpu, KernelError, NonFiniteCheck, Pinned};

use crate::stage::NonFinite;

#[derive(Debug)]
pub(super) struct NonFiniteFlag {
    pub(super) device: Buffer<u64>,
    host: Pinned<u64>,
    /// Is true if the last run was a CUDA graph, which contains the copy to the host.
    pub(super) fetched_by_graph: bool,
}

impl NonFiniteFlag {
    pub(super) fn new(gpu: &Gpu) -> Result<Self, KernelError> {
        Ok(Self {
            device: gpu.upload(&[u64::MAX])?,
            host: gpu.pinned_for_graphs(1)?,
            fetched_by_graph: false,
        })
    }

    /// Sets the word to "no report".
    pub(super) fn clear(&self, gpu: &Gpu) -> Result<(), KernelError> {
        gpu.set_bytes(&self.device, 0xFF)
    }

    /// Returns the destination of reports of `layer`. Index of the micro-batch and layer share
    /// sixteen bits.
    pub(super) fn check(&self, batch: usize, layer: usize) -> NonFiniteCheck<'_> {
        NonFiniteCheck {
            flag: &self.device,
            layer: (batch & 0xFF) << 8 | layer & 0xFF,
        }
    }

    /// Returns the copy of the word to the host.
    pub(super) fn memcpy(&mut self) -> Result<CopyRun<'_>, KernelError> {
        self.host.run_from(&self.device, 0, 1)
    }

    /// Waits for the copy of [`NonFiniteFlag::memcpy`] and decodes the word.
    pub(super) fn read(&self) -> Result<Option<NonFinite>, KernelError> {
        let word = self.host.as_slice()?.first().copied().unwrap_or(u64::MAX);
        Ok((word != u64::MAX).then_some(NonFinite {
            batch: (word >> 56) as usize,
            layer: (word >> 48 & 0xFF) as usize,
            row: (word >> 32 & 0xFFFF) as usize,
            value: f32::from_bits(word as u32),
        }))
    }
}
