//! CUDA graphs: captured launches that start together.

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaGraph, CudaStream, sys};
use moss_weights::{DriverCall, KernelError};

use crate::contract::During;

/// A captured sequence of kernels and copies. They read and write the memory that they were
/// captured with, which must live as long as the graph.
pub struct Graph {
    graph: CudaGraph,
    stream: Arc<CudaStream>,
    last_graph: Arc<CudaEvent>,
}

/// The stream of a [`crate::Gpu`], for a capture.
#[derive(Debug)]
pub struct GraphCapture {
    pub(crate) stream: Arc<CudaStream>,
    /// Recorded after each graph.
    pub(crate) last_graph: Arc<CudaEvent>,
}

// SAFETY: the driver allows calls on a graph from any thread if they do not overlap. The only
// method takes `&mut self`.
unsafe impl Send for Graph {}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Graph")
    }
}

impl Graph {
    /// Captures the launches that `run` enqueues, without running them. `run` may launch kernels,
    /// and copy to and from [`crate::Gpu::pinned_for_graphs`].
    ///
    /// # Errors
    /// Those of `run`; [`KernelError::Driver`] if an operation cannot be captured.
    pub fn capture(
        capture: GraphCapture,
        run: impl FnOnce() -> Result<(), KernelError>,
    ) -> Result<Self, KernelError> {
        const CALL: DriverCall = DriverCall::Capture;
        let GraphCapture { stream, last_graph } = capture;
        stream
            .begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
            .during(CALL)?;
        let ran = run();
        // The capture ends after an error too: the stream would remain unusable.
        let graph = stream.end_capture(
            sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH,
        );
        ran?;
        let empty = KernelError::Driver {
            what: CALL,
            code: 0,
            message: "the captured graph is empty".into(),
        };
        let graph = graph.during(CALL)?.ok_or(empty)?;
        Ok(Self {
            graph,
            stream,
            last_graph,
        })
    }

    /// Enqueues the graph on the stream.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn launch(&mut self) -> Result<(), KernelError> {
        const CALL: DriverCall = DriverCall::LaunchGraph;
        self.graph.launch().during(CALL)?;
        self.last_graph.record(&self.stream).during(CALL)
    }
}
