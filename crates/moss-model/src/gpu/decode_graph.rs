//! Decode steps as CUDA graphs. A step runs the same kernels at other positions, so it is captured
//! once per number of tokens and then launched as one graph.

use moss_cuda::{Graph, KernelError};

use super::{GpuStage, MAX_STEP_ROWS, head::copy_results};
use crate::{ModelError, TokenKind, hook::Hook, micro_batch::MicroBatch};

impl GpuStage {
    /// Returns whether `batch` is launched as a CUDA graph: up to [`MAX_STEP_ROWS`] generated
    /// tokens, whose logits are all needed, and no hook. Only the first micro-batch of a forward
    /// pass can be one, because a graph begins by clearing the report of non-finite values, which
    /// may be of an earlier micro-batch.
    pub(super) fn is_decode_step(&self, batch: &MicroBatch<'_, '_>, hook: &Hook<'_, '_>) -> bool {
        let n = batch.len();
        let is_step = batch.kind == TokenKind::Generated && batch.wanted.len() == n;
        is_step && n <= MAX_STEP_ROWS && batch.index == 0 && hook.0.is_none()
    }

    /// Launches the graph of `batch`. It is captured at the first step with this number of tokens.
    pub(super) fn launch_decode_graph(
        &mut self,
        batch: &MicroBatch<'_, '_>,
    ) -> Result<(), ModelError> {
        let n = batch.len();
        let at = |layer, op| move |source| ModelError::Kernel { layer, op, source };
        if let Some(head) = &mut self.head {
            head.stage_top_k(&batch.top_k)
                .map_err(at(self.layers.end, "sampling"))?;
        }
        if !self.graphs.contains_key(&n) {
            let graph = Graph::capture(self.gpu.graph_capture(), || self.decode_step(n));
            self.graphs
                .insert(n, graph.map_err(at(self.layers.start, "graph capture"))?);
        }
        if let Some(graph) = self.graphs.get_mut(&n) {
            graph
                .launch()
                .map_err(at(self.layers.start, "graph launch"))?;
        }
        Ok(())
    }

    /// Enqueues a whole step of `n` tokens, from inputs in host memory to results in host
    /// memory.
    fn decode_step(&mut self, n: usize) -> Result<(), KernelError> {
        let mut runs = vec![self.workspace.step_inputs()?];
        if let Some(head) = &mut self.head {
            runs.extend(head.upload_top_k(n)?);
        }
        self.gpu.batched_memcpy(&runs)?;
        if self.embedding.is_some() {
            self.embed(n, 0)?;
        }
        for layer in self.layers.clone() {
            self.layer(layer, 0, n, TokenKind::Generated)?;
        }
        if let Some(head) = &mut self.head {
            let check = self.workspace.non_finite.check(0, self.layers.end);
            head.run(&self.gpu, &self.workspace.stream, None, n, check)?;
        }
        copy_results(&self.gpu, &mut self.workspace, self.head.as_mut(), n)
    }
}
