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
mod workspace;

use moss_cuda::Gpu;

use crate::{ModelError, devices, placement::Device};

pub(crate) use stage::GpuStage;

/// Maximum number of tokens of a decode step that is captured as a CUDA graph.
const MAX_STEP_ROWS: usize = 16;

/// Maximum number of layers that a report of non-finite values can name, including the head.
const MAX_LAYERS: usize = 254;

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
