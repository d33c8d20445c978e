//! Layers on one NVIDIA GPU: a handful of launches a layer over buffers that were all allocated
//! before the first micro-batch.

mod block;
mod decode_graph;
mod head;
mod loader;
mod non_finite;
mod parallel_load;
mod stage;
mod workspace;

use moss_cuda::Gpu;

use crate::{ModelError, devices, placement::Device};

pub(crate) use stage::GpuStage;

/// Most sequences of a decode step that is captured as a CUDA graph.
const MAX_STEP_ROWS: usize = 16;

/// Most layers that a report of non-finite values can name, the head being one.
const MAX_LAYERS: usize = 254;

/// A GPU that is open, before anything is on it.
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
