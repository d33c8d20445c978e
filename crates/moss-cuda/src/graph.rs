//! Launches recorded once and started together.

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaGraph, CudaStream, sys};

use super::During;
#[cfg(doc)]
use super::Gpu;
use crate::KernelError;

/// A recorded run of kernels and copies. They read and write the memory they were recorded with,
/// which must live as long.
pub struct Graph {
    graph: CudaGraph,
    stream: Arc<CudaStream>,
    steps: Arc<CudaEvent>,
}

/// What a recording needs of a [`Gpu`].
pub struct Recorder {
    pub(super) stream: Arc<CudaStream>,
    pub(super) steps: Arc<CudaEvent>,
}

// SAFETY: the driver asks that calls on one graph do not overlap; every method takes `&mut self`.
unsafe impl Send for Graph {}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Graph")
    }
}

impl Graph {
    /// Records what `run` puts on the stream, without running it. `run` may launch kernels, and
    /// copy to and from [`Gpu::pinned_for_steps`].
    ///
    /// # Errors
    /// What `run` returns; [`KernelError::Driver`] where something cannot be recorded.
    pub fn record(
        recorder: Recorder,
        run: impl FnOnce() -> Result<(), KernelError>,
    ) -> Result<Self, KernelError> {
        const WHAT: &str = "record a step";
        let Recorder { stream, steps } = recorder;
        stream
            .begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
            .during(WHAT)?;
        let ran = run();
        // The capture ends whatever happened, or the stream would stay unusable.
        let graph = stream.end_capture(
            sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH,
        );
        ran?;
        let nothing = KernelError::Driver {
            what: WHAT,
            code: 0,
            message: "there was nothing to record".into(),
        };
        let graph = graph.during(WHAT)?.ok_or(nothing)?;
        Ok(Self {
            graph,
            stream,
            steps,
        })
    }

    /// Puts what was recorded on the stream.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn launch(&mut self) -> Result<(), KernelError> {
        const WHAT: &str = "start a step";
        self.graph.launch().during(WHAT)?;
        self.steps.record(&self.stream).during(WHAT)
    }
}
