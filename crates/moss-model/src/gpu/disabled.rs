//! A build without CUDA: GPUs are asked for, and there are no kernels.

use moss_kernels::KernelError;

use crate::{LoadEvent, LoadOptions, Logits, ModelError, MossConfig, WeightSource, plan::Plan, tap::Tap};

/// Whether this build has kernels for NVIDIA GPUs.
pub const CUDA: bool = false;

/// Never made.
#[derive(Debug)]
pub(crate) enum GpuNetwork {}

impl GpuNetwork {
    pub(crate) fn load(
        _source: &dyn WeightSource,
        _config: &MossConfig,
        _options: &LoadOptions,
        _gpu: (usize, Option<u32>),
        _progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Self, ModelError> {
        Err(ModelError::Gpu(KernelError::NotCompiled { op: "GPU" }))
    }

    pub(crate) fn weight_bytes(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn copy_bandwidth(&self) -> Result<f64, ModelError> {
        match *self {}
    }

    pub(crate) fn forward(
        &mut self,
        _plan: &Plan<'_>,
        _interrupted: &dyn Fn() -> bool,
        _tap: &mut Tap<'_, '_>,
    ) -> Result<Vec<Logits>, ModelError> {
        match *self {}
    }
}
