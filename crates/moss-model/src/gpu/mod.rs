//! Layers on one NVIDIA GPU: a few launches per layer, over buffers that are allocated before the
//! first micro-batch.

mod block;
mod decode_graph;
mod head;
mod input;
mod loader;
mod non_finite;
mod parallel_load;
mod stage;
mod stored_blocks;
mod workspace;

use moss_cuda::Gpu;

use crate::{
    ModelError, decode_rows::max_head_runs, devices, micro_batch::MAX_BATCH_TOKENS,
    placement::Device,
};

pub(crate) use stage::GpuStage;

/// Maximum number of layers. A report of non-finite values names one of 256: a layer, or one of the
/// runs of lm_head over the tokens of a micro-batch.
const MAX_LAYERS: usize = 256 - max_head_runs(MAX_BATCH_TOKENS);

/// An open GPU, before the stage is loaded.
#[derive(Debug)]
pub(crate) struct OpenGpu {
    gpu: Gpu,
    free: u64,
}

impl OpenGpu {
    pub(crate) fn new(ordinal: usize, newest_code: Option<u32>) -> Result<Self, ModelError> {
        let gpu = Gpu::open(ordinal, newest_code).map_err(ModelError::Gpu)?;
        let free = gpu.free_memory().map_err(ModelError::Gpu)?;
        Ok(Self { gpu, free })
    }

    /// Describes the GPU for a placement.
    pub(crate) fn describe(&self) -> Device {
        devices::describe(self.gpu.info(), self.free)
    }
}
