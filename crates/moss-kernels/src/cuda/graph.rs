//! Launches recorded once and started together.

use candle_core::cuda_backend::cudarc::driver::{CudaGraph, sys};

use super::{During, Gpu};
use crate::KernelError;

/// A recorded run of kernels. They read and write the memory they were recorded with, which must live as long.
pub struct Graph(CudaGraph);

// SAFETY: the driver asks that calls on one graph do not overlap; every method takes `&mut self`.
unsafe impl Send for Graph {}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Graph")
    }
}

impl Graph {
    /// Records what `run` puts on the stream, without running it. `run` may launch kernels and nothing else.
    ///
    /// # Errors
    /// What `run` returns; [`KernelError::Driver`] where something cannot be recorded.
    pub fn record(gpu: &Gpu, run: impl FnOnce() -> Result<(), KernelError>) -> Result<Self, KernelError> {
        const WHAT: &str = "record a step";
        gpu.stream
            .begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
            .during(WHAT)?;
        let ran = run();
        // The capture ends whatever happened, or the stream would stay unusable.
        let graph = gpu
            .stream
            .end_capture(sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH);
        ran?;
        let nothing =
            KernelError::Driver { what: WHAT, code: 0, message: "there was nothing to record".into() };
        graph.during(WHAT)?.map(Self).ok_or(nothing)
    }

    /// Puts the recorded kernels on the stream.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn launch(&mut self) -> Result<(), KernelError> {
        self.0.launch().during("start a step")
    }
}
